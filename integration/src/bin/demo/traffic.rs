//! Clients that read and write all the time, whatever the story is doing, and note what they get.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use quiesce_integration::http::Request;
use tokio::task::JoinHandle;

/// How long each client rests between two requests.
const REST: Duration = Duration::from_millis(5);

/// One request of a client.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Whether it writes.
    pub write: bool,
    /// The status of the answer.
    pub status: u16,
    /// When it was sent.
    pub sent: Instant,
    /// When its answer had arrived.
    pub answered: Instant,
}

impl Sample {
    /// Whether all of it, from sending to answer, was between `from` and `to`.
    pub fn within(&self, from: Instant, to: Instant) -> bool {
        from <= self.sent && self.answered <= to
    }
}

/// A reading and a writing client at work.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Vec<Sample>>>>,
}

impl Traffic {
    /// Sets both to work on the proxy at `addr`.
    pub fn start(addr: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = [Request::get("/orders/7"), Request::post("/orders", "{\"item\":\"tea\"}")]
            .into_iter()
            .zip([false, true])
            // The filter tells clients apart: these come back far too often, and are told so.
            .map(|(request, write)| (request.header("user-agent", "background"), write))
            .map(|(request, write)| tokio::spawn(work(addr, request, write, Arc::clone(&stop))))
            .collect();
        Self { stop, clients }
    }

    /// Lets both finish what they have begun; everything they got, in no order.
    ///
    /// # Errors
    /// When one of them got no answer at all.
    pub async fn finish(mut self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        for client in self.clients.drain(..) {
            samples.extend(client.await?.context("a client in the background got no answer")?);
        }
        Ok(samples)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for client in &self.clients {
            client.abort();
        }
    }
}

async fn work(addr: SocketAddr, request: Request, write: bool, stop: Arc<AtomicBool>) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let response = request.send(addr).await?;
        samples.push(Sample { write, status: response.status, sent, answered: Instant::now() });
        tokio::time::sleep(REST).await;
    }
    Ok(samples)
}
