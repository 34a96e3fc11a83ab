//! Who of a process's VMs talks to the companion: a lease that is renewed on every tick.
//!
//! No clock is read: a lease is stale when it has not changed for [`STALE_AFTER_MS`] of the
//! observer's own ticks, so that a clock that jumps can neither end a lease nor keep a dead one.

/// A lease that nobody has renewed for so long is taken over; milliseconds.
pub const STALE_AFTER_MS: u64 = 3000;

/// One VM's view of the lease.
#[derive(Debug)]
pub struct Lease {
    holder: String,
    renewals: u64,
    last_seen: Vec<u8>,
    unchanged_ms: u64,
}

/// What a VM does about the lease on a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this, if the lease is still as it was read: whoever succeeds is the leader.
    Claim(Vec<u8>),
    /// Another VM leads.
    Follow,
}

impl Lease {
    /// The view of the VM named `holder`, unique within the process.
    pub fn new(holder: String) -> Self {
        Self { holder, renewals: 0, last_seen: Vec::new(), unchanged_ms: 0 }
    }

    /// Looks at the lease as it is now, `elapsed_ms` after the last look.
    pub fn step(&mut self, lease: Option<&[u8]>, elapsed_ms: u64) -> Step {
        let Some(lease) = lease else { return self.claim() };
        if self.is_held(lease) {
            return self.claim();
        }
        if lease == self.last_seen {
            self.unchanged_ms = self.unchanged_ms.saturating_add(elapsed_ms);
        } else {
            self.last_seen = lease.to_vec();
            self.unchanged_ms = 0;
        }
        if self.unchanged_ms >= STALE_AFTER_MS { self.claim() } else { Step::Follow }
    }

    fn claim(&mut self) -> Step {
        self.renewals += 1;
        self.unchanged_ms = 0;
        Step::Claim(format!("{} {}", self.holder, self.renewals).into_bytes())
    }

    fn is_held(&self, lease: &[u8]) -> bool {
        lease.strip_prefix(self.holder.as_bytes()).is_some_and(|rest| rest.first() == Some(&b' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(step: Step) -> Vec<u8> {
        match step {
            Step::Claim(lease) => lease,
            Step::Follow => panic!("follows"),
        }
    }

    #[test]
    fn the_first_claims_and_keeps_it() {
        let mut one = Lease::new("vm-1".to_owned());
        let first = claimed(one.step(None, 0));
        let second = claimed(one.step(Some(&first), 1000));
        assert_ne!(first, second, "a renewal shows");
    }

    #[test]
    fn others_follow_while_it_is_renewed_and_take_over_when_it_is_not() {
        let (mut one, mut other) = (Lease::new("vm-1".to_owned()), Lease::new("vm-11".to_owned()));
        let mut lease = claimed(one.step(None, 0));
        for _ in 0..10 {
            assert_eq!(other.step(Some(&lease), 1000), Step::Follow);
            lease = claimed(one.step(Some(&lease), 1000));
        }
        assert_eq!(other.step(Some(&lease), 1000), Step::Follow, "seen anew");
        assert_eq!(other.step(Some(&lease), 1000), Step::Follow);
        assert_eq!(other.step(Some(&lease), 1999), Step::Follow);
        let taken = claimed(other.step(Some(&lease), 1));
        assert_eq!(one.step(Some(&taken), 1000), Step::Follow, "the old leader steps down");
    }
}
