//! Writes that a rule queues or drops, through real Envoy, with a companion that answers as the test wants.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;

use common::cases::{plugin, table};
use quiesce_integration::{
    assert_eventually,
    envoy::{Envoy, Options},
    http::{Request, Response},
    origin::Origin,
    snapshots::{CallAnswer, Snapshots},
};
use quiesce_policy::{intent, snapshot::Epoch};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

/// As the issue has it.
const MAX_BYTES: usize = 256 * 1024;

struct Frozen {
    origin: Origin,
    companion: Snapshots,
    envoy: Envoy,
}

/// An Envoy that is frozen, where `/orders/{*rest}` is queued and `/views/{id}` is dropped.
async fn frozen() -> Frozen {
    let (origin, companion) = (Origin::start().unwrap(), Snapshots::start().await.unwrap());
    let options = Options::quiesce(&plugin(), origin.addr(), companion.addr()).unwrap();
    let envoy = Envoy::start(options).await.unwrap();
    let mut snapshot = table().snapshots["kept"].clone();
    snapshot.version = Epoch(7);
    snapshot.intents.max_bytes = MAX_BYTES;
    for window in &mut snapshot.windows {
        // Started long ago, and lasting for ever: the Envoy goes by the real clock.
        window.ends_at = None;
        window.expires_at = window.expires_at.plus_ms(100 * 365 * 86_400_000);
    }
    companion.publish(&snapshot).unwrap();
    assert_eventually!(envoy.metric("quiesce.epoch").await.unwrap() == 7, "the snapshot is in force");
    Frozen { origin, companion, envoy }
}

