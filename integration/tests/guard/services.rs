//! A service of axum and one of tonic, guarded, which note when each of their writes began and ended.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::get};
use quiesce_guard::{Config, Guard, GuardLayer};
use quiesce_integration::snapshots::SYNC_TOKEN;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use crate::notes::{AddRequest, Added, CountRequest, Counted, Notes, NotesServer};

/// A rule by which the companion knows that counting only reads.
pub const RULES: &str = "surfaces:\n  - name: notes\n    path_prefix: /example.Notes\n    rules:\n\
                         \x20     - { path: /Count, effect: read }\n";

/// How long a write takes.
const WRITE: Duration = Duration::from_millis(2);

/// When writes began and ended.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<Mutex<Vec<Write>>>);

#[derive(Clone, Copy, Debug)]
struct Write {
    began: Instant,
    ended: Option<Instant>,
}

impl Written {
    /// A write that takes a moment.
    pub async fn write(&self) {
        let at = {
            let mut writes = self.0.lock().unwrap();
            writes.push(Write { began: Instant::now(), ended: None });
            writes.len() - 1
        };
        sleep(WRITE).await;
        self.0.lock().unwrap()[at].ended = Some(Instant::now());
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Those that ran at `from` or began after it.
    pub fn since(&self, from: Instant) -> usize {
        let writes = self.0.lock().unwrap();
        writes.iter().filter(|one| one.began > from || one.ended.is_none_or(|ended| ended > from)).count()
    }
}

/// A guard that is known to the companion by this name.
pub fn guard(companion: SocketAddr, name: &str) -> Guard {
    Guard::connect(Config::new(format!("http://{companion}"), SYNC_TOKEN, name)).unwrap()
}

/// What runs; stopped when dropped.
pub struct Service {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What it has written.
    pub written: Written,
    tasks: JoinSet<()>,
}

impl Service {
    /// axum: `POST /notes` writes, `GET /notes` reads.
    pub async fn axum(guard: Guard) -> Self {
        let written = Written::default();
        let app = Router::new()
            .route(
                "/notes",
                get(|| async { "read" }).post(|State(it): State<Written>| async move { it.write().await }),
            )
            .with_state(written.clone())
            .layer(GuardLayer::new(guard));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { addr, written, tasks }
    }

    /// tonic: `Add` writes, `Count` reads.
    pub async fn tonic(guard: Guard) -> Self {
        let written = Written::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let notes = NotesServer::new(Recorded(written.clone()));
        let server = Server::builder().layer(GuardLayer::new(guard)).add_service(notes);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() });
        Self { addr, written, tasks }
    }

    /// A job that no request asks for.
    pub fn job(guard: &Guard) -> Self {
        let (written, gate) = (Written::default(), guard.gate());
        let log = written.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                match gate.enter() {
                    Ok(_write) => log.write().await,
                    Err(_) => sleep(WRITE).await,
                }
            }
        });
        Self { addr: (Ipv4Addr::UNSPECIFIED, 0).into(), written, tasks }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

struct Recorded(Written);

#[tonic::async_trait]
impl Notes for Recorded {
    async fn add(&self, _: Request<AddRequest>) -> Result<Response<Added>, Status> {
        self.0.write().await;
        Ok(Response::new(Added {}))
    }

    async fn count(&self, _: Request<CountRequest>) -> Result<Response<Counted>, Status> {
        Ok(Response::new(Counted { notes: self.0.count() as u64 }))
    }
}

/// A client of the gRPC service.
#[derive(Clone)]
pub struct NotesClient(tonic::client::Grpc<Channel>);

impl NotesClient {
    /// Of the service there.
    pub async fn connect(addr: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
        Self(tonic::client::Grpc::new(endpoint.connect().await.unwrap()))
    }

    /// Adds a note.
    pub async fn add(&mut self) -> Result<(), Status> {
        self.call::<_, Added>("/example.Notes/Add", AddRequest { text: "a".to_owned() }).await.map(drop)
    }

    /// Counts them.
    pub async fn count(&mut self) -> Result<u64, Status> {
        self.call::<_, Counted>("/example.Notes/Count", CountRequest {}).await.map(|counted| counted.notes)
    }

    async fn call<I, O>(&mut self, path: &'static str, message: I) -> Result<O, Status>
    where
        I: prost::Message + Send + Sync + 'static,
        O: prost::Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let codec = tonic_prost::ProstCodec::<I, O>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        Ok(self.0.unary(Request::new(message), path, codec).await?.into_inner())
    }
}

/// Clients of the gRPC service at full rate, half of whose calls write.
pub struct Calls {
    stopped: Arc<AtomicBool>,
    /// Writes that were refused.
    pub refused: Arc<AtomicU64>,
    /// Reads that were answered.
    pub read: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Calls {
    /// So many.
    pub async fn start(addr: SocketAddr, clients: usize) -> Self {
        let (stopped, refused, read) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let mut client = NotesClient::connect(addr).await;
            let (stopped, refused, read) = (Arc::clone(&stopped), Arc::clone(&refused), Arc::clone(&read));
            tasks.spawn(async move {
                while !stopped.load(Ordering::Relaxed) {
                    if let Err(status) = client.add().await {
                        assert_eq!(status.code(), Code::Unavailable, "{status}");
                        assert!(status.metadata().get("grpc-retry-pushback-ms").is_some(), "{status}");
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    client.count().await.unwrap();
                    read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stopped, refused, read, clients: tasks }
    }

    /// Ends it; no call may have failed otherwise than refused.
    pub async fn stop(mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }
}
