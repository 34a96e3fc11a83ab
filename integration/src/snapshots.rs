//! A companion that says whatever the test wants, in process: `POST /v1/sync`, and what streams wait for,
//! `POST /v1/intents` and `GET /v1/receipts/{id}`.
//!
//! For what the real one never sends: the snapshots of the table of cases, broken ones, old ones, answers that
//! are none.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use quiesce_policy::{
    intent::{INTENTS_PATH, OUTCOME_HEADER, QUEUED, RECEIPTS_PATH, WINDOW_HEADER},
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
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

/// What came in, and how calls of streams are answered.
#[derive(Debug, Default)]
struct Heard {
    reports: Vec<Report>,
    calls: Vec<StreamCall>,
    answer: CallAnswer,
}

/// A call that a stream waits for.
#[derive(Clone, Debug)]
pub struct StreamCall {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// How such calls are answered.
#[derive(Clone, Debug, Default)]
pub enum CallAnswer {
    /// As by a companion that keeps what it is offered, and shows a receipt for any id.
    #[default]
    Kept,
    /// With this status, these headers and this body.
    With(u16, Vec<(&'static str, &'static str)>, Vec<u8>),
    /// Never, while the caller waits.
    Never,
}

/// The body by which [`CallAnswer::Kept`] says that a write for this window is kept.
pub fn kept(window: &str) -> Vec<u8> {
    serde_json::json!({ "state": "held", "window": window }).to_string().into_bytes()
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
        let heard = Arc::default();
        let task = tokio::spawn(serve(listener, watching, Arc::clone(&heard)));
        Ok(Self { addr, current, heard, task })
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
        lock(&self.heard).reports.clone()
    }

    /// The last report, if there was one.
    pub fn last_report(&self) -> Option<SyncRequest> {
        lock(&self.heard).reports.last().map(|report| report.body.clone())
    }

    /// The calls so far that streams wait or waited for.
    pub fn calls(&self) -> Vec<StreamCall> {
        lock(&self.heard).calls.clone()
    }

    /// Answers such calls like this from now on.
    pub fn answer_calls(&self, answer: CallAnswer) {
        lock(&self.heard).answer = answer;
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, current: watch::Receiver<Published>, heard: Arc<Mutex<Heard>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (current, heard) = (current.clone(), Arc::clone(&heard));
        let service = service_fn(move |request| {
            let (current, heard) = (current.clone(), Arc::clone(&heard));
            async move { Ok::<_, Infallible>(respond(request, current, &heard).await) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

async fn respond(
    request: hyper::Request<Incoming>,
    current: watch::Receiver<Published>,
    heard: &Mutex<Heard>,
) -> hyper::Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let bearer = format!("Bearer {SYNC_TOKEN}");
    if head.headers.get(header::AUTHORIZATION).is_none_or(|value| value.as_bytes() != bearer.as_bytes()) {
        return answer(StatusCode::UNAUTHORIZED, Epoch(0), Bytes::new());
    }
    let Ok(body) = body.collect().await else {
        return answer(StatusCode::BAD_REQUEST, Epoch(0), Bytes::new());
    };
    let (path, body) = (head.uri.path().to_owned(), body.to_bytes());
    let is_receipt = path.starts_with(RECEIPTS_PATH);
    let is_offer = path == INTENTS_PATH;
    match head.method {
        Method::POST if path == "/v1/sync" => sync(&body, current, heard).await,
        Method::POST | Method::GET if is_offer || is_receipt => {
            call(StreamCall { path, headers: head.headers, body }, heard).await
        }
        _ => answer(StatusCode::NOT_FOUND, Epoch(0), Bytes::new()),
    }
}

async fn call(call: StreamCall, heard: &Mutex<Heard>) -> hyper::Response<Full<Bytes>> {
    let status = if call.path == INTENTS_PATH { 202 } else { 200 };
    let window = call.headers.get(WINDOW_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kept = kept(window);
    let as_told = {
        let mut heard = lock(heard);
        heard.calls.push(call);
        heard.answer.clone()
    };
    let (status, headers, body) = match as_told {
        CallAnswer::Kept => {
            (status, vec![(OUTCOME_HEADER, QUEUED), ("content-type", "application/json")], kept)
        }
        CallAnswer::With(status, headers, body) => (status, headers, body),
        CallAnswer::Never => std::future::pending().await,
    };
    let mut response = hyper::Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    for (name, value) in headers {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    response
}

async fn sync(
    body: &[u8],
    mut current: watch::Receiver<Published>,
    heard: &Mutex<Heard>,
) -> hyper::Response<Full<Bytes>> {
    let body: SyncRequest = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return answer(StatusCode::BAD_REQUEST, Epoch(0), error.to_string().into()),
    };
    lock(heard).reports.push(Report { at: Instant::now(), body: body.clone() });
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
