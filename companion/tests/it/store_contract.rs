//! What every store does, held against the embedded one and a PostgreSQL.

use std::sync::Arc;

use quiesce::{
    event::{Event, EventKind},
    fleet::FleetRecord,
    plans::{PlanId, PlanRecord},
    store::{Change, Committed, Configured, Location, Openness, PostgresStore, SqliteStore, Store},
    windows::WindowRecord,
};
use quiesce_policy::{
    snapshot::{Epoch, RefusalStatus, Scope, Window, WindowId},
    time::Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::postgres::Database;

/// A place for a store, which can be opened again.
pub enum Place {
    Embedded(TempDir),
    Postgres(Database),
}

impl Place {
    pub async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(dir) => Arc::new(SqliteStore::open(&dir.path().join("quiesce.db")).await.unwrap()),
            Self::Postgres(database) => Arc::new(database.store().await),
        }
    }
}

impl Database {
    pub async fn store(&self) -> PostgresStore {
        let Location::Postgres(url) = self.url.parse().unwrap() else { panic!("a file") };
        PostgresStore::open(&url).await.unwrap()
    }
}

/// Makes a test of each law for each store.
macro_rules! laws {
    ($($law:ident,)*) => {
        mod embedded {
            use super::*;
            $(#[tokio::test] async fn $law() {
                super::$law(Place::Embedded(tempfile::tempdir().unwrap())).await;
            })*
        }
        mod on_postgres {
            use super::*;
            $(#[tokio::test] async fn $law() {
                if let Some(database) = Database::new().await {
                    super::$law(Place::Postgres(database)).await;
                }
            })*
        }
    };
}

laws! {
    an_empty_store_says_so,
    a_change_is_carried_out_whole_and_outlives_the_process,
    a_change_that_fails_leaves_nothing,
    a_version_names_one_content_for_ever,
    a_window_that_ended_is_kept_and_not_loaded,
    events_are_numbered_without_gaps_and_never_changed,
    the_latest_windows_come_first,
    fleet_records_are_replaced_and_removed,
    of_changes_at_once_none_is_lost,
    plans_are_replaced_and_removed_with_the_change,
}

pub fn record(id: &str, issued_at: u64) -> WindowRecord {
    let at = Timestamp::from_unix_ms;
    WindowRecord {
        window: Window {
            id: id.into(),
            scope: Scope::default(),
            starts_at: at(issued_at),
            announce_at: None,
            started: true,
            ends_at: Some(at(issued_at + 1_000)),
            expires_at: at(issued_at + 2_000),
            reason: "naïve \"reason\" \u{1}".to_owned(),
            contact: None,
            status: RefusalStatus::default(),
            drain_timeout_ms: 5,
        },
        issued_at: at(issued_at),
        issued_by: "ann".to_owned(),
        rollback: None,
        notice: None,
        expect: Some(3),
    }
}

pub fn event(kind: EventKind, window: Option<&str>, evidence: Value) -> Event {
    let at = Timestamp::from_unix_ms(1_700_000_000_000);
    Event { seq: 0, at, who: "ann".to_owned(), kind, window: window.map(WindowId::from), evidence }
}

pub fn change(record: WindowRecord, openness: Openness, events: Vec<Event>) -> Change {
    let windows = [(record.window.id.clone(), (record, openness))].into();
    Change { windows, events, ..Change::default() }
}

async fn commit(store: &Arc<dyn Store>, change: Change) -> Committed {
    store.commit(store.turn().await.unwrap(), change).await.unwrap()
}

fn fleet_record(id: &str, last_seen: u64) -> FleetRecord {
    serde_json::from_value(json!({
        "enforcer": { "id": id, "instance": "1", "kind": "envoy", "labels": {}, "version": "0.1.0" },
        "first_seen": Timestamp::from_unix_ms(1), "last_seen": Timestamp::from_unix_ms(last_seen),
        "poll_ms": 30_000, "born_under": [], "settled": [], "applied": 7, "in_flight": 1,
        "unaccounted": 0, "cut": 0, "rejected": null,
    }))
    .unwrap()
}

