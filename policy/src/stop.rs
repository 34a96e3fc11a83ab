//! What becomes of a write that a window keeps from the origin: refused, kept for later, or dropped.

use crate::{
    intent::{INTENT_HEADER, QUEUED},
    policy::Classified,
    refusal::Refusal,
    request::Request,
    snapshot::Action,
    wire::Dialect,
};

/// What becomes of a write that does not reach the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is refused.
    Refused(Refusal),
    /// It is kept for later, if it can be.
    Queued,
    /// It is dropped, and its sender told so.
    Dropped,
}

impl Stop {
    /// The stable code, as that of refusals.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Queued => QUEUED,
            Self::Dropped => "dropped",
        }
    }

    /// What becomes of a write whose sender may not write now. Whoever speaks more than HTTP would take a 202 for
    /// the answer to a call, and an intent on its way to the origin must not become a second one.
    pub(crate) fn of(request: &Request<'_>, classified: &Classified) -> Self {
        let accepted = match classified.action {
            Action::Queue => Self::Queued,
            Action::Drop => Self::Dropped,
            Action::Block | Action::Allow => return Self::Refused(Refusal::ReadOnly),
        };
        if request.headers.pairs().any(|(name, _)| name == INTENT_HEADER)
            || Dialect::of(request, classified.protocol, &[]) != Dialect::Http
        {
            return Self::Refused(Refusal::ReadOnly);
        }
        accepted
    }
}
