//! What is sent, in what order, how often, and what becomes of it.

use std::time::Duration;

use quiesce::{event::EventKind, intents::IntentState};
use quiesce_policy::pass::PassKeys;

use super::{
    held::{Held, fill, quick, tamper},
    origin::{Behaviour, Origin},
};
use crate::companion::eventually;

fn numbers(upto: usize) -> Vec<String> {
    (0..upto).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn each_write_arrives_as_it_was_received_with_what_names_it() {
    let origin = Origin::start().await;
    let held = Held::start(&quick(&origin.url, "")).await;
    let id = held.accept("/orders", 7, "gone").await;
    let done = held.until_state(&id, IntentState::Done).await;
    let arrival = origin.arrivals().remove(0);
    assert_eq!((arrival.method.as_str(), arrival.path.as_str()), ("POST", "/orders?n=7"));
    assert_eq!(arrival.body, "7");
    assert_eq!(arrival.header("host"), "shop.example.com");
    assert_eq!(arrival.header("content-type"), "text/plain");
    assert_eq!(arrival.header("idempotency-key"), "\"/orders-7\"");
    assert_eq!(arrival.header("quiesce-intent"), id.as_str());
    assert_eq!(arrival.header("quiesce-received-at"), done.received_at.to_string());
    let published = held.service.published();
    let snapshot: quiesce_policy::snapshot::Snapshot = serde_json::from_slice(&published.body).unwrap();
    let claims = PassKeys::read(&snapshot.exemptions.pass_keys)
        .unwrap()
        .verify(arrival.header("quiesce-pass").as_bytes(), &"any".into(), quiesce::clock::now())
        .expect("a pass that enforcers honour");
    assert_eq!((claims.sub.as_str(), claims.win), ("backfill", None));
    let mut names: Vec<_> = arrival.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "quiesce-intent",
        "quiesce-pass",
        "quiesce-received-at",
    ];
    assert_eq!(names, expected, "and nothing that was not received");

    let outcome = done.outcome.unwrap();
    assert_eq!((outcome.status, done.attempts), (Some(201), 1));
    let kept = [("content-type", "text/plain; charset=utf-8"), ("etag", "\"1\"")];
    assert_eq!(outcome.headers, kept.map(|(name, value)| (name.to_owned(), value.to_owned())));
    held.stop().await;
}

#[tokio::test]
async fn straight_to_an_origin_no_pass_is_shown() {
    let origin = Origin::start().await;
    let held = Held::start(&quick(&origin.url, "pass: false")).await;
    held.accept("/orders", 1, "gone").await;
    held.until_empty().await;
    assert!(!origin.arrivals()[0].headers.contains_key("quiesce-pass"));
    held.stop().await;
}

