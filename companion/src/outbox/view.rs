//! What the API says of deliveries, and is told.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Delivery, DeliveryId, DeliveryState, Selection, Total};
use crate::{
    notify::{NotifierKind, Step},
    view::NewWindow,
};

/// A delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Identifies it.
    #[schema(value_type = String)]
    pub id: DeliveryId,
    /// The event that it is about, by its place in the log.
    pub event_seq: u64,
    /// Which window.
    #[schema(value_type = String)]
    pub window: WindowId,
    /// Who is told, by name.
    pub notifier: String,
    /// What that is.
    #[schema(value_type = String)]
    pub kind: NotifierKind,
    /// What has happened to the window.
    #[schema(value_type = String)]
    pub step: Step,
    /// `pending`, `delivered`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    pub state: DeliveryState,
    /// How often it was sent, or begun to be.
    pub attempts: u32,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// The HTTP status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// What there is to say of the last attempt, or of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the other side calls the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// When it was known what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub done_at: Option<Timestamp>,
    /// What is said; where one delivery alone is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Value>,
}

impl DeliveryView {
    /// With all that it says.
    pub fn whole(delivery: Delivery) -> Self {
        let payload = serde_json::from_str(&delivery.payload).ok();
        Self { payload, ..delivery.into() }
    }
}

impl From<Delivery> for DeliveryView {
    fn from(it: Delivery) -> Self {
        Self {
            next_at: (it.state == DeliveryState::Pending).then_some(it.next_at),
            id: it.id,
            event_seq: it.event_seq,
            window: it.window,
            notifier: it.notifier,
            kind: it.kind,
            step: it.step,
            state: it.state,
            attempts: it.attempts,
            created_at: it.created_at,
            last_status: it.last_status,
            note: it.note,
            external_id: it.external_id,
            done_at: it.done_at,
            payload: None,
        }
    }
}

/// Deliveries, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryList {
    /// The deliveries.
    pub deliveries: Vec<DeliveryView>,
    /// Pass it as `before` for those that are older, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<DeliveryId>,
}

/// Which deliveries are meant: all that fit everything said, and something has to be said.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverySelection {
    /// These.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub ids: Vec<DeliveryId>,
    /// Those about this window.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub window: Option<WindowId>,
    /// Those for this notifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notifier: Option<String>,
    /// Those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub state: Option<DeliveryState>,
}

impl From<DeliverySelection> for Selection {
    fn from(it: DeliverySelection) -> Self {
        Self { ids: it.ids, window: it.window, notifier: it.notifier, state: it.state }
    }
}

/// How many deliveries an operator's word concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveriesChanged {
    /// So many.
    pub changed: u64,
}

/// Deliveries that are not made, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveriesSummary {
    /// To be sent, perhaps again.
    pub pending: u64,
    /// Refused, or given up.
    pub failed: u64,
}

impl DeliveriesSummary {
    /// Adds up what there is; nothing, if all is delivered.
    pub fn of(totals: &[Total]) -> Option<Self> {
        let count = |state| totals.iter().filter(|total| total.state == state).map(|total| total.count).sum();
        let summary = Self { pending: count(DeliveryState::Pending), failed: count(DeliveryState::Failed) };
        (summary != Self::default()).then_some(summary)
    }
}

/// Asks what would be said of a window: of one that there is, or of one as it might be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreviewRequest {
    /// Of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub window: Option<WindowId>,
    /// Of one like this, which is not issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<NewWindow>,
}

/// What would be said of a window, step by step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PreviewView {
    /// In the order of a window's life; not every window takes every step.
    pub steps: Vec<PreviewStep>,
}

/// What would be said of one step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PreviewStep {
    /// What would have happened.
    #[schema(value_type = String)]
    pub step: Step,
    /// One line.
    pub title: String,
    /// All that there is to say.
    pub text: String,
    /// Who is told.
    pub deliveries: Vec<PreviewDelivery>,
}

/// What one notifier would be told.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PreviewDelivery {
    /// Who is told, by name.
    pub notifier: String,
    /// What that is.
    #[schema(value_type = String)]
    pub kind: NotifierKind,
    /// Where it is, as far as that is no secret.
    pub to: String,
    /// What is said.
    #[schema(value_type = Object)]
    pub payload: Value,
}
