//! Why the companion does not do what it is asked: each reason with a code, a status and advice.

use axum::http::StatusCode;
use quiesce_policy::{snapshot::WindowId, time::Timestamp};

use crate::{
    auth::AuthError,
    event::EventKind,
    fleet::FleetError,
    intents::{IntentId, SealError},
    outbox::DeliveryId,
    passes::PassError,
    plans::PlanId,
    store::StoreError,
};

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A field of the request is wrong.
    #[error("{place}: {message}")]
    Invalid {
        /// The field.
        place: String,
        /// What is wrong with it.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// No such window.
    #[error("there is no window `{0}`")]
    UnknownWindow(WindowId),
    /// No such intent.
    #[error("there is no intent `{0}`")]
    UnknownIntent(IntentId),
    /// No such delivery.
    #[error("there is no delivery `{0}`")]
    UnknownDelivery(DeliveryId),
    /// No such plan.
    #[error("there is no plan `{0}`")]
    UnknownPlan(PlanId),
    /// Another window has the same times and scope.
    #[error("it would overlap window `{id}` ({reason}), which lasts from {starts_at} to {ends_at}")]
    Overlap {
        /// The other window.
        id: WindowId,
        /// Why it is.
        reason: String,
        /// When it begins.
        starts_at: Timestamp,
        /// When it is told to end.
        ends_at: Timestamp,
        /// Whether it has begun.
        begun: bool,
    },
    /// The window is over.
    #[error("window `{id}` is over: it was {how} by {by} at {at}", how = .how.as_str())]
    Over {
        /// The window.
        id: WindowId,
        /// How it ended.
        how: EventKind,
        /// Who ended it.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// What begins later cannot be thawed.
    #[error("window `{0}` has not begun")]
    NotBegun(WindowId),
    /// What has begun cannot be cancelled.
    #[error("window `{0}` has begun")]
    Begun(WindowId),
    /// Something about an enforcer.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Something about a pass.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Something about who calls.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is on disk cannot be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The snapshot could not be written as JSON.
    #[error("the snapshot cannot be written: {0}")]
    Snapshot(#[from] serde_json::Error),
    /// A page could not be written.
    #[error("the status page cannot be written: {0}")]
    Page(#[from] askama::Error),
    /// An enforcer could not be registered in time.
    #[error("the enforcer could not be registered on disk in time")]
    NotRegistered,
    /// The companion is shutting down.
    #[error("the companion is shutting down")]
    ShuttingDown,
    /// The task that carried it out failed.
    #[error("the change failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl ServiceError {
    /// A field is wrong.
    pub fn invalid(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { place: place.into(), message: message.into(), hint: None }
    }

    /// A field is wrong, and this is what to do.
    pub fn invalid_with(
        place: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Invalid { place: place.into(), message: message.into(), hint: Some(hint.into()) }
    }

    /// The stable name of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid-field",
            Self::UnknownWindow(_) => "unknown-window",
            Self::UnknownIntent(_) => "unknown-intent",
            Self::UnknownDelivery(_) => "unknown-delivery",
            Self::UnknownPlan(_) => "unknown-plan",
            Self::Overlap { .. } => "window-overlaps",
            Self::Over { .. } => "window-over",
            Self::NotBegun(_) => "window-not-begun",
            Self::Begun(_) => "window-begun",
            Self::Fleet(FleetError::TooLarge { .. } | FleetError::Empty(_)) => "invalid-field",
            Self::Fleet(FleetError::Full) => "fleet-full",
            Self::Fleet(FleetError::Unknown(_)) => "unknown-enforcer",
            Self::Fleet(FleetError::Live(_)) => "enforcer-live",
            Self::Pass(PassError::Lifetime { .. } | PassError::Subject(_)) => "invalid-field",
            Self::Auth(AuthError::Missing { .. }) => "token-missing",
            Self::Auth(AuthError::Unknown) => "token-unknown",
            Self::Auth(AuthError::Browser) => "browser",
            Self::Auth(AuthError::Insufficient { .. }) => "role-insufficient",
            Self::NotRegistered => "store-slow",
            Self::ShuttingDown => "shutting-down",
            Self::Store(_) => "store-failed",
            Self::Seal(_) => "sealed",
            Self::Pass(_) | Self::Snapshot(_) | Self::Page(_) | Self::Task(_) => "internal",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self.code() {
            "invalid-field" => StatusCode::UNPROCESSABLE_ENTITY,
            "unknown-window" | "unknown-enforcer" | "unknown-intent" | "unknown-delivery"
            | "unknown-plan" => StatusCode::NOT_FOUND,
            "window-overlaps" | "window-over" | "window-not-begun" | "window-begun" | "enforcer-live" => {
                StatusCode::CONFLICT
            }
            "token-missing" | "token-unknown" => StatusCode::UNAUTHORIZED,
            "role-insufficient" | "browser" => StatusCode::FORBIDDEN,
            "fleet-full" | "store-slow" | "store-failed" | "shutting-down" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid { hint, .. } => hint.clone(),
            Self::UnknownWindow(_) => Some("`quiesce status` lists the windows there are".to_owned()),
            Self::UnknownIntent(_) => Some(
                "`quiesce intents list` lists those there are; done ones are forgotten after a while"
                    .to_owned(),
            ),
            Self::UnknownDelivery(_) => Some(
                "`quiesce deliveries list` lists those there are; old ones are forgotten after a while"
                    .to_owned(),
            ),
            Self::UnknownPlan(_) => Some("`quiesce plan list` lists the plans there are".to_owned()),
            Self::Overlap { id, begun: true, .. } => Some(format!(
                "`quiesce extend {id}` makes it longer and `quiesce thaw {id}` ends it; \
                 or choose other times or a narrower scope"
            )),
            Self::Overlap { id, begun: false, .. } => Some(format!(
                "`quiesce cancel {id}` takes it back; or choose other times or a narrower scope"
            )),
            Self::Over { .. } => Some("`quiesce status` lists the windows that are not over".to_owned()),
            Self::NotBegun(id) => Some(format!("take it back with `quiesce cancel {id}`")),
            Self::Begun(id) => Some(format!("open writes again with `quiesce thaw {id}`")),
            Self::Fleet(FleetError::Unknown(_)) => {
                Some("`quiesce fleet` lists the enforcers there are".to_owned())
            }
            Self::Fleet(FleetError::Live(_)) => {
                Some("stop it first: only enforcers that are lost can be forgotten".to_owned())
            }
            Self::Fleet(FleetError::Full) => Some(
                "forget lost ones with `quiesce fleet forget ID`; is one restarting in a loop?".to_owned(),
            ),
            Self::Auth(AuthError::Missing { .. } | AuthError::Unknown) => {
                Some("put the token into QUIESCE_TOKEN, or its file's path into --token-file".to_owned())
            }
            Self::Auth(AuthError::Browser) => Some(
                "the console may call where `tokens` are configured and it is reached under the name that it calls"
                    .to_owned(),
            ),
            Self::Auth(AuthError::Insufficient { .. }) => {
                Some("use a token with that role (see `tokens` in the companion's configuration)".to_owned())
            }
            Self::Store(_) | Self::NotRegistered => {
                Some("see the companion's log; `quiesce status` tells what is in force".to_owned())
            }
            _ => None,
        }
    }

    /// The field concerned.
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::Invalid { place, .. } => Some(place),
            Self::Fleet(FleetError::TooLarge { place, .. } | FleetError::Empty(place)) => Some(place),
            Self::Pass(PassError::Lifetime { .. }) => Some("duration_ms"),
            Self::Pass(PassError::Subject(_)) => Some("subject"),
            _ => None,
        }
    }

    /// The other window concerned.
    pub fn window(&self) -> Option<&WindowId> {
        match self {
            Self::UnknownWindow(id) | Self::Overlap { id, .. } | Self::Over { id, .. } => Some(id),
            Self::NotBegun(id) | Self::Begun(id) => Some(id),
            _ => None,
        }
    }
}
