//! The table of cases through the guard's layer. As with Envoy, the snapshot's times are moved instead of the clock.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use common::cases::{Case, answered, moved, now, plugin, table};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use quiesce_guard::{Boot, Config, Guard, GuardLayer, RequestBody};
use quiesce_policy::{snapshot::Snapshot, time::Timestamp};
use serde_json::{Value, json};
use tower::{Layer as _, Service as _, service_fn};

/// Who sends a request: the URI SAN of its certificate, and where it is.
#[derive(Clone)]
struct Peer(Option<String>, IpAddr);

#[tokio::test]
async fn every_case_is_judged_as_the_table_says() {
    let table = table();
    let mut unreadable = Vec::new();
    for (number, case) in (1..).zip(&table.cases) {
        if !run(&table.snapshots[&case.snapshot], case, number).await {
            unreadable.push(case.name.as_str());
        }
    }
    assert_eq!(unreadable, [""; 0], "what a server of `http` cannot read, it answers with 400 itself");
}

/// Whether the case could be tried; fails the test if it is judged otherwise.
async fn run(snapshot: &Snapshot, case: &Case, number: u8) -> bool {
    let config = Config::new("http://127.0.0.1:1", "token", "cases").boot(Boot::Closed);
    let labels = plugin().enforcer.labels.into_iter();
    let guard = Guard::unconnected(labels.fold(config, |config, (key, value)| config.label(key, value)));
    guard.publish(&moved(snapshot, case.clock, now())).unwrap();
    let layer = GuardLayer::new(guard)
        .peer_identity(|extensions| extensions.get::<Peer>()?.0.clone())
        .client_address(|extensions| Some(extensions.get::<Peer>()?.1));
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&arrived);
    let mut service = layer.layer(service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        let log = Arc::clone(&log);
        async move {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            log.lock().unwrap().push((method, target, body));
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("served"))))
        }
    }));

    let body = Bytes::from(case.request.body.clone().unwrap_or_default());
    let mut request = Request::builder()
        .method(case.request.method.as_str())
        .uri(case.request.path.as_str())
        .header("host", case.request.host());
    for (name, value) in &case.request.headers {
        request = request.header(name, value);
    }
    let peer = Peer(case.request.peer_identity.clone(), Ipv4Addr::new(127, 0, 1, number).into());
    let Ok(request) = request.extension(peer).body(Full::new(body.clone())) else { return false };
    let (parts, answer) = service.call(request).await.unwrap().into_parts();
    let answer = answer.collect().await.unwrap().to_bytes();

    let arrived = arrived.lock().unwrap().clone();
    // Times told are whole seconds, and a moment has passed.
    let late_s = 1;
    if case.passes() {
        case.assert_met(&json!({ "verdict": "pass" }), late_s);
        let expected = (case.request.method.clone(), case.request.path.clone(), body);
        assert_eq!(arrived, [expected], "{}", case.name);
        return true;
    }
    assert!(arrived.is_empty(), "{}: reached the service", case.name);
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let mut seen = answered(parts.status.as_u16(), header, &answer);
    if case.is_about_keeping() {
        // A service keeps nothing for later: it refuses what a proxy would keep.
        assert_eq!(
            (&seen["verdict"], &seen["code"]),
            (&json!("refuse"), &json!("read-only")),
            "{}",
            case.name
        );
        return true;
    }
    if case.request.method == "HEAD" {
        seen["body"] = Value::Null;
    }
    case.assert_met(&seen, late_s);
    true
}

#[test]
fn a_moved_snapshot_is_as_far_from_now_as_it_was_from_its_clock() {
    let table = table();
    let snapshot = &table.snapshots["frozen"];
    let (clock, to) = (snapshot.windows[0].starts_at.plus_ms(7), Timestamp::from_unix_ms(9_000_000));
    assert_eq!(moved(snapshot, clock, to).windows[0].starts_at, Timestamp::from_unix_ms(8_999_993));
}
