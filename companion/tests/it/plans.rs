//! Windows that recur: each occurrence is issued once, ahead of its time, whoever restarts.

use std::path::Path;

use jiff::{ToSpan as _, Zoned, tz::TimeZone};
use quiesce::{
    event::{Event, EventKind},
    plans::PlanView,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    command::Serve,
    companion::{Companion, eventually},
    postgres::Database,
};

/// A plan of every day from in `hours` on, in a place that changes its clocks.
fn daily(hours: i64, host: &str) -> Value {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let first: Zoned = quiesce_now().to_zoned(zone).checked_add(hours.hours()).unwrap();
    json!({
        "rule": "FREQ=DAILY",
        "starts_at": first.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        "zone": "Europe/Berlin",
        "window": { "duration_ms": 2_700_000, "reason": "reindex", "scope": { "hosts": [host] } },
    })
}

fn quiesce_now() -> jiff::Timestamp {
    quiesce::clock::now().to_string().parse().unwrap()
}

async fn add(companion: &Companion, plan: &Value) -> PlanView {
    let response = companion.send(Method::POST, "/v1/plans", Some(plan)).await;
    assert_eq!(response.status(), 201);
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

async fn issued(companion: &Companion, plan: &PlanView, count: usize) -> PlanView {
    eventually("windows are issued", async || {
        let seen: PlanView = companion.get(&format!("/v1/plans/{}", plan.id)).await;
        (seen.windows.len() == count).then_some(seen)
    })
    .await
}

fn of_kind(events: &[Event], kind: EventKind) -> Vec<&Event> {
    events.iter().filter(|event| event.kind == kind).collect()
}

async fn each_occurrence_is_issued_once(dir: &Path, yaml: &str) {
    let companion = Companion::start_in(dir, yaml).await;
    let plan = add(&companion, &daily(3, "a.example.com")).await;
    let seen = issued(&companion, &plan, 2).await;
    assert!(plan.upcoming[0].ends_with("+01:00") || plan.upcoming[0].ends_with("+02:00"), "{plan:?}");
    let starts: Vec<_> = seen.windows.iter().map(|it| it.starts_at).collect();
    let planned: Vec<_> = plan.upcoming.iter().map(|at| at.parse().map(instant).unwrap()).collect();
    assert_eq!(starts, planned[..2]);
    // Another plan that would be in its way loses the occurrences, and the log says so.
    let late = add(&companion, &daily(3, "*.example.com")).await;
    let events = eventually("what overlaps is skipped", async || {
        let events = companion.events().await;
        (of_kind(&events, EventKind::OccurrenceSkipped).len() == 2).then_some(events)
    })
    .await;
    for skipped in of_kind(&events, EventKind::OccurrenceSkipped) {
        assert_eq!(skipped.evidence["plan"], late.id.as_str());
        assert!(skipped.evidence["because"].as_str().unwrap().contains("overlap"), "{skipped:?}");
    }
    companion.stop().await;

    let companion = Companion::start_in(dir, yaml).await;
    // Whoever adds a plan has the controller look at all.
    let third = add(&companion, &daily(5, "b.test")).await;
    issued(&companion, &third, 2).await;
    let events = companion.events().await;
    assert_eq!(of_kind(&events, EventKind::Scheduled).len(), 4, "nothing is issued again: {events:?}");
    assert_eq!(of_kind(&events, EventKind::OccurrenceSkipped).len(), 2, "{events:?}");
    companion.stop().await;
}

fn instant(at: jiff::Timestamp) -> quiesce_policy::time::Timestamp {
    quiesce_policy::time::Timestamp::from_unix_ms(u64::try_from(at.as_millisecond()).unwrap())
}

#[tokio::test]
async fn each_occurrence_is_issued_once_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    each_occurrence_is_issued_once(dir.path(), "{}").await;
}

#[tokio::test]
async fn each_occurrence_is_issued_once_by_companions_on_one_database() {
    let Some(database) = Database::new().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let yaml =
        format!("store: '{}'\npasses: {{ key_file: {}/pass.key }}\n", database.url, dir.path().display());
    let other = Companion::start_in(dir.path(), &yaml).await;
    each_occurrence_is_issued_once(dir.path(), &yaml).await;
    other.stop().await;
}

