//! How windows end: writes are opened, watched, the closure is announced, what is held is sent, and then it is closed.

use std::path::Path;

use quiesce::{
    auth::Caller,
    event::{Event, EventKind},
    intents::{IntentState, Ledger, PostgresLedger, SqliteLedger},
    store::{SqliteStore, Store as _},
    view::{EventList, NewWindow, WindowView},
    windows::Phase,
};
use reqwest::Method;
use serde_json::json;

use crate::{
    backfill::{
        held::{Held, accept, order, quick},
        origin::{Behaviour, Origin},
    },
    command::Serve,
    companion::{Companion, eventually, http},
    enforcer::Enforcer,
    postgres::Database,
};

const ENDING: [EventKind; 3] = [EventKind::Soaked, EventKind::ClosureAnnounced, EventKind::Closed];

fn ann() -> Caller {
    Caller { name: "ann".to_owned() }
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

async fn until_closed(held: &Held, window: &WindowView) -> WindowView {
    eventually("it is closed", async || {
        let view = held.service.window(window.id.clone()).await.unwrap();
        view.phase.is_over().then_some(view)
    })
    .await
}

#[tokio::test]
async fn what_is_held_is_sent_after_the_closure_is_announced_and_before_the_window_is_closed() {
    let origin = Origin::with(|_, _| Behaviour::slow(30)).await;
    let held = Held::start(&quick(&origin.url, "").replace("soak: 1ms", "soak: 600ms")).await;
    let alone = || NewWindow { expect: Some(0), ..NewWindow::default() };
    for how in [EventKind::Thawed, EventKind::Aborted] {
        let window = held.service.create(ann(), alone()).await.unwrap();
        eventually("the barrier holds", async || {
            held.service.window(window.id.clone()).await.unwrap().quiesced
        })
        .await;
        let mut intents = Vec::new();
        for number in 0..3 {
            intents.push(held.accept(&format!("/{}", how.as_str()), number, window.id.as_str()).await);
        }
        let reopened = match how {
            EventKind::Thawed => held.service.thaw(ann(), window.id.clone()).await.unwrap(),
            _ => held.service.abort(ann(), window.id.clone()).await.unwrap(),
        };
        assert_eq!((reopened.phase, reopened.barrier.as_ref()), (Phase::Soaking, None));
        assert!(
            held.service.published().windows.is_empty(),
            "writes are open: no enforcer hears of it any more"
        );
        let ended = reopened.ended.unwrap();
        assert_eq!((ended.how, ended.soak_until), (how, Some(ended.at.plus_ms(600))));
        let again = held.service.thaw(ann(), window.id.clone()).await.unwrap_err();
        assert!(again.to_string().contains(how.as_str()), "{again}");

        let closed = until_closed(&held, &window).await;
        assert_eq!(closed.phase, if how == EventKind::Thawed { Phase::Closed } else { Phase::Aborted });
        let events = held.service.events(0, Some(window.id.clone()), 100).await.unwrap();
        let [soaked, announced, over] =
            ENDING.map(|kind| events.iter().find(|it| it.kind == kind).unwrap().at);
        assert_eq!(kinds(&events), [&[EventKind::Started, EventKind::Quiesced, how][..], &ENDING].concat());
        assert!(soaked.ms_since(ended.at) >= 600);
        assert_eq!(
            (closed.soaked_at, closed.closure_announced_at, closed.closed_at),
            (Some(soaked), Some(announced), Some(over))
        );
        for id in intents {
            let done = held.intent(&id).await;
            assert_eq!(done.state, IntentState::Done);
            assert!(announced <= done.updated_at && done.updated_at <= over, "{done:?}");
        }
        assert_eq!(origin.line(&format!("/{}", how.as_str())), ["0", "1", "2"]);
    }
    held.stop().await;
}

#[tokio::test]
async fn a_window_is_not_closed_while_something_is_held_for_it_that_cannot_be_sent() {
    let held = Held::start("backfill: { soak: 1ms }").await;
    let window = held.service.create(ann(), NewWindow::default()).await.unwrap();
    let id = held.accept("/a", 0, window.id.as_str()).await;
    held.service.thaw(ann(), window.id.clone()).await.unwrap();
    held.until_event(EventKind::ClosureAnnounced).await;
    // Another one begins, is announced and is closed meanwhile: each has a life of its own.
    let other = held.service.create(ann(), NewWindow::default()).await.unwrap();
    held.service.thaw(ann(), other.id.clone()).await.unwrap();
    until_closed(&held, &other).await;
    assert_eq!(held.service.window(window.id.clone()).await.unwrap().phase, Phase::Backfilling);
    held.ledger
        .decide(
            quiesce::intents::Selection { ids: vec![id], ..Default::default() },
            quiesce::intents::Decision::Discard,
            "ann says so".to_owned(),
            quiesce::clock::now(),
        )
        .await
        .unwrap();
    assert_eq!(until_closed(&held, &window).await.phase, Phase::Aborted);
    held.stop().await;
}

#[tokio::test]
async fn windows_of_different_scopes_live_side_by_side() {
    let (companion, _dir) = Companion::start("backfill: { soak: 700ms }").await;
    let _eu = Enforcer::new(&companion.url, "eu-1", "1").label("region", "eu").run();
    let _us = Enforcer::new(&companion.url, "us-1", "1").label("region", "us").run();
    eventually("both are live", async || (companion.status().await.fleet.live == 2).then_some(())).await;
    let in_region = |region: &str| json!({ "scope": { "labels": { "region": [region] } } });
    let eu = companion.create(in_region("eu")).await;
    companion.watch(&eu, |window| window.phase == Phase::Quiesced).await;
    companion.thaw(&eu).await;
    let us = companion.create(in_region("us")).await;
    companion.watch(&us, |window| window.phase == Phase::Quiesced).await;
    // What soaks refuses no write, and stands in nobody's way.
    let eu_again = companion.create(in_region("eu")).await;
    assert_eq!(companion.status().await.windows.len(), 3);
    companion.watch(&eu, |window| window.phase == Phase::Closed).await;
    companion.watch(&eu_again, |window| window.phase == Phase::Quiesced).await;
    assert_eq!(companion.window(&us).await.phase, Phase::Quiesced);
    companion.stop().await;
}

#[tokio::test]
async fn a_window_is_announced_its_lead_before_it_begins_or_at_once() {
    let (companion, _dir) = Companion::start("windows: { announce_before: 2s }").await;
    let now = quiesce::clock::now();
    let early = companion.create(json!({ "starts_at": now.plus_ms(4_000), "duration_ms": 60_000 })).await;
    let scope = json!({ "hosts": ["a.example.com"] });
    let later = now.plus_ms(7_200_000);
    let far = companion.create(json!({ "starts_at": later, "scope": scope })).await;
    assert_eq!(early.announced_at, None);
    let announced = companion.watch(&early, |window| window.announced_at.is_some()).await;
    let lead_ms = early.starts_at.ms_since(announced.announced_at.unwrap());
    assert!((1..=2_000).contains(&lead_ms), "{lead_ms}");
    assert_eq!(announced.phase, Phase::Scheduled);
    companion.watch(&early, |window| window.started_at.is_some()).await;
    companion.thaw(&early).await;
    let late = companion.create(json!({ "starts_at": quiesce::clock::now().plus_ms(1_500) })).await;
    companion.watch(&late, |window| window.announced_at.is_some()).await;
    assert_eq!(companion.window(&far).await.announced_at, None);
    companion.act(&far, "cancel").await;
    let events: EventList = companion.get(&format!("/v1/events?window={}", far.id)).await;
    assert_eq!(
        kinds(&events.events),
        [EventKind::Scheduled, EventKind::Cancelled],
        "at once, and nobody was told"
    );
    companion.stop().await;
}

/// A companion whose process is killed and started again on the same store.
struct Killed<'a> {
    dir: &'a Path,
    yaml: String,
    serve: Option<Serve>,
}

