//! Companion and Envoy killed, the disk full: no accepted intent is lost, none has two effects, and every
//! line keeps its order.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;

use std::time::Duration;

use common::intents::{Answer, Chance, QUEUED_ORDERS, Sent, Writers, assert_effects};
use quiesce_integration::{
    assert_eventually,
    stack::{Stack, StackOptions},
};
use serde_json::Value;

const FREEZE: [&str; 6] = ["freeze", "--for", "30m", "--reason", "moving the orders", "--wait"];
/// Kills while intents are taken in.
const KILLS: u32 = 35;
/// Kills while they are replayed.
const KILLS_IN_BACKFILL: u32 = 15;
/// Kills of Envoy while intents are taken in.
const ENVOY_KILLS: u32 = 5;
/// Writers at a time, each with a line of its own.
const WRITERS: u32 = 8;
/// All that is held is replayed in this time.
const BACKFILL: Duration = Duration::from_secs(120);

async fn frozen() -> Stack {
    let options = StackOptions { companion: QUEUED_ORDERS.to_owned(), ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    stack.companion.run(&FREEZE).await.unwrap();
    stack
}

/// Whether nothing is left to be replayed.
async fn is_over(stack: &Stack) -> bool {
    for state in ["held", "replaying"] {
        let listed: Value = stack.companion.json(&["intents", "list", "--state", state]).await.unwrap();
        if !listed["intents"].as_array().unwrap().is_empty() {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn the_companion_killed_again_and_again() {
    let mut chance = Chance::new();
    let mut stack = frozen().await;
    let writers = Writers::start(stack.envoy().addr(), 0..WRITERS);
    for _ in 0..KILLS {
        tokio::time::sleep(chance.up_to(Duration::from_millis(150))).await;
        stack.companion.kill();
        stack.companion.restart().await.unwrap();
    }
    let sent = writers.stop().await;
    assert!(sent.count(Answer::Receipt) > 100, "{chance}: {sent}");
    stack.companion.run(&["thaw"]).await.unwrap();
    for _ in 0..KILLS_IN_BACKFILL {
        tokio::time::sleep(chance.up_to(Duration::from_millis(150))).await;
        stack.companion.kill();
        stack.companion.restart().await.unwrap();
    }
    assert_eventually!(is_over(&stack).await, within: BACKFILL, "everything is replayed");
    assert_effects(&sent, &stack.origin, &chance);
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_killed_again_and_again() {
    let mut chance = Chance::new();
    let mut stack = frozen().await;
    let mut sent = Sent::default();
    for round in 0..ENVOY_KILLS {
        let writers = Writers::start(stack.envoy().addr(), round * WRITERS..(round + 1) * WRITERS);
        tokio::time::sleep(chance.up_to(Duration::from_millis(400))).await;
        stack.envoy_mut().kill();
        sent.extend(writers.stop().await);
        stack.envoy_mut().restart().await.unwrap();
        stack.until_synced().await.unwrap();
    }
    stack.companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(is_over(&stack).await, within: BACKFILL, "everything is replayed");
    assert_effects(&sent, &stack.origin, &chance);
}
