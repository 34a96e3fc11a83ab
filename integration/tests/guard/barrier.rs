//! One freeze of Envoy, of a service of axum with a job, and of one of tonic.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use quiesce_integration::{
    assert_eventually,
    load::{Load, Profile},
    stack::{Stack, StackOptions},
};
use serde_json::Value;

use crate::services::{Calls, RULES, Service, guard};

const FREEZE: [&str; 8] = ["freeze", "--for", "10m", "--reason", "guard test", "--wait", "--expect", "3"];
const CLIENTS: usize = 3;
const ROUNDS: usize = 20;
/// How many more refusals and reads there must be before a freeze has been tried enough.
const ENOUGH: u64 = 30;
/// Beyond this a freeze has not ended.
const BOUND: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn after_the_proof_neither_envoy_nor_axum_nor_tonic_nor_a_job_writes() {
    let stack =
        Stack::start(StackOptions { companion: RULES.to_owned(), ..StackOptions::default() }).await.unwrap();
    let companion = stack.companion.addr();
    let (http_guard, grpc_guard) = (guard(companion, "notes-axum"), guard(companion, "notes-tonic"));
    http_guard.synced().await;
    grpc_guard.synced().await;
    let job = Service::job(&http_guard);
    let http = Service::axum(http_guard.clone()).await;
    let grpc = Service::tonic(grpc_guard.clone()).await;

    let to_http = |profile: Profile| Profile { target: "/notes", ..profile };
    let writes = Load::start(to_http(Profile::writes(http.addr, CLIENTS))).await.unwrap();
    let reads = Load::start(to_http(Profile::reads(http.addr, CLIENTS))).await.unwrap();
    let through_envoy = Load::start(Profile::writes(stack.envoy().addr(), CLIENTS)).await.unwrap();
    let calls = Calls::start(grpc.addr, CLIENTS).await;

    for round in 1..=ROUNDS {
        let before = [&http, &grpc, &job].map(|service| service.written.count());
        let passed = through_envoy.tally().with_status(200);
        assert_eventually!(
            [&http, &grpc, &job]
                .iter()
                .zip(before)
                .all(|(service, before)| service.written.count() > before + 5)
                && through_envoy.tally().with_status(200) > passed + 5,
            "writes pass everywhere"
        );
        stack.companion.run(&FREEZE).await.unwrap();
        let proven = Instant::now();
        let seen = || {
            let refused = [&writes, &through_envoy].map(|load| load.tally().with_status(423));
            let read = reads.tally().with_status(200);
            let grpc = [&calls.refused, &calls.read].map(|count| count.load(Ordering::Relaxed));
            [refused[0], refused[1], read, grpc[0], grpc[1]]
        };
        let begin = seen();
        assert_eventually!(
            seen().iter().zip(begin).all(|(now, before)| *now >= before + ENOUGH),
            "writes are refused and reads pass everywhere"
        );
        for (name, service) in [("axum", &http), ("tonic", &grpc), ("the job", &job)] {
            assert_eq!(service.written.since(proven), 0, "round {round}: writes of {name} after the proof");
        }
        let escaped = stack.origin.writes_between(proven, Instant::now());
        assert!(escaped.is_empty(), "round {round}: through Envoy after the proof: {escaped:?}");
        stack.companion.run(&["thaw"]).await.unwrap();
    }

    let writes = writes.stop().await;
    assert!(writes.other_than(&[200, 423]).is_empty(), "{:?}", writes.other_than(&[200, 423]));
    let reads = reads.stop().await;
    assert!(reads.other_than(&[200]).is_empty(), "{:?}", reads.other_than(&[200]));
    calls.stop().await;
    through_envoy.stop().await;
    drop(job);
    assert_eventually!(http_guard.in_flight() + grpc_guard.in_flight() == 0, "the counts end at zero");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_waits_for_a_service_that_lags_and_names_it() {
    let stack =
        Stack::start(StackOptions { companion: RULES.to_owned(), ..StackOptions::default() }).await.unwrap();
    let guard = guard(stack.companion.addr(), "indexer-1");
    guard.synced().await;
    let gate = guard.gate();
    let lagging = gate.enter().unwrap();

    let began = Instant::now();
    let freeze = async { (stack.companion.output(&FREEZE_TWO).await.unwrap(), Instant::now()) };
    let lag = async {
        assert_eventually!(gate.enter().is_err(), "the freeze is in force");
        let shown = async || -> Option<Value> {
            let fleet: Value = stack.companion.json(&["fleet"]).await.unwrap();
            fleet["enforcers"].as_array().unwrap().iter().find(|one| one["id"] == "indexer-1").cloned()
        };
        assert_eventually!(
            shown().await.is_some_and(|one| one["in_flight"] == 1
                && one["in_force"].as_array().unwrap().len() == 1
                && one["kind"] == "service"),
            "the fleet shows what it waits for"
        );
        // Nothing says that it has ended, so nothing may have been proven.
        let window: Value = stack.companion.json(&["status"]).await.unwrap();
        assert_eq!(window["windows"][0]["phase"], "draining", "{window}");
        let ends = Instant::now();
        drop(lagging);
        ends
    };
    let ((said, proven), ended) =
        tokio::time::timeout(BOUND, async { tokio::join!(freeze, lag) }).await.unwrap();
    let text = [said.stdout, said.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
    assert!(said.status.success(), "{text}");
    assert!(proven > ended && ended > began, "proven while a write was running");
    assert!(text.contains("indexer-1") && text.contains("1 write in flight"), "{text}");
}

const FREEZE_TWO: [&str; 8] = ["freeze", "--for", "10m", "--reason", "guard test", "--wait", "--expect", "2"];
