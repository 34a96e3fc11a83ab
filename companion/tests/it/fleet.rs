//! Enforcers that come, go, restart and are given up, and what that does to a proof.

use quiesce::{barrier::Verdict, event::EventKind, view::Liveness, windows::Phase};
use reqwest::Method;
use serde_json::json;

use crate::{
    companion::{Companion, eventually},
    enforcer::Enforcer,
};

#[tokio::test]
async fn without_enforcers_nothing_is_proven() {
    let (companion, _dir) = Companion::start("{}").await;
    let window = companion.freeze().await;
    let barrier = window.barrier.unwrap();
    assert_eq!(barrier.verdict, Verdict::Pending);
    assert!(barrier.problems[0].message.contains("no enforcer is connected"));
    companion.stop().await;
}

#[tokio::test]
async fn fewer_enforcers_than_expected_are_not_enough() {
    let (companion, _dir) = Companion::start("{}").await;
    let _first = Enforcer::new(&companion.url, "edge-1", "1").run();
    eventually("edge-1 is live", async || (companion.status().await.fleet.live == 1).then_some(())).await;
    let window = companion.create(json!({ "expect": 2 })).await;
    let barrier = |window: &quiesce::view::WindowView| window.barrier.clone().unwrap();
    let waiting = companion.watch(&window, |window| barrier(window).acknowledged == 1).await;
    assert_eq!(barrier(&waiting).verdict, Verdict::Pending);
    assert_ne!(waiting.phase, Phase::Quiesced);
    let _second = Enforcer::new(&companion.url, "edge-2", "1").run();
    companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    companion.stop().await;
}

#[tokio::test]
async fn a_restart_before_zero_was_reported_leaves_the_window_unproven() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut old = Enforcer::new(&companion.url, "edge-1", "old");
    old.obey().await;
    let window = companion.freeze().await;
    let snapshot = old.report().await.snapshot.unwrap();
    old.apply(&snapshot);
    old.request.in_flight = 1;
    let poll = old.hold();
    companion.watch(&window, |window| window.phase == Phase::Draining).await;
    drop(poll);
    let mut new = Enforcer::new(&companion.url, "edge-1", "new");
    new.obey().await;
    let _poll = new.hold();
    let unproven = companion
        .watch(&window, |window| window.barrier.as_ref().unwrap().verdict == Verdict::Unproven)
        .await;
    let barrier = unproven.barrier.unwrap();
    assert!(barrier.problems[0].message.contains("restarted before it reported"), "{barrier:?}");
    assert_ne!(unproven.phase, Phase::Quiesced);
    companion.stop().await;
}

#[tokio::test]
async fn a_restart_after_the_proof_takes_nothing_back_and_shows() {
    let (companion, _dir) = Companion::start("{}").await;
    let old = Enforcer::new(&companion.url, "edge-1", "old").run();
    eventually("edge-1 is live", async || (companion.status().await.fleet.live == 1).then_some(())).await;
    let window = companion.freeze().await;
    companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    drop(old);
    let mut new = Enforcer::new(&companion.url, "edge-1", "new");
    let snapshot = new.report().await.snapshot.unwrap();
    let regressed = companion.window(&window).await;
    assert_eq!(regressed.phase, Phase::Quiesced);
    assert_eq!(regressed.barrier.unwrap().verdict, Verdict::Pending, "status shows that one is behind");
    new.apply(&snapshot);
    let _poll = new.hold();
    companion.watch(&window, |window| window.barrier.as_ref().unwrap().verdict == Verdict::Proven).await;
    companion.stop().await;
}

#[tokio::test]
async fn a_lost_enforcer_is_named_until_it_is_forgotten() {
    let (companion, _dir) = Companion::start("{}").await;
    // Its poll period is the shortest, so that it is lost after three seconds.
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    enforcer.send(1).await.unwrap();
    let forget = companion.send(Method::DELETE, "/v1/fleet/edge-1", None).await;
    assert_eq!(forget.status(), 409, "it is live");
    let window = companion.freeze().await;
    let unproven = companion
        .watch(&window, |window| window.barrier.as_ref().unwrap().verdict == Verdict::Unproven)
        .await;
    let problems = unproven.barrier.unwrap().problems;
    assert!(problems.iter().any(|one| one.message.contains("was lost before it reported")), "{problems:?}");
    assert_eq!(companion.fleet().await.enforcers[0].state, Liveness::Lost);
    assert_eq!(companion.send(Method::DELETE, "/v1/fleet/edge-1", None).await.status(), 204);
    assert_eq!(companion.send(Method::DELETE, "/v1/fleet/edge-1", None).await.status(), 404);
    assert!(companion.fleet().await.enforcers.is_empty());
    let events = companion.events().await;
    assert!(events.iter().any(|event| event.kind == EventKind::EnforcerForgotten));
    companion.stop().await;
}
