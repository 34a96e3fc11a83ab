//! What happened: the append-only log from which phases and all that is communicated derive.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The companion itself, as the one who did something.
pub const COMPANION: &str = "companion";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place in the log, from 1; 0 until it is stored.
    pub seq: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: the name of the token used, or `companion`.
    pub who: String,
    /// What.
    pub kind: EventKind,
    /// The window concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub window: Option<WindowId>,
    /// What it rests on; its shape depends on the kind.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub evidence: serde_json::Value,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The configured part of the snapshot is another than before.
    Configured,
    /// A window was issued that begins later.
    Scheduled,
    /// A window began; the evidence names the enforcers that were live then.
    Started,
    /// The barrier held; the evidence says for whom.
    Quiesced,
    /// A window's end was moved.
    Extended,
    /// Writes were opened again after the window had been quiesced.
    Thawed,
    /// Writes were opened again before the barrier held, or because the work was given up.
    Aborted,
    /// A window was taken back before it began.
    Cancelled,
    /// A window's lease ran out.
    Lapsed,
    /// A pass was issued; the evidence names its subject and end, never the pass.
    PassIssued,
    /// An operator gave up on a lost enforcer.
    EnforcerForgotten,
    /// Held writes are being replayed.
    BackfillStarted,
    /// There is nothing more to replay for now; the evidence says what became of those that were.
    BackfillFinished,
    /// Nothing is replayed until somebody says so; the evidence says why.
    BackfillPaused,
    /// Held writes may be replayed again.
    BackfillResumed,
    /// An operator had failed intents tried again.
    IntentsRetried,
    /// An operator, or their age, has taken intents back.
    IntentsDiscarded,
    /// An operator was given intents with all that they hold.
    IntentsExported,
    /// A cache has forgotten what enforcers answered before; the evidence says which.
    CachePurged,
    /// Somebody could not be told of a window; the evidence says who, of what, and why.
    DeliveryFailed,
    /// An operator had deliveries sent again.
    DeliveriesResent,
    /// An operator has taken deliveries back.
    DeliveriesCancelled,
    /// People are told of a window ahead of its time.
    Announced,
    /// Writes were open again for as long as they are watched.
    Soaked,
    /// People are told that a window is over; only then held writes are replayed.
    ClosureAnnounced,
    /// Nothing more is held for a window.
    Closed,
    /// An operator told people something about a window, in the words that are the evidence.
    UpdatePosted,
    /// Windows were planned that recur; the evidence has the rule.
    PlanAdded,
    /// A plan was removed.
    PlanRemoved,
    /// An occurrence of a plan does not become a window; the evidence says why.
    OccurrenceSkipped,
}

impl EventKind {
    /// The kind as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Scheduled => "scheduled",
            Self::Started => "started",
            Self::Quiesced => "quiesced",
            Self::Extended => "extended",
            Self::Thawed => "thawed",
            Self::Aborted => "aborted",
            Self::Cancelled => "cancelled",
            Self::Lapsed => "lapsed",
            Self::PassIssued => "pass-issued",
            Self::EnforcerForgotten => "enforcer-forgotten",
            Self::BackfillStarted => "backfill-started",
            Self::BackfillFinished => "backfill-finished",
            Self::BackfillPaused => "backfill-paused",
            Self::BackfillResumed => "backfill-resumed",
            Self::IntentsRetried => "intents-retried",
            Self::IntentsDiscarded => "intents-discarded",
            Self::IntentsExported => "intents-exported",
            Self::CachePurged => "cache-purged",
            Self::DeliveryFailed => "delivery-failed",
            Self::DeliveriesResent => "deliveries-resent",
            Self::DeliveriesCancelled => "deliveries-cancelled",
            Self::Announced => "announced",
            Self::Soaked => "soaked",
            Self::ClosureAnnounced => "closure-announced",
            Self::Closed => "closed",
            Self::UpdatePosted => "update-posted",
            Self::PlanAdded => "plan-added",
            Self::PlanRemoved => "plan-removed",
            Self::OccurrenceSkipped => "occurrence-skipped",
        }
    }

    /// Whether all companions have to know of it because it pauses or resumes the backfill.
    pub fn holds_or_frees_backfill(self) -> bool {
        matches!(self, Self::BackfillPaused | Self::BackfillResumed)
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        use EventKind as K;
        [
            K::Configured,
            K::Scheduled,
            K::Started,
            K::Quiesced,
            K::Extended,
            K::Thawed,
            K::Aborted,
            K::Cancelled,
            K::Lapsed,
            K::PassIssued,
            K::EnforcerForgotten,
            K::BackfillStarted,
            K::BackfillFinished,
            K::BackfillPaused,
            K::BackfillResumed,
            K::IntentsRetried,
            K::IntentsDiscarded,
            K::IntentsExported,
            K::CachePurged,
            K::DeliveryFailed,
            K::DeliveriesResent,
            K::DeliveriesCancelled,
            K::Announced,
            K::Soaked,
            K::ClosureAnnounced,
            K::Closed,
            K::UpdatePosted,
            K::PlanAdded,
            K::PlanRemoved,
            K::OccurrenceSkipped,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }
}
