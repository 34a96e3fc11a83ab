//! The filter's side of the barrier: when no write admitted before a window is still in flight.
//!
//! Writes are counted in one of two lanes. When a window comes into force, each lane has to be seen
//! at zero at some moment *after* that; a write admitted before was counted before it looked, so a
//! lane at zero proves that all of its were over. New writes, which no window in force concerns, are
//! steered into a lane that has been seen at zero already, so that the other one can drain under any
//! load.

use quiesce_policy::snapshot::WindowId;

/// How many lanes there are.
pub const LANES: usize = 2;

/// Which lane a write is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lane(usize);

impl Lane {
    /// Every lane.
    pub const ALL: [Self; LANES] = [Self(0), Self(1)];

    /// The lane that the gauge `quiesce.lane` names.
    pub fn from_gauge(value: u64) -> Self {
        Self(usize::from(value % 2 == 1))
    }

    /// The lane's number.
    pub const fn index(self) -> usize {
        self.0
    }

    /// The other lane.
    pub const fn other(self) -> Self {
        Self(1 - self.0)
    }
}

/// What the leader knows of the lanes since the last window came into force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Barrier {
    covered: Vec<WindowId>,
    pending: [bool; LANES],
}

/// What the leader reports, and what it does about the lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Writes in flight that may have been admitted before a window now in force.
    pub in_flight: u64,
    /// Where new writes should be counted from now on.
    pub steer_to: Lane,
}

impl Barrier {
    /// Looks at the lanes. `in_force` was in force for every request before the lanes were counted;
    /// `counts` are the writes in flight by lane, without those that a dead VM left behind;
    /// `current` is the lane that new writes go to.
    pub fn look(&mut self, in_force: &[WindowId], counts: [u64; LANES], current: Lane) -> Standing {
        if in_force.iter().any(|window| !self.covered.contains(window)) {
            self.pending = [true; LANES];
        }
        self.covered = in_force.to_vec();
        let total = counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
        if in_force.is_empty() {
            return Standing { in_flight: total, steer_to: current };
        }
        let mut in_flight: u64 = 0;
        for (pending, count) in self.pending.iter_mut().zip(counts) {
            *pending &= count > 0;
            if *pending {
                in_flight = in_flight.saturating_add(count);
            }
        }
        let blocked = self.is_pending(current) && !self.is_pending(current.other());
        Standing { in_flight, steer_to: if blocked { current.other() } else { current } }
    }

    fn is_pending(&self, lane: Lane) -> bool {
        self.pending.get(lane.index()).copied().unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(ids: &[&str]) -> Vec<WindowId> {
        ids.iter().map(|id| WindowId::from(*id)).collect()
    }

    const EVEN: Lane = Lane(0);
    const ODD: Lane = Lane(1);

    #[test]
    fn without_a_window_all_is_in_flight() {
        let standing = Barrier::default().look(&windows(&[]), [2, 1], EVEN);
        assert_eq!(standing, Standing { in_flight: 3, steer_to: EVEN });
    }

    #[test]
    fn every_lane_must_be_seen_at_zero_after_the_window_began() {
        let mut barrier = Barrier::default();
        let w = windows(&["w"]);
        assert_eq!(barrier.look(&w, [2, 0], EVEN), Standing { in_flight: 2, steer_to: ODD });
        assert_eq!(
            barrier.look(&w, [1, 5], ODD),
            Standing { in_flight: 1, steer_to: ODD },
            "new ones do not count"
        );
        assert_eq!(barrier.look(&w, [0, 5], ODD).in_flight, 0);
        assert_eq!(barrier.look(&w, [7, 5], ODD).in_flight, 0, "once proven, proven");
    }

    #[test]
    fn while_both_lanes_are_busy_nothing_is_steered() {
        let mut barrier = Barrier::default();
        let w = windows(&["w"]);
        assert_eq!(barrier.look(&w, [1, 1], ODD), Standing { in_flight: 2, steer_to: ODD });
        assert_eq!(barrier.look(&w, [0, 1], ODD), Standing { in_flight: 1, steer_to: EVEN });
    }

    #[test]
    fn a_further_window_starts_over_and_one_that_ends_does_not() {
        let mut barrier = Barrier::default();
        barrier.look(&windows(&["a"]), [0, 0], EVEN);
        assert_eq!(barrier.look(&windows(&["a"]), [3, 0], EVEN).in_flight, 0);
        assert_eq!(barrier.look(&windows(&["a", "b"]), [3, 0], EVEN).in_flight, 3);
        barrier.look(&windows(&["a", "b"]), [0, 1], ODD);
        assert_eq!(barrier.look(&windows(&["b"]), [4, 1], ODD).in_flight, 0);
    }
}
