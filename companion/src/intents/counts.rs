//! How many intents there are, by surface and state: kept beside the ledger, so that limits cost no query.

use std::collections::BTreeMap;

use super::{IntentState, LedgerLimits};

/// Intents and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Intents.
    pub count: u64,
    /// Bytes of their heads and bodies.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn take(&mut self, other: Self) {
        self.count = self.count.saturating_sub(other.count);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// What makes an intent count.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its surface.
    pub surface: &'a str,
    /// Where it is.
    pub state: IntentState,
    /// Its line waits for it.
    pub open: bool,
}

/// The tallies of all surfaces. Surfaces are configured, so that there are few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    by_state: BTreeMap<(String, IntentState), Tally>,
    open: BTreeMap<String, Tally>,
}

/// By what a surface is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// It holds as many intents as it may.
    Count,
    /// It holds as many bytes as it may.
    Bytes,
}

impl Counts {
    /// Counts these in.
    pub fn add(&mut self, standing: Standing<'_>, tally: Tally) {
        self.by_state.entry((standing.surface.to_owned(), standing.state)).or_default().add(tally);
        if standing.open {
            self.open.entry(standing.surface.to_owned()).or_default().add(tally);
        }
    }

    /// Counts these out.
    pub fn take(&mut self, standing: Standing<'_>, tally: Tally) {
        let key = (standing.surface.to_owned(), standing.state);
        if let Some(found) = self.by_state.get_mut(&key) {
            found.take(tally);
            if found.count == 0 {
                self.by_state.remove(&key);
            }
        }
        if standing.open
            && let Some(found) = self.open.get_mut(standing.surface)
        {
            found.take(tally);
        }
    }

    /// Counts one that was `before` as what it is now.
    pub fn shift(&mut self, before: Standing<'_>, now: Standing<'_>, bytes: u64) {
        let tally = Tally { count: 1, bytes };
        self.take(before, tally);
        self.add(now, tally);
    }

    /// Whether one of so many bytes more would be too much.
    pub fn full(&self, surface: &str, bytes: u64, limits: LedgerLimits) -> Option<Full> {
        let open = self.open.get(surface).copied().unwrap_or_default();
        if open.count >= limits.count {
            return Some(Full::Count);
        }
        (open.bytes.saturating_add(bytes) > limits.bytes).then_some(Full::Bytes)
    }

    /// The surfaces and states that have any.
    pub fn groups(&self) -> impl Iterator<Item = (&str, IntentState, Tally)> {
        self.by_state.iter().map(|((surface, state), tally)| (surface.as_str(), *state, *tally))
    }
}
