//! The outbox in a PostgreSQL that several companions share.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use sqlx::{PgConnection, PgPool};

use super::{
    Conclusion, Delivery, DeliveryId, DeliveryState, MAX_DUE, NewDelivery, Outbox, Pending, Selection, Total,
    Verdict,
    rows::{self, Narrowed, columns, delivery},
};
use crate::store::{PostgresStore, StoreError, rows::signed};

/// Deliveries in the database of a store.
#[derive(Clone, Debug)]
pub struct PostgresOutbox {
    pool: PgPool,
}

impl PostgresOutbox {
    /// That of a store.
    pub fn of(store: &PostgresStore) -> Self {
        Self { pool: store.pool().clone() }
    }
}

/// Adds a delivery about the event at `event_seq`.
pub async fn put(connection: &mut PgConnection, new: &NewDelivery, event_seq: u64) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deliveries (id, event_seq, window_id, notifier, kind, step, payload, state, created_at, since,
             next_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $8, $8)",
    )
    .bind(new.id.as_str())
    .bind(signed(event_seq))
    .bind(new.window.as_str())
    .bind(new.notifier.as_str())
    .bind(new.kind.as_str())
    .bind(new.step.as_str())
    .bind(new.payload.as_str())
    .bind(signed(new.at.unix_ms()))
    .execute(connection)
    .await?;
    Ok(())
}

impl Outbox for PostgresOutbox {
    fn heads(&self, notifier: String) -> Pending<'_, Vec<Delivery>> {
        Box::pin(async move {
            sqlx::query(columns!(
                "AS head WHERE notifier = $1 AND state = 'pending' AND NOT EXISTS (
                     SELECT 1 FROM deliveries AS earlier
                     WHERE earlier.notifier = $1 AND earlier.window_id = head.window_id
                         AND earlier.state = 'pending' AND earlier.event_seq < head.event_seq)
                 ORDER BY next_at, event_seq LIMIT $2"
            ))
            .bind(notifier)
            .bind(i64::from(MAX_DUE))
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(delivery)
            .collect()
        })
    }

    fn of_window(&self, notifier: String, window: WindowId) -> Pending<'_, Vec<Delivery>> {
        Box::pin(async move {
            sqlx::query(columns!("WHERE notifier = $1 AND window_id = $2 ORDER BY event_seq"))
                .bind(notifier)
                .bind(window.as_str())
                .fetch_all(&self.pool)
                .await?
                .iter()
                .map(delivery)
                .collect()
        })
    }

    fn begin(&self, id: DeliveryId, attempts_before: u32) -> Pending<'_, bool> {
        Box::pin(async move {
            let done = sqlx::query(
                "UPDATE deliveries SET attempts = attempts + 1
                 WHERE id = $1 AND state = 'pending' AND attempts = $2",
            )
            .bind(id.as_str())
            .bind(i64::from(attempts_before))
            .execute(&self.pool)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    fn note_external_id(&self, id: DeliveryId, external_id: String) -> Pending<'_, ()> {
        Box::pin(async move {
            sqlx::query("UPDATE deliveries SET external_id = $1 WHERE id = $2")
                .bind(external_id)
                .bind(id.as_str())
                .execute(&self.pool)
                .await?;
            Ok(())
        })
    }

    fn conclude(&self, id: DeliveryId, conclusion: Conclusion) -> Pending<'_, ()> {
        Box::pin(async move {
            sqlx::query(
                "UPDATE deliveries SET state = $2::text, last_status = $3, note = $4,
                     next_at = CASE WHEN $2 = 'pending' THEN $5::bigint ELSE next_at END,
                     done_at = CASE WHEN $2 = 'pending' THEN NULL ELSE $5::bigint END
                 WHERE id = $1 AND state = 'pending'",
            )
            .bind(id.as_str())
            .bind(conclusion.state.as_str())
            .bind(conclusion.status.map(i64::from))
            .bind(conclusion.note)
            .bind(signed(conclusion.at.unix_ms()))
            .execute(&self.pool)
            .await?;
            Ok(())
        })
    }

    fn delivery(&self, id: DeliveryId) -> Pending<'_, Option<Delivery>> {
        Box::pin(async move {
            let row =
                sqlx::query(columns!("WHERE id = $1")).bind(id.as_str()).fetch_optional(&self.pool).await?;
            row.as_ref().map(delivery).transpose()
        })
    }

    fn list(
        &self,
        selection: Selection,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Pending<'_, Vec<Delivery>> {
        Box::pin(async move {
            let narrowed = Narrowed::from(selection);
            sqlx::query(columns!(
                "WHERE ($1::text IS NULL OR id IN (SELECT jsonb_array_elements_text($1::jsonb)))
                     AND ($2::text IS NULL OR window_id = $2) AND ($3::text IS NULL OR notifier = $3)
                     AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR id < $5)
                 ORDER BY id DESC LIMIT $6"
            ))
            .bind(narrowed.ids)
            .bind(narrowed.window)
            .bind(narrowed.notifier)
            .bind(narrowed.state)
            .bind(before.map(|id| id.as_str().to_owned()))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(delivery)
            .collect()
        })
    }

    fn decide(
        &self,
        selection: Selection,
        verdict: Verdict,
        note: String,
        now: Timestamp,
    ) -> Pending<'_, u64> {
        Box::pin(async move {
            let narrowed = Narrowed::from(selection);
            let resend = verdict == Verdict::Resend;
            let state = if resend { DeliveryState::Pending } else { DeliveryState::Cancelled };
            let done = sqlx::query(
                "UPDATE deliveries SET state = $1, note = $2, done_at = CASE WHEN $3 THEN NULL ELSE $4::bigint END,
                     since = CASE WHEN $3 THEN $4 ELSE since END, next_at = CASE WHEN $3 THEN $4 ELSE next_at END
                 WHERE state IN (SELECT jsonb_array_elements_text($5::jsonb))
                     AND ($6::text IS NULL OR id IN (SELECT jsonb_array_elements_text($6::jsonb)))
                     AND ($7::text IS NULL OR window_id = $7) AND ($8::text IS NULL OR notifier = $8)
                     AND ($9::text IS NULL OR state = $9)",
            )
            .bind(state.as_str())
            .bind(note)
            .bind(resend)
            .bind(signed(now.unix_ms()))
            .bind(verdict.concerns())
            .bind(narrowed.ids)
            .bind(narrowed.window)
            .bind(narrowed.notifier)
            .bind(narrowed.state)
            .execute(&self.pool)
            .await?;
            Ok(done.rows_affected())
        })
    }

    fn totals(&self) -> Pending<'_, Vec<Total>> {
        Box::pin(async move {
            sqlx::query("SELECT notifier, state, count(*) FROM deliveries GROUP BY notifier, state")
                .fetch_all(&self.pool)
                .await?
                .iter()
                .map(rows::total)
                .collect()
        })
    }

    fn purge(&self, before: Timestamp, limit: u32) -> Pending<'_, u64> {
        Box::pin(async move {
            let done = sqlx::query(
                "DELETE FROM deliveries WHERE id IN (
                     SELECT deliveries.id FROM deliveries JOIN windows ON windows.id = window_id
                     WHERE done_at < $1 AND NOT open LIMIT $2)",
            )
            .bind(signed(before.unix_ms()))
            .bind(i64::from(limit))
            .execute(&self.pool)
            .await?;
            Ok(done.rows_affected())
        })
    }
}
