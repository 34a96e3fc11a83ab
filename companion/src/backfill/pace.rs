//! How fast replays are sent, and when they stop: pure state, to which the time and chance are told.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::answer::Ending;
use crate::config::Backoff;

/// A random time up to the bound of this failure: exponential, with full jitter, so that what failed together
/// does not come back together. Milliseconds.
pub fn full_jitter(backoff: &Backoff, failures: u32, random: u64) -> u64 {
    let doubled = failures.saturating_sub(1).min(32);
    let bound = backoff.first.ms().saturating_mul(1 << doubled).min(backoff.cap.ms());
    // The high half of a product is uniform enough, and has no remainder to be biased by.
    let share = u128::from(random) * (u128::from(bound) + 1);
    u64::try_from(share >> u64::BITS).unwrap_or(bound)
}

/// Trips on a run of failures of different lines: the place where replays are sent has a problem, not one write.
#[derive(Debug)]
pub struct Breaker {
    limit: usize,
    failing: BTreeSet<(String, String)>,
}

impl Breaker {
    /// Trips at so many failures in a row.
    pub fn new(limit: NonZeroU32) -> Self {
        Self { limit: usize::try_from(limit.get()).unwrap_or(usize::MAX), failing: BTreeSet::new() }
    }

    /// Takes the ending of an attempt of one line into account; says whether that trips it. It is then as good as new.
    pub fn note(&mut self, surface: &str, line: &str, ending: Ending) -> bool {
        if ending == Ending::Unsent {
            return false;
        }
        if !ending.is_failure() {
            self.failing.clear();
            return false;
        }
        self.failing.insert((surface.to_owned(), line.to_owned()));
        let trips = self.failing.len() >= self.limit;
        if trips {
            self.failing.clear();
        }
        trips
    }
}

/// Spaces replays evenly.
#[derive(Debug)]
pub struct Pacer {
    gap: Option<Duration>,
    next: Option<Instant>,
}

impl Pacer {
    /// So many a second at most; any number, if nothing is said.
    pub fn new(rate_per_s: Option<NonZeroU32>) -> Self {
        Self { gap: rate_per_s.map(|rate| Duration::from_secs(1) / rate.get()), next: None }
    }

    /// Lets one go, or says when the next may.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let Some(gap) = self.gap else { return Ok(()) };
        if let Some(next) = self.next.filter(|next| *next > now) {
            return Err(next);
        }
        // From the time it was due, so that late timers do not slow everything down; not from long ago, so that
        // a pause is not made up for by a burst.
        let due = self.next.filter(|next| *next + gap > now).unwrap_or(now);
        self.next = Some(due + gap);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Period;

    #[test]
    fn bounds_double_up_to_the_cap_and_all_below_them_is_possible() {
        let backoff = Backoff { first: Period::from_ms(500), cap: Period::from_ms(60_000) };
        for (failures, bound) in
            [(1, 500), (2, 1_000), (3, 2_000), (7, 32_000), (8, 60_000), (u32::MAX, 60_000)]
        {
            assert_eq!(full_jitter(&backoff, failures, u64::MAX), bound);
            assert_eq!(full_jitter(&backoff, failures, 0), 0);
            assert_eq!(full_jitter(&backoff, failures, 1 << 63), u64::div_ceil(bound, 2));
        }
    }

    #[test]
    fn a_run_of_failures_of_different_lines_trips_once() {
        let mut breaker = Breaker::new(NonZeroU32::new(3).unwrap());
        let mut note = |line, result| breaker.note("shop", line, result);
        assert!(!note("/a", Ending::Failure));
        assert!(!note("/a", Ending::Failure));
        assert!(!note("/a", Ending::GivenUp), "one line alone is its own problem");
        assert!(!note("/b", Ending::Failure));
        assert!(!note("/c", Ending::Later), "it answers");
        assert!(!note("/b", Ending::Failure));
        assert!(!note("/c", Ending::Failure));
        assert!(!note("/c", Ending::Unsent), "which says nothing");
        assert!(note("/d", Ending::GivenUp));
        assert!(!note("/e", Ending::Failure));
    }

    #[test]
    fn a_rate_is_kept_without_bursts_and_without_drift() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacer = Pacer::new(NonZeroU32::new(100));
        assert_eq!(pacer.take(at(0)), Ok(()));
        assert_eq!(pacer.take(at(1)), Err(at(10)));
        assert_eq!(pacer.take(at(13)), Ok(()), "a late timer");
        assert_eq!(pacer.take(at(14)), Err(at(20)));
        assert_eq!(pacer.take(at(500)), Ok(()));
        assert_eq!(pacer.take(at(500)), Err(at(510)), "what was missed is not made up for");
        let mut free = Pacer::new(None);
        assert!((0..1_000).all(|_| free.take(at(0)).is_ok()));
    }
}
