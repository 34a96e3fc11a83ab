//! What is in force in this process, as one VM sees it: the snapshot behind the epoch, and the latches.
//!
//! Both are published in the same way: bytes in shared data first, then a gauge that changes. A VM
//! reads the gauge, which is cheap, and fetches the bytes only when it has changed.

use std::{collections::BTreeMap, rc::Rc};

use quiesce_policy::{
    Latches, Policy, Timestamp, json,
    snapshot::{Epoch, Snapshot, WindowId},
};

use crate::host::{self, Metric};

const SNAPSHOT: &str = "quiesce.snapshot";
const LATCHED: &str = "quiesce.latched";

/// What one VM has seen of the process's state.
pub struct State {
    labels: BTreeMap<String, String>,
    epoch: Metric,
    latch: Metric,
    seen_epoch: u64,
    seen_latch: u64,
    policy: Rc<Policy>,
    latches: Rc<Latches>,
    knowledge: Knowledge,
}

/// Whether the state is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// No snapshot has come yet.
    Nothing,
    /// A snapshot is in force.
    Snapshot,
    /// A snapshot is in force in the process, and this VM cannot use it.
    Lost,
}

impl State {
    /// The state of a VM that has seen nothing yet, for an enforcer with these labels.
    pub fn new(labels: BTreeMap<String, String>) -> Option<Self> {
        let policy = Policy::compile(&Snapshot::default()).ok()?;
        Some(Self {
            labels,
            epoch: Metric::gauge("quiesce.epoch")?,
            latch: Metric::gauge("quiesce.latch")?,
            seen_epoch: 0,
            seen_latch: 0,
            policy: Rc::new(policy),
            latches: Rc::default(),
            knowledge: Knowledge::Nothing,
        })
    }

    /// The policy as of the last look.
    pub fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// The latches as of the last look.
    pub fn latches(&self) -> &Rc<Latches> {
        &self.latches
    }

    /// Whether the policy is that of a snapshot.
    pub fn knowledge(&self) -> Knowledge {
        self.knowledge
    }

    /// Looks at the epoch; returns the policy before, if it has changed.
    pub fn look(&mut self) -> Option<Rc<Policy>> {
        let epoch = self.epoch.get().unwrap_or(self.seen_epoch);
        if epoch == self.seen_epoch {
            return None;
        }
        self.seen_epoch = epoch;
        let before = Rc::clone(&self.policy);
        let bytes = host::shared(SNAPSHOT).value.unwrap_or_default();
        match read_snapshot(&bytes) {
            Ok(policy) => {
                self.policy = Rc::new(policy.scoped_to(&self.labels));
                self.knowledge = Knowledge::Snapshot;
            }
            Err(err) => {
                log::error!("cannot use the snapshot in force, writes are refused: {err}");
                self.knowledge = Knowledge::Lost;
            }
        }
        Some(before)
    }

    /// Looks at the latches, and latches what the clock says has begun.
    pub fn look_at_latches(&mut self, now: Timestamp) {
        if !self.policy.schedule().waits_for_clock() {
            return;
        }
        self.fetch_latches();
        let begun: Vec<WindowId> =
            self.policy.schedule().to_latch(now, &self.latches).map(|window| window.id.clone()).collect();
        if !begun.is_empty() {
            self.latch(&begun);
        }
    }

    fn fetch_latches(&mut self) {
        let latch = self.latch.get().unwrap_or(self.seen_latch);
        if latch != self.seen_latch {
            self.seen_latch = latch;
            self.latches = Rc::new(read_latches(&host::shared(LATCHED)));
        }
    }

    /// Adds windows to the latched ones of the process, and drops those that no snapshot has any more.
    fn latch(&mut self, begun: &[WindowId]) {
        loop {
            let read = host::shared(LATCHED);
            let mut latches = read_latches(&read);
            latches.retain(|id| self.policy.schedule().windows().iter().any(|window| window.id == *id));
            latches.extend(begun.iter().cloned());
            let lines: Vec<&str> = latches.iter().map(WindowId::as_str).collect();
            if host::replace_shared(LATCHED, &read, lines.join("\n").as_bytes()) {
                self.latch.add(1);
                self.latches = Rc::new(latches);
                for id in begun {
                    log::info!("window {id} is in force: its time has come");
                }
                return;
            }
        }
    }

    /// Puts a snapshot in force in the process, if it is newer than the one in force and can be used; this
    /// VM takes it up, as all others do, at its next look.
    pub fn publish(&mut self, bytes: &[u8]) -> Result<Epoch, String> {
        let read = host::shared(SNAPSHOT);
        let version = read_snapshot(bytes)?.epoch();
        let in_force = self.epoch.get().unwrap_or(0);
        if version.0 <= in_force {
            return Err(format!("version {version} is not newer than {in_force}, which is in force"));
        }
        if !host::replace_shared(SNAPSHOT, &read, bytes) {
            return Err("another VM has published meanwhile".to_owned());
        }
        self.epoch.set(version.0);
        if self.epoch.get() != Some(version.0) {
            return Err("Envoy does not keep the gauge `quiesce.epoch`".to_owned());
        }
        Ok(version)
    }
}

fn read_snapshot(bytes: &[u8]) -> Result<Policy, String> {
    let snapshot: Snapshot = json::from_slice(bytes).map_err(|err| err.to_string())?;
    Policy::compile(&snapshot).map_err(|err| err.to_string())
}

fn read_latches(read: &host::Shared) -> Latches {
    let text = read.value.as_deref().and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    text.lines().map(WindowId::from).collect()
}
