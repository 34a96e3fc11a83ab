//! Copies the deliveries of an embedded store to a PostgreSQL.

use sqlx::{PgConnection, Row as _, SqliteConnection, sqlite::SqliteRow};

use crate::store::StoreError;

/// Rows that are read at once.
const PAGE: i64 = 500;

/// Copies all, in one transaction with the rest; says how many there are.
pub async fn copy(from: &mut SqliteConnection, to: &mut PgConnection) -> Result<u64, StoreError> {
    let (mut count, mut after) = (0, String::new());
    loop {
        let rows = sqlx::query("SELECT * FROM deliveries WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(PAGE)
            .fetch_all(&mut *from)
            .await?;
        let Some(last) = rows.last() else { return Ok(count) };
        after = last.try_get("id")?;
        for row in &rows {
            one(row, to).await?;
        }
        count += rows.len() as u64;
    }
}

async fn one(row: &SqliteRow, to: &mut PgConnection) -> Result<(), StoreError> {
    let text = |name: &str| row.try_get::<&str, _>(name);
    let number = |name: &str| row.try_get::<i64, _>(name);
    sqlx::query(
        "INSERT INTO deliveries (id, event_seq, window_id, notifier, kind, step, payload, state, attempts, created_at,
             since, next_at, last_status, note, external_id, done_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(text("id")?)
    .bind(number("event_seq")?)
    .bind(text("window_id")?)
    .bind(text("notifier")?)
    .bind(text("kind")?)
    .bind(text("step")?)
    .bind(text("payload")?)
    .bind(text("state")?)
    .bind(number("attempts")?)
    .bind(number("created_at")?)
    .bind(number("since")?)
    .bind(number("next_at")?)
    .bind(row.try_get::<Option<i64>, _>("last_status")?)
    .bind(row.try_get::<Option<&str>, _>("note")?)
    .bind(row.try_get::<Option<&str>, _>("external_id")?)
    .bind(row.try_get::<Option<i64>, _>("done_at")?)
    .execute(to)
    .await?;
    Ok(())
}
