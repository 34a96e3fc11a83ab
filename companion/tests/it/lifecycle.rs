//! The life of windows: frozen, proven, thawed; scheduled, extended, cancelled, lapsed.

use quiesce::{
    barrier::{EnforcerState, Verdict},
    event::EventKind,
    view::{WindowList, WindowView},
    windows::Phase,
};
use quiesce_policy::snapshot::Epoch;
use reqwest::Method;
use serde_json::json;

use crate::{
    companion::{Companion, eventually},
    enforcer::Enforcer,
};

#[tokio::test]
async fn a_freeze_is_proven_step_by_step_and_thawed() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    let open = enforcer.request.applied;

    let window = companion.freeze().await;
    assert_eq!(window.phase, Phase::Freezing);
    assert_eq!(window.barrier.as_ref().unwrap().enforcers[0].state, EnforcerState::Pending);

    let snapshot = enforcer.report().await.snapshot.expect("a new snapshot");
    assert!(snapshot.version > open);
    assert!(snapshot.windows[0].started && snapshot.windows[0].reason == "reindex");
    enforcer.apply(&snapshot);
    enforcer.request.in_flight = 1;
    enforcer.report().await;
    let draining = companion.window(&window).await;
    assert_eq!(draining.phase, Phase::Draining);
    assert_eq!(draining.barrier.unwrap().in_flight, 1);

    enforcer.request.in_flight = 0;
    enforcer.report().await;
    let quiesced = companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    let proof = quiesced.quiesced.expect("what the proof rests on");
    assert_eq!(proof.barrier.verdict, Verdict::Proven);
    assert_eq!((proof.barrier.acknowledged, proof.barrier.total), (1, 1));

    let thawed = companion.thaw(&window).await;
    assert_eq!(thawed.phase, Phase::Soaking);
    let snapshot = enforcer.report().await.snapshot.expect("a new snapshot");
    assert!(snapshot.version > enforcer.request.applied && snapshot.windows.is_empty());
    let kinds: Vec<_> = companion.events().await.iter().map(|event| event.kind).collect();
    use EventKind::{Configured, Quiesced, Started, Thawed};
    assert_eq!(kinds, [Configured, Started, Quiesced, Thawed]);
    companion.stop().await;
}

#[tokio::test]
async fn only_enforcers_in_scope_have_to_acknowledge() {
    let (companion, _dir) = Companion::start("{}").await;
    let _eu = Enforcer::new(&companion.url, "eu-1", "1").label("region", "eu").run();
    let mut us = Enforcer::new(&companion.url, "us-1", "1").label("region", "us");
    us.obey().await;
    eventually("both are live", async || (companion.status().await.fleet.live == 2).then_some(())).await;
    let body = json!({ "scope": { "labels": { "region": ["eu", "apac"] } } });
    let window = companion.create(body).await;
    let quiesced = companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    assert_eq!(quiesced.quiesced.unwrap().barrier.total, 1);

    // Elsewhere another window may be in force at the same time.
    companion.create(json!({ "scope": { "labels": { "region": ["us"] } } })).await;
    assert_eq!(companion.status().await.windows.len(), 2);
    companion.stop().await;
}

#[tokio::test]
async fn a_window_thawed_before_its_barrier_held_is_aborted() {
    let (companion, _dir) = Companion::start("{}").await;
    let window = companion.freeze().await;
    let aborted = companion.thaw(&window).await;
    assert_eq!((aborted.phase, aborted.ended.unwrap().how), (Phase::Soaking, EventKind::Aborted));
    let again = companion.send(Method::POST, &format!("/v1/windows/{}/thaw", window.id), None).await;
    assert_eq!(again.status(), 409);
    let text = again.text().await.unwrap();
    assert!(text.contains("window-over") && text.contains("aborted by anonymous"), "{text}");
    companion.stop().await;
}

