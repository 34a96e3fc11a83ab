//! The embedded store: one SQLite file, WAL, every commit synced to disk.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quiesce_policy::snapshot::{Epoch, WindowId};
use sqlx::{
    Connection as _, Row as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};

use super::{
    Change, Committed, Configured, ENDED_KEPT, Loaded, Openness, Pending, Store, StoreError, StoredWindow,
    Turn,
    lock::StoreLock,
    rows::{self, from_json, signed, to_json, unsigned},
};
use crate::{
    event::Event,
    fleet::{EnforcerKey, FleetRecord},
    outbox::{self, Outbox, SqliteOutbox},
};

const READERS: u32 = 4;
/// The writer's cache, in KiB as SQLite wants it: a batch of intents touches more pages than the default has.
const CACHE: &str = "-16384";
/// So long a log is moved to its place by who commits, who has to wait for it; mostly a task of its own is
/// there first. 64 MiB.
const AUTOCHECKPOINT_PAGES: &str = "16384";

/// State in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    /// One connection: SQLite has one writer at a time anyway, and so nobody ever finds it busy.
    writer: SqlitePool,
    readers: SqlitePool,
    /// Opened when it is first used.
    checkpointer: SqlitePool,
    lock: Mutex<Option<StoreLock>>,
}

impl SqliteStore {
    /// Opens the file, creating it and its directory where they are missing.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, SqliteConnectOptions::new()).await
    }

    /// The same, with more options.
    pub(crate) async fn open_with(path: &Path, options: SqliteConnectOptions) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)
                .map_err(|source| StoreError::File { path: directory.to_owned(), source })?;
        }
        let lock = StoreLock::acquire(path)?;
        let options = options
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_release(|connection, _| {
                Box::pin(async move {
                    // Some failures, such as a full disk, end a transaction by themselves; sqlx takes it
                    // for going on and begins no other. A ping, because a rollback may be under way.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(
                options
                    .clone()
                    .pragma("cache_size", CACHE)
                    .pragma("wal_autocheckpoint", AUTOCHECKPOINT_PAGES),
            )
            .await?;
        sqlx::migrate!("./migrations/sqlite").run(&writer).await?;
        let checkpointer = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone());
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, readers, checkpointer, lock: Mutex::new(Some(lock)) })
    }

    /// The one connection that writes.
    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// A connection that moves what is committed from the log to its place.
    pub(crate) fn checkpointer(&self) -> &SqlitePool {
        &self.checkpointer
    }

    /// Connections that read.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    async fn commit_change(&self, change: Change) -> Result<Committed, StoreError> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        for (id, (record, openness)) in &change.windows {
            sqlx::query(
                "INSERT INTO windows (id, issued_at, open, record) VALUES (?, ?, ?, ?)
                 ON CONFLICT (id) DO UPDATE SET open = excluded.open, record = excluded.record",
            )
            .bind(id.as_str())
            .bind(signed(record.issued_at.unix_ms()))
            .bind(i64::from(*openness == Openness::Open))
            .bind(to_json("window", id.as_str(), record)?)
            .execute(&mut *tx)
            .await?;
        }
        for (id, record) in &change.plans {
            let query = match record {
                Some(record) => sqlx::query(
                    "INSERT INTO plans (id, record) VALUES (?, ?)
                     ON CONFLICT (id) DO UPDATE SET record = excluded.record",
                )
                .bind(id.as_str())
                .bind(to_json("plan", id.as_str(), record)?),
                None => sqlx::query("DELETE FROM plans WHERE id = ?").bind(id.as_str()),
            };
            query.execute(&mut *tx).await?;
        }
        let mut events = change.events;
        for event in &mut events {
            let done =
                sqlx::query("INSERT INTO events (at, who, kind, window_id, evidence) VALUES (?, ?, ?, ?, ?)")
                    .bind(signed(event.at.unix_ms()))
                    .bind(event.who.as_str())
                    .bind(event.kind.as_str())
                    .bind(event.window.as_ref().map(WindowId::as_str))
                    .bind(to_json("event", event.kind.as_str(), &event.evidence)?)
                    .execute(&mut *tx)
                    .await?;
            event.seq = unsigned(done.last_insert_rowid());
        }
        for delivery in &change.deliveries {
            let event_seq = events.get(delivery.event).map_or(0, |event| event.seq);
            outbox::put_sqlite(&mut tx, delivery, event_seq).await?;
        }
        if let Some(configured) = change.configured {
            sqlx::query("UPDATE meta SET config_digest = ?")
                .bind(configured.digest)
                .execute(&mut *tx)
                .await?;
        }
        let version: i64 = match change.publish_at {
            Some(at) => {
                sqlx::query_scalar("UPDATE meta SET version = max(version + 1, ?) RETURNING version")
                    .bind(signed(at.unix_ms()))
                    .fetch_one(&mut *tx)
                    .await?
            }
            None => sqlx::query_scalar("SELECT version FROM meta").fetch_one(&mut *tx).await?,
        };
        tx.commit().await?;
        Ok(Committed { version: Epoch(unsigned(version)), revision: Turn::ALONE, events })
    }

    async fn load_all(&self) -> Result<Loaded, StoreError> {
        let mut tx = self.readers.begin().await?;
        let meta = sqlx::query("SELECT version, config_digest FROM meta").fetch_one(&mut *tx).await?;
        let rows = sqlx::query("SELECT id, record FROM windows WHERE open = 1 ORDER BY issued_at, id")
            .fetch_all(&mut *tx)
            .await?;
        let windows = with_events(&mut tx, rows).await?;
        let ended = sqlx::query(
            "SELECT id, record FROM windows WHERE open = 0 ORDER BY issued_at DESC, id DESC LIMIT ?",
        )
        .bind(i64::from(ENDED_KEPT))
        .fetch_all(&mut *tx)
        .await?
        .iter()
        .map(|row| from_json("windows", &row.try_get::<String, _>(0)?, &row.try_get::<String, _>(1)?))
        .collect::<Result<_, StoreError>>()?;
        let plans = sqlx::query("SELECT id, record FROM plans ORDER BY id")
            .fetch_all(&mut *tx)
            .await?
            .iter()
            .map(|row| from_json("plans", &row.try_get::<String, _>(0)?, &row.try_get::<String, _>(1)?))
            .collect::<Result<_, StoreError>>()?;
        let fleet = sqlx::query("SELECT id, record FROM fleet ORDER BY id, instance")
            .fetch_all(&mut *tx)
            .await?
            .iter()
            .map(|row| from_json("fleet", &row.try_get::<String, _>(0)?, &row.try_get::<String, _>(1)?))
            .collect::<Result<_, StoreError>>()?;
        let backfill = sqlx::query(
            "SELECT seq, at, who, kind, window_id, evidence FROM events
             WHERE kind IN ('backfill-paused', 'backfill-resumed') ORDER BY seq DESC LIMIT 1",
        )
        .fetch_optional(&mut *tx)
        .await?;
        Ok(Loaded {
            version: Epoch(unsigned(meta.try_get(0)?)),
            revision: Turn::ALONE,
            configured: Configured { digest: meta.try_get(1)?, snapshot: String::new() },
            windows,
            ended,
            plans,
            fleet,
            backfill: backfill.as_ref().map(event).transpose()?,
        })
    }
}

