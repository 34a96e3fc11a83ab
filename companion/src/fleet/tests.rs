//! Who is live, lost, replaced, and what is remembered of them.

use quiesce_policy::sync::EnforcerKind;

use super::*;
use crate::{
    event::{Event, EventKind},
    store::StoredWindow,
    windows::WindowRecord,
};

const T0: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);
const WAIT_MS: u64 = 30_000;

/// A fleet and the two clocks that it is told.
struct Scene {
    fleet: Fleet,
    start: Instant,
    passed: Duration,
}

impl Scene {
    fn new() -> Self {
        Self { fleet: Fleet::default(), start: Instant::now(), passed: Duration::ZERO }
    }

    fn pass(&mut self, seconds: u64) {
        self.passed += Duration::from_secs(seconds);
    }

    fn at(&self) -> Instant {
        self.start + self.passed
    }

    fn now(&self) -> Timestamp {
        T0.plus_ms(u64::try_from(self.passed.as_millis()).unwrap())
    }

    fn report(&mut self, request: SyncRequest) -> Reported {
        let (now, at) = (self.now(), self.at());
        self.fleet.report(request, BTreeSet::new, now, at).unwrap()
    }

    fn open(&mut self, id: &str, instance: &str) -> EnforcerKey {
        self.report(request(id, instance));
        let key = key(id, instance);
        self.fleet.poll_opened(&key);
        key
    }

    fn close(&mut self, key: &EnforcerKey, end: PollEnd) {
        let (now, at) = (self.now(), self.at());
        self.fleet.poll_closed(key, end, now, at);
    }

    fn member(&self, window: &OpenWindow, instance: &str) -> Member {
        let members = self.fleet.members(window, Epoch(1), self.at());
        members.into_iter().find(|one| one.instance.as_str() == instance).unwrap()
    }
}

fn key(id: &str, instance: &str) -> EnforcerKey {
    EnforcerKey { id: id.into(), instance: instance.into() }
}

fn request(id: &str, instance: &str) -> SyncRequest {
    SyncRequest {
        enforcer: Enforcer {
            id: id.into(),
            instance: instance.into(),
            kind: EnforcerKind::Envoy,
            labels: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
            version: "0.1.0".to_owned(),
        },
        applied: Epoch(1),
        in_force: Vec::new(),
        in_flight: 0,
        unaccounted: 0,
        cut: 0,
        clock: T0,
        counters: Vec::new(),
        boots_closed: true,
        rejected: None,
        wait_ms: WAIT_MS,
    }
}

fn window(started_at: Timestamp, roster: Vec<RosterEntry>) -> OpenWindow {
    let json = serde_json::json!({
        "window": {
            "id": "w", "starts_at": started_at, "started": true, "expires_at": started_at.plus_ms(3_600_000),
            "reason": "test", "drain_timeout_ms": 1000
        },
        "issued_at": started_at, "issued_by": "ann", "expect": null
    });
    let record: WindowRecord = serde_json::from_value(json).unwrap();
    let event = Event {
        seq: 1,
        at: started_at,
        who: "ann".to_owned(),
        kind: EventKind::Started,
        window: Some("w".into()),
        evidence: serde_json::json!({ "roster": roster }),
    };
    OpenWindow::from_stored(StoredWindow { record, events: vec![event] })
}

#[test]
fn lives_for_three_periods_after_its_last_word() {
    let mut scene = Scene::new();
    let key = scene.open("a", "1");
    scene.pass(300);
    assert!(scene.fleet.entries[&key].is_live(scene.at()), "an open poll is a sign of life");
    scene.close(&key, PollEnd::Answered);
    scene.pass(89);
    assert!(scene.fleet.entries[&key].is_live(scene.at()));
    scene.pass(1);
    assert!(!scene.fleet.entries[&key].is_live(scene.at()));
}

#[test]
fn is_replaced_at_once_only_when_it_hung_up() {
    let mut scene = Scene::new();
    let old = scene.open("a", "1");
    scene.pass(1);
    scene.open("a", "2");
    assert!(!scene.fleet.is_succeeded(&old, scene.at()), "both polls are open");
    scene.close(&old, PollEnd::Answered);
    assert!(!scene.fleet.is_succeeded(&old, scene.at()), "it may be about to poll again");
    scene.pass(2);
    assert!(scene.fleet.is_succeeded(&old, scene.at()));

    let back = scene.open("a", "1");
    assert!(!scene.fleet.is_succeeded(&back, scene.at()));
    scene.close(&back, PollEnd::HungUp);
    assert!(scene.fleet.is_succeeded(&back, scene.at()));
    assert!(!scene.fleet.is_succeeded(&key("a", "2"), scene.at()), "the later process stays");
}

