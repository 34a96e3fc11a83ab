//! What a client is told of a write that was kept for it.

use quiesce_policy::{intent::RECEIPT_PATH, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{IntentId, IntentRecord, IntentState};
use crate::config::Period;

/// The receipt of a write that was kept for later. It shows nothing of what was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// Identifies the write.
    pub id: IntentId,
    /// Where it is.
    pub state: IntentState,
    /// Where this receipt can be read again.
    pub receipt: String,
    /// When it was received.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// The window that it waits or waited for.
    pub window: String,
    /// The key that it is sent with.
    pub idempotency_key: String,
    /// How long the key is remembered, in words.
    pub idempotency_key_expiry: String,
    /// When the key is forgotten, and this receipt with it; not known before the write is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub key_expires_at: Option<Timestamp>,
    /// How often it was sent to the origin.
    pub attempts: u32,
    /// When the state last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// The status of the origin's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The headers of the origin's answer that are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Why there is no answer, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When to ask again, while it is not over; seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

impl Receipt {
    /// The receipt of an intent.
    pub fn of(record: IntentRecord, retention: Period, retry_after_s: u64) -> Self {
        let is_forgotten = matches!(record.state, IntentState::Done | IntentState::Discarded);
        let outcome = record.outcome.filter(|_| !record.state.is_open()).unwrap_or_default();
        Self {
            receipt: path(&record.id),
            id: record.id,
            state: record.state,
            received_at: record.received_at,
            window: record.window.to_string(),
            idempotency_key: record.key,
            idempotency_key_expiry: format!(
                "remembered until the write is done or discarded, and for {retention} after that"
            ),
            key_expires_at: is_forgotten.then(|| record.updated_at.plus_ms(retention.ms())),
            attempts: record.attempts,
            updated_at: record.updated_at,
            status: outcome.status,
            headers: outcome.headers,
            note: outcome.note,
            retry_after_s: record.state.is_open().then_some(retry_after_s),
        }
    }
}

/// Where the receipt of an intent is read.
pub fn path(id: &IntentId) -> String {
    format!("{}{id}", String::from_utf8_lossy(RECEIPT_PATH))
}