#[tokio::test]
async fn occurrences_are_taken_out_and_plans_removed() {
    let (companion, _dir) = Companion::start("").await;
    let plan = add(&companion, &daily(100, "a.example.com")).await;
    let path = format!("/v1/plans/{}", plan.id);
    let second = json!({ "starts_at": plan.upcoming[1].parse::<jiff::Timestamp>().unwrap().to_string() });
    let response = companion.send(Method::POST, &format!("{path}/skip"), Some(&second)).await;
    assert_eq!(response.status(), 200);
    let after: PlanView = companion.get(&path).await;
    assert_eq!(
        (after.skipped.len(), &after.upcoming[..2]),
        (1, &[plan.upcoming[0].clone(), plan.upcoming[2].clone()][..])
    );
    assert!(after.windows.is_empty(), "it is days away");
    let between = plan.upcoming[2].parse::<jiff::Timestamp>().unwrap() + 1.second();
    let never = json!({ "starts_at": between.to_string() });
    let response = companion.send(Method::POST, &format!("{path}/skip"), Some(&never)).await;
    assert_eq!(response.status(), 422);
    assert_eq!(companion.send(Method::DELETE, &path, None).await.status(), 200);
    assert_eq!(companion.send(Method::GET, &path, None).await.status(), 404);
    let events = companion.events().await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind).skip(1).collect();
    assert_eq!(kinds, [EventKind::PlanAdded, EventKind::OccurrenceSkipped, EventKind::PlanRemoved]);
    companion.stop().await;
}

#[tokio::test]
async fn bad_plans_are_refused_with_their_place() {
    let (companion, _dir) = Companion::start("").await;
    for (field, value, place) in [
        ("/rule", json!("FREQ=OFTEN"), "rule"),
        ("/rule", json!("FREQ=DAILY;UNTIL=20200101T000000Z"), "rule"),
        ("/rule", json!("FREQ=DAILY;BYHOUR=1,2;BYMINUTE=0,30"), "rule"),
        ("/zone", json!("Mars/Olympus"), "zone"),
        ("/starts_at", json!("2026-12-06T02:00+01:00[Europe/Berlin]Z"), "starts_at"),
        ("/window/duration_ms", json!(0), "window.duration_ms"),
        ("/window/reason", json!(""), "window.reason"),
    ] {
        let mut plan = daily(3, "a.example.com");
        *plan.pointer_mut(field).unwrap() = value;
        let response = companion.send(Method::POST, "/v1/plans", Some(&plan)).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status.as_u16(), problem["place"].as_str()), (422, Some(place)), "{plan} {problem}");
    }
    assert!(companion.events().await.iter().all(|event| event.kind == EventKind::Configured));
    companion.stop().await;
}

#[tokio::test]
async fn windows_can_be_planned_to_recur() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), None).await;
    let add = ["plan", "add", "--at", "2999-03-30T02:30", "--zone", "Europe/Berlin", "--for", "45m"];
    let bad = serve.run(&[&add[..], &["--rule", "FREQ=HOURLY"]].concat()).await;
    assert_eq!(bad.code, Some(3), "{bad:?}");
    assert!(bad.stderr.contains("daily at the most") && bad.stderr.contains("RFC 5545"), "{bad:?}");
    let added = serve.run(&[&add[..], &["--rule", "FREQ=DAILY", "--scope", "host=a.com"]].concat()).await;
    assert!(added.stdout.contains("will freeze writes where host=a.com"), "{added:?}");
    let times = ["2999-03-30T02:30:00+01:00", "2999-03-31T03:30:00+02:00", "2999-04-01T02:30:00+02:00"];
    assert!(
        times.iter().all(|time| added.stdout.contains(time)),
        "across the change of the clock: {added:?}"
    );
    let id = added.stdout.split_whitespace().nth(1).unwrap();
    let skipped = serve.run(&["plan", "skip", id, "--at", times[1]]).await;
    assert!(
        skipped.stdout.contains("2999-03-31T01:30:00.000Z") && !skipped.stdout.contains(times[1]),
        "{skipped:?}"
    );
    assert!(serve.run(&["plan", "list"]).await.stdout.contains(times[0]));
    let removed = serve.run(&["plan", "remove", id]).await;
    assert!(removed.stdout.starts_with(&format!("removed plan {id}")), "{removed:?}");
    assert_eq!(serve.run(&["plan", "show", id]).await.code, Some(4));
    assert_eq!(serve.run(&["plan", "list"]).await.stdout, "nothing recurs\n");
}
