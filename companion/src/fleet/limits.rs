//! How much one enforcer, and all of them, may make the companion remember.

use std::collections::{BTreeMap, BTreeSet};

use quiesce_policy::{
    snapshot::EnforcerId,
    sync::{SurfaceCounters, SyncRequest},
};

/// Enforcer processes that are remembered at most.
pub const MAX_ENFORCERS: usize = 20_000;
/// A poll is held no longer than this; milliseconds.
pub const MAX_WAIT_MS: u64 = 60_000;
const MAX_NAME_BYTES: usize = 256;
const MAX_LABELS: usize = 64;
const MAX_IN_FORCE: usize = 1_000;
const MAX_SURFACES: usize = 1_000;
const MAX_OUTCOMES: usize = 64;
const MAX_ERROR_BYTES: usize = 4_096;
/// Pairs of surface and outcome that are added up over the fleet at most.
const MAX_TOTALS: usize = 4_096;

/// Why a report was not taken, or an enforcer not forgotten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// A part of a report is larger than any honest one.
    #[error("{place} is too large: {limit}")]
    TooLarge {
        /// The part.
        place: &'static str,
        /// What is allowed.
        limit: String,
    },
    /// A part of a report is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// No more enforcers can be remembered.
    #[error("{MAX_ENFORCERS} enforcers are known already")]
    Full,
    /// No such enforcer.
    #[error("no enforcer `{0}` is known")]
    Unknown(EnforcerId),
    /// A live enforcer cannot be forgotten.
    #[error("enforcer `{0}` is live")]
    Live(EnforcerId),
}

pub(super) fn check(request: &SyncRequest) -> Result<(), FleetError> {
    let at_most = |place, size: usize, most: usize, unit: &str| {
        if size > most {
            Err(FleetError::TooLarge { place, limit: format!("at most {most} {unit}, not {size}") })
        } else {
            Ok(())
        }
    };
    let name = |place, text: &str| {
        if text.is_empty() {
            Err(FleetError::Empty(place))
        } else {
            at_most(place, text.len(), MAX_NAME_BYTES, "bytes")
        }
    };
    let enforcer = &request.enforcer;
    name("enforcer.id", enforcer.id.as_str())?;
    name("enforcer.instance", enforcer.instance.as_str())?;
    at_most("enforcer.version", enforcer.version.len(), MAX_NAME_BYTES, "bytes")?;
    at_most("enforcer.labels", enforcer.labels.len(), MAX_LABELS, "labels")?;
    for (key, value) in &enforcer.labels {
        at_most("enforcer.labels", key.len().max(value.len()), MAX_NAME_BYTES, "bytes a name or value")?;
    }
    at_most("in_force", request.in_force.len(), MAX_IN_FORCE, "windows")?;
    at_most("counters", request.counters.len(), MAX_SURFACES, "surfaces")?;
    for counters in &request.counters {
        at_most("counters.surface", counters.surface.len(), MAX_NAME_BYTES, "bytes")?;
        at_most("counters.outcomes", counters.outcomes.len(), MAX_OUTCOMES, "outcomes")?;
        let longest = counters.outcomes.keys().map(String::len).max().unwrap_or_default();
        at_most("counters.outcomes", longest, MAX_NAME_BYTES, "bytes a name")?;
    }
    if let Some(rejected) = &request.rejected {
        at_most("rejected.error", rejected.error.len(), MAX_ERROR_BYTES, "bytes")?;
    }
    Ok(())
}

/// Adds to the totals what one process counted since its last report.
pub(super) fn add_up(
    totals: &mut BTreeMap<(String, String), u64>,
    before: &[SurfaceCounters],
    after: &[SurfaceCounters],
) {
    let before: BTreeMap<(&str, &str), u64> = flat(before).map(|(s, o, n)| ((s, o), n)).collect();
    let mut seen = BTreeSet::new();
    for (surface, outcome, count) in flat(after) {
        if !seen.insert((surface, outcome)) {
            continue;
        }
        let old = before.get(&(surface, outcome)).copied().unwrap_or_default();
        let more = if count < old { count } else { count - old };
        let key = (surface.to_owned(), outcome.to_owned());
        if totals.len() < MAX_TOTALS || totals.contains_key(&key) {
            let total = totals.entry(key).or_default();
            *total = total.saturating_add(more);
        }
    }
}

fn flat(counters: &[SurfaceCounters]) -> impl Iterator<Item = (&str, &str, u64)> {
    counters.iter().flat_map(|one| {
        one.outcomes.iter().map(|(outcome, count)| (one.surface.as_str(), outcome.as_str(), *count))
    })
}
