//! Who enforces: every enforcer process heard of, whether it lives, and what it last said.

mod limits;
mod record;
mod saving;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use quiesce_policy::{
    snapshot::{EnforcerId, Epoch, InstanceId, WindowId},
    sync::{Enforcer, RejectedSnapshot, SurfaceCounters, SyncRequest},
    time::Timestamp,
};

pub use self::{
    limits::{FleetError, MAX_ENFORCERS, MAX_WAIT_MS},
    record::{EnforcerKey, FleetRecord},
};
use crate::{
    barrier::Member,
    windows::{OpenWindow, RosterEntry},
};

/// An enforcer is lost when it was not heard of for this many of its poll periods.
const LIVE_PERIODS: u32 = 3;
/// The poll period of an enforcer that has not polled yet; milliseconds.
const DEFAULT_POLL_MS: u64 = 30_000;
/// The shortest poll period that liveness is judged by; milliseconds.
const MIN_POLL_MS: u64 = 1_000;
/// How long an enforcer whose poll was answered has to open the next, before a process that came
/// after it under the same id is taken for its successor.
const REPOLL_GRACE: Duration = Duration::from_secs(2);
/// How long a lost enforcer is remembered.
const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Every enforcer process that is known.
#[derive(Debug, Default)]
pub struct Fleet {
    entries: BTreeMap<EnforcerKey, Entry>,
    removed: Vec<EnforcerKey>,
    totals: BTreeMap<(String, String), u64>,
    save_seq: u64,
    /// Other companions hear of enforcers too, and have to be told what this one hears.
    shared: bool,
}

/// One enforcer process.
#[derive(Debug)]
pub struct Entry {
    /// What it says of itself.
    pub enforcer: Enforcer,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// Its last report; without what is in force, if that was before this companion started.
    pub report: Report,
    heard: Option<Instant>,
    poll_ms: u64,
    open_polls: u32,
    hung_up: bool,
    /// Windows that were in force in the first snapshot it was given, if it came without one and let
    /// no write pass before.
    born_under: BTreeSet<WindowId>,
    settled: BTreeSet<WindowId>,
    counters: Vec<SurfaceCounters>,
    reported_at: Timestamp,
    save: Save,
    /// The report that others have to be told of.
    tell: Option<u64>,
}

/// What an enforcer last said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The version in force.
    pub applied: Epoch,
    /// The windows in force.
    pub in_force: Vec<WindowId>,
    /// Writes in flight.
    pub in_flight: u64,
    /// Writes whose end will never be known.
    pub unaccounted: u64,
    /// Writes cut since its process started.
    pub cut: u64,
    /// By how much its clock is ahead of the companion's; milliseconds.
    pub clock_skew_ms: i64,
    /// The snapshot that it could not use.
    pub rejected: Option<RejectedSnapshot>,
}

#[derive(Debug)]
enum Save {
    Saved(Instant),
    Due(u64),
}

/// What became of a report.
#[derive(Clone, Copy, Debug)]
pub struct Reported {
    /// Something that a barrier looks at is another than before.
    pub changed: bool,
    /// The enforcer may be answered once the fleet is saved up to here: whoever holds a snapshot is
    /// known on disk, so that a restarted companion never thinks the fleet smaller than it is.
    pub save_before_answer: Option<u64>,
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollEnd {
    /// It was answered.
    Answered,
    /// The enforcer hung up.
    HungUp,
}

impl Entry {
    /// How long it may be silent.
    pub fn live_period(&self) -> Duration {
        Duration::from_millis(self.poll_ms.max(MIN_POLL_MS)) * LIVE_PERIODS
    }

    /// Whether it is connected or was heard of within its live period.
    pub fn is_live(&self, at: Instant) -> bool {
        self.open_polls > 0
            || self.heard.is_some_and(|heard| at.saturating_duration_since(heard) < self.live_period())
    }

    /// Whether it has a poll open, or was answered just now and is about to open the next.
    pub fn is_connected(&self, at: Instant) -> bool {
        let heard_just_now =
            self.heard.is_some_and(|heard| at.saturating_duration_since(heard) < REPOLL_GRACE);
        self.open_polls > 0 || (heard_just_now && !self.hung_up)
    }

    fn due(&mut self, seq: u64) {
        self.save = Save::Due(seq);
    }
}

impl Fleet {
    /// The fleet as the last companion saved it. Who was live then has one live period to come back.
    pub fn restore(records: Vec<FleetRecord>, at: Instant) -> Self {
        let end = records.iter().map(|record| record.last_seen).max().unwrap_or_default();
        let entries = records.into_iter().map(|record| (record.key(), record.restore(end, at))).collect();
        Self { entries, ..Self::default() }
    }

