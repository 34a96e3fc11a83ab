//! Intents: writes accepted while frozen, kept on disk, and replayed after the thaw.

mod counts;
mod intake;
mod key;
mod ledger;
mod line;
mod postgres;
mod receipt;
mod rows;
mod seal;
mod sqlite;
mod storing;

pub(crate) use self::postgres::{key_id, line_id};
use std::fmt;

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::ledger::{
    Accepted, Claim, Conclusion, Decision, Ledger, LedgerLimits, Page, Payload, Selection, Totals,
};
pub use self::{
    intake::{Declined, Intake, Offer, Prepared},
    line::LinePattern,
    postgres::PostgresLedger,
    receipt::Receipt,
    seal::{KEY_VARIABLE, SealError, Seals},
    sqlite::SqliteLedger,
};

/// Identifies one intent for ever: a ULID, so that later ones sort behind earlier ones of one companion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct IntentId(String);

impl IntentId {
    /// One that nobody else has, and nobody guesses.
    pub fn generate() -> Self {
        Self(ulid::Ulid::generate().to_string().to_lowercase())
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for IntentId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where an intent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IntentState {
    /// It waits for its turn.
    Held,
    /// It is on its way to the origin, or was when a companion died.
    Replaying,
    /// The origin has taken it.
    Done,
    /// The origin has refused it for good, or has not answered in the time and attempts allowed.
    Failed,
    /// An operator, or its age, has taken it back.
    Discarded,
}

impl IntentState {
    /// All states, in the order of an intent's life.
    pub const ALL: [Self; 5] = [Self::Held, Self::Replaying, Self::Done, Self::Failed, Self::Discarded];

    /// The state as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Replaying => "replaying",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether it is still to be sent.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Replaying)
    }
}

/// A write as it is accepted.
#[derive(Clone, Debug)]
pub struct NewIntent {
    /// Its id.
    pub id: IntentId,
    /// When it was received.
    pub received_at: Timestamp,
    /// The surface it belongs to.
    pub surface: String,
    /// The window that it waits for.
    pub window: WindowId,
    /// The enforcer that sent it.
    pub enforcer: String,
    /// Whose keys it shares, empty if there is no tenant header.
    pub tenant: String,
    /// The key that it is sent with: the client's, one derived from its contents, or one made for it.
    /// No two intents of one surface and tenant have the same.
    pub key: String,
    /// SHA-256 of method, path and body: tells a repetition from another payload under the same key.
    pub fingerprint: [u8; 32],
    /// Intents of one surface and line are sent one after the other, in the order of their acceptance.
    pub line: String,
    /// The method, for people.
    pub method: String,
    /// The path with its query, for people.
    pub path: String,
    /// What is sent, as it is kept on disk.
    pub payload: Payload,
}

impl NewIntent {
    /// It as it is at the place `seq`, just accepted.
    pub fn record(&self, seq: u64) -> IntentRecord {
        IntentRecord {
            seq,
            id: self.id.clone(),
            surface: self.surface.clone(),
            window: self.window.clone(),
            tenant: self.tenant.clone(),
            key: self.key.clone(),
            line: self.line.clone(),
            method: self.method.clone(),
            path: self.path.clone(),
            size_bytes: self.payload.size_bytes(),
            received_at: self.received_at,
            state: IntentState::Held,
            stops_line: false,
            attempts: 0,
            next_attempt_at: self.received_at,
            updated_at: self.received_at,
            outcome: None,
        }
    }
}

/// An intent as the ledger knows it, without what is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct IntentRecord {
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// Its id.
    pub id: IntentId,
    /// The surface it belongs to.
    pub surface: String,
    /// The window that it waits or waited for.
    pub window: WindowId,
    /// Whose keys it shares.
    pub tenant: String,
    /// The key that it is sent with.
    pub key: String,
    /// Its line within the surface.
    pub line: String,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Bytes of head and body as they are kept.
    pub size_bytes: u64,
    /// When it was received.
    pub received_at: Timestamp,
    /// Where it is.
    pub state: IntentState,
    /// Its line goes no further before an operator has decided about it: it has failed without an
    /// answer, so that nobody knows whether the origin has taken it.
    pub stops_line: bool,
    /// How often it was sent.
    pub attempts: u32,
    /// Not sent again before this.
    pub next_attempt_at: Timestamp,
    /// When the state last changed.
    pub updated_at: Timestamp,
    /// What the origin answered last, or why there was no answer.
    pub outcome: Option<Outcome>,
}

/// What became of an attempt to send an intent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// The origin's HTTP status, if it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The headers of its answer that are kept, names in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Why there was no answer, or who decided, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of the attempts, those without an answer or with one of 5xx.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// When the first attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
