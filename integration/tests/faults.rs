//! What goes wrong around Envoy: the companion killed, Envoy restarted, snapshots that are none, with
//! every real part in place. What goes wrong within one Envoy process is in `faults_vms`.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{MINUTE_MS, snapshot, window};
use quiesce_integration::{
    assert_eventually,
    companion::Companion,
    envoy::{Boot, Envoy, OnUnreachable, Options, PluginConfig},
    http::{Request, Response},
    load::{Load, Profile},
    origin::Origin,
    snapshots::{SYNC_TOKEN, Snapshots},
    stack::{Stack, StackOptions},
};
use quiesce_policy::{snapshot::Epoch, time::Timestamp};
use serde_json::{Value, json};

const FREEZE: [&str; 5] = ["freeze", "--for", "10m", "--reason", "faults"];
const FREEZE_AND_WAIT: [&str; 6] = ["freeze", "--for", "10m", "--reason", "faults", "--wait"];

async fn write(stack: &Stack) -> Response {
    stack.send(&Request::post("/items", "x")).await.unwrap()
}

async fn assert_frozen(stack: &Stack) {
    let refused = write(stack).await;
    assert_eq!(refused.status, 423, "{}", refused.text());
    let read = stack.send(&Request::get("/items")).await.unwrap();
    assert_eq!(read.status, 200, "reads go on");
}

/// The windows that stop writes, or will, as `quiesce status` gives them.
async fn windows(companion: &Companion) -> Vec<Value> {
    let status: Value = companion.json(&["status"]).await.unwrap();
    let stops = |window: &&Value| !["soaking", "backfilling"].contains(&window["phase"].as_str().unwrap());
    status["windows"].as_array().unwrap().iter().filter(stops).cloned().collect()
}

