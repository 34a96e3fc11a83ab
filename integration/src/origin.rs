//! The service behind the proxy: an HTTP/1.1 and h2c server that records every request that reaches it.
//!
//! What it does is up to the request:
//!
//! | knob | effect |
//! |---|---|
//! | path `/slow?ms=N`, or header `x-origin-delay-ms: N` | answers after N ms |
//! | header `x-origin-status: S` | answers with status S |
//! | header `x-origin-chunks: N` | streams N chunks, `x-origin-delay-ms` before each |

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Method, StatusCode,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
    time::{Sleep, sleep},
};

/// A request that reached the origin.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Path and query as they arrived.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// When its head arrived.
    pub arrived: Instant,
    /// How much of its body arrived; bytes.
    pub body_bytes: u64,
    /// When and how it ended, if it has.
    pub ended: Option<(Instant, Ending)>,
}

/// How a request ended at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was answered in full.
    Answered,
    /// It was reset, or its connection closed, before its body had arrived or its answer had left.
    Aborted,
}

impl Seen {
    /// Whether the method is one that writes.
    pub fn is_unsafe(&self) -> bool {
        !self.method.is_safe()
    }

    /// Whether it was here at some moment from `from` to `to`.
    pub fn overlaps(&self, from: Instant, to: Instant) -> bool {
        self.arrived <= to && self.ended.is_none_or(|(ended, _)| ended >= from)
    }
}

#[derive(Debug, Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
}

impl Log {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running origin, on a thread of its own so that no test can hold it up; stopped when dropped.
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    log: Arc<Log>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts one that records what reaches it.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        Self::start_with(true)
    }

    /// Starts one that records nothing, for benchmarks.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start_unrecorded() -> Result<Self> {
        Self::start_with(false)
    }

    fn start_with(recording: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("origin")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let log = Arc::new(Log::default());
        let (stop, stopped) = oneshot::channel();
        let shared = recording.then(|| Arc::clone(&log));
        let thread = std::thread::Builder::new().name("origin".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { addr, log, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Everything that has reached it, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen().clone()
    }

    /// How many requests have reached it.
    pub fn arrived(&self) -> usize {
        self.log.seen().len()
    }

    /// Of what has reached it, that which `which` picks.
    pub fn seen_where(&self, which: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        self.log.seen().iter().filter(|one| which(one)).cloned().collect()
    }

    /// How many requests have reached it that `which` picks.
    pub fn count(&self, which: impl Fn(&Seen) -> bool) -> usize {
        self.log.seen().iter().filter(|one| which(one)).count()
    }

    /// Requests with a method that writes which were here at some moment from `from` to `to`.
    pub fn writes_between(&self, from: Instant, to: Instant) -> Vec<Seen> {
        self.seen_where(|one| one.is_unsafe() && one.overlaps(from, to))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, log: Option<Arc<Log>>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let log = log.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, log.clone()));
            // A connection that fails is in the log as its request's ending.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    log: Option<Arc<Log>>,
) -> Result<hyper::Response<Answer>, Infallible> {
    let record = log.map(|log| Record::begin(log, &request));
    let knobs = Knobs::of(&request);
    let (parts, mut body) = request.into_parts();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // The record ends as aborted when it is dropped; the connection is gone, nobody reads this.
            return Ok(status_only(StatusCode::BAD_REQUEST));
        };
        if let (Some(record), Some(data)) = (&record, frame.data_ref()) {
            record.add_body_bytes(data.len());
        }
    }
    if knobs.chunks == 0 && !knobs.delay.is_zero() {
        sleep(knobs.delay).await;
    }
    let whole = Bytes::from(format!("{} {} done\n", parts.method, parts.uri));
    let mut answer = Answer { whole: None, chunks: knobs.chunks, every: knobs.delay, pause: None, record };
    if knobs.chunks == 0 {
        answer.whole = Some(whole);
        // Before the answer leaves: whoever waits for the proxy to see the answer finds the record ended.
        if let Some(record) = answer.record.take() {
            record.end();
        }
    }
    let mut response = hyper::Response::new(answer);
    *response.status_mut() = knobs.status;
    Ok(response)
}

fn status_only(status: StatusCode) -> hyper::Response<Answer> {
    let answer = Answer { whole: None, chunks: 0, every: Duration::ZERO, pause: None, record: None };
    let mut response = hyper::Response::new(answer);
    *response.status_mut() = status;
    response
}

