//! What every outbox does, held against both stores.

use std::sync::Arc;

use quiesce::{
    event::EventKind,
    notify::{NotifierKind, Step},
    outbox::{Conclusion, DeliveryId, DeliveryState, NewDelivery, Outbox, Selection, Verdict},
    store::{Change, Openness, Store},
};
use quiesce_policy::time::Timestamp;
use serde_json::json;

use crate::{
    postgres::Database,
    store_contract::{Place, change, event, record},
};

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
    deliveries_are_written_with_their_event_or_not_at_all,
    of_each_window_the_first_pending_is_the_head,
    an_attempt_is_made_by_one,
    operators_decide_about_those_they_name,
    what_is_over_for_long_is_forgotten_unless_its_window_is_not,
}

const AT: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

fn delivery(id: &str, window: &str, notifier: &str, event: usize) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::from(id.to_owned()),
        event,
        window: window.into(),
        notifier: notifier.to_owned(),
        kind: NotifierKind::Webhook,
        step: Step::Frozen,
        payload: "{\"is\":\"purge\"}".to_owned(),
        at: AT,
    }
}

async fn commit(store: &Arc<dyn Store>, change: Change) -> Result<u64, quiesce::store::StoreError> {
    let committed = store.commit(store.turn().await.unwrap(), change).await?;
    Ok(committed.events.last().unwrap().seq)
}

/// Two events of a window, each told to `a` and `b`.
async fn two_events(store: &Arc<dyn Store>, window: &str, openness: Openness) {
    let events = [EventKind::Started, EventKind::Thawed].map(|kind| event(kind, Some(window), json!({})));
    let change = Change {
        deliveries: vec![
            delivery(&format!("{window}-a1"), window, "a", 0),
            delivery(&format!("{window}-b1"), window, "b", 0),
            delivery(&format!("{window}-a2"), window, "a", 1),
        ],
        ..change(record(window, 1), openness, events.into())
    };
    commit(store, change).await.unwrap();
}

async fn ids(outbox: &dyn Outbox, notifier: &str) -> Vec<String> {
    outbox.heads(notifier.to_owned()).await.unwrap().into_iter().map(|one| one.id.to_string()).collect()
}

fn concluded(state: DeliveryState, at: Timestamp) -> Conclusion {
    Conclusion { state, at, status: Some(200), note: Some("said".to_owned()) }
}

async fn deliveries_are_written_with_their_event_or_not_at_all(place: Place) {
    let store = place.open().await;
    two_events(&store, "w1", Openness::Open).await;
    let outbox = store.outbox();
    let all = outbox.list(Selection::default(), None, 10).await.unwrap();
    assert_eq!(
        all.iter().map(|one| (one.id.as_str(), one.event_seq)).collect::<Vec<_>>(),
        [("w1-b1", 1), ("w1-a2", 2), ("w1-a1", 1)]
    );
    let first = &all[2];
    assert_eq!((first.state, first.attempts, first.created_at), (DeliveryState::Pending, 0, AT));
    assert_eq!((first.kind, first.step), (NotifierKind::Webhook, Step::Frozen));
    let page = outbox.list(Selection::default(), Some(all[1].id.clone()), 10).await.unwrap();
    assert_eq!(page, all[2..]);

    // The second is about an event that `a` is told of already: nothing of the change is carried out.
    let twice = Change {
        deliveries: vec![delivery("w2-a1", "w2", "a", 0), delivery("w2-a2", "w2", "a", 0)],
        ..change(record("w2", 2), Openness::Open, vec![event(EventKind::Started, Some("w2"), json!({}))])
    };
    commit(&store, twice).await.unwrap_err();
    assert_eq!(store.events(0, None, 100).await.unwrap().len(), 2);
    assert!(store.window("w2".into()).await.unwrap().is_none());
    assert_eq!(outbox.list(Selection::default(), None, 10).await.unwrap(), all);
    store.close().await.unwrap();
    assert_eq!(place.open().await.outbox().list(Selection::default(), None, 10).await.unwrap(), all);
}

