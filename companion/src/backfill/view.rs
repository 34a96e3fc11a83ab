//! What the API says and is told of intents and of the backfill.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Pause, state::Run};
use crate::intents::{IntentId, IntentRecord, IntentState, Outcome, Selection, Totals};

/// One intent, without what is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IntentView {
    /// Identifies it.
    pub id: IntentId,
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// The surface it belongs to.
    pub surface: String,
    /// The window that it waits or waited for.
    #[schema(value_type = String)]
    pub window: WindowId,
    /// Whose keys it shares.
    pub tenant: String,
    /// The key that it is sent with.
    pub key: String,
    /// Its line within the surface: of one line, one is sent after the other.
    pub line: String,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Bytes of headers and body as they are kept.
    pub size_bytes: u64,
    /// When it was received.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// Where it is.
    pub state: IntentState,
    /// Its line goes no further before an operator has decided about it.
    pub stops_line: bool,
    /// How often it was sent.
    pub attempts: u32,
    /// Not sent again before this.
    #[schema(value_type = String, format = DateTime)]
    pub next_attempt_at: Timestamp,
    /// When its state last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// What the origin answered last, or why there was no answer.
    pub outcome: Option<Outcome>,
}

impl From<IntentRecord> for IntentView {
    fn from(record: IntentRecord) -> Self {
        Self {
            id: record.id,
            seq: record.seq,
            surface: record.surface,
            window: record.window,
            tenant: record.tenant,
            key: record.key,
            line: record.line,
            method: record.method,
            path: record.path,
            size_bytes: record.size_bytes,
            received_at: record.received_at,
            state: record.state,
            stops_line: record.stops_line,
            attempts: record.attempts,
            next_attempt_at: record.next_attempt_at,
            updated_at: record.updated_at,
            outcome: record.outcome,
        }
    }
}

/// Intents in the order of their acceptance.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IntentList {
    /// The intents.
    pub intents: Vec<IntentView>,
    /// Pass this as `after` for those that follow; nothing follows without it.
    pub next: Option<u64>,
}

/// Which intents an operator means.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IntentSelection {
    /// Only these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<IntentId>,
    /// Only of this surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<IntentState>,
    /// Only those received before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub received_before: Option<Timestamp>,
    /// All, where nothing narrows it: a selection that is empty by mistake selects nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl IntentSelection {
    /// Whether nothing narrows it.
    pub fn is_everything(&self) -> bool {
        let Self { ids, surface, state, received_before, all: _ } = self;
        ids.is_empty() && surface.is_none() && state.is_none() && received_before.is_none()
    }
}

impl From<IntentSelection> for Selection {
    fn from(selection: IntentSelection) -> Self {
        let IntentSelection { ids, surface, state, received_before, all: _ } = selection;
        Self { ids, surface, state, received_before }
    }
}

/// How many intents an operator's word has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntentsChanged {
    /// So many.
    pub changed: u64,
}

/// An intent with all that it holds: a line of an export.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExportedIntent {
    /// What is known of it.
    #[serde(flatten)]
    pub intent: IntentView,
    /// Its headers, pseudo-headers included; missing if they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<(String, String)>>,
    /// Its body, in base64; missing if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Why they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// How the backfill stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackfillView {
    /// In a word.
    pub phase: BackfillPhase,
    /// What it waits for, in words, if it does.
    pub waits_for: Option<String>,
    /// Where replays are sent.
    pub to: Option<String>,
    /// Why nothing is replayed until an operator says so.
    pub paused: Option<Pause>,
    /// Windows that are over, and until when nothing of them is replayed.
    pub soaking: Vec<Soaking>,
    /// Replays on their way to the origin.
    pub in_flight: u64,
    /// The replays since there last was nothing to do.
    pub run: Option<Run>,
    /// Intents that wait for their turn, or for their next attempt.
    pub held: u64,
    /// Intents taken for sending.
    pub replaying: u64,
    /// Intents that have failed.
    pub failed: u64,
    /// When the oldest of those that are held or replaying was received.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<Timestamp>,
    /// All intents that are kept, by surface and state.
    pub intents: Vec<IntentTotals>,
}

/// How the backfill stands, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackfillSummary {
    /// In a word.
    pub phase: BackfillPhase,
    /// What it waits for, in words, if it does.
    pub waits_for: Option<String>,
}

/// In a word, how the backfill stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackfillPhase {
    /// No intent is held.
    Idle,
    /// Intents are held, and nothing may be sent yet.
    Waiting,
    /// Intents are replayed.
    Running,
    /// Intents are held that only an operator can set going: of lines that stop.
    Stopped,
    /// Nothing is replayed until an operator says so.
    Paused,
    /// It is not configured where replays are sent.
    Unconfigured,
}

impl BackfillPhase {
    /// The phase as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Unconfigured => "unconfigured",
        }
    }
}

/// A window that is over, and soaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Soaking {
    /// The window.
    #[schema(value_type = String)]
    pub window: WindowId,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

/// What a surface holds in one state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IntentTotals {
    /// The surface.
    pub surface: String,
    /// The state.
    pub state: IntentState,
    /// Intents.
    pub count: u64,
    /// Bytes of headers and bodies.
    pub bytes: u64,
    /// When the oldest was received.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<Timestamp>,
}

impl From<Totals> for IntentTotals {
    fn from(totals: Totals) -> Self {
        let Totals { surface, state, count, bytes, oldest } = totals;
        Self { surface, state, count, bytes, oldest }
    }
}