#[tokio::test]
async fn lines_go_on_side_by_side_and_each_in_order() {
    let mut count = 0_u64;
    let origin = Origin::with(move |_, _| {
        count += 1;
        // Uneven, so that lines overtake each other.
        Behaviour::slow(count * 7 % 5)
    })
    .await;
    let lines = ["/a", "/b", "/c", "/d", "/e", "/f"];
    let held = Held::start_with(&quick(&origin.url, "concurrency: 4"), &lines, 25).await;
    held.until_empty().await;
    for line in lines {
        assert_eq!(origin.line(line), numbers(25), "{line}");
    }
    origin.assert_lines_were_kept();
    assert_eq!(origin.arrivals().len(), 150, "none was sent twice");
    assert_eq!(origin.most_running(), 4, "as many at once as allowed, and no more");
    let finished = held.until_event(EventKind::BackfillFinished).await;
    assert_eq!(finished.evidence["tally"]["done"], 150);
    held.stop().await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    let origin = Origin::start().await;
    let lines: Vec<String> = (0..30).map(|line| format!("/{line}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let held = Held::start_with(&quick(&origin.url, "rate_per_s: 100"), &lines, 1).await;
    held.until_empty().await;
    let arrivals = origin.arrivals();
    let took = arrivals.last().unwrap().at - arrivals[0].at;
    assert_eq!(arrivals.len(), 30);
    assert!(took >= Duration::from_millis(270), "30 of 100 a second came within {took:?}");
    held.stop().await;
}

#[tokio::test]
async fn a_write_that_fails_is_tried_again_and_its_line_waits() {
    let origin = Origin::with(|arrival, seen| match (arrival.body.as_ref(), seen) {
        (b"1", 0) => Behaviour::answers(500),
        (b"1", 1) => Behaviour::asks_to_wait(429, "1"),
        (b"1", 2) => Behaviour::asks_to_wait(503, "0"),
        (b"2", 0) => Behaviour::takes_it_and_says_502(),
        _ => Behaviour::takes(),
    })
    .await;
    let held = Held::start_with(&quick(&origin.url, ""), &["/a"], 4).await;
    held.until_empty().await;
    assert_eq!(origin.line("/a"), numbers(4), "in order, and each with one effect");
    let arrivals = origin.arrivals();
    let bodies: Vec<_> = arrivals.iter().map(|one| String::from_utf8_lossy(&one.body)).collect();
    assert_eq!(bodies, ["0", "1", "1", "1", "1", "2", "2", "3"]);
    assert!(arrivals[3].at - arrivals[2].at >= Duration::from_secs(1), "Retry-After is honoured");
    let records = held.intents().await;
    let attempts: Vec<_> = records.iter().map(|record| record.attempts).collect();
    assert_eq!(attempts, [1, 4, 2, 1]);
    assert_eq!(records[1].outcome.as_ref().unwrap().failures, 1, "only the 500 was a failure");
    held.stop().await;
}

#[tokio::test]
async fn a_refusal_is_final_and_the_line_goes_on() {
    let origin = Origin::with(|arrival, _| match arrival.body.as_ref() {
        b"0" => Behaviour::answers(422),
        b"1" => Behaviour::answers(303),
        _ => Behaviour::takes(),
    })
    .await;
    let held = Held::start_with(&quick(&origin.url, ""), &["/a"], 3).await;
    held.until_empty().await;
    let states: Vec<_> = held
        .intents()
        .await
        .iter()
        .map(|record| (record.state, record.stops_line, record.outcome.as_ref().unwrap().status))
        .collect();
    let failed = |status| (IntentState::Failed, false, Some(status));
    assert_eq!(states, [failed(422), failed(303), (IntentState::Done, false, Some(201))]);
    assert_eq!(origin.arrivals().len(), 3);
    held.stop().await;
}

#[tokio::test]
async fn a_line_that_fails_for_good_stops_only_itself() {
    let origin = Origin::with(|arrival, _| match arrival.line() {
        "/bad" => Behaviour::answers(500),
        _ => Behaviour::takes(),
    })
    .await;
    let held = Held::start_with(&quick(&origin.url, "attempts: 3"), &["/bad", "/good"], 5).await;
    held.until_event(EventKind::BackfillFinished).await;
    assert_eq!(origin.line("/good"), numbers(5));
    let bad: Vec<_> = held.intents().await.into_iter().filter(|record| record.line == "/bad").collect();
    assert_eq!((bad[0].state, bad[0].stops_line, bad[0].attempts), (IntentState::Failed, true, 3));
    let note = bad[0].outcome.as_ref().unwrap().note.clone().unwrap();
    assert!(note.contains("failed 3 times"), "{note}");
    assert!(bad[1..].iter().all(|record| record.state == IntentState::Held && record.attempts == 0));
    let tried = origin.arrivals().iter().filter(|arrival| arrival.line() == "/bad").count();
    assert_eq!(tried, 3);
    assert_eq!(held.view().await.phase.as_str(), "stopped");
    held.stop().await;
}

#[tokio::test]
async fn silence_is_a_failure() {
    let origin =
        Origin::with(|_, seen| if seen == 0 { Behaviour::slow(60_000) } else { Behaviour::takes() }).await;
    let held = Held::start(&quick(&origin.url, "").replace("timeout: 5s", "timeout: 200ms")).await;
    let id = held.accept("/a", 0, "gone").await;
    let done = held.until_state(&id, IntentState::Done).await;
    assert_eq!((done.attempts, done.outcome.unwrap().failures), (2, 1));
    held.stop().await;
}

#[tokio::test]
async fn what_an_enforcer_holds_once_more_is_not_taken_for_done() {
    let origin = Origin::with(|_, seen| {
        let receipt = "/.well-known/maintenance/intents/01abc";
        if seen < 2 {
            Behaviour { instead: Some((202, "location", receipt)), ..Behaviour::default() }
        } else {
            Behaviour::takes()
        }
    })
    .await;
    let held = Held::start(&quick(&origin.url, "")).await;
    let id = held.accept("/a", 0, "gone").await;
    let done = held.until_state(&id, IntentState::Done).await;
    assert_eq!((done.attempts, done.outcome.unwrap().status), (3, Some(201)));
    held.stop().await;
}

#[tokio::test]
async fn a_run_of_failures_pauses_everything_and_says_so() {
    let origin = Origin::with(|_, _| Behaviour::answers(502)).await;
    let lines: Vec<String> = (0..40).map(|line| format!("/{line}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let yaml = quick(&origin.url, "breaker: 5, concurrency: 2, attempts: 1000");
    let held = Held::start_with(&yaml, &lines, 1).await;
    let event = held.until_event(EventKind::BackfillPaused).await;
    assert_eq!(event.who, "companion");
    let reason = event.evidence["reason"].as_str().unwrap();
    assert_eq!(reason, "5 lines in a row have failed, the last one with: 502 Bad Gateway");
    let view = held.view().await;
    assert_eq!((view.phase.as_str(), view.paused.unwrap().by.as_str()), ("paused", "companion"));
    eventually("what was claimed is given back", async || {
        let view = held.view().await;
        (view.replaying == 0 && view.held == 40).then_some(())
    })
    .await;
    let stopped_at = origin.arrivals().len();
    assert!(stopped_at < 12, "{stopped_at} were sent");

    origin.now_does(|_, _| Behaviour::takes());
    assert_eq!(held.service.resume_backfill(super::held::ann()).await.unwrap().paused, None);
    held.until_empty().await;
    assert_eq!(origin.effects(), 40);
    held.stop().await;
}

#[tokio::test]
async fn a_ledger_that_fails_for_a_while_is_waited_for() {
    let origin = Origin::start().await;
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &["/a", "/b", "/c"], 2).await;
    tamper(dir.path(), "ALTER TABLE intent_payloads RENAME COLUMN sealed_by TO elsewhere").await;
    let held = Held::start_in(dir, &quick(&origin.url, "")).await;
    held.until_event(EventKind::BackfillStarted).await;
    eventually("what could not be read is given back", async || {
        let view = held.view().await;
        (view.replaying == 0 && view.held == 6).then_some(())
    })
    .await;
    assert_eq!(held.view().await.paused, None, "nobody has to resume it");
    held.tamper("ALTER TABLE intent_payloads RENAME COLUMN elsewhere TO sealed_by").await;
    held.until_empty().await;
    assert_eq!((origin.effects(), origin.arrivals().len()), (6, 6));
    held.stop().await;
}