    /// Takes a report in. `in_force` tells the windows in force in the snapshot published.
    pub fn report(
        &mut self,
        request: SyncRequest,
        in_force: impl FnOnce() -> BTreeSet<WindowId>,
        now: Timestamp,
        at: Instant,
    ) -> Result<Reported, FleetError> {
        limits::check(&request)?;
        let key =
            EnforcerKey { id: request.enforcer.id.clone(), instance: request.enforcer.instance.clone() };
        let report = Report {
            applied: request.applied,
            in_force: request.in_force,
            in_flight: request.in_flight,
            unaccounted: request.unaccounted,
            cut: request.cut,
            clock_skew_ms: skew_ms(request.clock, now),
            rejected: request.rejected,
        };
        if !self.entries.contains_key(&key) && self.entries.len() >= MAX_ENFORCERS {
            return Err(FleetError::Full);
        }
        self.save_seq += 1;
        let seq = self.save_seq;
        let mut changed = false;
        let entry = self.entries.entry(key).or_insert_with(|| {
            changed = true;
            Entry {
                enforcer: request.enforcer.clone(),
                first_seen: now,
                last_seen: now,
                born_under: if report.applied == Epoch(0) && request.boots_closed {
                    in_force()
                } else {
                    BTreeSet::new()
                },
                report: Report::default(),
                heard: None,
                poll_ms: DEFAULT_POLL_MS,
                open_polls: 0,
                hung_up: false,
                settled: BTreeSet::new(),
                counters: Vec::new(),
                reported_at: now,
                save: Save::Due(seq),
                tell: None,
            }
        });
        changed |= !entry.is_live(at)
            || entry.report.in_force != report.in_force
            || entry.report.in_flight != report.in_flight
            || entry.report.unaccounted != report.unaccounted
            || entry.report.cut != report.cut
            || entry.report.rejected != report.rejected;
        if entry.enforcer != request.enforcer {
            entry.enforcer = request.enforcer;
            entry.due(seq);
            changed = true;
        }
        if report.in_flight == 0 && report.unaccounted == 0 {
            entry.settled.extend(report.in_force.iter().cloned());
        }
        if request.wait_ms > 0 {
            entry.poll_ms = request.wait_ms.min(limits::MAX_WAIT_MS);
        }
        entry.report = report;
        entry.reported_at = now;
        entry.last_seen = entry.last_seen.max(now);
        if changed && self.shared {
            entry.tell = Some(seq);
        }
        entry.heard = Some(at);
        entry.hung_up = false;
        let save_before_answer = match entry.save {
            Save::Due(seq) => Some(seq),
            Save::Saved(_) => None,
        };
        let before = std::mem::replace(&mut entry.counters, request.counters);
        let after = entry.counters.clone();
        limits::add_up(&mut self.totals, &before, &after);
        Ok(Reported { changed, save_before_answer })
    }

    /// A poll was opened.
    pub fn poll_opened(&mut self, key: &EnforcerKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.open_polls += 1;
        }
    }

