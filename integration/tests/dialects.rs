//! Refusals in what clients speak, as they leave real Envoy.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is missing here fails its test")]

mod common;

use common::cases::{plugin, table};
use quiesce_integration::{
    assert_eventually,
    envoy::{Envoy, Options},
    http::{Request, Response},
    origin::Origin,
    snapshots::Snapshots,
};
use serde_json::Value;

/// An Envoy that is frozen.
async fn frozen(origin: &Origin, companion: &Snapshots) -> Envoy {
    let envoy =
        Envoy::start(Options::quiesce(&plugin(), origin.addr(), companion.addr()).unwrap()).await.unwrap();
    let mut snapshot = table().snapshots["calls"].clone();
    for window in &mut snapshot.windows {
        // Started long ago, and lasting for ever: the Envoy goes by the real clock.
        window.ends_at = None;
        window.expires_at = window.expires_at.plus_ms(100 * 365 * 86_400_000);
    }
    companion.publish(&snapshot).unwrap();
    assert_eventually!(
        envoy.metric("quiesce.epoch").await.unwrap() == snapshot.version.0,
        "the snapshot is in force"
    );
    envoy
}

async fn post(envoy: &Envoy, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut request = Request::new("POST", path).header("host", "shop.example.com").body(body.as_bytes());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send(envoy.addr()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_answer_in_the_protocol_of_the_client() {
    let (origin, companion) = (Origin::start().unwrap(), Snapshots::start().await.unwrap());
    let envoy = frozen(&origin, &companion).await;

    let grpc =
        post(&envoy, "/store.Store/Put", &[("content-type", "application/grpc"), ("te", "trailers")], "")
            .await;
    assert_eq!((grpc.status, grpc.header("grpc-status")), (200, Some("14")));
    assert_eq!(grpc.header("content-type"), Some("application/grpc"));
    assert!(grpc.header("grpc-message").unwrap().starts_with("Read-only until"), "{grpc:?}");
    assert!(grpc.header("grpc-retry-pushback-ms").unwrap().parse::<u64>().unwrap() >= 1000);
    assert!(grpc.header("grpc-status-details-bin").is_some());

    for web in ["application/grpc-web+proto", "application/grpc-web-text"] {
        let answer = post(&envoy, "/store.Store/Put", &[("content-type", web)], "").await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")), "{web}");
        assert_eq!(answer.header("content-type"), Some(web));
        assert!(!answer.body.is_empty(), "{web}: the trailers are a frame of the body, too");
    }

    let connect = [("content-type", "application/json"), ("connect-protocol-version", "1")];
    let unary = post(&envoy, "/store.Store/Put", &connect, "{}").await;
    assert_eq!(
        (unary.status, unary.json::<Value>().unwrap()["code"].as_str().unwrap()),
        (503, "unavailable")
    );

    let stream = post(&envoy, "/store.Store/Put", &[("content-type", "application/connect+json")], "").await;
    assert_eq!((stream.status, stream.body[0]), (200, 2), "the flag of the end of the stream");
    let end: Value = serde_json::from_slice(&stream.body[5..]).unwrap();
    assert_eq!(end["error"]["code"], "unavailable");

    assert!(origin.seen().is_empty(), "nothing has reached the origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_too_long_to_look_into_is_a_write() {
    let (origin, companion) = (Origin::start().unwrap(), Snapshots::start().await.unwrap());
    let envoy = frozen(&origin, &companion).await;
    let list = |padding: usize| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"cursor":"{}"}}}}"#,
            "x".repeat(padding)
        )
    };
    let json = [("content-type", "application/json")];
    assert_eq!(post(&envoy, "/mcp", &json, &list(60 * 1024)).await.status, 200);
    assert_eq!(origin.seen().len(), 1);
    let refused = post(&envoy, "/mcp", &json, &list(70 * 1024)).await;
    assert_eq!((refused.status, origin.seen().len()), (423, 1));
}
