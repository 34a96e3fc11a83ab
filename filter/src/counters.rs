//! What became of requests, by surface: counted in the VM, moved to the process's metrics on ticks.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap as HashMap;

use quiesce_policy::{OTHER_SURFACE, Policy, Refusal, Stop, SurfaceIndex, sync::SurfaceCounters};

use crate::host::{self, Metric};

/// The names of all counters in use in the process, a line each, so that the leader can report them.
const REGISTRY: &str = "quiesce.counters";

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
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

/// One VM's counts since they were last moved, and the metrics it knows.
#[derive(Default)]
pub struct Counters {
    by_surface: Vec<[u32; OUTCOMES]>,
    metrics: HashMap<String, Metric>,
}

impl Counters {
    /// Counts a request; `surface` is as the current policy numbers them.
    pub fn note(&mut self, surface: Option<SurfaceIndex>, outcome: Outcome) {
        let row = surface.map_or(0, |surface| surface.0 + 1);
        if self.by_surface.len() <= row {
            self.by_surface.resize(row + 1, [0; OUTCOMES]);
        }
        if let Some(count) = self.by_surface.get_mut(row).and_then(|row| row.get_mut(outcome.index())) {
            *count = count.saturating_add(1);
        }
    }

    /// Moves all counts to the process's metrics; `policy` is the one they were counted under.
    pub fn flush(&mut self, policy: &Policy) {
        let rows = std::mem::take(&mut self.by_surface);
        for (row, counts) in rows.iter().enumerate() {
            for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let surface = policy.surface_name(row.checked_sub(1).map(SurfaceIndex));
                let name = format!("{surface} {}", Outcome::label(index));
                if let Some(metric) = self.metric(&name) {
                    metric.add(i64::from(*count));
                }
            }
        }
    }

    /// The process's counts by surface and outcome.
    pub fn report(&mut self) -> Vec<SurfaceCounters> {
        let registry = host::shared(REGISTRY).value.unwrap_or_default();
        let mut by_surface: Vec<SurfaceCounters> = Vec::new();
        let registry = String::from_utf8(registry).unwrap_or_default();
        for name in registry.lines() {
            let Some((surface, outcome)) = name.split_once(' ') else { continue };
            let Some(count) = self.known_metric(name).and_then(Metric::get) else { continue };
            let at = by_surface.iter().position(|counters| counters.surface == surface);
            let at = at.unwrap_or_else(|| {
                by_surface.push(SurfaceCounters { surface: surface.to_owned(), outcomes: BTreeMap::new() });
                by_surface.len() - 1
            });
            if let Some(counters) = by_surface.get_mut(at) {
                counters.outcomes.insert(outcome.to_owned(), count);
            }
        }
        by_surface
    }

    fn metric(&mut self, name: &str) -> Option<Metric> {
        if !self.metrics.contains_key(name) {
            register(name);
        }
        self.known_metric(name)
    }

    fn known_metric(&mut self, name: &str) -> Option<Metric> {
        if let Some(metric) = self.metrics.get(name) {
            return Some(*metric);
        }
        let (surface, outcome) = name.split_once(' ').unwrap_or((OTHER_SURFACE, name));
        let metric = Metric::counter(&format!("quiesce.surface.{surface}.{outcome}"))?;
        self.metrics.insert(name.to_owned(), metric);
        Some(metric)
    }
}

/// Adds a name to the registry; VMs that do so at once repeat it until each has its own in.
fn register(name: &str) {
    loop {
        let read = host::shared(REGISTRY);
        let mut names = read.value.clone().unwrap_or_default();
        if names.split(|byte| *byte == b'\n').any(|line| line == name.as_bytes()) {
            return;
        }
        names.extend_from_slice(name.as_bytes());
        names.push(b'\n');
        if host::replace_shared(REGISTRY, &read, &names) {
            return;
        }
    }
}
