//! What became of requests, by surface, since the process started.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quiesce_policy::{OTHER_SURFACE, Refusal, Stop, snapshot::Snapshot, sync::SurfaceCounters};

/// Surfaces beyond this many are counted as none: the companion takes no more.
const MAX_SURFACES: usize = 1000;

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// A read, passed.
    Read,
    /// A write, passed because no window concerns it.
    Admitted,
    /// A write, passed because a rule allows it at any time.
    Allowed,
    /// A write, passed during a window because its sender is exempt.
    Exempt,
    /// Stopped.
    Stopped(Stop),
    /// Passed, although it would be stopped if verdicts were carried out.
    Observed(Stop),
}

const PASSED: [&str; 4] = ["read", "admitted", "allowed", "exempt"];
/// Kept for later, dropped, or refused, in this order.
const STOPS: usize = 2 + Refusal::ALL.len();
const OUTCOMES: usize = PASSED.len() + 2 * STOPS;

impl Outcome {
    fn index(self) -> usize {
        let index = |stop| match stop {
            Stop::Queued => 0,
            Stop::Dropped => 1,
            Stop::Refused(refusal) => 2 + refusal as usize,
        };
        match self {
            Self::Read => 0,
            Self::Admitted => 1,
            Self::Allowed => 2,
            Self::Exempt => 3,
            Self::Stopped(stop) => PASSED.len() + index(stop),
            Self::Observed(stop) => PASSED.len() + STOPS + index(stop),
        }
    }

    /// As the filter names it.
    fn label(index: usize) -> String {
        let Some(stop) = index.checked_sub(PASSED.len()) else {
            return PASSED.get(index).copied().unwrap_or_default().to_owned();
        };
        let code = match stop % STOPS {
            0 => Stop::Queued.code(),
            1 => Stop::Dropped.code(),
            refusal => Refusal::ALL.get(refusal - 2).map_or("", |refusal| refusal.code()),
        };
        let kind = match stop {
            0 | 1 => "",
            _ if stop < STOPS => "refused.",
            _ => "observed.",
        };
        [kind, code].concat()
    }
}

/// The counts of one surface.
#[derive(Debug)]
pub(crate) struct Row([AtomicU64; OUTCOMES]);

impl Row {
    /// Counts a request.
    pub(crate) fn note(&self, outcome: Outcome) {
        if let Some(count) = self.0.get(outcome.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The counts of all surfaces, whichever snapshot they were in.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<String, Arc<Row>>>);

impl Counters {
    /// The rows of the requests that belong to no surface, and of a snapshot's surfaces in their order.
    pub(crate) fn rows(&self, snapshot: &Snapshot) -> Vec<Arc<Row>> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = snapshot.surfaces.iter().map(|surface| surface.name.as_str());
        let mut row = |name: &str| {
            let name =
                if rows.len() < MAX_SURFACES || rows.contains_key(name) { name } else { OTHER_SURFACE };
            let empty = || Arc::new(Row(std::array::from_fn(|_| AtomicU64::new(0))));
            Arc::clone(rows.entry(name.to_owned()).or_insert_with(empty))
        };
        std::iter::once(OTHER_SURFACE).chain(names).map(&mut row).collect()
    }

    /// All that was counted, as the companion is told of it.
    pub(crate) fn report(&self) -> Vec<SurfaceCounters> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = |row: &Row| -> BTreeMap<String, u64> {
            let counts = row.0.iter().map(|count| count.load(Ordering::Relaxed)).enumerate();
            counts.filter(|(_, count)| *count > 0).map(|(at, count)| (Outcome::label(at), count)).collect()
        };
        let surfaces = rows.iter().map(|(name, row)| (name.clone(), counted(row)));
        surfaces
            .filter(|(_, outcomes)| !outcomes.is_empty())
            .map(|(surface, outcomes)| SurfaceCounters { surface, outcomes })
            .collect()
    }
}
