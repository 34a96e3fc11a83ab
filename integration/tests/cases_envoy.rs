//! The table of cases through real Envoy. Its clock cannot be set, so the snapshot's times are moved
//! instead: what was the case's time becomes now.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;
#[path = "common/tls.rs"]
mod tls;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use common::cases::{Case, answered, by_outcome, moved, now, plugin, table};
use quiesce_integration::{
    assert_eventually,
    envoy::{Envoy, Options},
    http::{Request, Response},
    origin::Origin,
    snapshots::Snapshots,
};
use quiesce_policy::{snapshot::Snapshot, time::Timestamp};
use serde_json::json;
use tls::Authority;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpSocket,
    time::timeout,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_judged_as_the_table_says() {
    let table = table();
    let mut groups: BTreeMap<(&str, Timestamp), Vec<&Case>> = BTreeMap::new();
    for case in &table.cases {
        groups.entry((&case.snapshot, case.clock)).or_default().push(case);
    }
    // Each group has an Envoy of its own: what one has latched must not show in another.
    for ((name, clock), cases) in groups {
        run(&table.snapshots[name], clock, &cases).await;
    }
}

async fn run(snapshot: &Snapshot, clock: Timestamp, cases: &[&Case]) {
    let origin = Origin::start().unwrap();
    let companion = Snapshots::start().await.unwrap();
    let authority = Authority::new();
    let mut options = Options::quiesce(&plugin(), origin.addr(), companion.addr()).unwrap();
    options.tls = Some(authority.server());
    let envoy = Envoy::start(options).await.unwrap();

    let (published, since) = (now(), Instant::now());
    companion.publish(&moved(snapshot, clock, published)).unwrap();
    assert_eventually!(
        envoy.metric("quiesce.epoch").await.unwrap() == snapshot.version.0,
        "the snapshot is in force"
    );
    let mut expected: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for (number, case) in (1..).zip(cases) {
        let before = origin.seen().len();
        let response = exchange(&envoy, &authority, case, number).await;
        // The times told are counted from the request, which comes a little after "now".
        let late_s = since.elapsed().as_secs() + 1;
        let arrived = origin.seen().split_off(before);
        if case.passes() {
            case.assert_met(&json!({ "verdict": "pass" }), late_s);
            let targets: Vec<_> =
                arrived.iter().map(|one| (one.method.as_str(), one.target.as_str())).collect();
            assert_eq!(
                targets,
                [(case.request.method.as_str(), case.request.path.as_str())],
                "{}",
                case.name
            );
            assert_eq!(response.status, 200, "{}", case.name);
        } else {
            let header = |name: &str| response.header(name).map(str::to_owned);
            case.assert_met(&answered(response.status, header, &response.body), late_s);
            assert!(arrived.is_empty(), "{}: reached the origin", case.name);
        }
        if !case.outcomes().is_empty() {
            *expected.entry(case.outcomes()).or_default() += 1;
        }
    }
    let total: u64 = expected.values().sum();
    let counters = async || by_outcome(&envoy.stats("quiesce.surface").await.unwrap());
    assert_eventually!(counters().await.values().sum::<u64>() >= total, "the counters");
    let counted = counters().await;
    for (outcomes, count) in expected {
        let seen: u64 = outcomes.iter().filter_map(|outcome| counted.get(outcome)).sum();
        assert_eq!(seen, count, "{outcomes:?} of {counted:?}");
    }
}

/// Each case is another client, by its address: whoever comes back early is told to wait longer.
async fn exchange(envoy: &Envoy, authority: &Authority, case: &Case, number: u8) -> Response {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, number), 0))).unwrap();
    let stream = socket.connect(envoy.addr()).await.unwrap();
    let mut stream = authority.connect(stream, case.request.peer_identity.as_deref()).await;
    let mut request =
        Request::new(&case.request.method, &case.request.path).header("host", case.request.host());
    for (name, value) in &case.request.headers {
        request = request.header(name, value);
    }
    if let Some(body) = &case.request.body {
        request = request.body(body.as_bytes());
    }
    let bytes = request.to_bytes(envoy.addr());
    let exchange = talk(&mut stream, &bytes, case.request.method == "HEAD");
    timeout(Duration::from_secs(10), exchange).await.unwrap_or_else(|_| panic!("{}: no answer", case.name))
}

async fn talk(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8], bodiless: bool) -> Response {
    stream.write_all(bytes).await.unwrap();
    Response::read(stream, bodiless).await.unwrap()
}
