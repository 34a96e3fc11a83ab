//! The filter in one VM: what its contexts share.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use quiesce_policy::{
    Timestamp,
    retry::RetryLedger,
    snapshot::{EnforcerId, InstanceId, Mode, WindowId},
    sync::{Enforcer, EnforcerKind},
};

use crate::{
    config::PluginConfig,
    counters::Counters,
    host::{self, Metric},
    in_flight::InFlight,
    leader::Leader,
    learning::Listening,
    refusals::Refusals,
    seen::Seeing,
    state::State,
    vms::Slot,
    waiting::Waiting,
};

/// The identity of the process, made by whichever VM comes first.
const INSTANCE: &str = "quiesce.instance";

/// Ticks come at least this often; milliseconds.
const TICK_MS: u64 = 1000;

/// The first tick comes soon, so that the first snapshot does; milliseconds.
const FIRST_TICK_MS: u64 = 10;

/// The filter in one VM.
pub struct Plugin {
    /// Its configuration.
    pub config: PluginConfig,
    /// Who it reports as.
    pub enforcer: Enforcer,
    /// What is in force.
    pub state: RefCell<State>,
    /// Writes in flight.
    pub in_flight: InFlight,
    /// What became of requests.
    pub counters: RefCell<Counters>,
    /// What the requests of observed surfaces look like.
    pub seen: Seeing,
    /// Clients that were refused.
    pub ledger: RefCell<RetryLedger>,
    /// What refused clients are answered.
    pub refusals: RefCell<Refusals>,
    /// Streams that are held.
    pub waiting: RefCell<Waiting>,
    /// Answers that are listened to.
    pub listening: RefCell<Listening>,
    /// When `boot: hold` gives up.
    pub boot_ends_at: Timestamp,
    /// Streams cut at a drain timeout, process-wide.
    pub cut: Metric,
    leader: RefCell<Leader>,
    root_id: u32,
    tick_ms: Cell<u64>,
}

impl Plugin {
    /// Starts the filter in this VM.
    pub fn start(root_id: u32, config: PluginConfig) -> Result<Rc<Self>, String> {
        check_that_gauges_are_kept()?;
        let missing = || "Envoy defines no metrics".to_owned();
        let slot = Slot::take().ok_or_else(missing)?;
        let enforcer = identify(&config);
        let plugin = Self {
            state: RefCell::new(State::new(enforcer.labels.clone()).ok_or_else(missing)?),
            leader: RefCell::new(Leader::new(slot.number()).ok_or_else(missing)?),
            in_flight: InFlight::new(slot).ok_or_else(missing)?,
            counters: RefCell::default(),
            seen: Seeing::default(),
            ledger: RefCell::default(),
            refusals: RefCell::default(),
            waiting: RefCell::default(),
            listening: RefCell::default(),
            boot_ends_at: host::now().plus_ms(config.boot_timeout_ms),
            cut: Metric::counter("quiesce.cut").ok_or_else(missing)?,
            root_id,
            tick_ms: Cell::new(FIRST_TICK_MS),
            enforcer,
            config,
        };
        host::set_tick_period(FIRST_TICK_MS);
        Ok(Rc::new(plugin))
    }

    /// Looks at the epoch; counts made under the policy before belong to that one.
    pub fn look(&self) {
        let before = self.state.borrow_mut().look();
        if let Some(before) = before {
            self.counters.borrow_mut().flush(&before);
        }
    }

    /// Whether it has streams to see to.
    pub fn has_streams(&self) -> bool {
        !self.in_flight.is_empty() || !self.waiting.borrow().is_empty()
    }

    /// The windows in force for every request of this process from now on.
    pub fn in_force(&self) -> Vec<WindowId> {
        self.look();
        let now = host::now();
        let mut state = self.state.borrow_mut();
        state.look_at_latches(now);
        if state.policy().mode() == Mode::Observe {
            return Vec::new();
        }
        state.policy().schedule().in_force(now, state.latches()).map(|window| window.id.clone()).collect()
    }