async fn an_empty_store_says_so(place: Place) {
    let store = place.open().await;
    store.check().await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.version, loaded.configured), (Epoch(0), Configured::default()));
    assert!(loaded.windows.is_empty() && loaded.fleet.is_empty());
    assert!(store.window("nobody".into()).await.unwrap().is_none());
    assert!(store.events(0, None, 10).await.unwrap().is_empty());
    store.close().await.unwrap();
}

async fn a_change_is_carried_out_whole_and_outlives_the_process(place: Place) {
    let store = place.open().await;
    let evidence = json!({ "roster": [], "text": "\u{0}\u{1F600}" });
    let digest = "d1".to_owned();
    let committed = commit(
        &store,
        Change {
            publish_at: Some(Timestamp::from_unix_ms(1_000)),
            configured: Some(Configured { digest: digest.clone(), snapshot: String::new() }),
            ..change(
                record("w1", 5),
                Openness::Open,
                vec![event(EventKind::Started, Some("w1"), evidence.clone())],
            )
        },
    )
    .await;
    assert_eq!(committed.version, Epoch(1_000));
    store.close().await.unwrap();

    let store = place.open().await;
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.version, loaded.revision), (committed.version, committed.revision));
    assert_eq!(loaded.configured.digest, digest);
    assert_eq!(loaded.windows[0].record, record("w1", 5));
    assert_eq!(loaded.windows[0].events, committed.events);
    assert_eq!(loaded.windows[0].events[0].evidence, evidence);
    store.close().await.unwrap();
}

async fn a_change_that_fails_leaves_nothing(place: Place) {
    let store = place.open().await;
    let bad = Change {
        publish_at: Some(Timestamp::from_unix_ms(9)),
        // There is no such window to say something of.
        ..change(record("w1", 5), Openness::Open, vec![event(EventKind::Started, Some("w2"), Value::Null)])
    };
    assert!(store.commit(store.turn().await.unwrap(), bad).await.is_err());
    let loaded = store.load().await.unwrap();
    assert!(loaded.windows.is_empty() && loaded.version == Epoch(0));
    assert!(store.events(0, None, 10).await.unwrap().is_empty());
    commit(&store, change(record("w1", 5), Openness::Open, Vec::new())).await;
    store.close().await.unwrap();
}

async fn a_version_names_one_content_for_ever(place: Place) {
    let store = place.open().await;
    let at = |ms| Change { publish_at: Some(Timestamp::from_unix_ms(ms)), ..Change::default() };
    let mut versions = Vec::new();
    for ms in [500, 500, 3, 9_000] {
        versions.push(commit(&store, at(ms)).await.version.0);
    }
    assert_eq!(versions, [500, 501, 502, 9_000]);
    assert_eq!(commit(&store, Change::default()).await.version.0, 9_000, "nothing is published");
    store.close().await.unwrap();
}

async fn a_window_that_ended_is_kept_and_not_loaded(place: Place) {
    let store = place.open().await;
    let started = vec![event(EventKind::Started, Some("w1"), json!({ "roster": [] }))];
    commit(&store, change(record("w1", 5), Openness::Open, started)).await;
    let ended = vec![event(EventKind::Aborted, Some("w1"), Value::Null)];
    commit(&store, change(record("w1", 5), Openness::Ended, ended)).await;
    assert!(store.load().await.unwrap().windows.is_empty());
    let kept = store.window("w1".into()).await.unwrap().unwrap();
    let kinds: Vec<_> = kept.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Started, EventKind::Aborted]);
    store.close().await.unwrap();
}

