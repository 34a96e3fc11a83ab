//! What keeps intents: one trait, so that SQLite and PostgreSQL mean the same.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};

use super::{IntentId, IntentRecord, IntentState, NewIntent, Outcome};
use crate::store::Pending;

/// The ledger of intents. Whatever a method returns is on disk.
///
/// Every change of an intent's state goes from a state that is named here to another, and does nothing to an
/// intent that is in none of those: so that a repetition, or two companions at once, are harmless.
pub trait Ledger: Send + Sync + 'static {
    /// Stores an intent, unless its key is there already or its surface is full.
    fn accept(&self, intent: NewIntent, limits: LedgerLimits) -> Pending<'_, Accepted>;

    /// One intent, without what is sent.
    fn intent(&self, id: IntentId) -> Pending<'_, Option<IntentRecord>>;

    /// What is sent of one intent, as it is kept on disk; nothing once it is purged.
    fn payload(&self, id: IntentId) -> Pending<'_, Option<Payload>>;

    /// Intents in the order of their acceptance, a page at a time.
    fn list(&self, selection: Selection, page: Page) -> Pending<'_, Vec<IntentRecord>>;

    /// Takes intents to be sent: of each line the first that is not over, if it is held, due, and no
    /// [`IntentRecord::stops_line`] comes before it. They are `replaying` from now on, one attempt more
    /// is counted, and nobody else gets them before the claim's lease ends.
    ///
    /// One that is `replaying` under a lease that has ended is taken in the same way: its companion died. It keeps
    /// its turn, even if an earlier one of its line was held again meanwhile: no line has two on their way.
    fn claim(&self, claim: Claim) -> Pending<'_, Vec<IntentRecord>>;

    /// Says what became of a claimed intent; nothing happens if `owner` does not hold it any more. With
    /// [`Conclusion::Later`] it is held again.
    fn conclude(
        &self,
        id: IntentId,
        owner: String,
        conclusion: Conclusion,
        now: Timestamp,
    ) -> Pending<'_, bool>;

    /// An operator's decision about all intents selected; returns how many it changed. Those that are
    /// `replaying` are left alone.
    fn decide(
        &self,
        selection: Selection,
        decision: Decision,
        note: String,
        now: Timestamp,
    ) -> Pending<'_, u64>;

    /// Counts and bytes by surface and state, and the oldest of those that are open.
    fn totals(&self) -> Pending<'_, Vec<Totals>>;

    /// Whether something that waited for this window is still to be sent.
    fn holds_for(&self, window: WindowId) -> Pending<'_, bool>;

    /// Forgets intents that have been `done` or `discarded` since before `before`, keys included, at most
    /// `limit` of them; returns how many.
    fn purge(&self, before: Timestamp, limit: u32) -> Pending<'_, u64>;
}

/// What is sent, as it is kept on disk: sealed, if a key is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The header block, pseudo-headers included (`quiesce_policy::HeaderBlock`).
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// Names the key that both are sealed with; nothing if they are not.
    pub sealed_by: Option<String>,
}

impl Payload {
    /// Bytes of head and body.
    pub fn size_bytes(&self) -> u64 {
        (self.head.len() as u64).saturating_add(self.body.len() as u64)
    }
}

/// How much one surface may hold that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Intents.
    pub count: u64,
    /// Bytes of heads and bodies.
    pub bytes: u64,
}

/// What became of an intent offered.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// It is on disk.
    Stored(IntentRecord),
    /// It was on disk already: the same key and payload.
    Repeated(IntentRecord),
    /// Its key is on disk with another payload.
    KeyReused,
    /// The surface holds as many as it may.
    FullByCount,
    /// The surface holds as many bytes as it may.
    FullByBytes,
}

/// Which intents; all, if nothing is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Only these; empty means all.
    pub ids: Vec<IntentId>,
    /// Only of this surface.
    pub surface: Option<String>,
    /// Only in this state.
    pub state: Option<IntentState>,
    /// Only those received before this.
    pub received_before: Option<Timestamp>,
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only those with a larger [`IntentRecord::seq`].
    pub after: u64,
    /// At most so many.
    pub limit: u32,
}

/// Which intents are to be taken for sending, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Who takes them: a name that no other process and no earlier run has.
    pub owner: String,
    /// The time.
    pub now: Timestamp,
    /// Nobody else gets them before this.
    pub lease_until: Timestamp,
    /// No intents of these windows: the ones that are not over, or have not soaked.
    pub but_of_windows: Vec<WindowId>,
    /// At most so many.
    pub limit: u32,
}

/// What became of an intent that was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion {
    /// The origin has taken it: `done`.
    Done(Outcome),
    /// The origin has refused it for good: `failed`, and its line goes on.
    Refused(Outcome),
    /// There was no answer in the time and attempts allowed: `failed`, and its line stops.
    GivenUp(Outcome),
    /// It is `held` again, not to be sent before `at`.
    Later {
        /// When to try again.
        at: Timestamp,
        /// What happened this time.
        outcome: Outcome,
    },
    /// It was not sent after all: it is `held` as before, and the attempt is not counted.
    Unsent,
}

/// What an operator may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `failed` ones are `held` again, with no attempt counted.
    Retry,
    /// `held` and `failed` ones are `discarded`.
    Discard,
}

/// What a surface holds in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The surface.
    pub surface: String,
    /// The state.
    pub state: IntentState,
    /// Intents.
    pub count: u64,
    /// Bytes of heads and bodies.
    pub bytes: u64,
    /// When the oldest was received.
    pub oldest: Option<Timestamp>,
}

impl Decision {
    /// The states of the intents that it changes.
    pub fn applies_to(self) -> &'static [IntentState] {
        match self {
            Self::Retry => &[IntentState::Failed],
            Self::Discard => &[IntentState::Held, IntentState::Failed],
        }
    }
}
