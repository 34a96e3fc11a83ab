//! What is in force: the policy of a snapshot, and the windows whose time has come.

use std::sync::Arc;

use quiesce_policy::{Latches, Policy, SurfaceIndex};

use crate::counters::{Outcome, Row};

/// All that a decision rests on; never changed, only replaced.
pub(crate) struct State {
    /// The policy.
    pub(crate) policy: Arc<Policy>,
    /// The windows whose start this process has seen.
    pub(crate) latches: Latches,
    /// Whether the companion has said that this is what holds.
    pub(crate) is_known: bool,
    /// Those of no surface, and of the policy's surfaces in their order.
    pub(crate) rows: Arc<[Arc<Row>]>,
}

impl State {
    /// Counts a request of a surface.
    pub(crate) fn note(&self, surface: Option<SurfaceIndex>, outcome: Outcome) {
        let row = surface.map_or(0, |surface| surface.0 + 1);
        if let Some(row) = self.rows.get(row) {
            row.note(outcome);
        }
    }
}
