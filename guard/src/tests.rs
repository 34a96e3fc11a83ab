//! What a guard holds to: count, then look; latches; leases; what it says while it knows nothing.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future as _, ready},
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use quiesce_policy::{
    Refusal, Timestamp,
    snapshot::{Epoch, RefusalStatus, Scope, Snapshot, Window, WindowId},
};
use tower::{Layer as _, Service as _, service_fn};

use crate::{
    Boot, Config, Guard, GuardLayer, OnUnreachable, RequestBody, WriteGate, in_flight::Drain, saved,
};

const NOON: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);
/// What takes longer has failed.
const BOUND: Duration = Duration::from_secs(60);

thread_local! {
    static NOW: Cell<Timestamp> = const { Cell::new(NOON) };
}

fn config() -> Config {
    Config::new("http://127.0.0.1:1", "token", "test").boot(Boot::Closed)
}

/// A guard by the clock of this thread.
fn guard() -> Guard {
    NOW.set(NOON);
    Guard::at(config(), || NOW.get())
}

fn window(id: &str, starts_at: Timestamp) -> Window {
    Window {
        id: WindowId::from(id),
        scope: Scope::default(),
        starts_at,
        announce_at: None,
        started: false,
        ends_at: Some(starts_at.plus_ms(60_000)),
        expires_at: starts_at.plus_ms(120_000),
        reason: "reindexing".to_owned(),
        contact: None,
        status: RefusalStatus::Locked,
        drain_timeout_ms: 30_000,
    }
}

fn snapshot(version: u64, windows: &[Window]) -> Snapshot {
    Snapshot { version: Epoch(version), windows: windows.to_vec(), ..Snapshot::default() }
}

fn frozen(version: u64, id: &str) -> Snapshot {
    snapshot(version, &[Window { started: true, ..window(id, NOON) }])
}

fn refusal(gate: &WriteGate) -> Option<Refusal> {
    gate.enter().err().map(|refused| refused.refusal)
}

/// What writers do, for the test to see.
#[derive(Default)]
struct Writers {
    writing: AtomicU64,
    written: AtomicU64,
    refused: AtomicU64,
    over: AtomicBool,
}

impl Writers {
    fn begin(&self) {
        self.writing.fetch_add(1, SeqCst);
        self.written.fetch_add(1, SeqCst);
    }

    fn end(&self) {
        thread::yield_now();
        self.writing.fetch_sub(1, SeqCst);
    }

    fn refuse(&self) {
        self.refused.fetch_add(1, SeqCst);
    }

    /// By a gate, again and again.
    fn by_gate(&self, guard: &Guard) {
        let gate = guard.gate();
        while !self.over.load(SeqCst) {
            match gate.enter() {
                Ok(_permit) => {
                    self.begin();
                    self.end();
                }
                Err(_) => self.refuse(),
            }
        }
    }

    /// By requests to a service, again and again.
    fn by_request(&self, guard: &Guard) {
        let inner = service_fn(|_: Request<RequestBody<Empty<Bytes>>>| {
            self.begin();
            ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
        });
        let mut service = GuardLayer::new(guard.clone()).layer(inner);
        let mut context = Context::from_waker(Waker::noop());
        while !self.over.load(SeqCst) {
            let request = Request::post("/orders").body(Empty::new()).unwrap();
            let response = match pin!(service.call(request)).poll(&mut context) {
                Poll::Ready(Ok(response)) => response,
                Poll::Ready(Err(never)) => match never {},
                Poll::Pending => panic!("nothing here waits"),
            };
            match response.status().as_u16() {
                200 => self.end(),
                423 => self.refuse(),
                other => panic!("status {other}"),
            }
            drop(response);
        }
    }

    /// Waits for a condition; the test has failed if it does not come.
    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + BOUND;
        while !holds() {
            if Instant::now() > deadline {
                self.fail(&format!("waited in vain: {what}"));
            }
            thread::yield_now();
        }
    }

    fn fail(&self, why: &str) -> ! {
        self.over.store(true, SeqCst);
        panic!("{why}");
    }
}

