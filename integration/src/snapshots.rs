//! A companion that says whatever the test wants: `POST /v1/sync` in process.
//!
//! For what the real one never sends: the snapshots of the table of cases, broken ones, old ones.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, StatusCode, body::Bytes, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use quiesce_policy::{
    snapshot::{Epoch, Snapshot},
    sync::{EPOCH_HEADER, SyncRequest},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

/// The bearer token that it wants to see.
pub const SYNC_TOKEN: &str = "sync-token-of-the-tests";

/// The running server; stopped when dropped.
#[derive(Debug)]
pub struct Snapshots {
    addr: SocketAddr,
    current: watch::Sender<Published>,
    reports: Arc<Mutex<Vec<Report>>>,
    task: JoinHandle<()>,
}

/// A report that came in.
#[derive(Clone, Debug)]
pub struct Report {
    /// When.
    pub at: Instant,
    /// What it said.
    pub body: SyncRequest,
}

/// What is served: the version, and bytes that need not be a snapshot.
#[derive(Clone, Debug, Default)]
struct Published {
    epoch: Epoch,
    body: Bytes,
}

impl Snapshots {
    /// Starts with nothing to serve (epoch 0): every sync is held.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (current, watching) = watch::channel(Published::default());
        let reports = Arc::default();
        let task = tokio::spawn(serve(listener, watching, Arc::clone(&reports)));
        Ok(Self { addr, current, reports, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves this snapshot from now on.
    ///
    /// # Errors
    /// Never with the types as they are: when the snapshot cannot be written as JSON.
    pub fn publish(&self, snapshot: &Snapshot) -> Result<()> {
        self.publish_bytes(snapshot.version, serde_json::to_vec(snapshot)?);
        Ok(())
    }

    /// Serves these bytes under this version from now on.
    pub fn publish_bytes(&self, epoch: Epoch, body: impl Into<Bytes>) {
        self.current.send_replace(Published { epoch, body: body.into() });
    }

    /// The reports so far.
    pub fn reports(&self) -> Vec<Report> {
        lock(&self.reports).clone()
    }

    /// The last report, if there was one.
    pub fn last_report(&self) -> Option<SyncRequest> {
        lock(&self.reports).last().map(|report| report.body.clone())
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(reports: &Mutex<Vec<Report>>) -> MutexGuard<'_, Vec<Report>> {
    reports.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, current: watch::Receiver<Published>, reports: Arc<Mutex<Vec<Report>>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (current, reports) = (current.clone(), Arc::clone(&reports));
        let service = service_fn(move |request| {
            let (current, reports) = (current.clone(), Arc::clone(&reports));
            async move { Ok::<_, Infallible>(sync(request, current, &reports).await) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

async fn sync(
    request: hyper::Request<Incoming>,
    mut current: watch::Receiver<Published>,
    reports: &Mutex<Vec<Report>>,
) -> hyper::Response<Full<Bytes>> {
    if request.method() != Method::POST || request.uri().path() != "/v1/sync" {
        return answer(StatusCode::NOT_FOUND, Epoch(0), Bytes::new());
    }
    let bearer = format!("Bearer {SYNC_TOKEN}");
    if request.headers().get(header::AUTHORIZATION).is_none_or(|value| value.as_bytes() != bearer.as_bytes())
    {
        return answer(StatusCode::UNAUTHORIZED, Epoch(0), Bytes::new());
    }
    let Ok(body) = request.into_body().collect().await else {
        return answer(StatusCode::BAD_REQUEST, Epoch(0), Bytes::new());
    };
    let body: SyncRequest = match serde_json::from_slice(&body.to_bytes()) {
        Ok(body) => body,
        Err(error) => return answer(StatusCode::BAD_REQUEST, Epoch(0), error.to_string().into()),
    };
    lock(reports).push(Report { at: Instant::now(), body: body.clone() });
    let known = |epoch: Epoch| {
        epoch == Epoch(0)
            || epoch == body.applied
            || body.rejected.as_ref().is_some_and(|rejected| rejected.version == epoch)
    };
    let wait = Duration::from_millis(body.wait_ms);
    let news = match timeout(wait, current.wait_for(|published| !known(published.epoch))).await {
        Ok(Ok(published)) => Some(published.clone()),
        _ => None,
    };
    match news {
        Some(published) => answer(StatusCode::OK, published.epoch, published.body),
        None => answer(StatusCode::NO_CONTENT, current.borrow().epoch, Bytes::new()),
    }
}

fn answer(status: StatusCode, epoch: Epoch, body: Bytes) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(EPOCH_HEADER, epoch.0.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Request;

    fn report(applied: u64, wait_ms: u64) -> Request {
        let body = serde_json::json!({
            "enforcer": {"id": "e", "instance": "i", "kind": "envoy", "version": "1"},
            "applied": applied, "in_flight": 0, "clock": "2026-11-23T12:00:00Z", "wait_ms": wait_ms,
        });
        Request::post("/v1/sync", body.to_string()).header("authorization", &format!("Bearer {SYNC_TOKEN}"))
    }

    #[tokio::test]
    async fn serves_a_new_snapshot_at_once_and_holds_a_known_one() {
        let server = Snapshots::start().await.unwrap();
        let nothing = report(0, 0).send(server.addr()).await.unwrap();
        assert_eq!(nothing.status, 204);
        server.publish(&Snapshot { version: Epoch(7), ..Snapshot::default() }).unwrap();
        let news = report(0, 10_000).send(server.addr()).await.unwrap();
        assert_eq!((news.status, news.header(EPOCH_HEADER)), (200, Some("7")));
        assert_eq!(news.json::<Snapshot>().unwrap().version, Epoch(7));
        assert_eq!(report(7, 20).send(server.addr()).await.unwrap().status, 204);
        assert_eq!(server.reports().len(), 3);
    }
}
