//! What can be asked: windows, barriers, fleet, events.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::{Duration, Instant},
};

use quiesce_policy::snapshot::{EnforcerId, WindowId};
use serde_json::{Value, json};
use tokio::time::timeout_at;

use super::{Published, Service};
use crate::{
    auth::Caller,
    barrier::Barrier,
    clock,
    error::ServiceError,
    event::{Event, EventKind},
    flags::Frozen,
    fleet::{EnforcerKey, Entry, Fleet},
    store::{Change, StoredWindow},
    view::{BarrierView, EnforcerView, FleetCounts, FleetView, Liveness, StatusView, WindowView},
    windows::{History, OpenWindow, WindowRecord},
};

/// Events and windows that one answer holds at most.
pub const MAX_PAGE: u32 = 1_000;
/// In a large fleet, a barrier that is watched is looked at no more often than this, and never less often than that.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOK_RARELY: Duration = Duration::from_millis(250);
/// In between it is left alone for so many times as long as the look took.
const PAUSE_BY_LOOK: u32 = 5;
const LARGE_FLEET: usize = 200;

impl Service {
    /// A window that is not over.
    pub(super) fn view_open(&self, id: &WindowId) -> Result<WindowView, ServiceError> {
        let published = self.published();
        let open = published.open(id).ok_or_else(|| ServiceError::UnknownWindow(id.clone()))?;
        Ok(self.view(open, &published))
    }

    fn view(&self, open: &OpenWindow, published: &Published) -> WindowView {
        if open.history.ended.is_some() {
            return view(&open.record, &open.history, None);
        }
        let mut barrier = self.barrier(open, published.epoch);
        if self.others.is_some() && open.history.quiesced.is_none() {
            barrier.await_record();
        }
        view(&open.record, &open.history, Some(barrier))
    }

    /// Any window.
    pub async fn window(&self, id: WindowId) -> Result<WindowView, ServiceError> {
        if let Ok(view) = self.view_open(&id) {
            return Ok(view);
        }
        let stored = self.store.window(id.clone()).await?.ok_or(ServiceError::UnknownWindow(id))?;
        let open = OpenWindow::from_stored(stored);
        Ok(view(&open.record, &open.history, None))
    }

    /// The latest windows.
    pub async fn windows(&self, limit: u32) -> Result<Vec<WindowView>, ServiceError> {
        let stored = self.store.windows(limit.min(MAX_PAGE)).await?;
        let published = self.published();
        Ok(stored
            .into_iter()
            .map(|stored| match published.open(&stored.record.window.id) {
                Some(open) => self.view(open, &published),
                None => {
                    let open = OpenWindow::from_stored(stored);
                    view(&open.record, &open.history, None)
                }
            })
            .collect())
    }

    /// The latest windows with all that happened to them.
    pub(crate) async fn stored_windows(&self, limit: u32) -> Result<Vec<StoredWindow>, ServiceError> {
        Ok(self.store.windows(limit).await?)
    }

    /// One window with all that happened to it.
    pub(crate) async fn stored_window(&self, id: WindowId) -> Result<Option<StoredWindow>, ServiceError> {
        Ok(self.store.window(id).await?)
    }

