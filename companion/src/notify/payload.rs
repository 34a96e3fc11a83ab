//! What is said to each kind of notifier, as it lies in the outbox: without secrets, and without saying where to.

use quiesce_policy::{text_enum, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{NotifierKind, Occasion, Step, message::Message};

/// What is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Payload {
    /// To a status page.
    Maintenance(Maintenance),
    /// The body of a request.
    Body {
        /// JSON, as it is sent.
        json: Value,
    },
    /// To a cache: nothing but that it has to forget.
    Purge,
}

/// A maintenance as a status page shall show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Maintenance {
    /// How it stands.
    pub status: MaintenanceStatus,
    /// What it is called.
    pub name: String,
    /// What is said of it now.
    pub text: String,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it is planned to end.
    pub ends_at: Timestamp,
    /// There is something to say only if the page shows it already.
    pub only_if_shown: bool,
}

text_enum! {
    /// How a maintenance stands, by Statuspage's names.
    pub enum MaintenanceStatus {
        /// It will begin.
        Scheduled = "scheduled",
        /// It has begun.
        InProgress = "in_progress",
        /// It is looked whether all is well.
        Verifying = "verifying",
        /// It is over.
        Completed = "completed",
    }
}

impl MaintenanceStatus {
    /// How a maintenance stands after a step.
    fn after(step: Step, started: bool) -> Self {
        match step {
            Step::Announced => Self::Scheduled,
            Step::Extended if !started => Self::Scheduled,
            Step::Frozen | Step::Quiesced | Step::Extended => Self::InProgress,
            Step::Reopened | Step::Aborted => Self::Verifying,
            Step::Closed | Step::Cancelled => Self::Completed,
        }
    }
}

impl Payload {
    /// What a notifier of this kind is told.
    pub fn of(kind: NotifierKind, occasion: &Occasion<'_>, message: &Message) -> Self {
        match kind {
            NotifierKind::Statuspage | NotifierKind::Instatus => {
                Self::Maintenance(maintenance(occasion, message))
            }
            NotifierKind::Slack => Self::Body { json: slack(message) },
            NotifierKind::Webhook => Self::Body { json: webhook(occasion, message) },
            NotifierKind::Varnish | NotifierKind::Fastly | NotifierKind::Cloudflare => Self::Purge,
        }
    }
}

fn maintenance(occasion: &Occasion<'_>, message: &Message) -> Maintenance {
    let window = &occasion.record.window;
    Maintenance {
        status: MaintenanceStatus::after(occasion.step, window.started),
        name: message.name.clone(),
        text: message.text.clone(),
        starts_at: window.starts_at,
        ends_at: window.ends_at.unwrap_or(window.expires_at),
        only_if_shown: occasion.step == Step::Cancelled,
    }
}

/// A message for an incoming webhook: `text` is what notifications and screen readers get.
/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
fn slack(message: &Message) -> Value {
    let title = escaped(&message.title);
    let text = format!("*{title}*\n{}", escaped(&message.text));
    // A section holds 3,000 characters.
    let section: String = text.chars().take(3_000).collect();
    json!({
        "text": title,
        "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": section } }],
    })
}

/// Slack reads these three as its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The shape that Standard Webhooks recommend: a type, a timestamp, and the data.
fn webhook(occasion: &Occasion<'_>, message: &Message) -> Value {
    let window = &occasion.record.window;
    json!({
        "type": format!("window.{}", occasion.step.as_str()),
        "timestamp": occasion.at,
        "data": {
            "window": {
                "id": window.id,
                "reason": window.reason,
                "contact": window.contact,
                "scope": window.scope,
                "starts_at": window.starts_at,
                "ends_at": window.ends_at,
                "expires_at": window.expires_at,
            },
            "title": message.title,
            "text": message.text,
        },
    })
}