impl Killed<'_> {
    async fn start(dir: &Path, yaml: String) -> Killed<'_> {
        let serve = Some(Serve::start(dir, Some(&yaml)).await);
        Killed { dir, yaml, serve }
    }

    async fn kill(&mut self) {
        self.serve.take().unwrap().kill().await;
    }

    async fn again(&mut self) {
        self.serve = Some(Serve::start(self.dir, Some(&self.yaml)).await);
    }

    fn url(&self) -> &str {
        &self.serve.as_ref().unwrap().url
    }

    /// Waits until the window is in this phase, kills the companion there, and starts it again.
    async fn killed_in(&mut self, phase: Phase, window: &WindowView) {
        self.until(phase, window).await;
        self.kill().await;
        self.again().await;
    }

    async fn until(&self, phase: Phase, window: &WindowView) {
        let path = format!("{}/v1/windows/{}", self.url(), window.id);
        eventually(&format!("it is {phase:?}"), async || {
            let view: WindowView = http().get(&path).send().await.ok()?.json().await.ok()?;
            (view.phase == phase).then_some(())
        })
        .await;
    }
}

/// Kills companions in every phase of a window, which has a write held for it.
async fn lives_on(dir: &Path, yaml: String, ledger: impl AsyncFn() -> (Box<dyn Ledger>, Closing)) {
    let origin = Origin::start().await;
    let patient = format!("{yaml}windows: {{ announce_before: 1h }}\nbackfill: {{ soak: 2s }}\n");
    let mut killed = Killed::start(dir, patient).await;
    let api = killed.serve.as_ref().unwrap().api();
    let starts_at = quiesce::clock::now().plus_ms(3_000);
    // Of two enforcers none is there, until the companion is told that none is expected.
    let window = api.create(json!({ "starts_at": starts_at, "duration_ms": 600_000, "expect": 1 })).await;
    killed.killed_in(Phase::Scheduled, &window).await;
    killed.killed_in(Phase::Freezing, &window).await;
    let mut enforcer = Enforcer::new(killed.url(), "edge-1", "1");
    enforcer.obey().await;
    enforcer.request.in_flight = 1;
    enforcer.report().await;
    killed.killed_in(Phase::Draining, &window).await;
    let _enforcer = Enforcer::new(killed.url(), "edge-1", "1").run();
    killed.until(Phase::Quiesced, &window).await;
    killed.kill().await;
    let (held, closing) = ledger().await;
    let id = accept(&*held, order("/a", 0, window.id.as_str())).await.id;
    drop(held);
    closing.await;
    killed.again().await;
    killed.until(Phase::Quiesced, &window).await;
    killed.serve.as_ref().unwrap().api().thaw(&window).await;
    killed.killed_in(Phase::Soaking, &window).await;
    killed.killed_in(Phase::Backfilling, &window).await;
    killed.until(Phase::Backfilling, &window).await;
    killed.kill().await;
    killed.yaml = format!("{yaml}{}\n", quick(&origin.url, ""));
    killed.again().await;
    killed.killed_in(Phase::Closed, &window).await;
    killed.until(Phase::Closed, &window).await;

    let path = format!("{}/v1/events?window={}", killed.url(), window.id);
    let events: EventList = http().get(path).send().await.unwrap().json().await.unwrap();
    use EventKind::{Announced, Quiesced, Scheduled, Started, Thawed};
    assert_eq!(
        kinds(&events.events),
        [&[Scheduled, Announced, Started, Quiesced, Thawed][..], &ENDING].concat()
    );
    assert_eq!((origin.effects(), origin.line("/a")), (1, vec!["0".to_owned()]), "{id}");
    killed.kill().await;
}