async fn events_are_numbered_without_gaps_and_never_changed(place: Place) {
    let store = place.open().await;
    commit(&store, change(record("w1", 5), Openness::Open, Vec::new())).await;
    for n in 0..3 {
        let of_window = event(EventKind::Extended, Some("w1"), json!({ "n": n }));
        let of_none = event(EventKind::PassIssued, None, json!({ "n": n }));
        let events = vec![of_window, of_none];
        let committed = commit(&store, Change { events, ..Change::default() }).await;
        assert_eq!([committed.events[0].seq, committed.events[1].seq], [2 * n + 1, 2 * n + 2]);
        let unknown = event(EventKind::Extended, Some("nobody"), Value::Null);
        let bad = Change { events: vec![unknown], ..Change::default() };
        store.commit(store.turn().await.unwrap(), bad).await.unwrap_err();
    }
    let seqs = |events: Vec<Event>| events.into_iter().map(|event| event.seq).collect::<Vec<_>>();
    assert_eq!(seqs(store.events(0, None, 100).await.unwrap()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(seqs(store.events(2, None, 2).await.unwrap()), [3, 4]);
    assert_eq!(seqs(store.events(1, Some("w1".into()), 100).await.unwrap()), [3, 5]);
    store.close().await.unwrap();
}

async fn the_latest_windows_come_first(place: Place) {
    let store = place.open().await;
    for (id, issued_at) in [("w1", 5), ("w3", 9), ("w2", 9)] {
        let issued = vec![event(EventKind::Scheduled, Some(id), Value::Null)];
        commit(&store, change(record(id, issued_at), Openness::Open, issued)).await;
    }
    let listed = store.windows(2).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|window| window.record.window.id.as_str()).collect();
    assert_eq!(ids, ["w3", "w2"]);
    assert!(listed.iter().all(|window| window.events.len() == 1));
    let loaded = store.load().await.unwrap().windows;
    let ids: Vec<_> = loaded.iter().map(|window| window.record.window.id.as_str()).collect();
    assert_eq!(ids, ["w1", "w2", "w3"], "the oldest first");
    store.close().await.unwrap();
}

async fn fleet_records_are_replaced_and_removed(place: Place) {
    let store = place.open().await;
    let saved = vec![fleet_record("a", 10), fleet_record("b", 10)];
    store.save_fleet(saved, Vec::new()).await.unwrap();
    store.save_fleet(vec![fleet_record("b", 20)], vec![fleet_record("a", 0).key()]).await.unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.load().await.unwrap().fleet, [fleet_record("b", 20)]);
    store.close().await.unwrap();
}

fn plan(id: &str, next: u64) -> PlanRecord {
    serde_json::from_value(json!({
        "id": id,
        "plan": { "rule": "FREQ=DAILY", "starts_at": "2026-12-06T02:00", "zone": "Europe/Berlin", "window": {} },
        "issued_at": Timestamp::from_unix_ms(1), "issued_by": "ann", "next": Timestamp::from_unix_ms(next),
        "skipped": [Timestamp::from_unix_ms(next)],
        "ahead": [{ "starts_at": Timestamp::from_unix_ms(2), "window": "w1" }],
    }))
    .unwrap()
}

async fn plans_are_replaced_and_removed_with_the_change(place: Place) {
    let store = place.open().await;
    let of = |plans: &[(&str, Option<u64>)]| {
        let put = |(id, next): &(&str, Option<u64>)| {
            (PlanId::from((*id).to_owned()), next.map(|next| plan(id, next)))
        };
        Change { plans: plans.iter().map(put).collect(), ..Change::default() }
    };
    let kept = async |store: &Arc<dyn Store>| json!(store.load().await.unwrap().plans);
    commit(&store, of(&[("p2", Some(5)), ("p1", Some(5)), ("p3", Some(5))])).await;
    let revision = store.load().await.unwrap().revision;
    let committed = commit(&store, of(&[("p1", Some(9)), ("p3", None)])).await;
    assert_eq!(committed.revision > revision, store.others().is_some(), "others have to read it again");
    let bad = Change {
        events: vec![event(EventKind::Started, Some("nobody"), Value::Null)],
        ..of(&[("p1", Some(11)), ("p2", None)])
    };
    assert!(store.commit(store.turn().await.unwrap(), bad).await.is_err());
    store.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(kept(&store).await, json!([plan("p1", 9), plan("p2", 5)]));
    store.close().await.unwrap();
}

async fn of_changes_at_once_none_is_lost(place: Place) {
    let store = place.open().await;
    commit(&store, change(record("w1", 5), Openness::Open, Vec::new())).await;
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let events = vec![event(EventKind::Extended, Some("w1"), json!({ "n": n }))];
                let publish_at = Some(Timestamp::from_unix_ms(1));
                commit(&store, Change { events, publish_at, ..Change::default() }).await.version.0
            })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.push(task.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());
    let events = store.events(0, None, 100).await.unwrap();
    let mut told: Vec<_> = events.iter().map(|event| event.evidence["n"].as_u64().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, (0..20).collect::<Vec<_>>());
    store.close().await.unwrap();
}