impl Frozen {
    async fn send(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Response {
        let request = Request::new(method, path).header("content-type", "text/plain").body(body);
        request.send(self.envoy.addr()).await.unwrap()
    }

    async fn assert_nothing_passed(&self) {
        assert!(self.origin.seen().is_empty(), "nothing has reached the origin");
        assert_eq!(self.envoy.in_flight().await.unwrap(), 0, "and nothing counts as in flight");
    }
}

fn code(response: &Response) -> String {
    let body: Value = response.json().unwrap();
    body["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_offered_whole_and_the_answer_is_the_clients() {
    let frozen = frozen().await;
    let body: Vec<u8> = (0..MAX_BYTES).map(|at| at.to_le_bytes()[0]).collect();
    let kept = [
        ("quiesce-outcome", "queued"),
        ("content-type", "application/json"),
        ("location", "/.well-known/maintenance/intents/01abc"),
        ("retry-after", "17"),
        ("cache-control", "no-store"),
        ("x-of-the-companion", "1"),
    ];
    frozen.companion.answer_calls(CallAnswer::With(202, kept.to_vec(), br#"{"state":"held"}"#.to_vec()));
    let response = frozen.send("POST", "/orders/7?a=b", body.clone()).await;
    assert_eq!((response.status, response.text().as_str()), (202, r#"{"state":"held"}"#));
    for (name, value) in &kept[1..5] {
        assert_eq!(response.header(name), Some(*value), "{name}");
    }
    assert_eq!(response.header("x-of-the-companion").or(response.header("quiesce-outcome")), None);

    let calls = frozen.companion.calls();
    assert_eq!((calls.len(), calls[0].headers["quiesce-window"].to_str().unwrap()), (1, "w1"));
    let (block, offered) = intent::read(&calls[0].body).unwrap();
    assert!(offered == body, "byte for byte");
    let head = quiesce_policy::Headers::read(block);
    assert_eq!(head.single(b":path"), Some(&b"/orders/7?a=b"[..]));
    assert_eq!(head.single(b"content-type"), Some(&b"text/plain"[..]));
    frozen.assert_nothing_passed().await;

    // Without a body, and with one that comes in chunks, with trailers behind it.
    assert_eq!(frozen.send("DELETE", "/orders/7", "").await.status, 202);
    let mut stream = TcpStream::connect(frozen.envoy.addr()).await.unwrap();
    let chunked = "POST /orders/8 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                   3\r\nabc\r\n3\r\ndef\r\n0\r\nx-sum: 6\r\n\r\n";
    stream.write_all(chunked.as_bytes()).await.unwrap();
    assert_eq!(Response::read(&mut stream, false).await.unwrap().status, 202);
    let bodies = frozen.companion.calls();
    let bodies: Vec<_> = bodies[1..].iter().map(|call| intent::read(&call.body).unwrap().1).collect();
    assert_eq!(bodies, [&b""[..], b"abcdef"]);
    frozen.assert_nothing_passed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_may_not_have_been_kept_is_refused_with_a_time_to_come_back() {
    let mut frozen = frozen().await;
    let headers = vec![("content-type", "text/html")];
    for none in [
        CallAnswer::With(500, headers.clone(), b"<html>".to_vec()),
        CallAnswer::With(202, headers, b"{}".to_vec()),
        CallAnswer::Never,
    ] {
        frozen.companion.answer_calls(none.clone());
        let response = frozen.send("POST", "/orders/7", "{}").await;
        assert_eq!((response.status, code(&response).as_str()), (503, "intent-not-kept"), "{none:?}");
        assert!(response.header("retry-after").is_some() && response.header("x-envoy-ratelimited").is_some());
    }
    let too_long = frozen.send("POST", "/orders/7", vec![b'a'; MAX_BYTES + 1]).await;
    assert_eq!((too_long.status, code(&too_long).as_str()), (503, "intent-too-large"));
    frozen.assert_nothing_passed().await;

    // Nobody listens any more.
    let Frozen { companion, .. } = &mut frozen;
    *companion = Snapshots::start().await.unwrap();
    let response = frozen.send("POST", "/orders/7", "{}").await;
    assert_eq!((response.status, code(&response).as_str()), (503, "intent-not-kept"));
    let receipt = frozen.send("GET", "/.well-known/maintenance/intents/01abc", "").await;
    assert_eq!((receipt.status, code(&receipt).as_str()), (503, "receipt-unavailable"));
    frozen.assert_nothing_passed().await;
    let refused = async || frozen.envoy.metric("quiesce.surface.shop.refused.intent-not-kept").await.unwrap();
    assert_eventually!(refused().await == 4, "each is counted by its name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let frozen = frozen().await;
    frozen.companion.answer_calls(CallAnswer::Never);
    let request = Request::post("/orders/7", "{}").to_bytes(frozen.envoy.addr());
    for _ in 0..20 {
        let mut stream = TcpStream::connect(frozen.envoy.addr()).await.unwrap();
        let asked = frozen.companion.calls().len();
        stream.write_all(&request).await.unwrap();
        assert_eventually!(frozen.companion.calls().len() > asked, "it is offered");
    }
    let active = async || {
        let stats = frozen.envoy.stats("downstream_rq_active").await.unwrap();
        stats.iter().filter(|(name, _)| !name.contains("admin")).map(|(_, count)| count).sum::<u64>()
    };
    assert_eventually!(active().await == 0, "all are gone");
    frozen.companion.answer_calls(CallAnswer::Kept);
    assert_eq!(frozen.send("POST", "/orders/7", "{}").await.status, 202);
    frozen.assert_nothing_passed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_and_drops_are_answered_by_the_proxy() {
    let frozen = frozen().await;
    let path = "/.well-known/maintenance/intents/01abc";
    let done = vec![("quiesce-outcome", "queued"), ("content-type", "application/json")];
    frozen.companion.answer_calls(CallAnswer::With(200, done, br#"{"state":"done"}"#.to_vec()));
    let receipt = frozen.send("GET", path, "").await;
    assert_eq!((receipt.status, receipt.text().as_str()), (200, r#"{"state":"done"}"#));
    let head = frozen.send("HEAD", path, "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let unknown = vec![("quiesce-outcome", "receipt-unknown"), ("content-type", "application/problem+json")];
    frozen.companion.answer_calls(CallAnswer::With(404, unknown, br#"{"code":"receipt-unknown"}"#.to_vec()));
    assert_eq!(frozen.send("GET", path, "").await.status, 404);
    let calls = frozen.companion.calls();
    assert!(calls.iter().all(|call| call.path == "/v1/receipts/01abc"), "{calls:?}");

    let dropped = frozen.send("POST", "/views/7", vec![b'a'; MAX_BYTES + 1]).await;
    assert_eq!((dropped.status, code(&dropped).as_str()), (202, "dropped"));
    assert_eq!(dropped.header("cache-control"), Some("no-store"));
    frozen.assert_nothing_passed().await;
}
