//! The public view of windows at every step of their lives.

use quiesce_policy::snapshot::{RefusalStatus, Window};
use serde_json::json;

use super::*;
use crate::{
    event::{Event, EventKind},
    windows::WindowRecord,
};

const NOON: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);
const HOUR_MS: u64 = 3_600_000;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOON.unix_ms().saturating_add_signed(minutes * 60_000))
}

/// A window from noon to one o'clock, whose lease runs out at two.
fn told(id: &str, hosts: &[&str], events: &[(i64, EventKind, serde_json::Value)]) -> Told {
    announced(id, hosts, None, events)
}

fn announced(
    id: &str,
    hosts: &[&str],
    announce_at: Option<Timestamp>,
    events: &[(i64, EventKind, serde_json::Value)],
) -> Told {
    let window = Window {
        id: id.into(),
        scope: Scope { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), ..Scope::default() },
        starts_at: NOON,
        announce_at,
        started: false,
        ends_at: Some(at(60)),
        expires_at: NOON.plus_ms(2 * HOUR_MS),
        reason: format!("reason of {id}"),
        contact: Some("#sre".to_owned()),
        status: RefusalStatus::Locked,
        drain_timeout_ms: 30_000,
    };
    let record = WindowRecord {
        window,
        issued_at: at(-60),
        issued_by: "ann".to_owned(),
        expect: Some(7),
        rollback: Some("the old index stays".to_owned()),
        notice: None,
    };
    let mut told = Told::of(&record);
    for (seq, (minutes, kind, evidence)) in (1..).zip(events) {
        let (at, who, window) = (at(*minutes), "ann".to_owned(), Some(id.into()));
        told.apply(&Event { seq, at, who, kind: *kind, window, evidence: evidence.clone() });
    }
    told
}

fn view(told: &[Told], minutes: i64) -> PublicView {
    let yaml = "surfaces: [{ name: shop, hosts: [\"*.shop.example.com\"] }, { name: rest }]\n\
                public: { titles: { shop: The shop } }";
    let config = Config::from_yaml(yaml, "test").unwrap();
    PublicView::of(told, &Naming::of(&config), at(minutes))
}

fn scheduled() -> (i64, EventKind, serde_json::Value) {
    (-60, EventKind::Scheduled, json!({}))
}

#[test]
fn a_window_goes_from_announced_to_history() {
    let started =
        (0, EventKind::Started, json!({ "roster": [{ "id": "envoy-1", "instance": "i", "cut": 0 }] }));
    let quiesced = (1, EventKind::Quiesced, json!({ "elapsed_ms": 5, "barrier": {} }));
    let thawed = (50, EventKind::Thawed, json!({}));
    let closed = (55, EventKind::ClosureAnnounced, json!({}));
    let steps = [scheduled(), started, quiesced, thawed, closed];
    let seen = |events: usize, minutes: i64| {
        let view = view(&[told("w1", &[], &steps[..events])], minutes);
        (view.state, view.windows.first().map(|window| window.state), view.history.len(), view.changes_at)
    };
    use {PublicState as P, WindowState as W};
    assert_eq!(seen(1, -30), (P::Announced, Some(W::Upcoming), 0, Some(NOON)));
    assert_eq!(seen(1, 0), (P::ReadOnly, Some(W::Active), 0, Some(at(60))), "by the clock alone");
    assert_eq!(seen(2, 1).1, Some(W::Active));
    assert_eq!(seen(3, 2).1, Some(W::Active));
    assert_eq!(seen(4, 51), (P::Reopening, Some(W::Reopening), 0, Some(at(60))));
    assert_eq!(seen(5, 56), (P::Ended, Some(W::Ended), 0, Some(at(60))));
    assert_eq!(seen(5, 84).0, P::Ended);
    assert_eq!(seen(5, 85), (P::Operational, None, 1, Some(at(120))), "half an hour after its end");
    let over = view(&[told("w1", &[], &steps)], 56).windows.remove(0);
    assert_eq!(over.ended_at, Some(at(50)), "it lasted until writes were open again");
}

#[test]
fn nothing_is_told_of_a_window_before_it_is_announced() {
    let of = |events: &[(i64, EventKind, serde_json::Value)]| announced("w1", &[], Some(at(-30)), events);
    let early = view(&[of(&[scheduled()])], -31);
    assert_eq!(
        (early.state, early.windows.len(), early.changes_at),
        (PublicState::Operational, 0, Some(at(-30)))
    );
    assert_eq!(view(&[of(&[scheduled()])], -30).state, PublicState::Announced);
    for (minutes, windows) in [(-40, 0), (-20, 1)] {
        let cancelled = of(&[scheduled(), (minutes, EventKind::Cancelled, json!({}))]);
        assert_eq!(view(&[cancelled], -10).windows.len(), windows, "cancelled at {minutes}");
    }
}

