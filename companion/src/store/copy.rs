//! Copies an embedded store to an empty PostgreSQL, all of it or nothing.

use std::{fmt, path::Path};

use serde::Serialize;
use sqlx::{PgConnection, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{PostgresStore, PostgresUrl, SqliteStore, Store as _, StoreError};
use crate::{
    intents::{key_id, line_id},
    outbox,
};

/// Rows that are read at once.
const PAGE: i64 = 500;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Windows, those that are over included.
    pub windows: u64,
    /// Events.
    pub events: u64,
    /// Enforcer processes.
    pub enforcers: u64,
    /// Intents.
    pub intents: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// The version of the snapshot last published.
    pub version: i64,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { windows, events, enforcers, intents, deliveries, version } = self;
        let counted = |count: &u64, thing| format!("{count} {thing}{}", if *count == 1 { "" } else { "s" });
        let (windows, events) = (counted(windows, "window"), counted(events, "event"));
        let (enforcers, intents) = (counted(enforcers, "enforcer"), counted(intents, "intent"));
        let deliveries = match deliveries {
            1 => "1 delivery".to_owned(),
            count => format!("{count} deliveries"),
        };
        write!(f, "{windows}, {events}, {enforcers}, {intents}, {deliveries} and version {version}")
    }
}

/// Copies all that the file `from` holds; meanwhile no companion can have it.
pub async fn copy(from: &Path, to: &PostgresUrl) -> Result<Copied, StoreError> {
    if !from.is_file() {
        return Err(StoreError::Missing { path: from.to_owned() });
    }
    let source = SqliteStore::open(from).await?;
    let copied = copy_all(&source, to).await;
    source.close().await?;
    copied
}

async fn copy_all(source: &SqliteStore, to: &PostgresUrl) -> Result<Copied, StoreError> {
    let pool = PostgresStore::prepare(to).await?;
    let mut tx = pool.begin().await?;
    let is_empty: bool = sqlx::query_scalar(
        "SELECT version = 0 AND last_event = 0 AND NOT EXISTS (SELECT FROM windows)
             AND NOT EXISTS (SELECT FROM fleet) AND NOT EXISTS (SELECT FROM intents)
         FROM meta FOR UPDATE",
    )
    .fetch_one(&mut *tx)
    .await?;
    if !is_empty {
        return Err(StoreError::NotEmpty { url: to.to_string() });
    }
    let mut from = source.readers().acquire().await?;
    plans(&mut from, &mut tx).await?;
    let mut copied = Copied {
        windows: windows(&mut from, &mut tx).await?,
        events: events(&mut from, &mut tx).await?,
        enforcers: fleet(&mut from, &mut tx).await?,
        intents: intents(&mut from, &mut tx).await?,
        deliveries: outbox::copy(&mut from, &mut tx).await?,
        version: sqlx::query_scalar("SELECT version FROM meta").fetch_one(&mut *from).await?,
    };
    // Without the digest: the first companion writes down what it has configured, which the file does not hold.
    copied.version = sqlx::query_scalar(
        "UPDATE meta SET version = $1, revision = revision + 1,
             last_event = (SELECT coalesce(max(seq), 0) FROM events)
         RETURNING version",
    )
    .bind(copied.version)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    pool.close().await;
    Ok(copied)
}

