//! An enforcer as the store keeps it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use quiesce_policy::{
    snapshot::{EnforcerId, Epoch, InstanceId, WindowId},
    sync::{Enforcer, RejectedSnapshot},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Entry, LIVE_PERIODS, MIN_POLL_MS, Report, Save, saving::OLDEST_SAVED};

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
    #[serde(default)]
    in_force: Vec<WindowId>,
    #[serde(default)]
    clock_skew_ms: i64,
    /// When it last reported: `last_seen` also counts an open poll.
    #[serde(default)]
    reported_at: Option<Timestamp>,
    #[serde(default)]
    hung_up: bool,
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
            in_force: entry.report.in_force.clone(),
            clock_skew_ms: entry.report.clock_skew_ms,
            reported_at: Some(entry.reported_at),
            hung_up: entry.hung_up && entry.open_polls == 0,
        }
    }

    /// What two companions know of one process, as one: what it said last, and all that was ever proven of it.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let (first_seen, last_seen) =
            (self.first_seen.min(other.first_seen), self.last_seen.max(other.last_seen));
        let hung_up = if other.last_seen >= self.last_seen { other.hung_up } else { self.hung_up };
        let (older, newer) =
            if other.reported_at() >= self.reported_at() { (self, other) } else { (other, self) };
        let joined = |mut one: BTreeSet<WindowId>, other| {
            one.extend(other);
            one
        };
        Self {
            first_seen,
            last_seen,
            hung_up,
            settled: joined(newer.settled, older.settled),
            born_under: joined(newer.born_under, older.born_under),
            ..newer
        }
    }

    /// Forgets what is known of windows that are not wanted.
    pub fn retain_windows(&mut self, wanted: impl Fn(&WindowId) -> bool) {
        self.settled.retain(&wanted);
        self.born_under.retain(&wanted);
    }

    fn reported_at(&self) -> Timestamp {
        self.reported_at.unwrap_or(self.last_seen)
    }

    /// The enforcer as another companion has heard of it, just now or up to [`OLDEST_SAVED`] ago. Unlike after a
    /// restart, what it said is taken over: its process has been there all the time.
    pub(super) fn elsewhere(self, now: Timestamp, at: Instant) -> Entry {
        let report =
            Report { in_force: self.in_force.clone(), clock_skew_ms: self.clock_skew_ms, ..self.report() };
        let age = Duration::from_millis(now.ms_since(self.last_seen)).saturating_sub(OLDEST_SAVED);
        Entry {
            heard: at.checked_sub(age),
            hung_up: self.hung_up,
            reported_at: self.reported_at(),
            report,
            ..self.restore(Timestamp::from_unix_ms(0), at)
        }
    }

    fn report(&self) -> Report {
        Report {
            applied: self.applied,
            in_force: Vec::new(),
            in_flight: self.in_flight,
            unaccounted: self.unaccounted,
            cut: self.cut,
            clock_skew_ms: 0,
            rejected: self.rejected.clone(),
        }
    }

    /// `end` is when the last companion was certainly still running. What the enforcer had in force
    /// is not taken over: it must say so again before a barrier counts on it.
    pub(super) fn restore(self, end: Timestamp, at: Instant) -> Entry {
        let live_ms = self.poll_ms.max(MIN_POLL_MS).saturating_mul(u64::from(LIVE_PERIODS));
        let unsaved_ms = u64::try_from(OLDEST_SAVED.as_millis()).unwrap_or(u64::MAX);
        let was_live = end.ms_since(self.last_seen) < live_ms.saturating_add(unsaved_ms);
        let (report, reported_at) = (self.report(), self.reported_at());
        Entry {
            enforcer: self.enforcer,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            report,
            reported_at,
            heard: was_live.then_some(at),
            poll_ms: self.poll_ms,
            open_polls: 0,
            hung_up: true,
            born_under: self.born_under,
            settled: self.settled,
            counters: Vec::new(),
            save: Save::Saved(at),
            tell: None,
        }
    }
}
