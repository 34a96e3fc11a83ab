//! What the layer does with requests and their bodies, around a service of the test's own.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use quiesce_guard::{
    Boot, Config, Guard, GuardLayer, RequestBody, WriteInFlight,
    policy::{
        snapshot::{Snapshot, Window},
        time::Timestamp,
    },
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::{Layer as _, Service};

/// What takes longer has failed.
const BOUND: Duration = Duration::from_secs(10);

type In = RequestBody<Channel>;

/// A body whose frames the test sends; it fails when an `Err` comes.
struct Channel(mpsc::UnboundedReceiver<Result<Frame<Bytes>, &'static str>>);

type Sender = mpsc::UnboundedSender<Result<Frame<Bytes>, &'static str>>;

impl Body for Channel {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0.poll_recv(cx)
    }
}

fn channel() -> (Sender, Channel) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Channel(receiver))
}

fn body(text: &str) -> Channel {
    let (sender, body) = channel();
    // In two parts, as it may come over a connection.
    let (first, second) = text.split_at(text.len() / 2);
    for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
        sender.send(Ok(Frame::data(Bytes::copy_from_slice(part.as_bytes())))).unwrap();
    }
    body
}

/// Answers every request at once with `answer`, and keeps what it got.
#[derive(Clone)]
struct Inner {
    got: Arc<Mutex<Vec<Request<In>>>>,
    status: StatusCode,
}

impl Inner {
    fn new() -> Self {
        Self { got: Arc::default(), status: StatusCode::OK }
    }

    fn take(&self) -> Option<Request<In>> {
        self.got.lock().unwrap().pop()
    }
}

impl Service<Request<In>> for Inner {
    type Response = Response<Channel>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        self.got.lock().unwrap().push(request);
        let mut response = Response::new(body("done"));
        *response.status_mut() = self.status;
        ready(Ok(response))
    }
}

#[allow(clippy::disallowed_methods, reason = "the guard goes by the real clock")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap())
}

fn snapshot(version: u64, frozen: bool) -> Snapshot {
    let mut snapshot: Snapshot = serde_json::from_value(json!({
        "version": version,
        "surfaces": [{
            "name": "rpc",
            "path_prefix": "/rpc",
            "rules": [{ "path": "/", "effect": "write", "body": "json-rpc" }],
            "read_only": { "methods": ["get_*"] },
        }],
    }))
    .unwrap();
    if frozen {
        snapshot.windows.push(in_force("w"));
    }
    snapshot
}

fn in_force(id: &str) -> Window {
    serde_json::from_value(json!({
        "id": id,
        "starts_at": now(),
        "started": true,
        "ends_at": now().plus_ms(600_000),
        "expires_at": now().plus_ms(3_600_000),
        "reason": "reindexing",
        "drain_timeout_ms": 30_000,
    }))
    .unwrap()
}

fn guard(frozen: bool) -> Guard {
    let config = Config::new("http://127.0.0.1:1", "token", "test").boot(Boot::Closed).max_body_bytes(64);
    let guard = Guard::unconnected(config);
    guard.publish(&snapshot(1, frozen)).unwrap();
    guard
}

fn request(method: Method, uri: &str, body: Channel) -> Request<Channel> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "api.example.com")
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

