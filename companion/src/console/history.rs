//! What the fleet did over the last hour, step by step: what the console draws.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use quiesce_policy::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// From one sample to the next.
pub const STEP: Duration = Duration::from_secs(2);
/// An hour of them.
const KEPT: usize = 1_800;

/// What happened within one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// When the step ended; milliseconds since 1970.
    pub at_ms: u64,
    /// Writes in flight over the fleet when it ended.
    pub in_flight: u64,
    /// Writes that waited for their turn when it ended.
    pub held: u64,
    /// Requests within it, by surface; surfaces without any are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub surfaces: BTreeMap<String, Requests>,
}

/// Requests of one surface within a step, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requests {
    /// Reads, which all pass.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reads: u64,
    /// Writes that passed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub writes: u64,
    /// Writes refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Writes queued.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queued: u64,
    /// Writes dropped on purpose.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Requests {
    /// The count that an outcome of [`quiesce_policy::sync::SurfaceCounters`] belongs to.
    fn count_of(&mut self, outcome: &str) -> &mut u64 {
        match outcome {
            "read" => &mut self.reads,
            "queued" => &mut self.queued,
            "dropped" => &mut self.dropped,
            refused if refused.starts_with("refused.") => &mut self.refused,
            // What is only observed passes, like what was admitted, allowed or exempt.
            _ => &mut self.writes,
        }
    }
}

/// The samples of the last hour.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    /// Requests since the companion started, when the last step ended.
    before: BTreeMap<(String, String), u64>,
}

impl History {
    /// Ends a step. `totals` are requests by surface and outcome since the companion started.
    pub fn note(
        &mut self,
        at: Timestamp,
        in_flight: u64,
        held: u64,
        totals: impl IntoIterator<Item = (String, String, u64)>,
    ) -> Sample {
        let mut sample = Sample { at_ms: at.unix_ms(), in_flight, held, ..Sample::default() };
        for (surface, outcome, total) in totals {
            let before = self.before.get(&(surface.clone(), outcome.clone())).copied().unwrap_or_default();
            let more = total.saturating_sub(before);
            if more > 0 {
                *sample.surfaces.entry(surface.clone()).or_default().count_of(&outcome) += more;
                self.before.insert((surface, outcome), total);
            }
        }
        if self.samples.len() >= KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample.clone());
        sample
    }

    /// The samples, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(counts: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
        counts
            .iter()
            .map(|(surface, outcome, n)| ((*surface).to_owned(), (*outcome).to_owned(), *n))
            .collect()
    }

    #[test]
    fn a_step_has_what_was_added_since_the_one_before() {
        let mut history = History::default();
        let at = Timestamp::from_unix_ms;
        history.note(at(2_000), 3, 0, totals(&[("search", "read", 10), ("search", "admitted", 2)]));
        let second = history.note(
            at(4_000),
            0,
            1,
            totals(&[
                ("search", "read", 15),
                ("search", "admitted", 2),
                ("search", "refused.read-only", 4),
                ("search", "refused.retry-budget", 1),
                ("orders", "queued", 1),
            ]),
        );
        let search = Requests { reads: 5, refused: 5, ..Requests::default() };
        let orders = Requests { queued: 1, ..Requests::default() };
        assert_eq!(second.surfaces, [("orders".to_owned(), orders), ("search".to_owned(), search)].into());
        assert_eq!((second.in_flight, second.held), (0, 1));
    }

    #[test]
    fn an_hour_is_kept() {
        let mut history = History::default();
        for step in 0..(KEPT as u64 + 10) {
            history.note(Timestamp::from_unix_ms(step), 0, 0, []);
        }
        assert_eq!(history.samples().count(), KEPT);
        assert_eq!(history.samples().next().unwrap().at_ms, 10);
    }
}
