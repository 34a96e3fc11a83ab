//! Replays and windows: nothing is sent while one is in force, and no barrier holds while a replay runs.

use quiesce::{barrier::Verdict, intents::IntentState, view::NewWindow, windows::Phase};

use super::{
    held::{Held, ann, quick},
    origin::{Behaviour, Origin},
};
use crate::companion::eventually;

fn alone() -> NewWindow {
    // Without enforcers, so that only replays are waited for.
    NewWindow { expect: Some(0), ..NewWindow::default() }
}

#[tokio::test]
async fn a_window_holds_its_writes_until_it_is_over_and_has_soaked() {
    let origin = Origin::start().await;
    let held = Held::start(&quick(&origin.url, "").replace("soak: 1ms", "soak: 700ms")).await;
    let window = held.service.create(ann(), alone()).await.unwrap();
    let id = held.accept("/a", 0, window.id.as_str()).await;
    let older = held.accept("/b", 0, "gone").await;
    eventually("it is said why nothing is sent", async || {
        let view = held.view().await;
        view.waits_for.filter(|why| why.contains(&format!("window {} is in force", window.id)))
    })
    .await;
    let ended = held.service.thaw(ann(), window.id.clone()).await.unwrap().ended.unwrap();
    held.until_state(&older, IntentState::Done).await;
    let done = held.until_state(&id, IntentState::Done).await;
    assert!(done.updated_at.ms_since(ended.at) >= 700, "{done:?}");
    assert_eq!(origin.arrivals()[0].line(), "/b", "what waited for another window needs no soak of this one");
    held.stop().await;
}

#[tokio::test]
async fn a_freeze_is_not_quiesced_while_a_replay_runs() {
    let origin = Origin::with(|arrival, _| match arrival.line() {
        "/slow" => Behaviour::slow(1_500),
        _ => Behaviour::takes(),
    })
    .await;
    let held = Held::start_with(&quick(&origin.url, "concurrency: 2"), &["/slow", "/a"], 3).await;
    eventually("a slow replay runs", async || {
        (origin.running() > 0 && origin.line("/a").len() == 3).then_some(())
    })
    .await;
    let window = held.service.create(ann(), alone()).await.unwrap();
    let barrier = window.barrier.unwrap();
    assert_eq!((barrier.verdict, barrier.replays), (Verdict::Pending, 1));
    assert_eq!(barrier.problems[0].message, "1 write of the backfill is still running");
    assert_eq!(origin.line("/slow").len(), 0);
    let quiesced = eventually("the barrier holds", async || {
        held.service.window(window.id.clone()).await.unwrap().quiesced
    })
    .await;
    assert_eq!(origin.running(), 0);
    assert_eq!((origin.line("/slow").len(), quiesced.barrier.replays), (1, 0));
    assert!(quiesced.elapsed_ms >= 500, "{}", quiesced.elapsed_ms);

    // The next of the line stays where it is, however long this lasts.
    let sent = origin.arrivals().len();
    eventually("what was claimed is given back", async || (held.view().await.replaying == 0).then_some(()))
        .await;
    assert_eq!(held.view().await.held, 2);
    assert_eq!(held.service.window(window.id.clone()).await.unwrap().phase, Phase::Quiesced);
    assert_eq!(origin.arrivals().len(), sent);
    held.service.thaw(ann(), window.id).await.unwrap();
    held.until_empty().await;
    assert_eq!(origin.line("/slow"), ["0", "1", "2"]);
    held.stop().await;
}

/// Freezes that come at any moment: between claim and count, count and look, look and answer. Whenever one is
/// quiesced, nothing runs at the origin, and nothing comes until it is over.
#[tokio::test]
async fn whenever_a_freeze_is_quiesced_nothing_reaches_the_origin() {
    let mut count = 0_u64;
    let origin = Origin::with(move |_, _| {
        count += 1;
        Behaviour::slow(count % 4)
    })
    .await;
    let lines: Vec<String> = (0..16).map(|line| format!("/{line}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let held = Held::start_with(&quick(&origin.url, "concurrency: 8"), &lines, 60).await;
    let mut rounds = 0;
    while held.view().await.held > 0 {
        let window = held.service.create(ann(), alone()).await.unwrap();
        eventually("the barrier holds", async || {
            held.service.window(window.id.clone()).await.unwrap().quiesced
        })
        .await;
        let (running, before) = (origin.running(), origin.arrivals().len());
        assert_eq!(running, 0, "round {rounds}");
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert_eq!(origin.arrivals().len(), before, "round {rounds}: something came");
        held.service.thaw(ann(), window.id).await.unwrap();
        let left = held.view().await.held;
        eventually("some more are replayed", async || {
            let view = held.view().await;
            (view.held + 20 < left || view.held == 0).then_some(())
        })
        .await;
        rounds += 1;
    }
    held.until_empty().await;
    assert!(rounds >= 5, "{rounds} freezes came in between");
    for line in lines {
        let numbers: Vec<_> = (0..60).map(|number: usize| number.to_string()).collect();
        assert_eq!(origin.line(line), numbers, "{line}");
    }
    assert_eq!(origin.arrivals().len(), 16 * 60, "none was sent twice");
    held.stop().await;
}