impl Store for SqliteStore {
    fn load(&self) -> Pending<'_, Loaded> {
        Box::pin(self.load_all())
    }

    fn turn(&self) -> Pending<'_, Turn> {
        // Who changes something holds the service's desk, and nobody else has the file.
        Box::pin(async { Ok(Turn::alone()) })
    }

    fn commit(&self, _: Turn, change: Change) -> Pending<'_, Committed> {
        Box::pin(self.commit_change(change))
    }

    fn save_fleet(&self, changed: Vec<FleetRecord>, removed: Vec<EnforcerKey>) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            for record in changed {
                let (id, instance) = (record.enforcer.id.as_str(), record.enforcer.instance.as_str());
                sqlx::query(
                    "INSERT INTO fleet (id, instance, last_seen, record) VALUES (?, ?, ?, ?)
                     ON CONFLICT (id, instance)
                     DO UPDATE SET last_seen = excluded.last_seen, record = excluded.record",
                )
                .bind(id)
                .bind(instance)
                .bind(signed(record.last_seen.unix_ms()))
                .bind(to_json("fleet", id, &record)?)
                .execute(&mut *tx)
                .await?;
            }
            for key in removed {
                sqlx::query("DELETE FROM fleet WHERE id = ? AND instance = ?")
                    .bind(key.id.as_str())
                    .bind(key.instance.as_str())
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(())
        })
    }

    fn window(&self, id: WindowId) -> Pending<'_, Option<StoredWindow>> {
        Box::pin(async move {
            let mut tx = self.readers.begin().await?;
            let rows = sqlx::query("SELECT id, record FROM windows WHERE id = ?")
                .bind(id.as_str())
                .fetch_all(&mut *tx)
                .await?;
            Ok(with_events(&mut tx, rows).await?.pop())
        })
    }

    fn windows(&self, limit: u32) -> Pending<'_, Vec<StoredWindow>> {
        Box::pin(async move {
            let mut tx = self.readers.begin().await?;
            let rows = sqlx::query("SELECT id, record FROM windows ORDER BY issued_at DESC, id DESC LIMIT ?")
                .bind(i64::from(limit))
                .fetch_all(&mut *tx)
                .await?;
            with_events(&mut tx, rows).await
        })
    }

    fn events(&self, after: u64, window: Option<WindowId>, limit: u32) -> Pending<'_, Vec<Event>> {
        Box::pin(async move {
            let id = window.as_ref().map(WindowId::as_str);
            sqlx::query(
                "SELECT seq, at, who, kind, window_id, evidence FROM events
                 WHERE seq > ?1 AND (?2 IS NULL OR window_id = ?2) ORDER BY seq LIMIT ?3",
            )
            .bind(signed(after))
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(event)
            .collect()
        })
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::new(SqliteOutbox::of(self))
    }

    fn check(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            sqlx::query("SELECT version FROM meta").fetch_one(&self.readers).await?;
            Ok(())
        })
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.readers.close().await;
            self.checkpointer.close().await;
            self.writer.close().await;
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
            Ok(())
        })
    }
}

async fn with_events(
    connection: &mut SqliteConnection,
    rows: Vec<SqliteRow>,
) -> Result<Vec<StoredWindow>, StoreError> {
    let mut windows = Vec::with_capacity(rows.len());
    for row in rows {
        let id: String = row.try_get(0)?;
        let record = from_json("window", &id, &row.try_get::<String, _>(1)?)?;
        let events = sqlx::query(
            "SELECT seq, at, who, kind, window_id, evidence FROM events WHERE window_id = ? ORDER BY seq",
        )
        .bind(id)
        .fetch_all(&mut *connection)
        .await?
        .iter()
        .map(event)
        .collect::<Result<_, _>>()?;
        windows.push(StoredWindow { record, events });
    }
    Ok(windows)
}

fn event(row: &SqliteRow) -> Result<Event, StoreError> {
    rows::event(
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
        row.try_get(4)?,
        row.try_get(5)?,
    )
}
