//! Several companions on one database: what one is told, all know; and when one dies, the others go on.

use std::path::Path;

use quiesce::{barrier::Verdict, event::EventKind, windows::Phase};
use quiesce_policy::snapshot::Mode;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    command::{Serve, command, run},
    companion::{Companion, eventually},
    enforcer::Enforcer,
    postgres::{Database, PASSWORD, Postgres},
};

/// A configuration of companions that share a database and a signing key.
fn config(database: &Database, dir: &Path) -> String {
    format!("store: '{}'\npasses: {{ key_file: {}/pass.key }}\n", database.url, dir.display())
}

/// Two companions, and where their key is.
async fn two(database: &Database) -> (Companion, Companion, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let yaml = config(database, dir.path());
    let one = Companion::start_in(dir.path(), &yaml).await;
    let other = Companion::start_in(dir.path(), &yaml).await;
    (one, other, dir)
}

async fn until_live(companion: &Companion, count: u64) {
    eventually("enforcers are live", async || (companion.status().await.fleet.live == count).then_some(()))
        .await;
}

#[tokio::test]
async fn a_freeze_at_one_holds_for_enforcers_of_the_other() {
    let Some(database) = Database::new().await else { return };
    let (one, other, _dir) = two(&database).await;
    let _first = Enforcer::new(&one.url, "edge-1", "1").run();
    let _second = Enforcer::new(&other.url, "edge-2", "1").run();
    until_live(&one, 2).await;
    until_live(&other, 2).await;
    for (here, there) in [(&one, &other), (&other, &one)] {
        let window = here.freeze().await;
        // At once, whatever the other has heard by then.
        let again = there.send(Method::POST, "/v1/windows", Some(&json!({}))).await;
        assert_eq!(again.status(), 409, "{}", again.text().await.unwrap());
        for companion in [there, here] {
            let quiesced = companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
            let barrier = quiesced.quiesced.unwrap().barrier;
            assert_eq!((barrier.verdict, barrier.total), (Verdict::Proven, 2));
        }
        assert_eq!(there.thaw(&window).await.phase, Phase::Soaking);
        let next = here.freeze().await;
        assert_eq!(here.thaw(&next).await.id, next.id);
    }
    let kinds: Vec<_> = one.events().await.iter().map(|event| event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::Configured).count(), 1);
    assert_eq!(one.events().await, other.events().await);
    eventually("both publish the same", async || {
        (one.status().await.epoch == other.status().await.epoch).then_some(())
    })
    .await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_write_in_flight_anywhere_keeps_the_barrier_everywhere() {
    let Some(database) = Database::new().await else { return };
    let (one, other, _dir) = two(&database).await;
    let mut enforcer = Enforcer::new(&other.url, "edge-1", "1");
    enforcer.obey().await;
    until_live(&one, 1).await;
    let window = one.freeze().await;
    let snapshot = eventually("the freeze arrives", async || enforcer.report().await.snapshot).await;
    enforcer.apply(&snapshot);
    enforcer.request.in_flight = 2;
    enforcer.report().await;
    for companion in [&one, &other] {
        let draining = companion.watch(&window, |window| window.phase == Phase::Draining).await;
        let barrier = draining.barrier.unwrap();
        assert_eq!((barrier.verdict, barrier.in_flight), (Verdict::Pending, 2));
    }
    // The next report goes to the other companion, as behind a load balancer.
    let mut moved = Enforcer::new(&one.url, "edge-1", "1");
    moved.request = enforcer.request.clone();
    moved.request.in_flight = 0;
    moved.report().await;
    for companion in [&one, &other] {
        companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    }
    eventually("one process, whoever it talks to", async || {
        let fleet = other.fleet().await.enforcers;
        (fleet.len() == 1 && fleet[0].in_flight == 0).then_some(())
    })
    .await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_new_enforcer_of_one_is_never_missed_by_the_proof_of_the_other() {
    let Some(database) = Database::new().await else { return };
    let (one, other, _dir) = two(&database).await;
    for round in 0..10 {
        let mut newcomer = Enforcer::new(&other.url, &format!("edge-{round}"), "1");
        newcomer.request.boots_closed = false;
        let (window, answer) = tokio::join!(one.freeze(), newcomer.report());
        let snapshot = answer.snapshot.unwrap();
        if snapshot.windows.is_empty() {
            // It lets writes pass, and is on disk: nothing is proven before it has the window.
            eventually("it is waited for", async || {
                let seen = one.window(&window).await;
                assert!(seen.quiesced.is_none(), "round {round}: {seen:?}");
                let known = seen.barrier.unwrap().enforcers;
                known.iter().any(|one| one.id.as_str() == format!("edge-{round}")).then_some(())
            })
            .await;
        }
        one.thaw(&window).await;
        let gone = format!("edge-{round}");
        eventually("it is heard of everywhere", async || {
            one.fleet().await.enforcers.iter().any(|it| it.id.as_str() == gone).then_some(())
        })
        .await;
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn when_the_controller_is_killed_in_a_freeze_the_other_proves_it() {
    let Some(database) = Database::new().await else { return };
    let shared = tempfile::tempdir().unwrap();
    let yaml = config(&database, shared.path());
    let (one_dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The first to come has the lock.
    let one = Serve::start(one_dir.path(), Some(&yaml)).await;
    let log = one_dir.path().join("log");
    eventually("the first controls", async || {
        std::fs::read_to_string(&log).unwrap().contains("controls the windows").then_some(())
    })
    .await;
    let other = Serve::start(other_dir.path(), Some(&yaml)).await;
    let mut enforcer = Enforcer::new(&other.url, "edge-1", "1");
    enforcer.obey().await;
    one.api().until_live(1).await;
    let window = one.api().create(json!({})).await;
    let snapshot = eventually("the freeze arrives", async || enforcer.report().await.snapshot).await;
    enforcer.apply(&snapshot);
    enforcer.request.in_flight = 1;
    enforcer.report().await;
    one.api().until(Phase::Draining).await;
    one.kill().await;
    enforcer.request.in_flight = 0;
    enforcer.report().await;
    assert_eq!(other.api().until(Phase::Quiesced).await, window.id);
    other.api().thaw(&window).await;

    // What is shown and logged says where the state is, and not how to get at it.
    let logs = std::fs::read_to_string(other_dir.path().join("log")).unwrap();
    assert!(logs.contains("postgres://quiesce@"), "{logs}");
    assert!(!logs.contains(PASSWORD), "{logs}");
    let wrong = database.url.replace(PASSWORD, "another-secret");
    let refused = run(&mut command(&["serve", "--listen", "127.0.0.1:0", "--store", &wrong])).await;
    assert_eq!(refused.code, Some(7), "{}", refused.stderr);
    assert!(refused.stderr.contains("password authentication failed"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("another-secret"), "{}", refused.stderr);
}

#[tokio::test]
async fn when_the_database_is_restarted_nothing_is_lost_and_companions_go_on() {
    let Some(mut server) = Postgres::start().await else { return };
    let database = server.database().await;
    let (one, other, _dir) = two(&database).await;
    let mut enforcer = Enforcer::new(&other.url, "edge-1", "1");
    enforcer.obey().await;
    until_live(&one, 1).await;
    let window = one.freeze().await;
    let snapshot = eventually("the freeze arrives", async || enforcer.report().await.snapshot).await;
    enforcer.apply(&snapshot);
    enforcer.request.in_flight = 1;
    enforcer.report().await;
    other.watch(&window, |window| window.phase == Phase::Draining).await;

    server.end("INT");
    assert_eq!(one.send(Method::GET, "/readyz", None).await.status(), 503);
    let thaw = one.send(Method::POST, &format!("/v1/windows/{}/thaw", window.id), None).await;
    assert_eq!(thaw.status(), 503, "nothing is called done that is not on disk");
    assert_eq!(other.status().await.windows.len(), 1, "what is in force is told nevertheless");
    enforcer.request.in_flight = 0;
    enforcer.report().await;
    assert!(other.window(&window).await.quiesced.is_none(), "a proof that is not on disk is none");

    server.run().await;
    for companion in [&one, &other] {
        eventually("it is ready again", async || {
            (companion.send(Method::GET, "/readyz", None).await.status() == 200).then_some(())
        })
        .await;
        companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    }
    assert_eq!(one.thaw(&window).await.phase, Phase::Soaking);
    let next = other.freeze().await;
    one.watch(&next, |window| window.started_at.is_some()).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn the_configuration_of_the_last_one_started_is_in_force_everywhere() {
    let Some(database) = Database::new().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let yaml = config(&database, dir.path());
    let one = Companion::start_in(dir.path(), &yaml).await;
    let mut enforcer = Enforcer::new(&one.url, "edge-1", "1");
    enforcer.obey().await;
    let other = Companion::start_in(dir.path(), &format!("{yaml}mode: observe\n")).await;
    let snapshot =
        eventually("it is published at the first", async || enforcer.report().await.snapshot).await;
    assert_eq!((snapshot.mode, snapshot.version), (Mode::Observe, other.status().await.epoch));
    let window = one.freeze().await;
    assert_eq!(one.window(&window).await.barrier.unwrap().verdict, Verdict::Unproven);
    one.thaw(&window).await;
    one.stop().await;
    other.stop().await;
}