#[test]
fn remembers_that_it_once_reported_zero() {
    let mut scene = Scene::new();
    scene.report(SyncRequest { in_force: vec!["w".into()], in_flight: 2, ..request("a", "1") });
    let window = window(T0, scene.fleet.roster(&window(T0, Vec::new()), scene.at()));
    assert!(!scene.member(&window, "1").settled);
    scene.report(SyncRequest { in_force: vec!["w".into()], ..request("a", "1") });
    scene.report(SyncRequest { in_force: vec!["w".into()], in_flight: 1, ..request("a", "1") });
    let member = scene.member(&window, "1");
    assert!(member.settled && member.in_force && member.in_flight == 1);
    let unaccounted = SyncRequest { in_force: vec!["w".into()], unaccounted: 1, ..request("a", "2") };
    scene.report(unaccounted);
    assert!(!scene.member(&window, "2").settled, "writes that are unaccounted for may still run");
}

#[test]
fn a_window_it_booted_under_must_have_been_in_force_in_its_first_snapshot() {
    let mut scene = Scene::new();
    let (now, at) = (scene.now(), scene.at());
    let booting = |instance| SyncRequest { applied: Epoch(0), ..request("a", instance) };
    let in_force = || BTreeSet::from([WindowId::from("w")]);
    scene.fleet.report(booting("1"), in_force, now, at).unwrap();
    scene.fleet.report(booting("2"), BTreeSet::new, now, at).unwrap();
    scene.fleet.report(request("a", "3"), in_force, now, at).unwrap();
    let open = SyncRequest { boots_closed: false, ..booting("4") };
    scene.fleet.report(open, in_force, now, at).unwrap();
    let window = window(T0, Vec::new());
    let booted = ["1", "2", "3", "4"].map(|instance| scene.member(&window, instance).booted_into_window);
    assert_eq!(booted, [true, false, false, false], "the fourth may have let writes pass before");
}

#[test]
fn after_a_restart_of_the_companion_it_must_say_again_what_is_in_force() {
    let mut scene = Scene::new();
    scene.report(SyncRequest { in_force: vec!["w".into()], in_flight: 1, ..request("a", "1") });
    scene.report(SyncRequest { in_force: vec!["w".into()], ..request("b", "1") });
    scene.pass(300);
    scene.report(request("c", "1"));
    let (records, _, _) = scene.fleet.unsaved(scene.at());
    assert_eq!(records.len(), 3);
    scene.pass(3600);
    scene.fleet = Fleet::restore(records, scene.at());
    let window = window(T0, Vec::new());
    let members = scene.fleet.members(&window, Epoch(1), scene.at());
    let known: Vec<_> = members.iter().map(|one| (one.live, one.in_force, one.settled)).collect();
    assert_eq!(
        known,
        [(false, false, false), (false, false, true), (true, false, false)],
        "who was lost stays lost, who was live has a live period to come back"
    );
    scene.pass(90);
    assert!(!scene.fleet.entries[&key("c", "1")].is_live(scene.at()));
}

#[test]
fn is_saved_before_it_is_answered_for_the_first_time() {
    let mut scene = Scene::new();
    let first = scene.report(request("a", "1")).save_before_answer.unwrap();
    let (records, removed, up_to) = scene.fleet.unsaved(scene.at());
    assert!(up_to >= first && removed.is_empty());
    // A report with other labels comes while the first is being saved.
    let mut relabelled = request("a", "1");
    relabelled.enforcer.labels.clear();
    let second = scene.report(relabelled).save_before_answer.unwrap();
    assert!(second > up_to);
    scene.fleet.saved(&records, up_to, scene.at());
    let (records, _, up_to) = scene.fleet.unsaved(scene.at());
    assert_eq!((records.len(), up_to), (1, second));
    scene.fleet.saved(&records, up_to, scene.at());
    assert!(scene.fleet.unsaved(scene.at()).0.is_empty());
    let mut same = request("a", "1");
    same.enforcer.labels.clear();
    assert_eq!(scene.report(same).save_before_answer, None);
}

