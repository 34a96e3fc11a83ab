//! What others are told: each delivery is written with the event that causes it, and kept until long after it is known
//! what became of it.

mod copy;
mod postgres;
mod rows;
mod sqlite;
pub mod view;

use std::{fmt, pin::Pin};

use quiesce_policy::{snapshot::WindowId, text_enum, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::{copy::copy, postgres::put as put_postgres, sqlite::put as put_sqlite};
pub use self::{postgres::PostgresOutbox, sqlite::SqliteOutbox};
use crate::{
    notify::{NotifierKind, Step},
    store::StoreError,
};

/// What an outbox's methods return.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Deliveries that one look at what is due returns, at most.
pub const MAX_DUE: u32 = 100;

/// Identifies a delivery; the other side may be shown it, to know a repetition by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct DeliveryId(String);

impl DeliveryId {
    /// One that no other delivery has; later ones sort behind it.
    pub fn generate() -> Self {
        Self(ulid::Ulid::generate().to_string().to_lowercase())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for DeliveryId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_enum! {
    /// Where a delivery is.
    pub enum DeliveryState {
        /// It is to be sent, perhaps again.
        Pending = "pending",
        /// The other side has taken it.
        Delivered = "delivered",
        /// The other side refuses it, or could not be reached for too long.
        Failed = "failed",
        /// It is not sent: a later one says more, there is nothing to say, or an operator has decided so.
        Cancelled = "cancelled",
    }
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Cancelled];
}

/// A delivery to be written with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Identifies it.
    pub id: DeliveryId,
    /// Which of the change's events it is about.
    pub event: usize,
    /// Which window.
    pub window: WindowId,
    /// Who is told, by name.
    pub notifier: String,
    /// What that is.
    pub kind: NotifierKind,
    /// What has happened to the window.
    pub step: Step,
    /// What is said, JSON.
    pub payload: String,
    /// When it was written.
    pub at: Timestamp,
}

/// A delivery as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Identifies it.
    pub id: DeliveryId,
    /// The event that it is about, by its place in the log.
    pub event_seq: u64,
    /// Which window.
    pub window: WindowId,
    /// Who is told, by name.
    pub notifier: String,
    /// What that is.
    pub kind: NotifierKind,
    /// What has happened to the window.
    pub step: Step,
    /// What is said, JSON.
    pub payload: String,
    /// Where it is.
    pub state: DeliveryState,
    /// How often it was sent, or begun to be.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// From when on its deadline counts.
    pub since: Timestamp,
    /// While it is pending, when it is tried next.
    pub next_at: Timestamp,
    /// The HTTP status of the last answer.
    pub last_status: Option<u16>,
    /// What there is to say of the last attempt, or of its end.
    pub note: Option<String>,
    /// What the other side calls the window.
    pub external_id: Option<String>,
    /// When it was known what became of it.
    pub done_at: Option<Timestamp>,
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// Where it is from now on.
    pub state: DeliveryState,
    /// If it is pending, when it is tried next; else when this was known.
    pub at: Timestamp,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// What there is to say.
    pub note: Option<String>,
}

/// An operator's word on deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are sent, again if they have been.
    Resend,
    /// They are not sent, or need nobody's attention any more.
    Cancel,
}

/// Which deliveries are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// These.
    pub ids: Vec<DeliveryId>,
    /// Those about this window.
    pub window: Option<WindowId>,
    /// Those for this notifier.
    pub notifier: Option<String>,
    /// Those in this state.
    pub state: Option<DeliveryState>,
}

/// How many deliveries of one notifier are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// The notifier.
    pub notifier: String,
    /// The state.
    pub state: DeliveryState,
    /// How many.
    pub count: u64,
}

/// Keeps deliveries. They are added by [`crate::store::Store::commit`], with their events.
pub trait Outbox: Send + Sync + 'static {
    /// Of each window the first delivery that is pending for a notifier, in the order in which they are due; [`MAX_DUE`] at most.
    fn heads(&self, notifier: String) -> Pending<'_, Vec<Delivery>>;

    /// The deliveries of one window to one notifier, in the order of their events.
    fn of_window(&self, notifier: String, window: WindowId) -> Pending<'_, Vec<Delivery>>;

    /// Counts one more attempt, before it is made; says whether that is this caller's to make.
    fn begin(&self, id: DeliveryId, attempts_before: u32) -> Pending<'_, bool>;

    /// Keeps what the other side calls the window.
    fn note_external_id(&self, id: DeliveryId, external_id: String) -> Pending<'_, ()>;

    /// Keeps what became of a delivery that is pending.
    fn conclude(&self, id: DeliveryId, conclusion: Conclusion) -> Pending<'_, ()>;

    /// One delivery.
    fn delivery(&self, id: DeliveryId) -> Pending<'_, Option<Delivery>>;

    /// Deliveries, the newest first, written before `before` if that is given.
    fn list(
        &self,
        selection: Selection,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Pending<'_, Vec<Delivery>>;

    /// Carries out an operator's word; says how many that concerned. Resent is what is not pending, cancelled what is
    /// pending or has failed.
    fn decide(
        &self,
        selection: Selection,
        verdict: Verdict,
        note: String,
        now: Timestamp,
    ) -> Pending<'_, u64>;

    /// How many there are.
    fn totals(&self) -> Pending<'_, Vec<Total>>;

    /// Forgets some of those that have been over since before `before`, and whose window is over too.
    fn purge(&self, before: Timestamp, limit: u32) -> Pending<'_, u64>;
}
