//! The guard of one process: what is in force, what is in flight, and who keeps it in step.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;
use quiesce_policy::{
    Policy, Refusal, SnapshotError, Timestamp,
    retry::RetryLedger,
    snapshot::{Epoch, Mode, Snapshot, WindowId},
};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    config::{Boot, Config, ConfigError, OnUnreachable},
    counters::Counters,
    gate::WriteGate,
    in_flight::{Drain, InFlight, between_steps},
    saved,
    state::State,
    sync,
};

/// Reads the wall clock, which windows are given by.
pub(crate) type Clock = fn() -> Timestamp;

/// The one place where the guard reads it.
#[allow(clippy::disallowed_methods, reason = "a service goes by the clock of its machine")]
pub(crate) fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The guard of one process. Clones are the same guard; when the last is dropped, it no longer keeps in step.
#[derive(Clone)]
pub struct Guard {
    shared: Arc<Shared>,
    _sync: Option<Arc<Syncing>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

/// The task that keeps a guard in step; ended with it.
struct Syncing(AbortHandle);

impl Drop for Syncing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the layers, gates and the task of one guard share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) counters: Counters,
    pub(crate) ledger: Mutex<RetryLedger>,
    pub(crate) clock: Clock,
    state: ArcSwap<State>,
    /// Held by whoever replaces the state.
    changing: Mutex<()>,
    changes: watch::Sender<()>,
    boot_ends_at: Instant,
}

/// How things stand, in the order in which they were looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// The snapshot in force.
    pub(crate) applied: Epoch,
    /// The windows in force, for every write from then on.
    pub(crate) in_force: Vec<WindowId>,
    /// The writes that they wait for.
    pub(crate) in_flight: u64,
    /// Writes that were lost sight of.
    pub(crate) unaccounted: u64,
}

impl Guard {
    /// Starts a guard that keeps itself in step with its companion, by a task on the current tokio runtime.
    ///
    /// It does not wait for the companion: until the first snapshot, [`Config::boot`] says what becomes of writes.
    ///
    /// # Errors
    /// When the configuration names no companion or id, or outside a tokio runtime.
    pub fn connect(config: Config) -> Result<Self, ConfigError> {
        if config.id.as_str().is_empty() {
            return Err(ConfigError::Id);
        }
        let client = sync::Client::new(&config)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let shared = Arc::new(Shared::new(config, wall_clock));
        if let Some(snapshot) = shared.config.snapshot_file.as_deref().and_then(saved::load)
            && let Err(error) = shared.suppose(&snapshot)
        {
            tracing::warn!("the snapshot that was saved cannot be used: {error}");
        }
        let task = runtime.spawn(sync::run(Arc::clone(&shared), client));
        Ok(Self { shared, _sync: Some(Arc::new(Syncing(task.abort_handle()))) })
    }

    /// A guard that nobody keeps in step, for tests and for those who bring it snapshots by [`Guard::publish`].
    /// No companion hears of it.
    pub fn unconnected(config: Config) -> Self {
        Self { shared: Arc::new(Shared::new(config, wall_clock)), _sync: None }
    }

    /// Puts a snapshot in force.
    ///
    /// # Errors
    /// When the snapshot cannot be used; the error names the place, and what was in force stays so.
    pub fn publish(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        self.shared.publish(snapshot)
    }

    /// The version of the snapshot in force; 0 before the first.
    pub fn epoch(&self) -> Epoch {
        self.shared.state.load().policy.epoch()
    }

    /// Waits until the first snapshot is in force, which a service may want to be before it is ready.
    pub async fn synced(&self) {
        let mut changes = self.shared.follow();
        while !self.shared.state.load().is_known {
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }

    /// How many writes are in flight here.
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.total()
    }

    /// A gate for what writes without being asked by a request. It is closed by any window whose scope covers this
    /// guard, also by one of some hosts, since nobody knows which host such a write is for.
    pub fn gate(&self) -> WriteGate {
        WriteGate::new(self.clone(), None)
    }

