//! Companion and Envoy killed, the disk full: no accepted intent is lost, none has two effects, and every
//! line keeps its order.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use common::intents::{Answer, Chance, QUEUED_ORDERS, Sent, Writers, assert_effects, is_over};
use quiesce_integration::{
    assert_eventually,
    companion::Companion,
    skip::skip,
    stack::{Stack, StackOptions},
};

const FREEZE: [&str; 6] = ["freeze", "--for", "30m", "--reason", "moving the orders", "--wait"];
/// Kills while intents are taken in.
const KILLS: u32 = 35;
/// Kills while they are replayed.
const KILLS_IN_BACKFILL: u32 = 15;
/// Kills of Envoy while intents are taken in.
const ENVOY_KILLS: u32 = 5;
/// Writers at a time, each with a line of its own.
const WRITERS: u32 = 8;
/// How often the disk is full while intents are taken in.
const FULL_DISKS: u32 = 5;
/// All that the companion may have on its small disk; bytes.
const DISK_BYTES: u64 = 16 << 20;
/// All that is held is replayed in this time.
const BACKFILL: Duration = Duration::from_secs(120);

async fn frozen() -> Stack {
    frozen_with(StackOptions { companion: QUEUED_ORDERS.to_owned(), ..StackOptions::default() }).await
}

async fn frozen_with(options: StackOptions) -> Stack {
    let stack = Stack::start(options).await.unwrap();
    stack.companion.run(&FREEZE).await.unwrap();
    stack
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
    assert_eventually!(is_over(&stack.companion).await, within: BACKFILL, "everything is replayed");
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
    assert_eventually!(is_over(&stack.companion).await, within: BACKFILL, "everything is replayed");
    assert_effects(&sent, &stack.origin, &chance);
}

/// Takes all the room there is, until it is deleted.
fn fill(disk: &Path) -> PathBuf {
    let file = disk.join("others");
    let mut others = File::create(&file).unwrap();
    let full = loop {
        if let Err(error) = others.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_full_again_and_again() {
    if let Err(reason) = Companion::can_have_small_disk() {
        return skip(&format!("{reason:#}"));
    }
    let mut chance = Chance::new();
    let options = StackOptions {
        companion: QUEUED_ORDERS.to_owned(),
        disk_bytes: Some(DISK_BYTES),
        ..StackOptions::default()
    };
    let stack = frozen_with(options).await;
    let writers = Writers::start(stack.envoy().addr(), 0..WRITERS);
    for _ in 0..FULL_DISKS {
        tokio::time::sleep(chance.up_to(Duration::from_millis(150))).await;
        let others = fill(&stack.companion.small_disk());
        // The first is told so; with all of them nothing is taken in any more.
        writers.until_more(WRITERS as usize * 2, Answer::Unknown).await;
        fs::remove_file(others).unwrap();
        writers.until_more(WRITERS as usize, Answer::Receipt).await;
    }
    let sent = writers.stop().await;
    assert!(stack.companion.log().contains("disk is full"), "it says why");
    stack.companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(is_over(&stack.companion).await, within: BACKFILL, "everything is replayed");
    assert_effects(&sent, &stack.origin, &chance);
}