    /// A window with its barrier, once its state is another than `after`, or `wait` has passed.
    pub async fn watch(
        &self,
        id: WindowId,
        after: Option<&str>,
        wait: Duration,
    ) -> Result<BarrierView, ServiceError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut stirs = self.follow_stirs();
        let mut published = self.follow();
        let mut shutdown = self.follow_shutdown();
        loop {
            stirs.borrow_and_update();
            published.borrow_and_update();
            let began = Instant::now();
            let window = self.window(id.clone()).await?;
            let revision = revision(&window);
            let down = *shutdown.borrow_and_update();
            if after != Some(revision.as_str()) || down || tokio::time::Instant::now() >= deadline {
                return Ok(BarrierView { revision, window });
            }
            let stirred = async {
                if self.fleet().len() > LARGE_FLEET {
                    // Whoever is late to say so costs a look at all the others; what the log says is seen at once.
                    let pause = (began.elapsed() * PAUSE_BY_LOOK).clamp(LOOK_EVERY, LOOK_RARELY);
                    if tokio::time::timeout(pause, published.changed()).await.is_ok() {
                        return;
                    }
                }
                tokio::select! {
                    _ = stirs.changed() => {}
                    _ = shutdown.changed() => {}
                }
            };
            // Liveness is lost by the passing of time, which stirs nothing: the controller's tick does.
            let _ = timeout_at(deadline, stirred).await;
        }
    }

    /// What is frozen for a caller with this context, at one moment.
    pub fn frozen<T>(&self, context: &BTreeMap<String, Value>, look: impl FnOnce(Frozen<'_>) -> T) -> T {
        let published = self.published();
        let windows = published.windows.values().map(|open| &open.record.window);
        let mode = self.configured().snapshot.mode;
        look(Frozen::of(windows, mode, published.epoch.0, context, clock::now()))
    }

    /// How things stand.
    pub fn status(&self) -> StatusView {
        let published = self.published();
        let open = published.windows.values().chain(published.ending.values());
        let windows = open.map(|open| self.view(open, &published)).collect();
        StatusView {
            now: clock::now(),
            epoch: published.epoch,
            mode: self.configured().snapshot.mode,
            windows,
            fleet: self.fleet_counts(),
            intents: None,
            backfill: None,
            deliveries: None,
        }
    }

    /// The enforcers, counted.
    pub fn fleet_counts(&self) -> FleetCounts {
        let epoch = self.published().epoch;
        let at = Instant::now();
        let fleet = self.fleet();
        let mut counts = FleetCounts::default();
        for (key, entry) in fleet.entries() {
            match liveness(&fleet, key, entry, at) {
                Liveness::Connected | Liveness::Silent => {
                    counts.live += 1;
                    counts.up_to_date += u64::from(entry.report.applied == epoch);
                    let rejected = entry.report.rejected.as_ref();
                    counts.rejecting += u64::from(rejected.is_some_and(|it| it.version == epoch));
                    counts.in_flight += entry.report.in_flight;
                }
                Liveness::Lost => counts.lost += 1,
                Liveness::Replaced => {}
            }
        }
        counts
    }

    /// All enforcers known.
    pub fn fleet_view(&self) -> FleetView {
        let at = Instant::now();
        let epoch = self.published().epoch;
        let fleet = self.fleet();
        let enforcers = fleet
            .entries()
            .map(|(key, entry)| EnforcerView {
                id: key.id.clone(),
                instance: key.instance.clone(),
                kind: entry.enforcer.kind,
                version: entry.enforcer.version.clone(),
                labels: entry.enforcer.labels.clone(),
                state: liveness(&fleet, key, entry, at),
                first_seen: entry.first_seen,
                last_seen: if entry.is_connected(at) { clock::now() } else { entry.last_seen },
                applied: entry.report.applied,
                in_force: entry.report.in_force.clone(),
                in_flight: entry.report.in_flight,
                unaccounted: entry.report.unaccounted,
                cut: entry.report.cut,
                clock_skew_ms: entry.report.clock_skew_ms,
                rejected: entry.report.rejected.clone(),
            })
            .collect();
        FleetView { epoch, enforcers }
    }

    /// Gives up on an enforcer that is lost.
    pub async fn forget(self: &Arc<Self>, caller: Caller, id: EnforcerId) -> Result<(), ServiceError> {
        self.fleet().forget(&id, Instant::now())?;
        let event = Event {
            seq: 0,
            at: clock::now(),
            who: caller.name,
            kind: EventKind::EnforcerForgotten,
            window: None,
            evidence: json!({ "enforcer": id }),
        };
        let change = Change { events: vec![event], ..Change::default() };
        self.store.commit(self.store.turn().await?, change).await?;
        self.save_fleet.notify_one();
        self.stir();
        Ok(())
    }

    /// Events after `after`.
    pub async fn events(
        &self,
        after: u64,
        window: Option<WindowId>,
        limit: u32,
    ) -> Result<Vec<Event>, ServiceError> {
        Ok(self.store.events(after, window, limit.min(MAX_PAGE)).await?)
    }

    /// All events of the latest windows.
    pub(crate) async fn events_of_windows(&self, windows: u32) -> Result<Vec<Event>, ServiceError> {
        let stored = self.store.windows(windows).await?;
        Ok(stored.into_iter().flat_map(|stored| stored.events).collect())
    }

    /// Whether the companion can do its work.
    pub async fn ready(&self) -> Result<(), ServiceError> {
        if *self.shutdown.borrow() {
            return Err(ServiceError::ShuttingDown);
        }
        Ok(self.store.check().await?)
    }

    /// Requests by surface and outcome, over the fleet.
    pub fn outcome_totals(&self) -> Vec<(String, String, u64)> {
        let fleet = self.fleet();
        fleet.totals().map(|(surface, outcome, n)| (surface.to_owned(), outcome.to_owned(), n)).collect()
    }
}

impl Published {
    /// A window that is not over.
    pub fn open(&self, id: &WindowId) -> Option<&OpenWindow> {
        self.windows.get(id).or_else(|| self.ending.get(id))
    }
}

fn liveness(fleet: &Fleet, key: &EnforcerKey, entry: &Entry, at: Instant) -> Liveness {
    if entry.is_connected(at) {
        Liveness::Connected
    } else if fleet.is_succeeded(key, at) {
        Liveness::Replaced
    } else if entry.is_live(at) {
        Liveness::Silent
    } else {
        Liveness::Lost
    }
}

fn view(record: &WindowRecord, history: &History, barrier: Option<Barrier>) -> WindowView {
    let window = &record.window;
    WindowView {
        id: window.id.clone(),
        phase: history.phase(barrier.as_ref()),
        scope: window.scope.clone(),
        starts_at: window.starts_at,
        ends_at: window.ends_at,
        expires_at: window.expires_at,
        reason: window.reason.clone(),
        contact: window.contact.clone(),
        status: window.status,
        drain_timeout_ms: window.drain_timeout_ms,
        expect: record.expect,
        rollback: record.rollback.clone(),
        issued_at: record.issued_at,
        issued_by: record.issued_by.clone(),
        started_at: history.started.as_ref().map(|started| started.at),
        quiesced: history.quiesced.clone(),
        ended: history.ended.clone(),
        announced_at: history.announced,
        soaked_at: history.soaked,
        closure_announced_at: history.closure_announced,
        closed_at: history.closed,
        barrier,
    }
}

/// Names the state of a window: another name, another state.
fn revision(window: &WindowView) -> String {
    let mut hash = DefaultHasher::new();
    window.phase.hash(&mut hash);
    window.ends_at.hash(&mut hash);
    window.quiesced.is_some().hash(&mut hash);
    window.announced_at.hash(&mut hash);
    window.barrier.hash(&mut hash);
    format!("{:016x}", hash.finish())
}