async fn of_each_window_the_first_pending_is_the_head(place: Place) {
    let store = place.open().await;
    two_events(&store, "w1", Openness::Open).await;
    two_events(&store, "w2", Openness::Open).await;
    let outbox = store.outbox();
    assert_eq!(ids(&*outbox, "a").await, ["w1-a1", "w2-a1"]);
    assert_eq!(ids(&*outbox, "b").await, ["w1-b1", "w2-b1"]);
    let id = |text: &str| DeliveryId::from(text.to_owned());
    outbox.conclude(id("w1-a1"), concluded(DeliveryState::Pending, AT.plus_ms(5))).await.unwrap();
    assert_eq!(ids(&*outbox, "a").await, ["w2-a1", "w1-a1"], "in the order in which they are due");
    outbox.conclude(id("w1-a1"), concluded(DeliveryState::Failed, AT.plus_ms(9))).await.unwrap();
    outbox.conclude(id("w1-a1"), concluded(DeliveryState::Delivered, AT)).await.unwrap();
    assert_eq!(
        ids(&*outbox, "a").await,
        ["w1-a2", "w2-a1"],
        "of two that are due, the one of the earlier event"
    );
    let failed = outbox.delivery(id("w1-a1")).await.unwrap().unwrap();
    assert_eq!((failed.state, failed.done_at), (DeliveryState::Failed, Some(AT.plus_ms(9))), "it was over");
    assert_eq!((failed.last_status, failed.note.as_deref()), (Some(200), Some("said")));
    outbox.note_external_id(id("w1-a1"), "there".to_owned()).await.unwrap();
    let of_window = outbox.of_window("a".to_owned(), "w1".into()).await.unwrap();
    assert_eq!(of_window.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["w1-a1", "w1-a2"]);
    assert_eq!(of_window[0].external_id.as_deref(), Some("there"));
    let mut totals = outbox.totals().await.unwrap();
    totals.sort_by_key(|total| (total.notifier.clone(), total.state));
    let counts: Vec<_> =
        totals.iter().map(|it| (it.notifier.as_str(), it.state.as_str(), it.count)).collect();
    assert_eq!(counts, [("a", "pending", 3), ("a", "failed", 1), ("b", "pending", 2)]);
}

async fn an_attempt_is_made_by_one(place: Place) {
    let store = place.open().await;
    two_events(&store, "w1", Openness::Open).await;
    let outbox = store.outbox();
    let id = DeliveryId::from("w1-a1".to_owned());
    let tries = (0..8).map(|_| {
        let (outbox, id) = (store.outbox(), id.clone());
        tokio::spawn(async move { outbox.begin(id, 0).await.unwrap() })
    });
    let mut won = 0;
    for attempt in tries.collect::<Vec<_>>() {
        won += u32::from(attempt.await.unwrap());
    }
    assert_eq!(won, 1);
    assert!(outbox.begin(id.clone(), 1).await.unwrap());
    outbox.conclude(id.clone(), concluded(DeliveryState::Delivered, AT)).await.unwrap();
    assert!(!outbox.begin(id, 2).await.unwrap(), "it is over");
}

async fn operators_decide_about_those_they_name(place: Place) {
    let store = place.open().await;
    two_events(&store, "w1", Openness::Open).await;
    two_events(&store, "w2", Openness::Open).await;
    let outbox = store.outbox();
    let decide = async |selection, verdict| {
        outbox.decide(selection, verdict, "by ann".to_owned(), AT.plus_ms(50)).await.unwrap()
    };
    let of = |window: &str| Selection { window: Some(window.into()), ..Selection::default() };
    assert_eq!(decide(of("w1"), Verdict::Resend).await, 0, "they are pending");
    let only_b = Selection { notifier: Some("b".to_owned()), ..of("w1") };
    assert_eq!(decide(only_b.clone(), Verdict::Cancel).await, 1);
    let cancelled = outbox.list(only_b, None, 10).await.unwrap().remove(0);
    assert_eq!((cancelled.state, cancelled.done_at), (DeliveryState::Cancelled, Some(AT.plus_ms(50))));
    assert_eq!(cancelled.note.as_deref(), Some("by ann"));
    let by_id = Selection { ids: vec![cancelled.id.clone()], ..Selection::default() };
    assert_eq!(decide(by_id, Verdict::Resend).await, 1);
    let again = outbox.delivery(cancelled.id).await.unwrap().unwrap();
    assert_eq!((again.state, again.done_at, again.since), (DeliveryState::Pending, None, AT.plus_ms(50)));
    let pending = Selection { state: Some(DeliveryState::Pending), ..Selection::default() };
    assert_eq!(decide(pending, Verdict::Cancel).await, 6);
    assert_eq!(ids(&*outbox, "a").await, Vec::<String>::new());
}

async fn what_is_over_for_long_is_forgotten_unless_its_window_is_not(place: Place) {
    let store = place.open().await;
    two_events(&store, "w1", Openness::Open).await;
    two_events(&store, "w2", Openness::Ended).await;
    let outbox = store.outbox();
    for id in ["w1-a1", "w2-a1", "w2-b1"] {
        let at = AT.plus_ms(if id == "w2-b1" { 10 } else { 0 });
        outbox
            .conclude(DeliveryId::from(id.to_owned()), concluded(DeliveryState::Delivered, at))
            .await
            .unwrap();
    }
    assert_eq!(outbox.purge(AT.plus_ms(5), 100).await.unwrap(), 1);
    assert!(outbox.delivery(DeliveryId::from("w2-a1".to_owned())).await.unwrap().is_none());
    assert_eq!(outbox.purge(AT.plus_ms(11), 100).await.unwrap(), 1);
    assert_eq!(
        outbox.list(Selection::default(), None, 10).await.unwrap().len(),
        4,
        "pending, or of an open window"
    );
}
