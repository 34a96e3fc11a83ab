//! An enforcer as the store keeps it.

use std::{collections::BTreeSet, time::Instant};

use quiesce_policy::{
    snapshot::{EnforcerId, Epoch, InstanceId, WindowId},
    sync::{Enforcer, RejectedSnapshot},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Entry, LIVE_PERIODS, MIN_POLL_MS, OLDEST_SAVED, Report, Save};

/// Names one process of one enforcer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnforcerKey {
    /// The enforcer.
    pub id: EnforcerId,
    /// Its process.
    pub instance: InstanceId,
}

/// One process of one enforcer as it was last saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetRecord {
    /// What it says of itself.
    pub enforcer: Enforcer,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it was last heard of, as far as it was saved.
    pub last_seen: Timestamp,
    poll_ms: u64,
    born_under: BTreeSet<WindowId>,
    settled: BTreeSet<WindowId>,
    applied: Epoch,
    in_flight: u64,
    unaccounted: u64,
    cut: u64,
    rejected: Option<RejectedSnapshot>,
}

impl FleetRecord {
    /// Names the process.
    pub fn key(&self) -> EnforcerKey {
        EnforcerKey { id: self.enforcer.id.clone(), instance: self.enforcer.instance.clone() }
    }

    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            enforcer: entry.enforcer.clone(),
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
            poll_ms: entry.poll_ms,
            born_under: entry.born_under.clone(),
            settled: entry.settled.clone(),
            applied: entry.report.applied,
            in_flight: entry.report.in_flight,
            unaccounted: entry.report.unaccounted,
            cut: entry.report.cut,
            rejected: entry.report.rejected.clone(),
        }
    }

    /// `end` is when the last companion was certainly still running. What the enforcer had in force
    /// is not taken over: it must say so again before a barrier counts on it.
    pub(super) fn restore(self, end: Timestamp, at: Instant) -> Entry {
        let live_ms = self.poll_ms.max(MIN_POLL_MS).saturating_mul(u64::from(LIVE_PERIODS));
        let unsaved_ms = u64::try_from(OLDEST_SAVED.as_millis()).unwrap_or(u64::MAX);
        let was_live = end.ms_since(self.last_seen) < live_ms.saturating_add(unsaved_ms);
        Entry {
            enforcer: self.enforcer,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            report: Report {
                applied: self.applied,
                in_force: Vec::new(),
                in_flight: self.in_flight,
                unaccounted: self.unaccounted,
                cut: self.cut,
                clock_skew_ms: 0,
                rejected: self.rejected,
            },
            heard: was_live.then_some(at),
            poll_ms: self.poll_ms,
            open_polls: 0,
            hung_up: true,
            born_under: self.born_under,
            settled: self.settled,
            counters: Vec::new(),
            save: Save::Saved(at),
        }
    }
}