async fn text<B: Body<Data = Bytes>>(body: B) -> Option<String> {
    let bytes = tokio::time::timeout(BOUND, body.collect()).await.unwrap().ok()?.to_bytes();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn a_write_is_in_flight_until_its_response_has_ended_and_its_body_is_gone() {
    let (guard, inner) = (guard(false), Inner::new());
    let mut service = GuardLayer::new(guard.clone()).layer(inner.clone());
    for read_to_its_end in [true, false] {
        let response = service.call(request(Method::POST, "/orders", body("x"))).await.unwrap();
        assert_eq!(guard.in_flight(), 1);
        if read_to_its_end {
            assert_eq!(text(response.into_body()).await.as_deref(), Some("done"));
        } else {
            drop(response);
        }
        assert_eq!(guard.in_flight(), 1, "somebody may read its body still, and act on it");
        drop(inner.take());
        assert_eq!(guard.in_flight(), 0);
    }
    let dropped = service.call(request(Method::POST, "/orders", body("x")));
    assert_eq!(guard.in_flight(), 1);
    drop(dropped);
    drop(inner.take());
    assert_eq!(guard.in_flight(), 0, "a client that goes away ends its write");
    drop(service.call(request(Method::GET, "/orders", body(""))).await.unwrap());
    assert_eq!(guard.in_flight(), 0);
}

#[tokio::test]
async fn a_response_that_fails_ends_its_write() {
    let guard = guard(false);
    let (sender, failing) = channel();
    sender.send(Err("reset")).unwrap();
    let answer = Arc::new(Mutex::new(Some(failing)));
    let inner = tower::service_fn(move |request: Request<In>| {
        drop(request);
        let failing = answer.lock().unwrap().take().unwrap();
        ready(Ok::<_, Infallible>(Response::new(failing)))
    });
    let mut service = GuardLayer::new(guard.clone()).layer(inner);
    let mut response = service.call(request(Method::POST, "/orders", body("x"))).await.unwrap();
    assert_eq!(guard.in_flight(), 1);
    assert!(response.body_mut().frame().await.unwrap().is_err());
    assert_eq!(guard.in_flight(), 0);
}

#[tokio::test]
async fn a_body_is_looked_into_and_handed_on_whole() {
    let (guard, inner) = (guard(true), Inner::new());
    let mut service = GuardLayer::new(guard).layer(inner.clone());
    let call = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    let read = call("get_block");
    let response = service.call(request(Method::POST, "/rpc", body(&read))).await.unwrap();
    assert_eq!(response.status(), 200);
    let passed = inner.take().unwrap();
    assert_eq!(passed.body().size_hint().exact(), Some(read.len() as u64));
    assert_eq!(text(passed.into_body()).await, Some(read));

    let response = service.call(request(Method::POST, "/rpc", body(&call("send")))).await.unwrap();
    let answer: Value = serde_json::from_str(&text(response.into_body()).await.unwrap()).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["data"]["code"]), (&json!(1), &json!("read-only")));
    assert!(inner.take().is_none());

    let long = call(&format!("get_{}", "x".repeat(100)));
    let response = service.call(request(Method::POST, "/rpc", body(&long))).await.unwrap();
    assert_eq!(response.status(), 423, "what is too long to be looked into writes");
    assert!(inner.take().is_none());
}

#[tokio::test]
async fn trailers_are_handed_on_and_a_body_that_breaks_off_is_not() {
    let (guard, inner) = (guard(true), Inner::new());
    let mut service = GuardLayer::new(guard).layer(inner.clone());
    let read = r#"{"jsonrpc":"2.0","id":1,"method":"get_block"}"#;
    let frames = |last| {
        let (sender, body) = channel();
        sender.send(Ok(Frame::data(Bytes::from(read)))).unwrap();
        sender.send(last).unwrap();
        body
    };
    let trailers = http::HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    let whole = frames(Ok(Frame::trailers(trailers.clone())));
    service.call(request(Method::POST, "/rpc", whole)).await.unwrap();
    let collected = inner.take().unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    let broken = service.call(request(Method::POST, "/rpc", frames(Err("reset")))).await.unwrap();
    assert_eq!(broken.status(), 400);
    assert!(inner.take().is_none(), "nobody may take a part of a body for the whole");
}

#[tokio::test]
async fn a_long_body_that_passes_is_handed_on_whole_too() {
    let (guard, inner) = (guard(false), Inner::new());
    let observed: Snapshot = serde_json::from_value(json!({
        "version": 2,
        "surfaces": [{
            "name": "rpc",
            "path_prefix": "/rpc",
            "mode": "observe",
            "rules": [{ "path": "/", "effect": "write", "body": "json-rpc" }],
        }],
    }))
    .unwrap();
    guard.publish(&observed).unwrap();
    let mut service = GuardLayer::new(guard).layer(inner.clone());
    let long = "x".repeat(100);
    service.call(request(Method::POST, "/rpc", body(&long))).await.unwrap();
    assert_eq!(text(inner.take().unwrap().into_body()).await, Some(long));
}

#[tokio::test]
async fn grpc_is_refused_in_trailers_alone() {
    let mut service = GuardLayer::new(guard(true)).layer(Inner::new());
    let mut call = request(Method::POST, "/example.Notes/Add", body("x"));
    call.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    let response = service.call(call).await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(response.status(), 200);
    assert_eq!(header("content-type").as_deref(), Some("application/grpc"));
    assert_eq!(header("grpc-status").as_deref(), Some("14"));
    assert!(header("grpc-message").unwrap().starts_with("Read-only"));
    let pushback_ms: u64 = header("grpc-retry-pushback-ms").unwrap().parse().unwrap();
    assert!((600_000..=610_000).contains(&pushback_ms), "{pushback_ms}");
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn a_connection_that_switches_is_in_flight_while_its_handler_keeps_it() {
    let guard = guard(false);
    let inner = Inner { status: StatusCode::SWITCHING_PROTOCOLS, ..Inner::new() };
    let mut service = GuardLayer::new(guard.clone()).layer(inner.clone());
    let mut switch = request(Method::GET, "/socket", body(""));
    switch.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    drop(service.call(switch).await.unwrap());
    assert_eq!(guard.in_flight(), 1);
    let kept = inner.take().unwrap().extensions_mut().remove::<WriteInFlight>().unwrap();
    assert_eq!(guard.in_flight(), 1);
    drop(kept);
    assert_eq!(guard.in_flight(), 0);
}