    /// A gate for what writes on behalf of one host: windows of other hosts leave it open.
    pub fn gate_for(&self, host: &str) -> WriteGate {
        WriteGate::new(self.clone(), Some(host))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The same at a time of the test's own.
    #[cfg(test)]
    pub(crate) fn at(config: Config, clock: Clock) -> Self {
        Self { shared: Arc::new(Shared::new(config, clock)), _sync: None }
    }
}

impl Shared {
    fn new(config: Config, clock: Clock) -> Self {
        let counters = Counters::default();
        let nothing = Snapshot::default();
        // A snapshot that says nothing cannot be wrong; if it were, there would be no state to refuse by.
        #[allow(clippy::expect_used, reason = "of a constant, and run by every test")]
        let policy = Policy::compile(&nothing).expect("the empty snapshot compiles");
        let state = State {
            policy: Arc::new(policy),
            latches: Vec::new(),
            is_known: false,
            rows: counters.rows(&nothing).into(),
        };
        Self {
            boot_ends_at: Instant::now() + config.boot_timeout,
            config,
            in_flight: Arc::default(),
            counters,
            ledger: Mutex::default(),
            clock,
            state: ArcSwap::from_pointee(state),
            changing: Mutex::new(()),
            changes: watch::Sender::new(()),
        }
    }

    /// What is in force now.
    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// What is in force at `now`, with the windows latched whose time has come.
    pub(crate) fn state_at(&self, now: Timestamp) -> arc_swap::Guard<Arc<State>> {
        let state = self.state.load();
        let waits = state.policy.schedule().waits_for_clock();
        if !waits || state.policy.schedule().to_latch(now, &state.latches).next().is_none() {
            return state;
        }
        drop(state);
        self.latch(now);
        self.state.load()
    }

    /// The version of the companion's snapshot that is in force; 0 before the first.
    pub(crate) fn applied(&self) -> Epoch {
        let state = self.state.load();
        if state.is_known { state.policy.epoch() } else { Epoch(0) }
    }

    /// Follows what is in force.
    pub(crate) fn follow(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Puts a snapshot of the companion in force.
    pub(crate) fn publish(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        self.replace(snapshot, true)
    }

    /// Supposes that what an earlier process has saved holds still.
    fn suppose(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        self.replace(snapshot, false)
    }

    fn replace(&self, snapshot: &Snapshot, is_known: bool) -> Result<(), SnapshotError> {
        let policy = Policy::compile(snapshot)?.scoped_to(&self.config.labels);
        let rows = self.counters.rows(snapshot).into();
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latches = self.state.load().latches.clone();
        latches.retain(|id| policy.schedule().windows().iter().any(|window| window.id == *id));
        self.state.store(Arc::new(State { policy: Arc::new(policy), latches, is_known, rows }));
        drop(changing);
        self.changes.send_replace(());
        Ok(())
    }

    /// Latches the windows whose time has come: a clock that jumps back does not unsee it.
    fn latch(&self, now: Timestamp) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.load();
        let begun = state.policy.schedule().to_latch(now, &state.latches).map(|window| window.id.clone());
        let begun: Vec<WindowId> = begun.collect();
        if begun.is_empty() {
            return;
        }
        for id in &begun {
            tracing::info!("window {id} is in force: its time has come");
        }
        let State { policy, latches, is_known, rows } = &**state;
        let mut latches = latches.clone();
        latches.extend(begun);
        let latched =
            State { policy: Arc::clone(policy), latches, is_known: *is_known, rows: Arc::clone(rows) };
        self.state.store(Arc::new(latched));
        self.changes.send_replace(());
    }

    /// Why writes are refused while nothing is known of windows, if they are.
    pub(crate) fn unknown_state(&self, state: &State) -> Option<Refusal> {
        if state.is_known {
            return None;
        }
        match (self.config.boot, self.config.on_unreachable) {
            (Boot::Open, _) => None,
            (Boot::Closed, _) => Some(Refusal::StateUnknown),
            (Boot::Hold, _) if Instant::now() < self.boot_ends_at => Some(Refusal::Starting),
            (Boot::Hold, OnUnreachable::Open) => None,
            (Boot::Hold, OnUnreachable::Closed) => Some(Refusal::StateUnknown),
        }
    }

    /// What is in force, and what is in flight, in this order.
    pub(crate) fn measure(&self, drain: &mut Drain) -> Standing {
        let now = (self.clock)();
        let state = self.state_at(now);
        between_steps();
        let policy = &state.policy;
        let observes = policy.mode() == Mode::Observe;
        let in_force: Vec<WindowId> = policy
            .schedule()
            .in_force(now, &state.latches)
            .filter(|_| !observes)
            .map(|window| window.id.clone())
            .collect();
        let in_flight = if in_force.is_empty() {
            *drain = Drain::default();
            self.in_flight.total()
        } else {
            drain.look(&self.in_flight, policy, now, &state.latches)
        };
        // Of a snapshot that was only supposed, the companion hears nothing.
        if !state.is_known {
            return Standing { in_flight, unaccounted: self.in_flight.lost(), ..Standing::default() };
        }
        Standing { applied: policy.epoch(), in_force, in_flight, unaccounted: self.in_flight.lost() }
    }
}