#[test]
fn forgets_only_the_lost_and_only_all_of_them() {
    let mut scene = Scene::new();
    scene.report(request("a", "1"));
    assert_eq!(scene.fleet.forget(&"b".into(), scene.at()), Err(FleetError::Unknown("b".into())));
    assert_eq!(scene.fleet.forget(&"a".into(), scene.at()), Err(FleetError::Live("a".into())));
    scene.pass(90);
    scene.fleet.forget(&"a".into(), scene.at()).unwrap();
    assert!(scene.fleet.is_empty());
    assert_eq!(scene.fleet.unsaved(scene.at()).1, [key("a", "1")]);
}

#[test]
fn awaits_whoever_is_live_in_scope_and_has_not_acknowledged() {
    let mut scene = Scene::new();
    let mut window = window(T0, Vec::new());
    window.record.window.scope.labels.insert("region".to_owned(), vec!["eu".to_owned()]);
    let acknowledges =
        |instance: &str| SyncRequest { in_force: vec![window.id().clone()], ..request("edge-1", instance) };
    assert!(!scene.fleet.awaits(&window, scene.at()), "nobody is there");
    let first = scene.open("edge-1", "1");
    assert!(scene.fleet.awaits(&window, scene.at()));
    scene.close(&first, PollEnd::HungUp);
    scene.pass(1);
    scene.open("edge-1", "2");
    scene.report(acknowledges("2"));
    assert!(!scene.fleet.awaits(&window, scene.at()), "the first is replaced, the second has acknowledged");
    let mut elsewhere = request("edge-2", "1");
    elsewhere.enforcer.labels.insert("region".to_owned(), "us".to_owned());
    scene.report(elsewhere);
    assert!(!scene.fleet.awaits(&window, scene.at()), "it is of another region");
    scene.report(request("edge-3", "1"));
    assert!(scene.fleet.awaits(&window, scene.at()));
    scene.pass(3 * WAIT_MS / 1000 + 1);
    assert!(!scene.fleet.awaits(&window, scene.at()), "nobody is live any more");
}

#[test]
fn prunes_the_replaced_and_the_long_lost_unless_a_window_asks_for_them() {
    let mut scene = Scene::new();
    let old = scene.open("a", "1");
    let asking = window(scene.now(), scene.fleet.roster(&window(T0, Vec::new()), scene.at()));
    scene.close(&old, PollEnd::HungUp);
    scene.pass(1);
    scene.open("a", "2");
    let (now, at) = (scene.now(), scene.at());
    scene.fleet.prune([&asking].into_iter(), now, at);
    assert_eq!(scene.fleet.len(), 2, "it was on the roster and never reported zero");
    scene.fleet.prune(std::iter::empty(), now, at);
    assert_eq!(scene.fleet.len(), 1);

    scene.close(&key("a", "2"), PollEnd::HungUp);
    scene.pass(24 * 3600);
    let (now, at) = (scene.now(), scene.at());
    scene.fleet.prune(std::iter::empty(), now, at);
    assert_eq!(scene.fleet.len(), 1, "a lost enforcer is named for a day");
    scene.pass(1);
    let (now, at) = (scene.now(), scene.at());
    scene.fleet.prune(std::iter::empty(), now, at);
    assert!(scene.fleet.is_empty());
}

#[test]
fn totals_grow_over_restarts_of_enforcers() {
    let mut scene = Scene::new();
    let counted = |instance, count: u64| SyncRequest {
        counters: vec![SurfaceCounters {
            surface: "search".to_owned(),
            outcomes: BTreeMap::from([("read".to_owned(), count)]),
        }],
        ..request("a", instance)
    };
    scene.report(counted("1", 5));
    scene.report(counted("1", 8));
    scene.report(counted("2", 2));
    scene.report(counted("2", 2));
    assert_eq!(scene.fleet.totals().collect::<Vec<_>>(), [("search", "read", 10)]);
}

#[test]
fn refuses_reports_that_no_enforcer_would_make() {
    let mut scene = Scene::new();
    let (now, at) = (scene.now(), scene.at());
    let mut refuse = |request| scene.fleet.report(request, BTreeSet::new, now, at).unwrap_err().to_string();
    assert_eq!(refuse(request("", "1")), "enforcer.id is empty");
    assert!(refuse(request(&"x".repeat(257), "1")).contains("at most 256 bytes, not 257"));
    let in_force = vec![WindowId::from("w"); 1001];
    assert!(refuse(SyncRequest { in_force, ..request("a", "1") }).starts_with("in_force is too large"));
    assert!(scene.fleet.is_empty());
}