    /// A poll was closed.
    pub fn poll_closed(&mut self, key: &EnforcerKey, end: PollEnd, now: Timestamp, at: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            if self.shared && end == PollEnd::HungUp {
                self.save_seq += 1;
                entry.tell = Some(self.save_seq);
            }
            entry.open_polls = entry.open_polls.saturating_sub(1);
            entry.hung_up = end == PollEnd::HungUp;
            // An open poll is a sign of life until its very end.
            entry.last_seen = entry.last_seen.max(now);
            entry.heard = Some(at);
        }
    }

    /// All enforcer processes, by id and instance.
    pub fn entries(&self) -> impl Iterator<Item = (&EnforcerKey, &Entry)> {
        self.entries.iter()
    }

    /// How many processes are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether another process of the same enforcer has taken this one's place.
    pub fn is_succeeded(&self, key: &EnforcerKey, at: Instant) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        !entry.is_connected(at)
            && self.processes_of(&key.id).any(|(other, later)| {
                other != key && later.first_seen >= entry.first_seen && later.is_live(at)
            })
    }

    fn processes_of<'a>(&'a self, id: &'a EnforcerId) -> impl Iterator<Item = (&'a EnforcerKey, &'a Entry)> {
        let first = EnforcerKey { id: id.clone(), instance: InstanceId::from("") };
        self.entries.range(first..).take_while(move |(key, _)| key.id == *id)
    }

    /// The enforcers in a window's scope that are live.
    pub fn roster(&self, window: &OpenWindow, at: Instant) -> Vec<RosterEntry> {
        let scope = &window.record.window.scope;
        self.entries
            .iter()
            .filter(|(key, entry)| {
                entry.is_live(at)
                    && scope.covers_labels(&entry.enforcer.labels)
                    && !self.is_succeeded(key, at)
            })
            .map(|(key, entry)| RosterEntry {
                id: key.id.clone(),
                instance: key.instance.clone(),
                cut: entry.report.cut,
            })
            .collect()
    }

    /// Whether a live enforcer in a window's scope has it not in force: then its barrier does not hold.
    pub fn awaits(&self, window: &OpenWindow, at: Instant) -> bool {
        let (id, scope) = (window.id(), &window.record.window.scope);
        self.entries.iter().any(|(key, entry)| {
            !entry.report.in_force.contains(id)
                && scope.covers_labels(&entry.enforcer.labels)
                && entry.is_live(at)
                && !self.is_succeeded(key, at)
        })
    }

    /// What is known of the enforcers in a window's scope.
    pub fn members(&self, window: &OpenWindow, published: Epoch, at: Instant) -> Vec<Member> {
        let id = window.id();
        let scope = &window.record.window.scope;
        let started = window.history.started.as_ref().map(|started| started.at);
        let since_start = |when: Timestamp| started.is_some_and(|started| when >= started);
        self.entries
            .iter()
            .filter(|(_, entry)| scope.covers_labels(&entry.enforcer.labels))
            .map(|(key, entry)| Member {
                id: key.id.clone(),
                instance: key.instance.clone(),
                live: entry.is_live(at),
                connected: entry.is_connected(at),
                succeeded: self.is_succeeded(key, at),
                heard_since_start: since_start(entry.last_seen),
                booted_into_window: entry.born_under.contains(id),
                in_force: entry.report.in_force.contains(id),
                settled: entry.settled.contains(id),
                in_flight: entry.report.in_flight,
                unaccounted: entry.report.unaccounted,
                cut: entry.report.cut,
                rejected: entry
                    .report
                    .rejected
                    .as_ref()
                    .filter(|rejected| rejected.version == published)
                    .map(|rejected| rejected.error.clone()),
            })
            .collect()
    }

    /// Requests by surface and outcome, added up over all enforcers since the companion started.
    pub fn totals(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.totals.iter().map(|((surface, outcome), count)| (surface.as_str(), outcome.as_str(), *count))
    }

    /// Gives up on all processes of an enforcer that are lost.
    pub fn forget(&mut self, id: &EnforcerId, at: Instant) -> Result<(), FleetError> {
        let keys: Vec<_> = self.processes_of(id).map(|(key, _)| key.clone()).collect();
        if keys.is_empty() {
            return Err(FleetError::Unknown(id.clone()));
        }
        if keys.iter().any(|key| self.entries.get(key).is_some_and(|entry| entry.is_live(at))) {
            return Err(FleetError::Live(id.clone()));
        }
        for key in keys {
            self.entries.remove(&key);
            self.removed.push(key);
        }
        Ok(())
    }

    /// Drops what no longer tells anybody anything: processes lost long ago, and replaced ones that
    /// no window in force has a question about.
    pub fn prune<'a>(
        &mut self,
        windows: impl Iterator<Item = &'a OpenWindow> + Clone,
        now: Timestamp,
        at: Instant,
    ) {
        let retention_ms = u64::try_from(RETENTION.as_millis()).unwrap_or(u64::MAX);
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_connected(at))
            .filter(|(key, entry)| {
                self.is_succeeded(key, at)
                    || (!entry.is_live(at) && now.ms_since(entry.last_seen) > retention_ms)
            })
            .filter(|(key, entry)| {
                windows.clone().all(|window| {
                    let Some(started) = &window.history.started else { return true };
                    let on_roster =
                        started.roster.iter().any(|one| one.id == key.id && one.instance == key.instance);
                    entry.settled.contains(window.id())
                        || window.history.quiesced.is_some()
                        || (!on_roster
                            && (entry.last_seen < started.at || entry.born_under.contains(window.id())))
                })
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.entries.remove(&key);
            self.removed.push(key);
        }
        self.retain_windows(windows);
    }

    /// Forgets what is known of other windows than these.
    pub fn retain_windows<'a>(&mut self, windows: impl Iterator<Item = &'a OpenWindow>) {
        let open: BTreeSet<&WindowId> = windows.map(OpenWindow::id).collect();
        for entry in self.entries.values_mut() {
            entry.settled.retain(|id| open.contains(id));
            entry.born_under.retain(|id| open.contains(id));
        }
    }
}

fn skew_ms(theirs: Timestamp, ours: Timestamp) -> i64 {
    let ahead = i64::try_from(theirs.ms_since(ours)).unwrap_or(i64::MAX);
    let behind = i64::try_from(ours.ms_since(theirs)).unwrap_or(i64::MAX);
    ahead - behind
}

#[cfg(test)]
mod tests;