async fn windows(from: &mut SqliteConnection, to: &mut PgConnection) -> Result<u64, StoreError> {
    let (mut count, mut after) = (0, String::new());
    loop {
        let rows = sqlx::query(
            "SELECT id, issued_at, open <> 0, record FROM windows WHERE id > ? ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *from)
        .await?;
        let Some(last) = rows.last() else { return Ok(count) };
        after = last.try_get(0)?;
        for row in &rows {
            sqlx::query("INSERT INTO windows (id, issued_at, open, record) VALUES ($1, $2, $3, $4)")
                .bind(row.try_get::<&str, _>(0)?)
                .bind(row.try_get::<i64, _>(1)?)
                .bind(row.try_get::<bool, _>(2)?)
                .bind(row.try_get::<&str, _>(3)?)
                .execute(&mut *to)
                .await?;
        }
        count += rows.len() as u64;
    }
}

async fn plans(from: &mut SqliteConnection, to: &mut PgConnection) -> Result<(), StoreError> {
    // There are no more than `plans::MAX_PLANS`.
    let rows = sqlx::query("SELECT id, record FROM plans").fetch_all(from).await?;
    for row in &rows {
        sqlx::query("INSERT INTO plans (id, record) VALUES ($1, $2)")
            .bind(row.try_get::<&str, _>(0)?)
            .bind(row.try_get::<&str, _>(1)?)
            .execute(&mut *to)
            .await?;
    }
    Ok(())
}

async fn events(from: &mut SqliteConnection, to: &mut PgConnection) -> Result<u64, StoreError> {
    let (mut count, mut after) = (0, 0_i64);
    loop {
        let rows = sqlx::query(
            "SELECT seq, at, who, kind, window_id, evidence FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *from)
        .await?;
        let Some(last) = rows.last() else { return Ok(count) };
        after = last.try_get(0)?;
        for row in &rows {
            sqlx::query(
                "INSERT INTO events (seq, at, who, kind, window_id, evidence) VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(row.try_get::<i64, _>(0)?)
            .bind(row.try_get::<i64, _>(1)?)
            .bind(row.try_get::<&str, _>(2)?)
            .bind(row.try_get::<&str, _>(3)?)
            .bind(row.try_get::<Option<&str>, _>(4)?)
            .bind(row.try_get::<&str, _>(5)?)
            .execute(&mut *to)
            .await?;
        }
        count += rows.len() as u64;
    }
}

async fn fleet(from: &mut SqliteConnection, to: &mut PgConnection) -> Result<u64, StoreError> {
    // There are no more than `fleet::MAX_ENFORCERS`.
    let rows = sqlx::query("SELECT id, instance, last_seen, record FROM fleet").fetch_all(from).await?;
    for row in &rows {
        sqlx::query("INSERT INTO fleet (id, instance, last_seen, record) VALUES ($1, $2, $3, $4)")
            .bind(row.try_get::<&str, _>(0)?)
            .bind(row.try_get::<&str, _>(1)?)
            .bind(row.try_get::<i64, _>(2)?)
            .bind(row.try_get::<&str, _>(3)?)
            .execute(&mut *to)
            .await?;
    }
    Ok(rows.len() as u64)
}

async fn intents(from: &mut SqliteConnection, to: &mut PgConnection) -> Result<u64, StoreError> {
    // Counted all together at the end: one by one, in one transaction, each would be slower than the one before.
    sqlx::query("ALTER TABLE intents DISABLE TRIGGER USER").execute(&mut *to).await?;
    let (mut count, mut after) = (0, 0_i64);
    loop {
        let rows = sqlx::query(
            "SELECT intents.*, sealed_by, head, body FROM intents LEFT JOIN intent_payloads USING (seq)
             WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *from)
        .await?;
        let Some(last) = rows.last() else { break };
        after = last.try_get("seq")?;
        for row in &rows {
            intent(row, to).await?;
        }
        count += rows.len() as u64;
    }
    sqlx::query(
        "INSERT INTO intent_counts (surface, state, open, count, bytes)
         SELECT surface, state, open, count(*), sum(size_bytes) FROM intents GROUP BY surface, state, open",
    )
    .execute(&mut *to)
    .await?;
    sqlx::query("ALTER TABLE intents ENABLE TRIGGER USER").execute(&mut *to).await?;
    // No place is given twice, not even one whose intent is forgotten.
    let last: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'intents'")
        .fetch_optional(from)
        .await?;
    if let Some(last) = last.filter(|last| *last > 0) {
        sqlx::query("SELECT setval(pg_get_serial_sequence('intents', 'seq'), $1)")
            .bind(last)
            .execute(to)
            .await?;
    }
    Ok(count)
}

async fn intent(row: &SqliteRow, to: &mut PgConnection) -> Result<(), StoreError> {
    let text = |name: &str| row.try_get::<&str, _>(name);
    let number = |name: &str| row.try_get::<i64, _>(name);
    let (surface, tenant, key, line) = (text("surface")?, text("tenant")?, text("key")?, text("line")?);
    sqlx::query(
        "INSERT INTO intents (seq, id, surface, window_id, enforcer, tenant, key, key_id, fingerprint, line,
             line_id, method, path, size_bytes, received_at, state, stops_line, open, attempts,
             next_attempt_at, due, owner, updated_at, outcome)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17 <> 0, $18 <> 0, $19,
             $20, $21, $22, $23, $24)",
    )
    .bind(number("seq")?)
    .bind(text("id")?)
    .bind(surface)
    .bind(text("window_id")?)
    .bind(text("enforcer")?)
    .bind(tenant)
    .bind(key)
    .bind(key_id(surface, tenant, key))
    .bind(row.try_get::<&[u8], _>("fingerprint")?)
    .bind(line)
    .bind(line_id(surface, line))
    .bind(text("method")?)
    .bind(text("path")?)
    .bind(number("size_bytes")?)
    .bind(number("received_at")?)
    .bind(text("state")?)
    .bind(number("stops_line")?)
    .bind(number("open")?)
    .bind(number("attempts")?)
    .bind(number("next_attempt_at")?)
    .bind(row.try_get::<Option<i64>, _>("due")?)
    .bind(row.try_get::<Option<&str>, _>("owner")?)
    .bind(number("updated_at")?)
    .bind(row.try_get::<Option<&str>, _>("outcome")?)
    .execute(&mut *to)
    .await?;
    if let Some(body) = row.try_get::<Option<&[u8]>, _>("body")? {
        sqlx::query("INSERT INTO intent_payloads (seq, sealed_by, head, body) VALUES ($1, $2, $3, $4)")
            .bind(number("seq")?)
            .bind(row.try_get::<Option<&str>, _>("sealed_by")?)
            .bind(row.try_get::<&[u8], _>("head")?)
            .bind(body)
            .execute(to)
            .await?;
    }
    Ok(())
}
