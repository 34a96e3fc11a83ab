//! Companions that are killed in the middle of a backfill: the next one goes on, with the same keys.

use std::time::Duration;

use quiesce::{backfill::view::BackfillView, windows::Phase};
use serde_json::json;

use super::{
    held::{fill, quick},
    origin::{Behaviour, Origin},
};
use crate::{
    command::Serve,
    companion::{Companion, eventually, http},
};

const LINES: [&str; 8] = ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"];

async fn backfill(serve: &Serve) -> Option<BackfillView> {
    http().get(format!("{}/v1/backfill", serve.url)).send().await.ok()?.json().await.ok()
}

#[tokio::test]
async fn killed_again_and_again_each_write_has_one_effect_in_order() {
    let mut count = 0_u64;
    let origin = Origin::with(move |_, _| {
        count += 1;
        match count % 23 {
            7 => Behaviour::takes_it_and_says_502(),
            13 => Behaviour::answers(500),
            n => Behaviour::slow(n % 4),
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &LINES, 40).await;
    let yaml = quick(&origin.url, "concurrency: 4, attempts: 1000, breaker: 1000");
    let mut kills = 0;
    loop {
        let serve = Serve::start(dir.path(), Some(&yaml)).await;
        let before = origin.effects();
        // After some progress, in the midst of whatever it does then.
        eventually("some are replayed, or all are", async || {
            let all = origin.effects() == LINES.len() * 40;
            (all || origin.effects() >= before + 17 + kills).then_some(())
        })
        .await;
        if origin.effects() == LINES.len() * 40 {
            eventually("all is concluded", async || {
                let view = backfill(&serve).await?;
                (view.held + view.replaying == 0).then_some(())
            })
            .await;
            serve.kill().await;
            break;
        }
        serve.kill().await;
        kills += 1;
    }
    assert!(kills >= 5, "killed {kills} times");
    let numbers: Vec<_> = (0..40).map(|number: usize| number.to_string()).collect();
    for line in LINES {
        assert_eq!(origin.line(line), numbers, "{line}");
    }
    // Each intent went out under one key, whoever sent it.
    let mut keys: Vec<_> = origin
        .arrivals()
        .iter()
        .map(|one| (one.header("quiesce-intent").to_owned(), one.header("idempotency-key").to_owned()))
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), LINES.len() * 40);
}

#[tokio::test]
async fn a_companion_that_goes_down_lets_its_replays_end() {
    let origin = Origin::with(|_, _| Behaviour::slow(400)).await;
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &["/a", "/b"], 2).await;
    let companion = Companion::start_in(dir.path(), &quick(&origin.url, "")).await;
    eventually("two are running", async || (origin.running() == 2).then_some(())).await;
    companion.stop().await;
    assert_eq!((origin.running(), origin.effects()), (0, 2));
    let companion = Companion::start_in(dir.path(), &quick(&origin.url, "")).await;
    eventually("the rest is replayed", async || (origin.effects() == 4).then_some(())).await;
    companion.stop().await;
    assert_eq!(origin.arrivals().len(), 4, "none was sent twice");
}

#[tokio::test]
async fn what_a_killed_companion_was_sending_is_waited_for() {
    let origin = Origin::with(|_, _| Behaviour::slow(1_000)).await;
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &["/a"], 2).await;
    let yaml = quick(&origin.url, "").replace("timeout: 5s", "timeout: 2s");
    let serve = Serve::start(dir.path(), Some(&yaml)).await;
    eventually("one is running", async || (origin.running() == 1).then_some(())).await;
    serve.kill().await;
    // Its answer is due within two seconds of the start of the next companion, if it was sent at all.
    let serve = Serve::start(dir.path(), Some(&format!("{yaml}\nmode: enforce"))).await;
    let window = serve.api().create(json!({ "expect": 0 })).await;
    let barrier = window.barrier.unwrap();
    assert!(barrier.replays >= 1, "{barrier:?}");
    assert!(
        barrier.problems.iter().any(|it| it.message.contains("on the way when a companion stopped")),
        "{barrier:?}"
    );
    let began = std::time::Instant::now();
    serve.api().until(Phase::Quiesced).await;
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    serve.kill().await;
}