async fn phase(companion: &Companion) -> String {
    let windows = windows(companion).await;
    windows.first().and_then(|one| one["phase"].as_str()).unwrap_or("none").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_companion_killed_before_a_freeze() {
    let mut stack = Stack::start(StackOptions::default()).await.unwrap();
    stack.companion.kill();
    assert_eq!(write(&stack).await.status, 200, "the proxy outlives it");
    let failed = stack.companion.output(&FREEZE_AND_WAIT).await.unwrap();
    assert!(!failed.status.success(), "nobody is there to freeze anything");
    stack.companion.restart().await.unwrap();
    stack.companion.run(&FREEZE_AND_WAIT).await.unwrap();
    assert_frozen(&stack).await;
    stack.companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(write(&stack).await.status == 200, "thawed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_companion_killed_while_writes_drain() {
    let mut stack = Stack::start(StackOptions::default()).await.unwrap();
    let envoy = stack.envoy().addr();
    let slow = tokio::spawn(async move { Request::post("/slow?ms=3000", "x").send(envoy).await });
    assert_eventually!(stack.origin.count(|one| one.is_unsafe()) == 1, "the slow write arrives");
    stack.companion.run(&FREEZE).await.unwrap();
    assert_eventually!(write(&stack).await.status == 423, "the freeze is in force");
    stack.companion.kill();
    assert_frozen(&stack).await;
    stack.companion.restart().await.unwrap();
    assert_frozen(&stack).await;
    assert_eq!(slow.await.unwrap().unwrap().status, 200);
    assert_eventually!(phase(&stack.companion).await == "quiesced", "proven after all");
    assert_frozen(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_companion_killed_after_the_proof() {
    let mut stack = Stack::start(StackOptions::default()).await.unwrap();
    stack.companion.run(&FREEZE_AND_WAIT).await.unwrap();
    let (before, proven) = (windows(&stack.companion).await, Instant::now());
    stack.companion.kill();
    assert_frozen(&stack).await;
    stack.companion.restart().await.unwrap();
    assert_frozen(&stack).await;
    let after = windows(&stack.companion).await;
    for member in ["id", "phase", "starts_at", "ends_at", "expires_at", "quiesced"] {
        assert_eq!(after[0][member], before[0][member], "{member} is as it was");
    }
    assert!(stack.origin.writes_between(proven, Instant::now()).is_empty());
    stack.companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(write(&stack).await.status == 200, "thawed");
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_restarted_during_a_window_lets_no_write_through() {
    let mut stack = Stack::start(StackOptions::default()).await.unwrap();
    stack.companion.run(&FREEZE_AND_WAIT).await.unwrap();
    let proven = Instant::now();
    // From before it is back until well after, so that its very first moment is tried.
    let writes = Load::start(Profile::writes(stack.envoy().addr(), 4)).await.unwrap();
    stack.envoy_mut().restart().await.unwrap();
    let refused = writes.tally().with_status(423);
    assert_eventually!(writes.tally().with_status(423) > refused + 100, "it refuses again");
    let tally = writes.stop().await;
    assert_eq!(tally.with_status(200), 0, "{:?}", tally.statuses);
    assert!(stack.origin.writes_between(proven, Instant::now()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_restarted_with_the_companion_down_holds_writes_back() {
    let plugin = PluginConfig {
        boot: Some(Boot::Hold),
        boot_timeout_ms: Some(1000),
        on_unreachable: Some(OnUnreachable::Closed),
        ..PluginConfig::default()
    };
    let mut stack = Stack::start(StackOptions { plugin, ..StackOptions::default() }).await.unwrap();
    stack.companion.run(&FREEZE_AND_WAIT).await.unwrap();
    let proven = Instant::now();
    stack.companion.kill();
    let envoy = stack.envoy_mut();
    envoy.restart().await.unwrap();
    let held = write(&stack).await;
    assert_eq!((held.status, held.header("retry-after").is_some()), (503, true), "{}", held.text());
    assert_eq!(stack.send(&Request::get("/items")).await.unwrap().status, 200, "reads go on");
    let state = async || write(&stack).await.json::<Value>().unwrap()["code"].clone();
    assert_eventually!(state().await == "state-unknown", "the boot timeout has passed");
    stack.companion.restart().await.unwrap();
    assert_eventually!(write(&stack).await.status == 423, "it has learnt of the window");
    assert!(stack.origin.writes_between(proven, Instant::now()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_unreachable_open_lets_writes_pass_after_the_boot_timeout() {
    let origin = Origin::start().unwrap();
    let nobody = Snapshots::start().await.unwrap().addr();
    let plugin = PluginConfig {
        boot_timeout_ms: Some(500),
        on_unreachable: Some(OnUnreachable::Open),
        ..PluginConfig::default()
    };
    let envoy = Envoy::start(Options::quiesce(&plugin, origin.addr(), nobody).unwrap()).await.unwrap();
    let write = async || envoy.send(&Request::post("/items", "x")).await.unwrap().status;
    assert_eventually!(write().await == 200, "the boot timeout has passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_companions_never_share_a_store_and_the_next_one_agrees() {
    let mut stack = Stack::start(StackOptions::default()).await.unwrap();
    stack.companion.run(&FREEZE_AND_WAIT).await.unwrap();
    let epoch = |status: &Value| status["epoch"].as_u64().unwrap();
    let before: Value = stack.companion.json(&["status"]).await.unwrap();

    let config = stack.companion.config_file();
    let second = stack.companion.output(&["serve", "--config", config.to_str().unwrap()]).await.unwrap();
    assert!(!second.status.success(), "a second companion on the same store");

    stack.companion.kill();
    for _ in 0..3 {
        stack.companion.restart().await.unwrap();
        let after: Value = stack.companion.json(&["status"]).await.unwrap();
        assert!(epoch(&after) >= epoch(&before), "a version never comes again");
        assert_eq!(after["windows"][0]["id"], before["windows"][0]["id"]);
        assert_eq!(after["windows"][0]["phase"], "quiesced");
        assert_frozen(&stack).await;
        stack.companion.kill();
    }
    stack.companion.restart().await.unwrap();
    stack.companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(write(&stack).await.status == 200, "the same Envoy follows the new companion");
    let thawed: Value = stack.companion.json(&["status"]).await.unwrap();
    assert!(epoch(&thawed) > epoch(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_lapses_at_expires_at_with_the_companion_down() {
    let companion = "windows: { grace: 1s }".to_owned();
    let mut stack = Stack::start(StackOptions { companion, ..StackOptions::default() }).await.unwrap();
    let freeze = ["freeze", "--for", "2s", "--reason", "faults", "--wait"];
    let window: Value = stack.companion.json(&freeze).await.unwrap();
    let expires_at: Timestamp = window["expires_at"].as_str().unwrap().parse().unwrap();
    stack.companion.kill();
    let proven = Instant::now();
    let mut refused_until = now();
    assert_eventually!(
        {
            let sent = now();
            let status = write(&stack).await.status;
            if status == 423 {
                refused_until = sent;
            }
            status == 200
        },
        "the lease runs out"
    );
    let opened = now();
    assert!(refused_until < expires_at && opened >= expires_at, "{refused_until}, {expires_at}, {opened}");
    assert_eq!(stack.origin.writes_between(proven, Instant::now()).len(), 1, "the one that passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_window_starts_with_the_companion_down() {
    let mut stack = Stack::start(StackOptions::default()).await.unwrap();
    let epoch = stack.envoy().metric("quiesce.epoch").await.unwrap();
    let starts_at = now().plus_ms(3000);
    let at = starts_at.to_string();
    let schedule = ["schedule", "--at", &at, "--for", "10m", "--reason", "faults"];
    stack.companion.run(&schedule).await.unwrap();
    assert_eventually!(
        stack.envoy().metric("quiesce.epoch").await.unwrap() > epoch,
        "the window has travelled ahead"
    );
    stack.companion.kill();
    assert_eq!(write(&stack).await.status, 200, "it has not begun");
    assert_eventually!(write(&stack).await.status == 423, "it begins");
    assert!(now() >= starts_at, "before its time");
    assert_frozen(&stack).await;
    stack.companion.restart().await.unwrap();
    assert_eventually!(
        phase(&stack.companion).await == "quiesced",
        "acknowledged when the companion is back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_none_leaves_the_last_good_one_in_force() {
    let origin = Origin::start().unwrap();
    let companion = Snapshots::start().await.unwrap();
    let options = Options::quiesce(&PluginConfig::default(), origin.addr(), companion.addr()).unwrap();
    let envoy = Envoy::start(options).await.unwrap();
    companion.publish(&snapshot(1, vec![window("w", now())])).unwrap();
    let write = async || envoy.send(&Request::post("/items", "x")).await.unwrap().status;
    assert_eventually!(write().await == 423, "frozen");

    companion.publish_bytes(Epoch(2), r#"{"version":2,"surfaces":[{"name":"No Name"}]}"#);
    let rejected = || companion.last_report().and_then(|report| report.rejected);
    assert_eventually!(rejected().is_some(), "it reports the bad one");
    let rejected = rejected().unwrap();
    assert_eq!((rejected.version, rejected.count), (Epoch(2), 1));
    assert!(rejected.error.contains("surfaces[0]"), "the place: {}", rejected.error);
    assert_eq!(envoy.metric("quiesce.snapshots_rejected").await.unwrap(), 1);
    assert_eq!(write().await, 423, "the last good one holds");

    companion.publish(&snapshot(3, vec![])).unwrap();
    assert_eventually!(write().await == 200, "the next good one is taken");
}

/// The companion that gets such a report tells operators.
#[tokio::test(flavor = "multi_thread")]
async fn fleet_shows_who_rejects_the_snapshot() {
    let companion = Companion::start("").await.unwrap();
    let status: Value = companion.json(&["status"]).await.unwrap();
    let report = json!({
        "enforcer": { "id": "envoy-9", "instance": "1", "kind": "envoy", "version": "0.1.0" },
        "applied": 0, "in_flight": 0, "clock": now(), "wait_ms": 0,
        "rejected": { "version": status["epoch"], "error": "surfaces[0].name: no name", "count": 4 },
    });
    let sync = Request::post("/v1/sync", report.to_string())
        .header("content-type", "application/json")
        .header("authorization", &format!("Bearer {SYNC_TOKEN}"));
    assert_eq!(sync.send(companion.addr()).await.unwrap().status, 204, "not the same bad one again");
    let fleet: Value = companion.json(&["fleet"]).await.unwrap();
    assert_eq!(fleet["enforcers"][0]["rejected"]["error"], "surfaces[0].name: no name");
    let shown = companion.run(&["fleet"]).await.unwrap();
    assert!(shown.contains("surfaces[0].name: no name"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_is_gone_is_named_and_not_forgotten() {
    let mut stack = Stack::start(StackOptions { envoys: 2, ..StackOptions::default() }).await.unwrap();
    stack.envoys[1].kill();
    let gave_up =
        stack.companion.output(&[&FREEZE_AND_WAIT[..], &["--timeout", "2s"]].concat()).await.unwrap();
    let said = String::from_utf8_lossy(&gave_up.stderr) + String::from_utf8_lossy(&gave_up.stdout);
    assert!(!gave_up.status.success(), "{said}");
    assert!(said.contains("envoy-2"), "who is missing is named: {said}");
    assert_frozen(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_refuses_to_call_fewer_enforcers_a_success() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let wanting_two = [&FREEZE_AND_WAIT[..], &["--expect", "2", "--timeout", "2s"]].concat();
    assert!(!stack.companion.output(&wanting_two).await.unwrap().status.success());
    assert_frozen(&stack).await;
}

#[allow(clippy::disallowed_methods, reason = "the parts under test go by the real clock")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::from_millis(MINUTE_MS));
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap())
}
