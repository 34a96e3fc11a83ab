//! `Retry-After`: how long a refused client is told to wait, and what becomes of those who do not.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use crate::{bytes::is, request::Request, snapshot::RetryPolicy, time::Timestamp};

/// How many clients are remembered; a power of two, so that the table takes 32 KiB.
const SLOTS: usize = 2048;

/// Doubling more often than this exceeds every cap.
const MAX_DOUBLINGS: u32 = 20;

/// The number of a client that asks for something: its address and what its headers tell, and what it
/// asks for. `address` is asked only where no proxy has noted it, because a host may have to work for
/// it; it may carry a port, which does not count.
pub fn client(request: &Request<'_>, address: impl FnOnce() -> Vec<u8>) -> u64 {
    let mut hasher = FxHasher::default();
    request.method.hash(&mut hasher);
    request.target.hash(&mut hasher);
    let mut forwarded = false;
    for (name, value) in request.headers.pairs() {
        let noted = is(name, b"x-forwarded-for");
        if noted || is(name, b"authorization") || is(name, b"user-agent") {
            value.hash(&mut hasher);
        }
        forwarded |= noted;
    }
    if !forwarded {
        let address = address();
        let port = address.iter().rposition(|&byte| byte == b':').unwrap_or(address.len());
        address.get(..port).hash(&mut hasher);
    }
    hasher.finish()
}

/// A number that differs from client to client and from time to time.
pub fn spread(client: u64, now_ns: u64) -> u64 {
    let mut hasher = FxHasher::default();
    (client, now_ns).hash(&mut hasher);
    hasher.finish()
}

/// What one refused client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The value of `Retry-After`; seconds (RFC 9110 section 10.2.3).
    pub retry_after_s: u64,
    /// It has come back before its time more often than its budget allows.
    pub over_budget: bool,
}

/// Remembers, in bounded memory, until when clients were told to wait.
///
/// A client is a number that its host derives from what tells clients apart, together with what the
/// client asked for. Two that meet in one slot displace each other, which only makes Quiesce forget.
#[derive(Debug)]
pub struct RetryLedger {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    client: u64,
    not_before_s: u32,
    early_returns: u32,
}

impl Default for RetryLedger {
    fn default() -> Self {
        Self { slots: vec![Slot::default(); SLOTS] }
    }
}

impl RetryLedger {
    /// A ledger that remembers one client.
    pub fn single() -> Self {
        Self { slots: vec![Slot::default()] }
    }

    /// Notes a refusal of `client` at `now` and says how long it shall wait. `ends_at` is when it may
    /// succeed, as far as that is known; `entropy` spreads clients, any number will do.
    pub fn refuse(
        &mut self,
        client: u64,
        policy: &RetryPolicy,
        now: Timestamp,
        ends_at: Option<Timestamp>,
        entropy: u64,
    ) -> Wait {
        let now_s = u32::try_from(now.unix_ms() / 1000).unwrap_or(u32::MAX);
        let mut early_returns = 0;
        let slot = usize::try_from(client % SLOTS as u64).ok().and_then(|at| self.slots.get_mut(at));
        if let Some(slot) = &slot
            && slot.client == client
            && now_s < slot.not_before_s
        {
            early_returns = slot.early_returns.saturating_add(1);
        }
        let retry_after_s = retry_after_s(policy, now, ends_at, early_returns, entropy);
        if let Some(slot) = slot {
            let wait_s = u32::try_from(retry_after_s).unwrap_or(u32::MAX);
            *slot = Slot { client, not_before_s: now_s.saturating_add(wait_s), early_returns };
        }
        Wait { retry_after_s, over_budget: early_returns > policy.budget }
    }
}

/// Seconds to wait: what is left, or the default where that is unknown or over; a spread; and for
/// every return before the time twice the default of the one before.
fn retry_after_s(
    policy: &RetryPolicy,
    now: Timestamp,
    ends_at: Option<Timestamp>,
    early_returns: u32,
    entropy: u64,
) -> u64 {
    let default_s = u64::from(policy.default_s);
    let base_s = match ends_at {
        Some(ends_at) if ends_at > now => ends_at.ms_since(now).div_ceil(1000),
        _ => default_s,
    };
    let spread_s = entropy % (u64::from(policy.spread_s) + 1);
    let penalty_s = default_s.saturating_mul((1 << early_returns.min(MAX_DOUBLINGS)) - 1);
    base_s.saturating_add(spread_s).saturating_add(penalty_s).min(u64::from(policy.cap_s)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000_000);
    const POLICY: RetryPolicy = RetryPolicy { default_s: 10, spread_s: 4, cap_s: 3600, budget: 3 };

    fn wait(ends_in_ms: Option<u64>, entropy: u64) -> u64 {
        let ends_at = ends_in_ms.map(|ms| NOW.plus_ms(ms));
        RetryLedger::default().refuse(1, &POLICY, NOW, ends_at, entropy).retry_after_s
    }

    #[test]
    fn it_is_the_time_left_plus_a_spread() {
        assert_eq!(wait(Some(60_000), 0), 60);
        assert_eq!(wait(Some(60_001), 0), 61, "never too early");
        assert_eq!(wait(Some(60_000), 4), 64);
        assert_eq!(wait(Some(60_000), 5), 60, "the spread has a bound");
        assert_eq!(wait(None, 0), 10);
        assert_eq!(wait(Some(0), 2), 12, "past the end the default holds");
        assert_eq!(wait(Some(86_400_000), 0), 3600, "the cap holds");
    }

    #[test]
    fn those_who_come_back_early_wait_longer_until_their_budget_is_spent() {
        let mut ledger = RetryLedger::default();
        let mut refuse = |now: Timestamp| ledger.refuse(7, &POLICY, now, None, 0);
        let waits: Vec<_> = (0..5).map(|_| refuse(NOW)).collect();
        assert_eq!(waits.iter().map(|wait| wait.retry_after_s).collect::<Vec<_>>(), [10, 20, 40, 80, 160]);
        assert_eq!(
            waits.iter().map(|wait| wait.over_budget).collect::<Vec<_>>(),
            [false, false, false, false, true]
        );
        let patient = refuse(NOW.plus_ms(161_000));
        assert_eq!(patient, Wait { retry_after_s: 10, over_budget: false });
    }

    #[test]
    fn clients_do_not_share_a_budget() {
        let mut ledger = RetryLedger::default();
        for client in 0..100 {
            assert_eq!(ledger.refuse(client, &POLICY, NOW, None, 0).retry_after_s, 10);
        }
    }

    #[test]
    fn no_input_overflows() {
        let extreme = RetryPolicy { default_s: u32::MAX, spread_s: u32::MAX, cap_s: u32::MAX, budget: 0 };
        let end = Timestamp::from_unix_ms(u64::MAX);
        let mut ledger = RetryLedger::default();
        for _ in 0..50 {
            ledger.refuse(u64::MAX, &extreme, NOW, Some(end), u64::MAX);
        }
    }
}