/// Writers that write as fast as they can, and freezes among them: none may be writing when a freeze is proven, nor
/// from then until the thaw. With the count behind the look, one of the first rounds shows a write that escapes.
fn freeze_among(write: impl Fn(&Writers, &Guard) + Sync) {
    const WRITERS: usize = 3;
    const ROUNDS: u64 = 300;
    let guard = Guard::at(config(), || NOON);
    guard.publish(&snapshot(1, &[])).unwrap();
    let writers = Writers::default();
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| write(&writers, &guard));
        }
        for round in 1..=ROUNDS {
            let before = writers.written.load(SeqCst);
            writers.until("writes pass", || writers.written.load(SeqCst) > before);
            let id = format!("w{round}");
            guard.publish(&frozen(2 * round, &id)).unwrap();
            let drain = RefCell::default();
            writers.until("nothing is in flight", || {
                let standing = guard.shared().measure(&mut drain.borrow_mut());
                standing.in_force == [WindowId::from(id.as_str())] && standing.in_flight == 0
            });
            let (running, proven) = (writers.writing.load(SeqCst), writers.written.load(SeqCst));
            let turned_away = writers.refused.load(SeqCst);
            writers.until("writes are refused", || writers.refused.load(SeqCst) > turned_away + 20);
            let late = writers.written.load(SeqCst) - proven;
            if running + late > 0 {
                writers.fail(&format!("round {round}: {running} ran when it was proven, {late} began later"));
            }
            guard.publish(&snapshot(2 * round + 1, &[])).unwrap();
        }
        writers.over.store(true, SeqCst);
    });
    assert_eq!(guard.in_flight(), 0);
}

#[test]
fn once_nothing_is_in_flight_nobody_writes_by_a_gate_until_the_thaw() {
    freeze_among(Writers::by_gate);
}

#[test]
fn once_nothing_is_in_flight_nobody_writes_by_a_request_until_the_thaw() {
    freeze_among(Writers::by_request);
}

#[test]
fn a_window_waits_for_what_was_admitted_before_it_and_for_nothing_else() {
    let guard = guard();
    guard.publish(&snapshot(1, &[])).unwrap();
    let (shop, other) = (guard.gate_for("shop.example.com"), guard.gate_for("other.example.com"));
    let (write, elsewhere) = (shop.enter().unwrap(), other.enter().unwrap());
    let mut drain = Drain::default();
    let mut look = || {
        let standing = guard.shared().measure(&mut drain);
        (standing.applied.0, standing.in_force.len(), standing.in_flight)
    };
    assert_eq!(look(), (1, 0, 2));
    let scope = Scope { hosts: vec!["shop.example.com".to_owned()], ..Scope::default() };
    let some_hosts = Window { scope, started: true, ..window("a", NOON) };
    guard.publish(&snapshot(2, std::slice::from_ref(&some_hosts))).unwrap();
    assert_eq!(look(), (2, 1, 1), "the write to the other host is not its affair");
    assert_eq!((refusal(&shop), refusal(&other)), (Some(Refusal::ReadOnly), None));
    assert_eq!(refusal(&guard.gate()), Some(Refusal::ReadOnly), "who names no host may mean any");
    let later = other.enter().unwrap();
    assert_eq!(look().2, 1);
    drop(write);
    assert_eq!(look().2, 0);
    let all_hosts = Window { started: true, ..window("b", NOON) };
    guard.publish(&snapshot(3, &[some_hosts, all_hosts])).unwrap();
    assert_eq!(look(), (3, 2, 2), "a further window waits for all that it concerns");
    drop((elsewhere, later));
    assert_eq!(look().2, 0);
}

#[test]
fn a_window_begins_by_the_clock_and_a_clock_that_jumps_back_does_not_end_it() {
    let guard = guard();
    let gate = guard.gate();
    guard.publish(&snapshot(1, &[window("w", NOON.plus_ms(1000))])).unwrap();
    let in_force = || guard.shared().measure(&mut Drain::default()).in_force.len();
    assert_eq!((refusal(&gate), in_force()), (None, 0));
    NOW.set(NOON.plus_ms(1000));
    assert_eq!(refusal(&gate), Some(Refusal::ReadOnly));
    NOW.set(NOON);
    assert_eq!((refusal(&gate), in_force()), (Some(Refusal::ReadOnly), 1));
    NOW.set(NOON.plus_ms(121_000));
    assert_eq!((refusal(&gate), in_force()), (None, 0), "no window outlives its lease");
}