type Closing = std::pin::Pin<Box<dyn Future<Output = ()>>>;

#[tokio::test]
async fn killed_in_every_phase_a_window_lives_on_in_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    lives_on(dir.path(), String::new(), async || {
        let store = SqliteStore::open(&dir.path().join("quiesce.db")).await.unwrap();
        let ledger: Box<dyn Ledger> = Box::new(SqliteLedger::open(&store).await.unwrap());
        (ledger, Box::pin(async move { store.close().await.unwrap() }) as Closing)
    })
    .await;
}

#[tokio::test]
async fn killed_in_every_phase_a_window_lives_on_in_postgresql() {
    let Some(database) = Database::new().await else { return };
    let dir = tempfile::tempdir().unwrap();
    lives_on(dir.path(), format!("store: '{}'\n", database.url), async || {
        let store = database.store().await;
        let ledger: Box<dyn Ledger> = Box::new(PostgresLedger::open(&store));
        (ledger, Box::pin(async move { store.close().await.unwrap() }) as Closing)
    })
    .await;
}

#[tokio::test]
async fn abort_is_for_operators_and_for_windows_in_force() {
    let (companion, _dir) = Companion::start("{}").await;
    let later = quiesce::clock::now().plus_ms(3_600_000);
    let window = companion.create(json!({ "starts_at": later })).await;
    let path = format!("/v1/windows/{}/abort", window.id);
    let early = companion.send(Method::POST, &path, None).await;
    assert_eq!(early.status(), 409);
    assert!(early.text().await.unwrap().contains("window-not-begun"));
    companion.stop().await;
}
