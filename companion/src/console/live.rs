//! What consoles are told as it happens, put together once for all who look.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use utoipa::ToSchema;

use super::history::{History, STEP, Sample};
use crate::{
    barrier::EnforcerState,
    clock,
    error::ServiceError,
    event::{Event, EventKind},
    service::Service,
    view::{FleetView, Liveness, StatusView, WindowView},
};

/// Consoles that may look at the same time.
const MAX_CONSOLES: usize = 64;
/// Two states are no closer to each other than this, and in a large fleet than that.
const APART: Duration = Duration::from_millis(100);
const APART_LARGE: Duration = Duration::from_secs(1);
const LARGE_FLEET: usize = 200;
/// Enforcers named one by one, the laggards first.
const NAMED: usize = 100;
/// Events shown.
const EVENTS: usize = 100;
/// Windows whose events are looked through for the latest.
const WINDOWS: u32 = 20;

/// How things stand, for people who look at a console.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LiveState {
    /// As `GET /v1/status`; of the enforcers of a barrier, those that are not done come first, and 100 at most.
    pub status: StatusView,
    /// As `GET /v1/fleet`, in the same order, 100 at most.
    pub fleet: FleetView,
}

/// One thing that a console is told.
#[derive(Clone, Debug)]
pub struct Told {
    /// What kind it is: `state`, `events`, `history` or `sample`.
    pub kind: &'static str,
    /// JSON.
    pub json: Arc<str>,
}

/// Where it is put together.
pub struct Live {
    state: watch::Sender<Arc<str>>,
    events: watch::Sender<Arc<str>>,
    sample: watch::Sender<Arc<str>>,
    history: Mutex<History>,
    seats: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        let empty = || watch::Sender::new(Arc::from(""));
        Self {
            state: empty(),
            events: empty(),
            sample: empty(),
            history: Mutex::default(),
            seats: Arc::new(Semaphore::new(MAX_CONSOLES)),
        }
    }
}

/// One console that looks.
pub struct Looker {
    first: Vec<Told>,
    state: watch::Receiver<Arc<str>>,
    events: watch::Receiver<Arc<str>>,
    sample: watch::Receiver<Arc<str>>,
    shutdown: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

impl Looker {
    /// What it is told next; nothing more, once the companion goes down.
    pub async fn next(&mut self) -> Option<Told> {
        if let Some(told) = self.first.pop() {
            return Some(told);
        }
        loop {
            let (kind, receiver) = tokio::select! {
                biased;
                _ = self.shutdown.wait_for(|down| *down) => return None,
                changed = self.state.changed() => changed.map(|()| ("state", &mut self.state)).ok()?,
                changed = self.events.changed() => changed.map(|()| ("events", &mut self.events)).ok()?,
                changed = self.sample.changed() => changed.map(|()| ("sample", &mut self.sample)).ok()?,
            };
            let json = Arc::clone(&receiver.borrow_and_update());
            if !json.is_empty() {
                return Some(Told { kind, json });
            }
        }
    }
}

impl Service {
    /// Lets one more console look; none, if too many do.
    pub async fn look_on(&self) -> Result<Option<Looker>, ServiceError> {
        let Ok(seat) = Arc::clone(&self.live.seats).try_acquire_owned() else { return Ok(None) };
        // Followed before they are read, so that nothing is missed between the two.
        let (mut state, mut events) = (self.live.state.subscribe(), self.live.events.subscribe());
        let mut sample = self.live.sample.subscribe();
        state.mark_unchanged();
        events.mark_unchanged();
        sample.mark_unchanged();
        let first = |kind, json: String| Told { kind, json: json.into() };
        let history = serde_json::to_string(&self.history())?;
        let first = vec![
            first("history", history),
            first("events", serde_json::to_string(&self.latest_events().await?)?),
            first("state", serde_json::to_string(&self.live_state().await)?),
        ];
        Ok(Some(Looker { first, state, events, sample, shutdown: self.follow_shutdown(), _seat: seat }))
    }

    /// What the fleet did over the last hour.
    pub fn history(&self) -> Vec<Sample> {
        let history = self.live.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.samples().cloned().collect()
    }

    /// Tells consoles what happens, until the companion goes down.
    pub async fn tell_consoles(self: Arc<Self>) {
        let mut shutdown = self.follow_shutdown();
        let mut stirs = self.follow_stirs();
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*shutdown.borrow_and_update() {
            tokio::select! {
                _ = shutdown.changed() => return,
                _ = steps.tick() => self.end_step().await,
                _ = stirs.changed() => {}
            }
            if self.live.state.receiver_count() > 0 {
                if let Err(error) = self.tell().await {
                    tracing::warn!(%error, "consoles are not told what happens");
                }
                let large = self.fleet_counts().live > LARGE_FLEET as u64;
                tokio::time::sleep(if large { APART_LARGE } else { APART }).await;
            }
        }
    }

    async fn end_step(&self) {
        let in_flight = self.fleet_counts().in_flight;
        let held = self.intents_view().await.map_or(0, |intents| intents.held);
        let sample = {
            let mut history = self.live.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.note(clock::now(), in_flight, held, self.outcome_totals())
        };
        if let Ok(json) = serde_json::to_string(&sample) {
            self.live.sample.send_replace(json.into());
        }
    }

    async fn tell(&self) -> Result<(), ServiceError> {
        let state = serde_json::to_string(&self.live_state().await)?;
        let events = serde_json::to_string(&self.latest_events().await?)?;
        self.live.state.send_replace(state.into());
        self.live.events.send_if_modified(|told| {
            let news = **told != *events;
            *told = events.into();
            news
        });
        Ok(())
    }

    /// How things stand.
    pub async fn live_state(&self) -> LiveState {
        let intents = self.intents_view().await;
        let backfill = self.backfill_summary(intents.as_ref());
        let mut status = StatusView { intents, backfill, ..self.status() };
        status.windows.iter_mut().for_each(laggards_first);
        let mut fleet = self.fleet_view();
        let epoch = fleet.epoch;
        fleet.enforcers.sort_by_key(|one| (one.state == Liveness::Replaced, one.applied == epoch));
        fleet.enforcers.truncate(NAMED);
        LiveState { status, fleet }
    }

    /// The latest events of the latest windows, and what else happened since; the newest first.
    async fn latest_events(&self) -> Result<Vec<Event>, ServiceError> {
        let mut events = self.events_of_windows(WINDOWS).await?;
        events.sort_by_key(|event| std::cmp::Reverse(event.seq));
        events.truncate(EVENTS);
        // What a barrier rests on names every enforcer, and the fleet is shown beside the events.
        for event in &mut events {
            if matches!(event.kind, EventKind::Started | EventKind::Quiesced) {
                event.evidence = serde_json::Value::Null;
            }
        }
        Ok(events)
    }
}

fn laggards_first(window: &mut WindowView) {
    let barriers = [window.barrier.as_mut(), window.quiesced.as_mut().map(|it| &mut it.barrier)];
    for barrier in barriers.into_iter().flatten() {
        barrier.enforcers.sort_by_key(|one| one.state == EnforcerState::Quiesced);
        barrier.enforcers.truncate(NAMED);
        barrier.problems.truncate(NAMED);
    }
}
