//! How snapshots travel: at once when there is one, held while there is none.

use std::time::{Duration, Instant};

use quiesce::view::Liveness;
use quiesce_policy::sync::RejectedSnapshot;
use reqwest::Method;

use crate::{
    companion::{Companion, eventually, http},
    enforcer::Enforcer,
};

/// Waits until an enforcer is in this state.
async fn until(companion: &Companion, id: &str, state: Liveness) {
    eventually(&format!("{id} is {state:?}"), async || {
        let fleet = companion.fleet().await;
        fleet.enforcers.iter().any(|one| one.id.as_str() == id && one.state == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_held_poll_is_answered_as_soon_as_there_is_news() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    let mut poll = enforcer.clone();
    let held = tokio::spawn(async move { (poll.send(30_000).await.unwrap(), Instant::now()) });
    until(&companion, "edge-1", Liveness::Connected).await;
    let asked = Instant::now();
    let window = companion.freeze().await;
    let (answer, answered) = held.await.unwrap();
    assert_eq!(answer.snapshot.unwrap().windows[0].id, window.id);
    assert!(answered - asked < Duration::from_secs(2), "it was held for its whole time");
    companion.stop().await;
}

#[tokio::test]
async fn without_news_the_answer_is_empty_and_names_the_epoch() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    let began = Instant::now();
    let answer = enforcer.send(300).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!((answer.status.as_u16(), answer.epoch), (204, Some(enforcer.request.applied.0)));
    companion.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_was_rejected_is_not_sent_again_and_again() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    let snapshot = enforcer.report().await.snapshot.unwrap();
    let error = "surfaces[0]: too many".to_owned();
    enforcer.request.rejected = Some(RejectedSnapshot { version: snapshot.version, error, count: 3 });
    let answer = enforcer.send(200).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.epoch), (204, Some(snapshot.version.0)));

    let fleet = companion.fleet().await;
    let shown = fleet.enforcers[0].rejected.as_ref().unwrap();
    assert_eq!((shown.error.as_str(), shown.count), ("surfaces[0]: too many", 3));
    assert_eq!(companion.status().await.fleet.rejecting, 1);
    let window = companion.freeze().await;
    assert!(enforcer.report().await.snapshot.is_some(), "another version is worth a try");
    companion.thaw(&window).await;
    companion.stop().await;
}

#[tokio::test]
async fn an_enforcer_that_hangs_up_is_known_to_be_silent_at_once() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    let poll = enforcer.hold();
    until(&companion, "edge-1", Liveness::Connected).await;
    drop(poll);
    until(&companion, "edge-1", Liveness::Silent).await;
    companion.stop().await;
}

#[tokio::test]
async fn held_polls_are_answered_when_the_companion_goes_down() {
    let (companion, _dir) = Companion::start("{}").await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    let mut poll = enforcer.clone();
    let held = tokio::spawn(async move { poll.send(30_000).await });
    until(&companion, "edge-1", Liveness::Connected).await;
    let began = Instant::now();
    companion.stop().await;
    assert_eq!(held.await.unwrap().unwrap().status, 204);
    assert!(began.elapsed() < Duration::from_secs(4), "going down waited for the poll");
}

#[tokio::test]
async fn reports_that_do_not_parse_are_refused_with_their_place() {
    let (companion, _dir) = Companion::start("{}").await;
    let good = serde_json::to_value(Enforcer::new(&companion.url, "edge-1", "1").request).unwrap();
    for (pointer, value, says) in [
        ("/enforcer/kind", serde_json::json!("nginx"), "enforcer.kind: unknown variant `nginx`"),
        ("/in_flight", serde_json::json!(-1), "in_flight: invalid value"),
        ("/clock", serde_json::json!("noon"), "clock: `noon` is not a time"),
        ("/enforcer/id", serde_json::json!(""), "enforcer.id is empty"),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        let response = companion.send(Method::POST, "/v1/sync", Some(&body)).await;
        assert!(response.status().is_client_error());
        let text = response.text().await.unwrap();
        assert!(text.contains(says), "{pointer}: {text}");
    }
    let response = http().post(format!("{}/v1/sync", companion.url)).body("{").send().await.unwrap();
    assert_eq!(response.status(), 400);
    let huge = http().post(format!("{}/v1/sync", companion.url)).body(" ".repeat(2 << 20));
    assert_eq!(huge.send().await.unwrap().status(), 413);
    assert!(companion.fleet().await.enforcers.is_empty());
    companion.stop().await;
}
