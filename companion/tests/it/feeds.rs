//! The feeds, as the programs read them that people subscribe with.

use icalendar::{Calendar, CalendarDateTime, Component as _, DatePerhapsTime, Event, EventStatus};
use jiff::{ToSpan as _, tz::TimeZone};
use quiesce::{event::EventKind, plans::PlanView, public::WindowState, windows::Phase};
use quiesce_policy::time::Timestamp;
use reqwest::Method;
use serde_json::json;

use crate::{
    companion::{Companion, eventually},
    enforcer::Enforcer,
};

const YAML: &str = "public: { title: \"Shop; status, & more\" }\nstatus_page: https://status.example.com/status\n\
                    backfill: { soak: 1ms }\nwindows: { announce_before: 1h }\n";

async fn text(companion: &Companion, path: &str) -> String {
    companion.send(Method::GET, path, None).await.text().await.unwrap()
}

async fn calendar(companion: &Companion) -> Vec<Event> {
    let calendar: Calendar = text(companion, "/status.ics").await.parse().unwrap();
    calendar.components.iter().filter_map(|component| component.as_event().cloned()).collect()
}

fn utc(at: Option<DatePerhapsTime>) -> Option<jiff::Timestamp> {
    match at? {
        DatePerhapsTime::DateTime(CalendarDateTime::Utc(at)) => {
            Some(jiff::Timestamp::from_second(at.timestamp()).unwrap())
        }
        other => panic!("{other:?} is no exact instant"),
    }
}

fn second(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(i64::try_from(at.unix_ms() / 1000).unwrap()).unwrap()
}

fn from_now(hours: i64) -> jiff::Timestamp {
    quiesce::clock::now().to_string().parse::<jiff::Timestamp>().unwrap() + hours.hours()
}

#[tokio::test]
async fn what_happens_to_a_window_is_in_both_feeds() {
    let (companion, _dir) = Companion::start(YAML).await;
    let _enforcer = Enforcer::new(&companion.url, "edge-1", "1").run();
    eventually("it is live", async || (companion.status().await.fleet.live == 1).then_some(())).await;
    let reason = "reindex; \"all\", <b>and</b> more\\";
    let window = companion
        .create(
            json!({ "duration_ms": 600_000, "reason": reason, "contact": "#sre", "rollback": "old index" }),
        )
        .await;
    companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    companion.act(&window, "thaw").await;
    let told = eventually("it is told that it is over", async || {
        let feed = feed_rs::parser::parse(text(&companion, "/status.atom").await.as_bytes()).unwrap();
        (feed.entries.len() >= 4).then_some(feed)
    })
    .await;
    assert_eq!(told.title.unwrap().content, "Shop; status, & more");
    assert_eq!(told.links[0].href, "https://status.example.com/status");
    let titles: Vec<_> = told.entries.iter().map(|entry| entry.title.clone().unwrap().content).collect();
    let steps = ["it is over", "writes are open again", "the work is under way", "writes are paused"];
    assert_eq!(titles, steps.map(|step| format!("{reason}: {step}")));
    let events = companion.events().await;
    let started = events.iter().find(|event| event.kind == EventKind::Started).unwrap();
    let first = told.entries.last().unwrap();
    let published = first.published.unwrap().timestamp_millis();
    assert_eq!(u64::try_from(published).unwrap(), started.at.unix_ms(), "the time in the log");
    let words = first.content.clone().unwrap().body.unwrap();
    assert!(words.contains("Contact: #sre") && words.contains("If the work fails: old index"), "{words}");
    let ids: std::collections::BTreeSet<_> = told.entries.iter().map(|entry| &entry.id).collect();
    assert_eq!(ids.len(), told.entries.len());

    let events = calendar(&companion).await;
    let [event] = &*events else { panic!("{events:?}") };
    assert_eq!(event.get_summary(), Some(reason));
    assert_eq!(event.get_uid(), Some(&*format!("{}@quiesce", window.id)));
    assert_eq!(event.get_status(), Some(EventStatus::Confirmed));
    assert_eq!(utc(event.get_start()), Some(second(window.starts_at)));
    companion.stop().await;
}

