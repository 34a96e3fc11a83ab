//! The reasons why a request is not passed: one name each, from which status, code, label and log line follow.

use crate::snapshot::RefusalStatus;

/// The one named reason a request was not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// A window is in force.
    ReadOnly,
    /// A window is in force, and the client keeps coming back before its time.
    RetryBudget,
    /// A window is in force, and the pass shown has run out.
    PassExpired,
    /// A window is in force, and the pass shown is none that counts here.
    PassInvalid,
    /// The proxy has just started and does not know yet whether a window is in force.
    Starting,
    /// The proxy could not learn whether a window is in force.
    StateUnknown,
    /// A window is in force, and the write that is to be kept for later is longer than any that is kept.
    IntentTooLarge,
    /// A window is in force, and the write could not be kept for later, or nobody knows whether it was.
    IntentNotKept,
    /// A window is in force, and as many writes are kept for later as may be.
    IntentsFull,
    /// The write is to be kept for later, and lacks the `Idempotency-Key` that it has to have.
    KeyMissing,
    /// The write is to be kept for later, and its `Idempotency-Key` is none.
    KeyInvalid,
    /// A write with the same `Idempotency-Key` is just being kept.
    KeyInUse,
    /// Another write has been kept under the same `Idempotency-Key`.
    KeyReused,
    /// The receipt of a write that was kept cannot be had now.
    ReceiptUnavailable,
    /// There is no such receipt.
    ReceiptUnknown,
}

impl Refusal {
    /// Every reason there is.
    pub const ALL: [Self; 15] = [
        Self::ReadOnly,
        Self::RetryBudget,
        Self::PassExpired,
        Self::PassInvalid,
        Self::Starting,
        Self::StateUnknown,
        Self::IntentTooLarge,
        Self::IntentNotKept,
        Self::IntentsFull,
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::KeyInUse,
        Self::KeyReused,
        Self::ReceiptUnavailable,
        Self::ReceiptUnknown,
    ];

    /// The stable code: the `code` of the body, and the label of the metric.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::RetryBudget => "retry-budget-exceeded",
            Self::PassExpired => "pass-expired",
            Self::PassInvalid => "pass-invalid",
            Self::Starting => "starting",
            Self::StateUnknown => "state-unknown",
            Self::IntentTooLarge => "intent-too-large",
            Self::IntentNotKept => "intent-not-kept",
            Self::IntentsFull => "intents-full",
            Self::KeyMissing => "idempotency-key-missing",
            Self::KeyInvalid => "idempotency-key-invalid",
            Self::KeyInUse => "idempotency-key-in-use",
            Self::KeyReused => "idempotency-key-reused",
            Self::ReceiptUnavailable => "receipt-unavailable",
            Self::ReceiptUnknown => "receipt-unknown",
        }
    }

    /// The title of the problem (RFC 9457 section 3.1.3).
    pub const fn title(self) -> &'static str {
        match self {
            Self::ReadOnly => "Read-only: writes are paused",
            Self::RetryBudget => "Read-only: too many retries before the time given",
            Self::PassExpired => "Read-only: the pass has expired",
            Self::PassInvalid => "Read-only: the pass is not valid",
            Self::Starting => "Starting: writes are held back for a moment",
            Self::StateUnknown => "Writes are held back: the read-only state is not known",
            Self::IntentTooLarge => "Read-only: the write is too large to be kept for later",
            Self::IntentNotKept => "Read-only: the write may not have been kept for later",
            Self::IntentsFull => "Read-only: no more writes can be kept for later",
            Self::KeyMissing => "The write needs an Idempotency-Key to be kept for later",
            Self::KeyInvalid => "The Idempotency-Key is not valid",
            Self::KeyInUse => "A write with this Idempotency-Key is just being kept",
            Self::KeyReused => "Another write was kept under this Idempotency-Key",
            Self::ReceiptUnavailable => "The receipt cannot be had now",
            Self::ReceiptUnknown => "There is no such receipt",
        }
    }

    /// The reason with this code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }

    /// The HTTP status, in a window that asks for `status`.
    pub fn status(self, status: RefusalStatus) -> u16 {
        match self {
            Self::ReadOnly
            | Self::RetryBudget
            | Self::PassExpired
            | Self::PassInvalid
            | Self::IntentTooLarge => status.into(),
            Self::Starting
            | Self::StateUnknown
            | Self::IntentNotKept
            | Self::IntentsFull
            | Self::ReceiptUnavailable => RefusalStatus::Unavailable.into(),
            Self::KeyMissing | Self::KeyInvalid => 400,
            Self::ReceiptUnknown => 404,
            Self::KeyInUse => 409,
            Self::KeyReused => 422,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_code_of_its_own() {
        let codes: BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at, "they are listed in the order of their declaration");
            assert_eq!(Refusal::of_code(refusal.code()), Some(refusal));
        }
    }
}
