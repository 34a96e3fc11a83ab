//! Companions that stop, are killed and come back: the same state, and never an older version.

use quiesce::{barrier::Verdict, server::ServeError, store::StoreError, view::Liveness, windows::Phase};
use serde_json::json;

use crate::{
    command::Serve,
    companion::{Companion, eventually},
    enforcer::Enforcer,
};

#[tokio::test]
async fn a_restart_goes_on_where_the_last_one_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let companion = Companion::start_in(dir.path(), "{}").await;
    let enforcer = Enforcer::new(&companion.url, "edge-1", "1").run();
    eventually("edge-1 is live", async || (companion.status().await.fleet.live == 1).then_some(())).await;
    let window = companion.freeze().await;
    let quiesced = companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    let epoch = companion.status().await.epoch;
    companion.stop().await;
    drop(enforcer);

    let companion = Companion::start_in(dir.path(), "{}").await;
    let status = companion.status().await;
    assert_eq!(status.epoch, epoch, "nothing changed, so neither does the version");
    let restored = &status.windows[0];
    assert_eq!((restored.phase, &restored.quiesced), (Phase::Quiesced, &quiesced.quiesced));
    companion.thaw(&window).await;
    companion.stop().await;

    let companion = Companion::start_in(dir.path(), "mode: observe").await;
    assert!(companion.status().await.epoch > epoch, "another configuration, another version");
    companion.stop().await;
}

#[tokio::test]
async fn after_a_restart_nothing_is_proven_until_enforcers_say_so_again() {
    let dir = tempfile::tempdir().unwrap();
    let companion = Companion::start_in(dir.path(), "{}").await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    let window = companion.freeze().await;
    let snapshot = enforcer.report().await.snapshot.unwrap();
    enforcer.apply(&snapshot);
    enforcer.request.in_flight = 1;
    enforcer.report().await;
    companion.watch(&window, |window| window.phase == Phase::Draining).await;
    companion.stop().await;

    let companion = Companion::start_in(dir.path(), "{}").await;
    let restored = companion.window(&window).await;
    let barrier = restored.barrier.unwrap();
    assert_eq!((restored.phase, barrier.verdict), (Phase::Freezing, Verdict::Pending));
    assert_eq!((barrier.acknowledged, barrier.total), (0, 1), "it is remembered, and has to speak again");
    assert_eq!(companion.fleet().await.enforcers[0].state, Liveness::Silent);

    let mut back = Enforcer::new(&companion.url, "edge-1", "1");
    back.request = enforcer.request.clone();
    back.request.in_flight = 0;
    back.report().await;
    companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    companion.stop().await;
}

#[tokio::test]
async fn two_companions_never_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let first = Companion::start_in(dir.path(), "{}").await;
    let second = Companion::try_start_in(dir.path(), "{}").await;
    let error = second.err().expect("the store is taken");
    assert!(matches!(error, ServeError::Store(StoreError::InUse { .. })), "{error}");
    first.freeze().await;
    first.stop().await;
    let third = Companion::start_in(dir.path(), "{}").await;
    assert_eq!(third.status().await.windows.len(), 1);
    third.stop().await;
}

#[tokio::test]
async fn a_killed_companion_comes_back_with_every_answer_it_gave() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = 0;
    for round in 0..5 {
        let serve = Serve::start(dir.path(), None).await;
        let companion = serve.api();
        let status = companion.status().await;
        assert!(status.epoch.0 >= newest, "round {round}: the version went back");
        if let Some(window) = status.windows.first() {
            assert_eq!(window.reason, format!("round {}", round - 1));
            companion.thaw(window).await;
        } else {
            assert_eq!(round, 0, "a freeze that was answered is lost");
        }
        let _enforcer = Enforcer::new(&serve.url, "edge-1", &round.to_string()).run();
        let window = companion.create(json!({ "reason": format!("round {round}") })).await;
        newest = companion.status().await.epoch.0;
        assert_eq!(window.reason, format!("round {round}"));
        // At once: between the freeze and its proof, or just after that.
        serve.kill().await;
    }
}

#[tokio::test]
async fn killed_in_the_middle_of_freezing_it_has_frozen_or_has_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = 0;
    for _ in 0..5 {
        let serve = Serve::start(dir.path(), None).await;
        let companion = serve.api();
        let status = companion.status().await;
        assert!(status.epoch.0 >= newest, "the version went back");
        for window in status.windows.iter().filter(|window| window.phase.is_frozen()) {
            companion.thaw(window).await;
        }
        let mut enforcer = Enforcer::new(&serve.url, "edge-1", "1");
        enforcer.obey().await;
        let mut poll = enforcer.clone();
        let seen = tokio::spawn(async move { poll.send(5_000).await });
        let freeze = tokio::spawn({
            let companion = serve.api();
            async move { companion.try_freeze().await }
        });
        // As soon as an enforcer has it, it must be on disk.
        let told = seen.await.unwrap().ok().and_then(|answer| answer.snapshot);
        serve.kill().await;
        let answered = freeze.await.unwrap();
        let told = told.expect("the freeze reached the enforcer");
        newest = told.version.0;
        let serve = Serve::start(dir.path(), None).await;
        let status = serve.api().status().await;
        assert_eq!(status.windows[0].id, told.windows[0].id, "published, and yet not on disk");
        assert!(answered.is_none_or(|window| window.id == told.windows[0].id));
        serve.kill().await;
    }
}
