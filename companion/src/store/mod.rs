//! Where the companion's state lives. One trait, so that another database can take SQLite's place.

mod lock;
mod sqlite;

use std::{collections::BTreeMap, path::PathBuf, pin::Pin};

use quiesce_policy::snapshot::{Epoch, WindowId};
use quiesce_policy::time::Timestamp;

pub use self::sqlite::SqliteStore;
use crate::{
    event::Event,
    fleet::{EnforcerKey, FleetRecord},
    windows::WindowRecord,
};

/// What a store's methods return.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps windows, their events, the snapshot's version and the fleet.
pub trait Store: Send + Sync + 'static {
    /// All that a companion needs in order to go on where the last one stopped.
    fn load(&self) -> Pending<'_, Loaded>;

    /// Carries out a change, all of it or none. When this returns, it is on disk.
    fn commit(&self, change: Change) -> Pending<'_, Committed>;

    /// Replaces and removes records of the fleet.
    fn save_fleet(&self, changed: Vec<FleetRecord>, removed: Vec<EnforcerKey>) -> Pending<'_, ()>;

    /// One window, open or ended, with its events in order.
    fn window(&self, id: WindowId) -> Pending<'_, Option<StoredWindow>>;

    /// The latest windows by the time they were issued, the newest first, each with its events.
    fn windows(&self, limit: u32) -> Pending<'_, Vec<StoredWindow>>;

    /// Events after `after`, oldest first; of one window if it is named.
    fn events(&self, after: u64, window: Option<WindowId>, limit: u32) -> Pending<'_, Vec<Event>>;

    /// Whether the store answers.
    fn check(&self) -> Pending<'_, ()>;

    /// Writes out what is pending and lets go of the files.
    fn close(&self) -> Pending<'_, ()>;
}

/// What [`Store::load`] found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The version last published.
    pub version: Epoch,
    /// The digest of the configured part of that snapshot.
    pub config_digest: String,
    /// The windows that have not ended.
    pub windows: Vec<StoredWindow>,
    /// The enforcers known.
    pub fleet: Vec<FleetRecord>,
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
    /// Events to append.
    pub events: Vec<Event>,
    /// The change alters the snapshot: its version becomes `max(version + 1, this instant)`, so
    /// that no version ever names two contents, even if a database was lost.
    pub publish_at: Option<Timestamp>,
    /// The new digest of the configured part.
    pub config_digest: Option<String>,
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
