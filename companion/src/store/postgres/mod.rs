//! The store that several companions share: a PostgreSQL, every commit of which is on disk.

mod connect;
mod control;
mod fleet;
mod listen;
mod plans;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use quiesce_policy::snapshot::{Epoch, WindowId};
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Change, Committed, Configured, ENDED_KEPT, Loaded, News, Openness, Others, Pending, PostgresUrl, Store,
    StoreError, StoredWindow, Turn,
    rows::{self, from_json, signed, to_json, unsigned},
};
use crate::{
    event::Event,
    fleet::{EnforcerKey, FleetRecord},
    outbox::{self, Outbox, PostgresOutbox},
    windows::WindowRecord,
};

/// Where companions tell each other what they have changed.
const CHANNEL: &str = "quiesce";
/// What they say there of windows and of what is configured.
const WINDOWS: &str = "windows";
/// What they say there of the fleet, before their name.
const FLEET: &str = "fleet ";

/// State in a PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    /// Names this companion among those that share the database.
    name: String,
    others: Others,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl PostgresStore {
    /// Connects, brings the schema up to date, and begins to follow what others do.
    pub async fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let pool = Self::prepare(url).await?;
        let name = ulid::Ulid::generate().to_string().to_lowercase();
        let (news, follow_news) = watch::channel(News::default());
        let (controls, follow_controls) = watch::channel(false);
        let listener = tokio::spawn(listen::listen(pool.connect_options(), name.clone(), news));
        let controller = tokio::spawn(control::contend(pool.connect_options(), controls));
        Ok(Self {
            pool,
            name,
            others: Others { news: follow_news, controls: follow_controls },
            tasks: Mutex::new(vec![listener, controller]),
        })
    }

    /// Connects, and brings the schema up to date.
    pub(super) async fn prepare(url: &PostgresUrl) -> Result<PgPool, StoreError> {
        let pool = connect::pool(url).await?;
        sqlx::migrate!("./migrations/postgres").run(&pool).await?;
        Ok(pool)
    }

    /// Its connections.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn take_turn(&self) -> Result<Turn, StoreError> {
        let mut tx = self.pool.begin().await?;
        // Held until the transaction ends, and with it the connection at the latest.
        let revision: i64 =
            sqlx::query_scalar("SELECT revision FROM meta FOR UPDATE").fetch_one(&mut *tx).await?;
        Ok(Turn { revision: unsigned(revision), transaction: Some(Box::new(tx)) })
    }

    async fn commit_change(&self, turn: Turn, change: Change) -> Result<Committed, StoreError> {
        let mut tx = turn.transaction.ok_or(StoreError::ForeignTurn)?;
        let concerns_others = !change.windows.is_empty()
            || !change.plans.is_empty()
            || change.configured.is_some()
            || change.events.iter().any(|event| event.kind.holds_or_frees_backfill());
        for (id, (record, openness)) in &change.windows {
            put_window(&mut tx, id, record, *openness).await?;
        }
        plans::put(&mut tx, &change.plans).await?;
        let mut events = change.events;
        let last: i64 =
            sqlx::query_scalar("UPDATE meta SET last_event = last_event + $1 RETURNING last_event")
                .bind(i64::try_from(events.len()).unwrap_or(i64::MAX))
                .fetch_one(&mut **tx)
                .await?;
        let before = unsigned(last).saturating_sub(events.len() as u64);
        for (event, seq) in events.iter_mut().zip(before + 1..) {
            event.seq = seq;
            put_event(&mut tx, event).await?;
        }
        for delivery in &change.deliveries {
            let event_seq = events.get(delivery.event).map_or(0, |event| event.seq);
            outbox::put_postgres(&mut tx, delivery, event_seq).await?;
        }
        let (digest, snapshot) = change.configured.map(|it| (it.digest, it.snapshot)).unzip();
        let row = sqlx::query(
            "UPDATE meta SET
                 version = CASE WHEN $1::bigint IS NULL THEN version ELSE greatest(version + 1, $1) END,
                 revision = revision + $2::boolean::int,
                 config_digest = coalesce($3, config_digest),
                 config = coalesce($4, config)
             RETURNING version, revision",
        )
        .bind(change.publish_at.map(|at| signed(at.unix_ms())))
        .bind(concerns_others)
        .bind(digest)
        .bind(snapshot)
        .fetch_one(&mut **tx)
        .await?;
        if concerns_others {
            tell(&mut tx, WINDOWS).await?;
        }
        let committed = Committed {
            version: Epoch(unsigned(row.try_get(0)?)),
            revision: unsigned(row.try_get(1)?),
            events,
        };
        tx.commit().await?;
        Ok(committed)
    }

    async fn load_all(&self) -> Result<Loaded, StoreError> {
        // All of it as of one moment, or one version could come to name two contents.
        let mut tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let meta = sqlx::query("SELECT version, revision, config_digest, config FROM meta")
            .fetch_one(&mut *tx)
            .await?;
        let rows = sqlx::query("SELECT id, record FROM windows WHERE open ORDER BY issued_at, id")
            .fetch_all(&mut *tx)
            .await?;
        let windows = with_events(&mut tx, rows).await?;
        let ended = sqlx::query(
            "SELECT id, record FROM windows WHERE NOT open ORDER BY issued_at DESC, id DESC LIMIT $1",
        )
        .bind(i64::from(ENDED_KEPT))
        .fetch_all(&mut *tx)
        .await?
        .iter()
        .map(|row| from_json("windows", &row.try_get::<String, _>(0)?, &row.try_get::<String, _>(1)?))
        .collect::<Result<_, StoreError>>()?;
        let plans = plans::all(&mut tx).await?;
        let fleet = fleet::all(&mut tx).await?;
        let backfill = sqlx::query(
            "SELECT seq, at, who, kind, window_id, evidence FROM events
             WHERE kind IN ('backfill-paused', 'backfill-resumed') ORDER BY seq DESC LIMIT 1",
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Loaded {
            version: Epoch(unsigned(meta.try_get(0)?)),
            revision: unsigned(meta.try_get(1)?),
            configured: Configured { digest: meta.try_get(2)?, snapshot: meta.try_get(3)? },
            windows,
            ended,
            plans,
            fleet,
            backfill: backfill.as_ref().map(event).transpose()?,
        })
    }
}