#[test]
fn who_is_refused_is_told_why_and_when_to_come_back() {
    let guard = guard();
    guard.publish(&frozen(1, "w")).unwrap();
    let refused = guard.gate().enter().unwrap_err();
    assert_eq!(refused.window, Some(WindowId::from("w")));
    assert!((60..=70).contains(&refused.retry_after.as_secs()), "{refused:?}");
    let seconds = refused.retry_after.as_secs();
    let said = format!("Read-only: writes are paused; come back in {seconds} s (reindexing)");
    assert_eq!(refused.to_string(), said);
}

#[test]
fn before_the_first_snapshot_it_does_what_it_is_told() {
    let said = |boot, timeout_s, then| {
        let config = config().boot(boot).boot_timeout(Duration::from_secs(timeout_s)).on_unreachable(then);
        refusal(&Guard::at(config, || NOON).gate())
    };
    let (open, closed) = (OnUnreachable::Open, OnUnreachable::Closed);
    assert_eq!(said(Boot::Hold, 60, open), Some(Refusal::Starting));
    assert_eq!(said(Boot::Hold, 0, open), None);
    assert_eq!(said(Boot::Hold, 0, closed), Some(Refusal::StateUnknown));
    assert_eq!(said(Boot::Open, 60, closed), None);
    assert_eq!(said(Boot::Closed, 60, open), Some(Refusal::StateUnknown));
}

#[tokio::test]
async fn what_an_earlier_process_has_saved_refuses_until_the_companion_is_heard_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.json");
    let (now, far) = (crate::guard::wall_clock(), 3_600_000);
    let window = Window { expires_at: now.plus_ms(far), ends_at: None, ..window("w", now) };
    let bytes = serde_json::to_vec(&snapshot(7, &[window])).unwrap();
    saved::save(&file, &bytes).unwrap();
    let open = config().boot(Boot::Hold).boot_timeout(Duration::ZERO).on_unreachable(OnUnreachable::Open);
    let without = Guard::connect(open.clone()).unwrap();
    assert_eq!(refusal(&without.gate()), None);
    let with = Guard::connect(open.snapshot_file(&file)).unwrap();
    assert_eq!(refusal(&with.gate()), Some(Refusal::ReadOnly));
    let standing = with.shared().measure(&mut Drain::default());
    assert_eq!((standing.applied, standing.in_force.len()), (Epoch(0), 0), "it acknowledges nothing old");
    with.publish(&snapshot(1, &[])).unwrap();
    assert_eq!(refusal(&with.gate()), None, "the companion's word counts, whatever its version");
}

#[test]
fn what_is_saved_and_is_no_snapshot_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.json");
    assert!(saved::load(&file).is_none());
    saved::save(&file, b"{\"version\":").unwrap();
    assert!(saved::load(&file).is_none());
}

#[tokio::test]
async fn who_waits_at_a_gate_is_let_through_at_the_thaw() {
    let guard = Guard::at(config(), || NOON);
    guard.publish(&frozen(1, "w")).unwrap();
    let gate = guard.gate();
    let waiting = tokio::spawn(async move { gate.enter_when_open().await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    guard.publish(&snapshot(2, &[])).unwrap();
    let permit = tokio::time::timeout(BOUND, waiting).await.unwrap().unwrap();
    assert_eq!(guard.in_flight(), 1);
    drop(permit);
    assert_eq!(guard.in_flight(), 0);
}

#[test]
fn a_snapshot_that_cannot_be_used_leaves_the_one_before_in_force() {
    let guard = guard();
    guard.publish(&frozen(1, "w")).unwrap();
    let wrong = Window { expires_at: NOON, ..window("x", NOON) };
    let error = guard.publish(&snapshot(2, &[wrong])).unwrap_err();
    assert!(error.to_string().contains("windows[0].expires_at"), "{error}");
    assert_eq!((guard.epoch(), refusal(&guard.gate())), (Epoch(1), Some(Refusal::ReadOnly)));
}

#[test]
fn a_guard_without_a_runtime_or_a_name_does_not_start() {
    let error = |config| Guard::connect(config).unwrap_err().to_string();
    assert!(error(config()).contains("tokio runtime"));
    assert!(error(Config::new("http://127.0.0.1:1", "token", "")).contains("id is empty"));
}
