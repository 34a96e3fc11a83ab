//! Bare loops that insert the rows of intents: what SQLite and the disk can do if nothing else is asked of them.
//!
//! They write rows of the same tables with the same indexes, 64 in a transaction, and sync each commit. What an
//! intent is held against is [`bound`]: its rows are in memory, and are bound to the parameters of two statements
//! for each transaction, as a program does that gets them from elsewhere. [`copied`] has SQLite copy them from one
//! file to another within itself; nothing that receives its rows can do that, so it is only shown beside it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _,
    sqlite::SqliteRow,
};
use tempfile::TempDir;

use crate::intents::{CLIENTS, open};

const TABLES: [&str; 2] = ["intents", "intent_payloads"];

/// One value of a row.
enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// The last place that the store has given.
pub async fn last_seq(store: &Path) -> Result<i64> {
    let row = sqlx::query("SELECT coalesce(max(seq), 0) FROM intents");
    Ok(row.fetch_one(&mut open(store).await?).await?.try_get(0)?)
}

/// Binds the rows behind `after` and inserts them into another file.
pub async fn bound(store: &Path, after: i64) -> Result<Duration> {
    let (mut copy, _dir) = beside(store).await?;
    let mut tables = Vec::new();
    for table in TABLES {
        let query = format!("SELECT * FROM source.{table} WHERE seq > ? ORDER BY seq");
        let rows = sqlx::query(AssertSqlSafe(query)).bind(after).fetch_all(&mut copy).await?;
        tables.push(rows.iter().map(cells).collect::<Result<Vec<_>>>()?);
    }
    let [intents, payloads] = tables.as_slice() else { bail!("not two tables") };
    let began = Instant::now();
    for (intents, payloads) in intents.chunks(CLIENTS).zip(payloads.chunks(CLIENTS)) {
        let mut tx = copy.begin().await?;
        for (table, rows) in TABLES.iter().zip([intents, payloads]) {
            let columns = rows.first().map_or(0, Vec::len);
            let row = format!("({})", vec!["?"; columns].join(", "));
            let insert = format!("INSERT INTO main.{table} VALUES {}", vec![row; rows.len()].join(", "));
            let mut query = sqlx::query(AssertSqlSafe(insert));
            for cell in rows.iter().flatten() {
                query = match cell {
                    Cell::Null => query.bind(None::<i64>),
                    Cell::Integer(integer) => query.bind(integer),
                    Cell::Text(text) => query.bind(text.as_str()),
                    Cell::Blob(blob) => query.bind(blob.as_slice()),
                };
            }
            query.execute(&mut *tx).await?;
        }
        tx.commit().await?;
    }
    Ok(began.elapsed())
}

/// Has SQLite copy the rows behind `after` into another file.
pub async fn copied(store: &Path, after: i64) -> Result<Duration> {
    let (mut copy, _dir) = beside(store).await?;
    let last = last_seq(store).await?;
    let batch = i64::try_from(CLIENTS)?;
    let began = Instant::now();
    for first in (after + 1..=last).step_by(CLIENTS) {
        let mut tx = copy.begin().await?;
        for table in TABLES {
            let insert =
                format!("INSERT INTO main.{table} SELECT * FROM source.{table} WHERE seq BETWEEN ? AND ?");
            let query = sqlx::query(AssertSqlSafe(insert));
            query.bind(first).bind(first + batch - 1).execute(&mut *tx).await?;
        }
        tx.commit().await?;
    }
    Ok(began.elapsed())
}

/// Another file of the same schema beside the store's, which it reads as `source`; it is gone with its directory.
async fn beside(store: &Path) -> Result<(SqliteConnection, TempDir)> {
    let dir = tempfile::tempdir_in(store.parent().context("a store in no directory")?)?;
    let mut copy = open(&dir.path().join("bare.db")).await?;
    let source = store.to_str().context("a store whose path is no text")?;
    sqlx::query("ATTACH ? AS source").bind(source).execute(&mut copy).await?;
    let schema = "SELECT sql FROM source.sqlite_master
        WHERE tbl_name IN ('intents', 'intent_payloads') AND sql IS NOT NULL ORDER BY type = 'index'";
    for row in sqlx::query(schema).fetch_all(&mut copy).await? {
        sqlx::query(AssertSqlSafe(row.try_get::<String, _>(0)?)).execute(&mut copy).await?;
    }
    Ok((copy, dir))
}

fn cells(row: &SqliteRow) -> Result<Vec<Cell>> {
    let cell = |at: usize| {
        let value = row.try_get_raw(at)?;
        let of_type = value.type_info().into_owned();
        Ok(match of_type.name() {
            _ if value.is_null() => Cell::Null,
            "INTEGER" => Cell::Integer(row.try_get(at)?),
            "TEXT" => Cell::Text(row.try_get(at)?),
            "BLOB" => Cell::Blob(row.try_get(at)?),
            other => bail!("a column of type {other}"),
        })
    };
    (0..row.len()).map(cell).collect()
}