impl Store for PostgresStore {
    fn load(&self) -> Pending<'_, Loaded> {
        Box::pin(self.load_all())
    }

    fn turn(&self) -> Pending<'_, Turn> {
        Box::pin(self.take_turn())
    }

    fn commit(&self, turn: Turn, change: Change) -> Pending<'_, Committed> {
        Box::pin(self.commit_change(turn, change))
    }

    fn save_fleet(&self, changed: Vec<FleetRecord>, removed: Vec<EnforcerKey>) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut tx = self.pool.begin().await?;
            fleet::save(&mut tx, changed, &removed).await?;
            tell(&mut tx, &format!("{FLEET}{}", self.name)).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    fn window(&self, id: WindowId) -> Pending<'_, Option<StoredWindow>> {
        Box::pin(async move {
            let mut tx = self.pool.begin().await?;
            let rows = sqlx::query("SELECT id, record FROM windows WHERE id = $1")
                .bind(id.as_str())
                .fetch_all(&mut *tx)
                .await?;
            Ok(with_events(&mut tx, rows).await?.pop())
        })
    }

    fn windows(&self, limit: u32) -> Pending<'_, Vec<StoredWindow>> {
        Box::pin(async move {
            let mut tx = self.pool.begin().await?;
            let rows =
                sqlx::query("SELECT id, record FROM windows ORDER BY issued_at DESC, id DESC LIMIT $1")
                    .bind(i64::from(limit))
                    .fetch_all(&mut *tx)
                    .await?;
            with_events(&mut tx, rows).await
        })
    }

    fn events(&self, after: u64, window: Option<WindowId>, limit: u32) -> Pending<'_, Vec<Event>> {
        Box::pin(async move {
            sqlx::query(
                "SELECT seq, at, who, kind, window_id, evidence FROM events
                 WHERE seq > $1 AND ($2::text IS NULL OR window_id = $2) ORDER BY seq LIMIT $3",
            )
            .bind(signed(after))
            .bind(window.as_ref().map(WindowId::as_str))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(event)
            .collect()
        })
    }

    fn revision(&self) -> Pending<'_, u64> {
        Box::pin(async move {
            let revision: i64 = sqlx::query_scalar("SELECT revision FROM meta").fetch_one(&self.pool).await?;
            Ok(unsigned(revision))
        })
    }

    fn shared_fleet(&self) -> Pending<'_, Option<Vec<FleetRecord>>> {
        Box::pin(async move { Ok(Some(fleet::all(&mut *self.pool.acquire().await?).await?)) })
    }

    fn others(&self) -> Option<Others> {
        Some(self.others.clone())
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::new(PostgresOutbox::of(self))
    }

    fn check(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.revision().await?;
            Ok(())
        })
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            for task in tasks {
                // With it goes its connection, and with that the lock of the controller.
                task.abort();
                let _ = task.await;
            }
            self.pool.close().await;
            Ok(())
        })
    }
}

/// Tells all companions, once the transaction is committed.
async fn tell(connection: &mut PgConnection, what: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(what).execute(connection).await?;
    Ok(())
}

/// Adds or replaces a window.
pub(super) async fn put_window(
    connection: &mut PgConnection,
    id: &WindowId,
    record: &WindowRecord,
    openness: Openness,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO windows (id, issued_at, open, record) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET open = excluded.open, record = excluded.record",
    )
    .bind(id.as_str())
    .bind(signed(record.issued_at.unix_ms()))
    .bind(openness == Openness::Open)
    .bind(to_json("window", id.as_str(), record)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// Appends an event at its place.
pub(super) async fn put_event(connection: &mut PgConnection, event: &Event) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO events (seq, at, who, kind, window_id, evidence) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(signed(event.seq))
    .bind(signed(event.at.unix_ms()))
    .bind(event.who.as_str())
    .bind(event.kind.as_str())
    .bind(event.window.as_ref().map(WindowId::as_str))
    .bind(to_json("event", event.kind.as_str(), &event.evidence)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// Windows, as `id, record`, with their events.
async fn with_events(
    connection: &mut PgConnection,
    rows: Vec<PgRow>,
) -> Result<Vec<StoredWindow>, StoreError> {
    let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    let found = sqlx::query(
        "SELECT seq, at, who, kind, window_id, evidence FROM events WHERE window_id = ANY($1) ORDER BY seq",
    )
    .bind(&ids)
    .fetch_all(connection)
    .await?;
    let mut events: BTreeMap<WindowId, Vec<Event>> = BTreeMap::new();
    for event in found.iter().map(event) {
        let event = event?;
        if let Some(window) = event.window.clone() {
            events.entry(window).or_default().push(event);
        }
    }
    let window = |(row, id): (&PgRow, String)| {
        let record = from_json("window", &id, &row.try_get::<String, _>(1)?)?;
        let events = events.remove(&WindowId::from(id)).unwrap_or_default();
        Ok(StoredWindow { record, events })
    };
    rows.iter().zip(ids).map(window).collect()
}

fn event(row: &PgRow) -> Result<Event, StoreError> {
    rows::event(
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
        row.try_get(4)?,
        row.try_get(5)?,
    )
}