    /// What every VM does from time to time.
    pub fn tick(&self) {
        let elapsed_ms = self.tick_ms.get();
        self.in_flight.slot().beat();
        let in_force = self.in_force();
        let policy = Rc::clone(self.state.borrow().policy());
        self.counters.borrow_mut().flush(&policy);
        if !in_force.is_empty() {
            self.sort_streams();
        }
        let hurry_ms = self.leader.borrow_mut().tick(self, elapsed_ms);
        self.seen.tick(&self.config, &self.enforcer.id, elapsed_ms);
        self.set_tick(hurry_ms);
    }

    /// The answer to a call that this VM made; without a body if the call failed.
    pub fn on_response(&self, token: u32, body_bytes: Option<usize>) {
        if self.seen.on_response(token, body_bytes.is_some()) {
            return;
        }
        let hurry_ms = self.leader.borrow_mut().on_response(self, token, body_bytes);
        self.set_tick(hurry_ms);
    }

    /// Ticks at the pace that the leader asks for, and just when the next window starts.
    fn set_tick(&self, hurry_ms: Option<u64>) {
        let now = host::now();
        let until_start_ms =
            self.state.borrow().policy().schedule().next_start(now).map(|at| at.ms_since(now).max(1));
        let tick_ms = [hurry_ms, until_start_ms].into_iter().flatten().fold(TICK_MS, u64::min);
        if self.tick_ms.replace(tick_ms) != tick_ms {
            host::set_tick_period(tick_ms);
        }
    }

    fn sort_streams(&self) {
        let sorted = {
            let state = self.state.borrow();
            self.in_flight.sort(state.policy(), host::now(), state.latches())
        };
        // Count, then look: here as for a new write.
        self.look();
        let now = host::now();
        self.state.borrow_mut().look_at_latches(now);
        {
            let state = self.state.borrow();
            self.in_flight.settle(sorted.moving, state.policy(), now, state.latches());
        }
        // Nothing is borrowed here: a stream that is reset leaves before the call returns.
        for context_id in sorted.overdue {
            self.cut.add(1);
            log::info!("a write outstayed the drain timeout and was cut");
            host::reset_stream(context_id, self.root_id);
        }
    }
}

fn identify(config: &PluginConfig) -> Enforcer {
    let node_id = || host::property("xds\0node\0id").and_then(|id| String::from_utf8(id).ok());
    let instance = instance();
    let id = config.enforcer.id.clone().filter(|id| !id.is_empty()).or_else(node_id);
    let id = id.unwrap_or_else(|| {
        log::warn!(
            "this Envoy has no node id and `enforcer.id` is not set; it gets a new identity at every start"
        );
        format!("envoy-{instance}")
    });
    Enforcer {
        id: EnforcerId::from(id),
        instance: InstanceId::from(instance),
        kind: EnforcerKind::Envoy,
        labels: config.enforcer.labels.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn instance() -> String {
    let fresh = format!("{:x}", host::now_ns());
    loop {
        let read = host::shared(INSTANCE);
        if let Some(instance) = &read.value {
            return String::from_utf8_lossy(instance).into_owned();
        }
        if host::replace_shared(INSTANCE, &read, fresh.as_bytes()) {
            return fresh;
        }
    }
}

/// Everything rests on gauges. An Envoy whose `stats_config` rejects them would let all writes pass.
fn check_that_gauges_are_kept() -> Result<(), String> {
    let kept = Metric::gauge("quiesce.self_test").is_some_and(|gauge| {
        gauge.set(1);
        gauge.get() == Some(1)
    });
    if kept {
        Ok(())
    } else {
        Err("Envoy does not keep the gauge `quiesce.self_test`; let its stats_matcher include `wasmcustom.quiesce.`".to_owned())
    }
}