#[tokio::test]
async fn what_recurs_is_in_the_calendar_across_changes_of_the_clock() {
    let (companion, _dir) = Companion::start(YAML).await;
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let first = from_now(3).to_zoned(zone.clone());
    let plan = json!({
        "rule": "FREQ=WEEKLY;COUNT=30",
        "starts_at": first.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        "zone": "Europe/Berlin",
        "window": { "reason": "weekly reindex" },
    });
    let response = companion.send(Method::POST, "/v1/plans", Some(&plan)).await;
    let plan: PlanView = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let issued = eventually("the first is issued", async || {
        let plan: PlanView = companion.get(&format!("/v1/plans/{}", plan.id)).await;
        plan.windows.first().cloned()
    })
    .await;
    let events = eventually("it is in the calendar", async || {
        let events = calendar(&companion).await;
        let uid = format!("{}@quiesce", issued.window);
        events.iter().any(|event| event.get_uid() == Some(&uid)).then_some(events)
    })
    .await;
    assert_eq!(events.len(), 27, "the one that is issued, and half a year of others");
    let mut starts: Vec<_> = events.iter().map(|event| utc(event.get_start()).unwrap()).collect();
    starts.sort();
    // By another library than the one that the companion reads rules with.
    let by_the_clock: Vec<_> = (0..27)
        .map(|week| first.checked_add(week.weeks()).unwrap())
        .map(|at| jiff::Timestamp::from_second(at.timestamp().as_second()).unwrap())
        .collect();
    assert_eq!(starts, by_the_clock);
    let offsets: std::collections::BTreeSet<_> = starts.iter().map(|at| zone.to_offset(*at)).collect();
    assert_eq!(offsets.len(), 2, "half a year has a change of the clock");
    for event in &events {
        assert_eq!(event.get_status(), Some(EventStatus::Tentative), "none is announced");
        assert_eq!(event.get_summary(), Some("weekly reindex"));
        assert_eq!(
            utc(event.get_end()).unwrap() - utc(event.get_start()).unwrap(),
            3600.seconds().fieldwise()
        );
    }
    let uids: std::collections::BTreeSet<_> = events.iter().map(|event| event.get_uid().unwrap()).collect();
    assert_eq!(uids.len(), events.len());
    let page = text(&companion, "/status").await;
    assert!(!page.contains("weekly reindex"), "the page tells of it once it is announced");

    let skipped = json!({ "starts_at": plan.upcoming[1].parse::<jiff::Timestamp>().unwrap().to_string() });
    companion.send(Method::POST, &format!("/v1/plans/{}/skip", plan.id), Some(&skipped)).await;
    let cancel = format!("/v1/windows/{}/cancel", issued.window);
    assert_eq!(companion.send(Method::POST, &cancel, None).await.status(), 200);
    eventually("what was taken back is not in the calendar", async || {
        let events = calendar(&companion).await;
        let has = |at: jiff::Timestamp| events.iter().any(|event| utc(event.get_start()) == Some(at));
        (!has(by_the_clock[0]) && !has(by_the_clock[1]) && has(by_the_clock[2])).then_some(())
    })
    .await;
    companion.stop().await;
}

#[tokio::test]
async fn what_is_announced_is_confirmed_and_what_is_cancelled_says_so() {
    let (companion, _dir) = Companion::start(YAML).await;
    let starts_at = from_now(0) + 30.minutes();
    let window = companion.create(json!({ "starts_at": starts_at.to_string(), "reason": "reindex" })).await;
    let status = async || calendar(&companion).await.first().and_then(Event::get_status);
    eventually("it is announced", async || (status().await == Some(EventStatus::Confirmed)).then_some(()))
        .await;
    companion.act(&window, "cancel").await;
    eventually("it is cancelled", async || (status().await == Some(EventStatus::Cancelled)).then_some(()))
        .await;
    let view: serde_json::Value = serde_json::from_str(&text(&companion, "/status.json").await).unwrap();
    assert_eq!(view["windows"][0]["state"], WindowState::Cancelled.as_str());
    companion.stop().await;
}
