//! The table of cases through the module that ships, at the table's own time.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;

use anyhow::Context as _;
use common::{
    cases::{Case, answered, by_outcome, plugin, table},
    shipped_module,
};
use quiesce_integration::{
    host::{Answer, Head, Outcome, StreamId, Vm, Workers},
    snapshots::kept,
};
use quiesce_policy::{snapshot::Snapshot, time::Timestamp};
use serde_json::json;

/// The filter knows the snapshot well before the case's time.
const BEFORE_MS: u64 = 5000;

#[test]
fn every_case_is_judged_as_the_table_says() {
    let table = table();
    for case in &table.cases {
        run(case, &table.snapshots[&case.snapshot]);
    }
}

/// A whole exchange; a body comes in two parts, of which the first is none of the end.
fn exchange(vm: &mut Vm, head: &Head, body: Option<&str>) -> anyhow::Result<Outcome> {
    let body = body.unwrap_or_default();
    let (stream, mut outcome) = vm.request(head, body.is_empty())?;
    let (first, second) = body.as_bytes().split_at(body.len() / 2);
    for (part, end) in [(first, false), (second, true)] {
        if !body.is_empty() && matches!(outcome, Outcome::Passed | Outcome::Paused) {
            outcome = vm.request_body(stream, part, end)?;
        }
    }
    if outcome == Outcome::Passed {
        vm.response(stream, 200, true)?;
    }
    if outcome == Outcome::Paused {
        outcome = keep(vm, stream)?;
    }
    vm.finish(stream)?;
    Ok(outcome)
}

/// Keeps what the stream offers, as a companion would.
fn keep(vm: &mut Vm, stream: StreamId) -> anyhow::Result<Outcome> {
    let calls = vm.http_calls();
    let offer = calls.iter().find(|call| call.header(":path") == Some(b"/v1/intents")).context("an offer")?;
    let body = kept(std::str::from_utf8(offer.header("quiesce-window").unwrap_or_default())?);
    let headers = vec![("quiesce-outcome".to_owned(), "queued".to_owned())];
    vm.answer(offer.token, Answer::Response { status: 202, headers, body })?;
    Ok(vm.outcome(stream))
}

fn run(case: &Case, snapshot: &Snapshot) {
    let start = Timestamp::from_unix_ms(case.clock.unix_ms() - BEFORE_MS);
    let configuration = serde_json::to_string(&plugin()).unwrap();
    let mut workers = Workers::start(&shipped_module(), 1, &configuration, start).unwrap();
    workers.publish(snapshot).unwrap();
    workers.run(BEFORE_MS).unwrap();
    assert_eq!(workers.process.metric("quiesce.epoch"), snapshot.version.0);

    let request = &case.request;
    let mut head = Head::new(&request.method, &request.path).header(":authority", request.host());
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    if let Some(identity) = &request.peer_identity {
        head = head.property("connection.uri_san_peer_certificate", identity);
    }
    let seen = match exchange(workers.vm(0), &head, request.body.as_deref()).unwrap() {
        Outcome::Passed => json!({ "verdict": "pass" }),
        Outcome::Answered(response) => {
            let header = |name: &str| response.header(name).map(str::to_owned);
            answered(u16::try_from(response.status).unwrap(), header, &response.body)
        }
        other => panic!("{}: {other:?}", case.name),
    };
    case.assert_met(&seen, 0);

    workers.run(2000).unwrap();
    let counted = by_outcome(&workers.process.metrics());
    let expected = case.outcomes();
    assert_eq!(counted.values().sum::<u64>(), u64::from(!expected.is_empty()), "{}: {counted:?}", case.name);
    assert!(counted.keys().all(|outcome| expected.contains(outcome)), "{}: {counted:?}", case.name);
}
