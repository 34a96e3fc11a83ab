//! How a guard keeps in step: with a companion that comes and goes, and without one.

use std::time::{Duration, Instant};

use quiesce_guard::{Boot, Config, Guard, OnUnreachable, policy::Refusal};
use quiesce_integration::{
    assert_eventually,
    companion::Companion,
    snapshots::{SYNC_TOKEN, Snapshots},
};
use quiesce_policy::snapshot::{Epoch, Snapshot};
use serde_json::Value;

use crate::services::guard;

const FREEZE: [&str; 8] = ["freeze", "--for", "10m", "--reason", "guard test", "--wait", "--expect", "1"];

#[tokio::test(flavor = "multi_thread")]
async fn without_its_companion_a_guard_keeps_a_window_until_its_lease_ends() {
    let mut companion = Companion::start("windows: { grace: 3s }").await.unwrap();
    let guard = guard(companion.addr(), "notes-1");
    guard.synced().await;
    let freeze = ["freeze", "--for", "2s", "--reason", "lease", "--wait", "--expect", "1"];
    companion.run(&freeze).await.unwrap();
    let frozen = Instant::now();
    companion.kill();
    let gate = guard.gate();
    assert_eventually!(gate.enter().is_ok(), within: Duration::from_secs(30), "the lease ends");
    let held = frozen.elapsed();
    assert!(held >= Duration::from_secs(4), "it ended after {held:?}, before its lease");
    assert!(held < Duration::from_secs(8), "it outlived its lease: {held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_finds_its_companion_again() {
    let mut companion = Companion::start("").await.unwrap();
    let guard = guard(companion.addr(), "notes-1");
    guard.synced().await;
    companion.run(&FREEZE).await.unwrap();
    assert_eq!(guard.gate().enter().unwrap_err().refusal, Refusal::ReadOnly);
    companion.restart().await.unwrap();
    assert_eq!(guard.gate().enter().unwrap_err().refusal, Refusal::ReadOnly);
    companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(guard.gate().enter().is_ok(), "it hears of the thaw");
    companion.run(&FREEZE).await.unwrap();
    assert_eq!(guard.gate().enter().unwrap_err().refusal, Refusal::ReadOnly);
}

#[tokio::test(flavor = "multi_thread")]
async fn until_it_has_heard_of_the_companion_a_guard_refuses() {
    let nobody = quiesce_integration::ports::free().unwrap();
    let config = Config::new(format!("http://{nobody}"), SYNC_TOKEN, "notes-1");
    let guard = Guard::connect(config.clone().boot_timeout(Duration::from_secs(60))).unwrap();
    assert_eq!(guard.gate().enter().unwrap_err().refusal, Refusal::Starting);
    let closed = Guard::connect(config.clone().boot_timeout(Duration::ZERO)).unwrap();
    assert_eq!(closed.gate().enter().unwrap_err().refusal, Refusal::StateUnknown);
    let open = config.boot(Boot::Hold).boot_timeout(Duration::ZERO).on_unreachable(OnUnreachable::Open);
    assert!(Guard::connect(open).unwrap().gate().enter().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_without_its_companion_knows_what_the_one_before_has_saved() {
    let mut companion = Companion::start("").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.json");
    let config = Config::new(format!("http://{}", companion.addr()), SYNC_TOKEN, "notes-1")
        .boot_timeout(Duration::ZERO)
        .on_unreachable(OnUnreachable::Open)
        .snapshot_file(&file);
    let before = Guard::connect(config.clone()).unwrap();
    before.synced().await;
    companion.run(&FREEZE).await.unwrap();
    let saved = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("guard test"));
    assert_eventually!(saved(), "the window is saved");
    drop(before);
    companion.kill();
    let after = Guard::connect(config).unwrap();
    assert_eq!(after.gate().enter().unwrap_err().refusal, Refusal::ReadOnly);
    companion.restart().await.unwrap();
    companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(after.gate().enter().is_ok(), "the companion's word counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guard_counts_and_who_it_is_shows_at_the_companion() {
    let companion = Companion::start("").await.unwrap();
    let config =
        Config::new(format!("http://{}", companion.addr()), SYNC_TOKEN, "notes-1").label("region", "eu");
    let guard = Guard::connect(config).unwrap();
    guard.synced().await;
    drop(guard.gate().enter().unwrap());
    companion.run(&FREEZE).await.unwrap();
    for _ in 0..3 {
        guard.gate().enter().unwrap_err();
    }
    let fleet: Value = companion.json(&["fleet"]).await.unwrap();
    let shown = &fleet["enforcers"][0];
    assert_eq!((&shown["kind"], &shown["labels"]["region"]), (&"service".into(), &"eu".into()), "{fleet}");
    let metrics = async || companion.api("GET", "/metrics").send(companion.addr()).await.unwrap().text();
    let counted = |text: &str, outcome: &str, count: u64| {
        text.lines().any(|line| {
            line.starts_with("quiesce_requests_total")
                && line.contains(outcome)
                && line.ends_with(&format!(" {count}"))
        })
    };
    assert_eventually!(
        {
            let text = metrics().await;
            counted(&text, "\"admitted\"", 1) && counted(&text, "\"refused.read-only\"", 3)
        },
        "the counters arrive"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_whose_token_is_wrong_goes_on_refusing() {
    let companion = Companion::start("").await.unwrap();
    let config = Config::new(format!("http://{}", companion.addr()), "another token", "notes-1");
    let turned_away = Guard::connect(config.boot_timeout(Duration::ZERO)).unwrap();
    // Who starts later and is let in has given the other its time.
    guard(companion.addr(), "notes-2").synced().await;
    assert_eq!(turned_away.gate().enter().unwrap_err().refusal, Refusal::StateUnknown);
    let fleet: Value = companion.json(&["fleet"]).await.unwrap();
    let known: Vec<_> = fleet["enforcers"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(known, ["notes-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_used_is_reported_and_the_one_before_stays() {
    let companion = Snapshots::start().await.unwrap();
    companion.publish(&Snapshot { version: Epoch(1), ..Snapshot::default() }).unwrap();
    let guard = guard(companion.addr(), "notes-1");
    guard.synced().await;
    companion.publish_bytes(Epoch(2), br#"{"version":2,"surprise":true}"#.to_vec());
    let rejected = || companion.reports().into_iter().rev().find_map(|report| report.body.rejected);
    assert_eventually!(rejected().is_some(), "it says so");
    let rejected = rejected().unwrap();
    assert_eq!((rejected.version, rejected.count), (Epoch(2), 1));
    assert!(rejected.error.contains("surprise"), "{}", rejected.error);
    assert_eq!(guard.epoch(), Epoch(1));
    assert!(guard.gate().enter().is_ok());
    companion.publish(&Snapshot { version: Epoch(3), ..Snapshot::default() }).unwrap();
    assert_eventually!(guard.epoch() == Epoch(3), "the next one is good");
    let told = || {
        companion
            .reports()
            .last()
            .is_some_and(|report| report.body.applied == Epoch(3) && report.body.rejected.is_none())
    };
    assert_eventually!(told(), "nothing is rejected any more");
}