#[test]
fn a_window_that_takes_longer_says_so_until_its_lease_is_over() {
    let told = [told("w1", &[], &[scheduled(), (0, EventKind::Started, json!({}))])];
    let late = view(&told, 60);
    assert!(late.windows[0].overdue);
    assert_eq!(late.summary, "Writes are paused, for longer than planned");
    assert_eq!(late.changes_at, Some(at(120)));
    let over = view(&told, 120);
    assert_eq!((over.state, over.windows[0].ended_at), (PublicState::Ended, Some(at(120))));
}

#[test]
fn what_was_cancelled_or_called_off_is_told() {
    let cancelled = told("w1", &[], &[scheduled(), (-10, EventKind::Cancelled, json!({}))]);
    let aborted = told(
        "w2",
        &[],
        &[
            (0, EventKind::Started, json!({})),
            (1, EventKind::Aborted, json!({})),
            (2, EventKind::ClosureAnnounced, json!({})),
        ],
    );
    let view = view(&[cancelled, aborted], 5);
    let states: Vec<_> = view.windows.iter().map(|window| (window.id.as_str(), window.state)).collect();
    assert_eq!(states, [("w1", WindowState::Cancelled), ("w2", WindowState::Ended)]);
    assert_eq!(view.windows[0].updates[0].text, "This maintenance was cancelled.");
    assert_eq!(view.state, PublicState::Ended);
}

#[test]
fn updates_are_in_the_operators_words_and_say_where_the_end_was_moved() {
    let moved = json!({ "by_ms": 1, "ends_at": { "from": at(60), "to": at(90) }, "expires_at": {} });
    let told = told(
        "w1",
        &[],
        &[
            (0, EventKind::Started, json!({ "roster": [] })),
            (10, EventKind::UpdatePosted, json!({ "text": "Half of it is done." })),
            (20, EventKind::Extended, moved),
            (21, EventKind::BackfillStarted, json!({ "held": 5 })),
        ],
    );
    let view = view(&[told], 30);
    let updates: Vec<_> =
        view.windows[0].updates.iter().map(|it| (it.kind, it.text.as_str(), it.until)).collect();
    assert_eq!(
        updates,
        [
            ("extended", "The end was moved.", Some(at(90))),
            ("update", "Half of it is done.", None),
            ("started", "Writes are paused. Reads are served as usual.", None),
        ]
    );
}

#[test]
fn parts_go_by_the_names_that_people_know() {
    let paused = |hosts: &[&str]| view(&[told("w1", hosts, &[])], 1).windows.remove(0).paused;
    assert_eq!(paused(&[]), "All changes");
    assert_eq!(paused(&["a.shop.example.com", "b.shop.example.com"]), "Changes to The shop");
    assert_eq!(
        paused(&["a.shop.example.com", "api.example.com", "x.example.com"]),
        "Changes to The shop, api.example.com and x.example.com"
    );
    assert_eq!(view(&[told("w1", &["x.example.com"], &[])], 1).summary, "Some writes are paused");
    assert_eq!(view(&[told("w1", &[], &[])], 1).summary, "Writes are paused");
}

#[test]
fn nobody_is_named_and_nothing_is_counted() {
    let started =
        (0, EventKind::Started, json!({ "roster": [{ "id": "envoy-1", "instance": "i", "cut": 3 }] }));
    let view = view(&[told("w1", &[], &[scheduled(), started])], 1);
    let shown = serde_json::to_string(&view).unwrap();
    for internal in ["ann\"", "envoy", "expect", "roster", "seq", "cut", "who", "7"] {
        assert!(!shown.replace("2026-11-23", "").contains(internal), "{internal} in {shown}");
    }
}

#[test]
fn history_and_updates_are_bounded() {
    let many: Vec<_> = (0..30)
        .map(|n| told(&format!("w{n}"), &[], &[(1, EventKind::ClosureAnnounced, json!({}))]))
        .collect();
    assert_eq!(view(&many, 600).history.len(), 20);
    let posted: Vec<_> =
        (0..80).map(|n| (n, EventKind::UpdatePosted, json!({ "text": format!("update {n}") }))).collect();
    let updates = view(&[told("w1", &[], &posted)], 0).windows.remove(0).updates;
    let (latest, first) = (updates.first().unwrap(), updates.last().unwrap());
    assert_eq!((updates.len(), latest.text.as_str(), first.text.as_str()), (50, "update 79", "update 0"));
}