#[tokio::test]
async fn a_scheduled_window_travels_ahead_and_begins_by_itself() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    let starts_at = quiesce::clock::now().plus_ms(4_000);
    let window = companion.create(json!({ "starts_at": starts_at, "duration_ms": 60_000 })).await;
    assert_eq!(window.phase, Phase::Scheduled);
    let ahead = enforcer.report().await.snapshot.unwrap();
    assert!(!ahead.windows[0].started);
    enforcer.apply(&ahead);

    companion.watch(&window, |window| window.phase == Phase::Freezing).await;
    assert!(quiesce::clock::now() >= starts_at);
    let begun = enforcer.report().await.snapshot.unwrap();
    assert!(begun.windows[0].started);
    enforcer.apply(&begun);
    enforcer.report().await;
    companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    companion.stop().await;
}

#[tokio::test]
async fn a_scheduled_window_can_be_cancelled_but_not_thawed() {
    let (companion, _dir) = Companion::start("{}").await;
    let starts_at = quiesce::clock::now().plus_ms(3_600_000);
    let window = companion.create(json!({ "starts_at": starts_at })).await;
    let thaw = companion.send(Method::POST, &format!("/v1/windows/{}/thaw", window.id), None).await;
    assert_eq!(thaw.status(), 409);
    assert!(thaw.text().await.unwrap().contains("window-not-begun"));
    assert_eq!(companion.act(&window, "cancel").await.phase, Phase::Cancelled);
    assert!(companion.status().await.windows.is_empty());

    let window = companion.freeze().await;
    let cancel = companion.send(Method::POST, &format!("/v1/windows/{}/cancel", window.id), None).await;
    assert_eq!(cancel.status(), 409);
    assert!(cancel.text().await.unwrap().contains("window-begun"));
    let all: WindowList = companion.get("/v1/windows").await;
    let phases: Vec<_> = all.windows.iter().map(|window| window.phase).collect();
    assert_eq!(phases, [Phase::Freezing, Phase::Cancelled], "the newest first");
    companion.stop().await;
}

#[tokio::test]
async fn a_lease_that_runs_out_opens_writes() {
    let (companion, _dir) = Companion::start("windows: { grace: 100ms }").await;
    let window = companion.create(json!({ "duration_ms": 200 })).await;
    assert_eq!(window.expires_at.ms_since(window.starts_at), 300);
    let before = companion.status().await.epoch;
    let lapsed = companion.watch(&window, |window| window.ended.is_some()).await;
    assert!(quiesce::clock::now() >= window.expires_at);
    let ended = lapsed.ended.unwrap();
    assert_eq!(
        (lapsed.phase, ended.how, ended.by.as_str()),
        (Phase::Soaking, EventKind::Lapsed, "companion")
    );
    assert!(companion.status().await.epoch > before);
    companion.stop().await;
}

#[tokio::test]
async fn an_extension_moves_the_end_and_the_lease() {
    let (companion, _dir) = Companion::start("windows: { max_duration: 1h }").await;
    let window = companion.freeze().await;
    let path = format!("/v1/windows/{}/extend", window.id);
    let extended = companion.send(Method::POST, &path, Some(&json!({ "by_ms": 60_000 }))).await;
    let extended: WindowView = extended.json().await.unwrap();
    assert_eq!(extended.ends_at.unwrap(), window.ends_at.unwrap().plus_ms(60_000));
    assert_eq!(extended.expires_at, window.expires_at.plus_ms(60_000));

    let too_long = companion.send(Method::POST, &path, Some(&json!({ "by_ms": 3_600_000 }))).await;
    assert_eq!(too_long.status(), 422);
    assert!(too_long.text().await.unwrap().contains("by_ms: the window would last 1h11m; 1h is the most"));
    assert_eq!(companion.window(&window).await.ends_at, extended.ends_at);
    companion.stop().await;
}

#[tokio::test]
async fn every_change_of_the_snapshot_has_a_version_of_its_own() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut versions: Vec<Epoch> = vec![companion.status().await.epoch];
    for _ in 0..5 {
        let window = companion.freeze().await;
        versions.push(companion.status().await.epoch);
        companion.thaw(&window).await;
        versions.push(companion.status().await.epoch);
    }
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    companion.stop().await;
}