/// What the request asks of the origin.
struct Knobs {
    delay: Duration,
    status: StatusCode,
    chunks: u32,
}

impl Knobs {
    fn of(request: &hyper::Request<Incoming>) -> Self {
        fn header<T: std::str::FromStr>(request: &hyper::Request<Incoming>, name: &str) -> Option<T> {
            request.headers().get(name)?.to_str().ok()?.parse().ok()
        }
        let slow = (request.uri().path() == "/slow")
            .then(|| request.uri().query()?.strip_prefix("ms=")?.parse().ok())
            .flatten();
        let delay_ms = slow.or_else(|| header(request, "x-origin-delay-ms")).unwrap_or(0);
        Self {
            delay: Duration::from_millis(delay_ms),
            status: header(request, "x-origin-status").unwrap_or_default(),
            chunks: header(request, "x-origin-chunks").unwrap_or(0),
        }
    }
}

/// A request's place in the log; one that is dropped before its end was aborted.
struct Record {
    log: Arc<Log>,
    index: usize,
}

impl Record {
    fn begin(log: Arc<Log>, request: &hyper::Request<Incoming>) -> Self {
        let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
        let mut seen = log.seen();
        let index = seen.len();
        seen.push(Seen {
            method: request.method().clone(),
            target,
            headers: request.headers().clone(),
            arrived: Instant::now(),
            body_bytes: 0,
            ended: None,
        });
        drop(seen);
        Self { log, index }
    }

    fn with(&self, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.log.seen().get_mut(self.index) {
            change(seen);
        }
    }

    fn add_body_bytes(&self, bytes: usize) {
        self.with(|seen| seen.body_bytes += bytes as u64);
    }

    fn end(&self) {
        self.with(|seen| seen.ended = Some((Instant::now(), Ending::Answered)));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.with(|seen| {
            seen.ended.get_or_insert((Instant::now(), Ending::Aborted));
        });
    }
}

/// The body of an answer: whole, or in chunks over time.
struct Answer {
    whole: Option<Bytes>,
    chunks: u32,
    every: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    record: Option<Record>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(whole) = self.whole.take() {
            return Poll::Ready(Some(Ok(Frame::data(whole))));
        }
        if self.chunks == 0 {
            if let Some(record) = self.record.take() {
                record.end();
            }
            return Poll::Ready(None);
        }
        let every = self.every;
        ready!(self.pause.get_or_insert_with(|| Box::pin(sleep(every))).as_mut().poll(cx));
        self.pause = None;
        self.chunks -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"chunk\n")))))
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_none() && self.chunks == 0 && self.record.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.whole {
            Some(whole) => SizeHint::with_exact(whole.len() as u64),
            None if self.chunks == 0 => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_eventually, http::Request};
    use tokio::{io::AsyncWriteExt as _, net::TcpStream};

    #[tokio::test]
    async fn records_what_reaches_it() {
        let origin = Origin::start().unwrap();
        let answer = Request::post("/a?b=c", "12345").send(origin.addr()).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "POST /a?b=c done\n"));
        let seen = origin.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].target.as_str(), seen[0].body_bytes), ("/a?b=c", 5));
        assert_eq!(seen[0].ended.unwrap().1, Ending::Answered);
    }

    #[tokio::test]
    async fn delays_streams_and_sets_the_status() {
        let origin = Origin::start().unwrap();
        let streamed = Request::get("/s").header("x-origin-chunks", "3").header("x-origin-status", "206");
        let answer = streamed.send(origin.addr()).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (206, "chunk\nchunk\nchunk\n"));
        let began = Instant::now();
        Request::get("/slow?ms=50").send(origin.addr()).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test]
    async fn knows_a_body_that_never_came() {
        let origin = Origin::start().unwrap();
        let mut stream = TcpStream::connect(origin.addr()).await.unwrap();
        stream.write_all(b"PUT /x HTTP/1.1\r\nhost: o\r\ncontent-length: 9\r\n\r\n123").await.unwrap();
        assert_eventually!(origin.count(|one| one.body_bytes == 3) == 1, "the first bytes");
        assert!(origin.seen()[0].ended.is_none());
        drop(stream);
        assert_eventually!(origin.count(|one| one.ended.is_some()) == 1, "the end");
        assert_eq!(origin.seen()[0].ended.unwrap().1, Ending::Aborted);
    }
}
