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
}

impl Refusal {
    /// Every reason there is.
    pub const ALL: [Self; 6] = [
        Self::ReadOnly,
        Self::RetryBudget,
        Self::PassExpired,
        Self::PassInvalid,
        Self::Starting,
        Self::StateUnknown,
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
        }
    }

    /// The HTTP status, in a window that asks for `status`.
    pub fn status(self, status: RefusalStatus) -> u16 {
        match self {
            Self::ReadOnly | Self::RetryBudget | Self::PassExpired | Self::PassInvalid => status.into(),
            Self::Starting | Self::StateUnknown => RefusalStatus::Unavailable.into(),
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
    }
}
