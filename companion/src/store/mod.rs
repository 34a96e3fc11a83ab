//! Where the companion's state lives: one trait, for the embedded database of one companion and for a PostgreSQL that
//! several share.

mod copy;
mod location;
mod lock;
mod others;
mod postgres;
pub(crate) mod rows;
mod sqlite;

use std::{collections::BTreeMap, path::PathBuf, pin::Pin, sync::Arc};

use quiesce_policy::snapshot::{Epoch, WindowId};
use quiesce_policy::time::Timestamp;

use sqlx::{Postgres, Transaction};

pub use self::{
    copy::{Copied, copy},
    location::{Location, LocationError, PostgresUrl},
    others::{News, Others},
    postgres::PostgresStore,
    sqlite::SqliteStore,
};
use crate::{
    event::Event,
    fleet::{EnforcerKey, FleetRecord},
    outbox::{NewDelivery, Outbox},
    plans::{PlanId, PlanRecord},
    windows::WindowRecord,
};

/// What a store's methods return.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps windows, their events, the snapshot's version and the fleet.
pub trait Store: Send + Sync + 'static {
    /// All that a companion needs in order to go on where the last one stopped.
    fn load(&self) -> Pending<'_, Loaded>;

    /// Waits until nobody else is changing anything, and keeps it so until the turn is used or dropped.
    fn turn(&self) -> Pending<'_, Turn>;

    /// Carries out a change, all of it or none. When this returns, it is on disk.
    fn commit(&self, turn: Turn, change: Change) -> Pending<'_, Committed>;

    /// Replaces and removes records of the fleet. A record that another companion has saved is not lost: they become
    /// one, as [`FleetRecord::joined`] says.
    fn save_fleet(&self, changed: Vec<FleetRecord>, removed: Vec<EnforcerKey>) -> Pending<'_, ()>;

    /// One window, open or ended, with its events in order.
    fn window(&self, id: WindowId) -> Pending<'_, Option<StoredWindow>>;

    /// The latest windows by the time they were issued, the newest first, each with its events.
    fn windows(&self, limit: u32) -> Pending<'_, Vec<StoredWindow>>;

    /// Events after `after`, oldest first; of one window if it is named.
    fn events(&self, after: u64, window: Option<WindowId>, limit: u32) -> Pending<'_, Vec<Event>>;

    /// The revision that is on disk; see [`Turn::revision`].
    fn revision(&self) -> Pending<'_, u64> {
        Box::pin(async { Ok(Turn::ALONE) })
    }

    /// The enforcers known, if others write them down too.
    fn shared_fleet(&self) -> Pending<'_, Option<Vec<FleetRecord>>> {
        Box::pin(async { Ok(None) })
    }

    /// What others do with the store; nothing, if nobody else can have it.
    fn others(&self) -> Option<Others> {
        None
    }

    /// What others are told of the changes that are committed here.
    fn outbox(&self) -> Arc<dyn Outbox>;

    /// Whether the store answers.
    fn check(&self) -> Pending<'_, ()>;

    /// Writes out what is pending and lets go of the files.
    fn close(&self) -> Pending<'_, ()>;
}

/// People are told of no more windows that are over.
pub const ENDED_KEPT: u32 = 8;

/// What [`Store::load`] found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The version last published.
    pub version: Epoch,
    /// The revision that this is; see [`Turn::revision`].
    pub revision: u64,
    /// The configured part of that snapshot.
    pub configured: Configured,
    /// The windows that have not ended.
    pub windows: Vec<StoredWindow>,
    /// Of those that have, the [`ENDED_KEPT`] that were issued last.
    pub ended: Vec<WindowRecord>,
    /// What recurs.
    pub plans: Vec<PlanRecord>,
    /// The enforcers known.
    pub fleet: Vec<FleetRecord>,
    /// The event that last paused or resumed the backfill.
    pub backfill: Option<Event>,
}

/// The part of a snapshot that does not come from windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// Names its contents.
    pub digest: String,
    /// The snapshot without windows, JSON; empty where only one companion can have the store, which knows it.
    pub snapshot: String,
}

/// The right to change something, until it is used or dropped.
#[derive(Debug)]
pub struct Turn {
    revision: u64,
    transaction: Option<Box<Transaction<'static, Postgres>>>,
}

impl Turn {
    /// The revision of a store that only one companion can have: nothing changes behind its back.
    const ALONE: u64 = 0;

    fn alone() -> Self {
        Self { revision: Self::ALONE, transaction: None }
    }

    /// Another number, another state of windows or of what is configured: whoever knows them of another revision has
    /// to load them again before changing anything.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

/// A window with its events in order.
#[derive(Clone, Debug)]
pub struct StoredWindow {
    /// The window as it is.
    pub record: WindowRecord,
    /// How it came to be so.
    pub events: Vec<Event>,
}

/// One change; all of it or none is carried out.
#[derive(Debug, Default)]
pub struct Change {
    /// Windows added or replaced.
    pub windows: BTreeMap<WindowId, (WindowRecord, Openness)>,
    /// Plans added or replaced, or removed.
    pub plans: BTreeMap<PlanId, Option<PlanRecord>>,
    /// Events to append.
    pub events: Vec<Event>,
    /// What others are told of these events.
    pub deliveries: Vec<NewDelivery>,
    /// The change alters the snapshot: its version becomes `max(version + 1, this instant)`, so
    /// that no version ever names two contents, even if a database was lost.
    pub publish_at: Option<Timestamp>,
    /// The new configured part.
    pub configured: Option<Configured>,
}

/// Whether a window still concerns anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Openness {
    /// It is in force or will be.
    Open,
    /// It has ended.
    Ended,
}

/// What [`Store::commit`] did.
#[derive(Debug)]
pub struct Committed {
    /// The version of the snapshot after the change.
    pub version: Epoch,
    /// The revision after the change.
    pub revision: u64,
    /// The events as appended, with their places in the log.
    pub events: Vec<Event>,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the store.
    #[error("{path} is in use by another companion")]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// A file or directory cannot be used.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A database that others run cannot be reached.
    #[error("cannot open {url}: {source}")]
    Unreachable {
        /// Where it is, without the password.
        url: String,
        /// Why.
        source: sqlx::Error,
    },
    /// There is nothing to copy from.
    #[error("there is no store at {path}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// What is copied to has state of its own.
    #[error("{url} is not empty: it has been in use by a companion, or was copied to already")]
    NotEmpty {
        /// Where it is, without the password.
        url: String,
    },
    /// A turn was used that another kind of store gave.
    #[error("the turn is not one of this store")]
    ForeignTurn,
    /// The database refused.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The task that writes has ended.
    #[error("nobody writes to the database any more")]
    WriterGone,
    /// The schema could not be brought up to date.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A record in the database does not parse.
    #[error("{table} {key} in the database does not parse: {message}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The record's key.
        key: String,
        /// What is wrong.
        message: String,
    },
}
