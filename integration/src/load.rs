//! Clients at full rate over kept connections: what the barrier and the benchmark are put under.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// No single request takes longer.
const BOUND: Duration = Duration::from_secs(30);

/// What the clients send.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where to.
    pub addr: SocketAddr,
    /// The method.
    pub method: &'static str,
    /// Path and query; `{n}` stands for a number that no other request of this process has.
    pub target: &'static str,
    /// Headers beside `host`.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body.
    pub body: Bytes,
    /// Clients, each with one connection and one request at a time.
    pub clients: usize,
}

impl Profile {
    /// `clients` that read.
    pub fn reads(addr: SocketAddr, clients: usize) -> Self {
        Self { addr, method: "GET", target: "/items/1", headers: &[], body: Bytes::new(), clients }
    }

    /// `clients` that write.
    pub fn writes(addr: SocketAddr, clients: usize) -> Self {
        let body = Bytes::from_static(br#"{"name":"a"}"#);
        Self { addr, method: "POST", target: "/items", headers: &[], body, clients }
    }

    fn next_target(&self) -> Cow<'static, str> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        match self.target.split_once("{n}") {
            None => Cow::Borrowed(self.target),
            Some((before, behind)) => {
                Cow::Owned(format!("{before}{}{behind}", NEXT.fetch_add(1, Ordering::Relaxed)))
            }
        }
    }
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that got no answer.
    pub failures: Vec<String>,
}

impl Tally {
    /// All answers.
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Answers with this status.
    pub fn with_status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    fn note(&mut self, result: Result<u16>) {
        match result {
            Ok(status) => *self.statuses.entry(status).or_default() += 1,
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.failures.extend(other.failures);
    }

    /// Answers with another status than `statuses`, and requests without an answer.
    pub fn other_than(&self, statuses: &[u16]) -> Vec<String> {
        let others = self.statuses.iter().filter(|(status, _)| !statuses.contains(status));
        others
            .map(|(status, count)| format!("{count} x {status}"))
            .chain(self.failures.iter().cloned())
            .collect()
    }
}

/// Running clients; they stop when dropped.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stopped: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Connects the clients and sets them off.
    ///
    /// # Errors
    /// When one cannot connect.
    pub async fn start(profile: Profile) -> Result<Self> {
        let mut load = Self { tally: Arc::default(), stopped: Arc::default(), clients: JoinSet::new() };
        for _ in 0..profile.clients {
            let connection = connect(profile.addr).await?;
            let (profile, tally, stopped) =
                (profile.clone(), Arc::clone(&load.tally), Arc::clone(&load.stopped));
            load.clients.spawn(client(profile, connection, tally, stopped));
        }
        Ok(load)
    }

    /// What came back so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets every client finish its request, and returns what came back.
    pub async fn stop(mut self) -> Tally {
        self.stopped.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.tally()
    }
}

/// Clients that send so many requests when told to, over connections that they keep in between.
#[derive(Debug)]
pub struct Clients {
    profile: Profile,
    connections: Vec<Connection>,
}

impl Clients {
    /// Connects them.
    ///
    /// # Errors
    /// When one cannot connect.
    pub async fn connect(profile: Profile) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..profile.clients {
            connections.push(connect(profile.addr).await?);
        }
        Ok(Self { profile, connections })
    }

    /// Sends `requests` requests in all and returns what came back.
    ///
    /// # Errors
    /// When a client panics.
    pub async fn send(&mut self, requests: u64) -> Result<Tally> {
        let mut clients = JoinSet::new();
        let count = u64::try_from(self.connections.len())?;
        for (index, mut connection) in (0..count).zip(self.connections.drain(..)) {
            let profile = self.profile.clone();
            let share = requests / count + u64::from(index < requests % count);
            clients.spawn(async move {
                let mut tally = Tally::default();
                for _ in 0..share {
                    tally.note(exchange(&profile, &mut connection).await);
                }
                (tally, connection)
            });
        }
        let mut all = Tally::default();
        while let Some(done) = clients.join_next().await {
            let (tally, connection) = done?;
            self.connections.push(connection);
            all.add(tally);
        }
        Ok(all)
    }

    /// Sends so many requests a second for as long as told, each at its time, whether the one before has
    /// been answered or not; returns what came back, and how long after its time each answer came.
    ///
    /// # Errors
    /// When a client panics.
    pub async fn send_at_rate(&mut self, per_second: f64, time: Duration) -> Result<(Tally, Vec<Duration>)> {
        let mut clients = JoinSet::new();
        let count = self.connections.len();
        let began = Instant::now();
        for (index, mut connection) in self.connections.drain(..).enumerate() {
            let profile = self.profile.clone();
            let due = move |turn: usize| {
                #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
                Duration::from_secs_f64((turn * count + index) as f64 / per_second)
            };
            clients.spawn(async move {
                let (mut tally, mut took) = (Tally::default(), Vec::new());
                for at in (0..).map(due).take_while(|at| *at < time) {
                    tokio::time::sleep_until((began + at).into()).await;
                    tally.note(exchange(&profile, &mut connection).await);
                    took.push((began + at).elapsed());
                }
                (tally, took, connection)
            });
        }
        let (mut all, mut latencies) = (Tally::default(), Vec::new());
        while let Some(done) = clients.join_next().await {
            let (tally, took, connection) = done?;
            self.connections.push(connection);
            all.add(tally);
            latencies.extend(took);
        }
        Ok((all, latencies))
    }
}

type Connection = SendRequest<Full<Bytes>>;

async fn connect(addr: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(addr).await.with_context(|| format!("a client of {addr}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn client(
    profile: Profile,
    mut connection: Connection,
    tally: Arc<Mutex<Tally>>,
    stopped: Arc<AtomicBool>,
) {
    while !stopped.load(Ordering::Relaxed) {
        let result = exchange(&profile, &mut connection).await;
        let failed = result.is_err();
        tally.lock().unwrap_or_else(PoisonError::into_inner).note(result);
        // A failure has been noted; what follows is another client's connection.
        if failed {
            match connect(profile.addr).await {
                Ok(fresh) => connection = fresh,
                Err(_) => tokio::time::sleep(crate::wait::POLL).await,
            }
        }
    }
}

async fn exchange(profile: &Profile, connection: &mut Connection) -> Result<u16> {
    let exchange = async {
        // Envoy closes the connection of a request that it answered before its body had come, as HTTP/1.1
        // servers may after any answer; the client's next request takes a new one.
        if connection.ready().await.is_err() {
            *connection = connect(profile.addr).await?;
        }
        let mut request = Request::builder()
            .method(profile.method)
            .uri(&*profile.next_target())
            .header("host", "api.example.com");
        for (name, value) in profile.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(profile.body.clone()))?;
        let response = connection.send_request(request).await?;
        let status = response.status().as_u16();
        response.into_body().collect().await?;
        Ok(status)
    };
    timeout(BOUND, exchange).await.context("no answer in time")?
}
