//! The ledger in a PostgreSQL that several companions share: what is waiting is committed together.

mod changes;
mod writer;

pub(crate) use self::changes::{key_id, line_id};
use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use sqlx::{PgPool, Row as _};
use tokio::sync::{mpsc, oneshot};

use self::{
    changes::{Accept, Claiming, Conclude, Decide, Purge},
    writer::{Change, Ticket, Work},
};
use super::{
    Accepted, Claim, Conclusion, Decision, IntentId, IntentRecord, IntentState, Ledger, LedgerLimits,
    NewIntent, Page, Payload, Selection, Totals,
    rows::{columns, record, state, timestamp},
};
use crate::store::{
    Pending, PostgresStore, StoreError,
    rows::{signed, unsigned},
};

/// Changes that wait for the writer at most; whoever comes then waits for a place.
const QUEUE: usize = 256;
/// Intents that an operator's decision changes in one transaction.
const DECIDE_AT_ONCE: u32 = 500;

/// Intents in the database of a [`PostgresStore`].
#[derive(Clone)]
pub struct PostgresLedger {
    pool: PgPool,
    queue: mpsc::Sender<Box<dyn Work>>,
}

impl PostgresLedger {
    /// The ledger of a store that is open.
    pub fn open(store: &PostgresStore) -> Self {
        let pool = store.pool().clone();
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(writer::write(pool.clone(), waiting));
        Self { pool, queue }
    }

    /// Has the writer carry out a change; returns when it is on disk.
    async fn change<C: Change>(&self, change: C) -> Result<C::Output, StoreError> {
        let (answer, answered) = oneshot::channel();
        let ticket = Box::new(Ticket::new(change, answer));
        self.queue.send(ticket).await.map_err(|_| StoreError::WriterGone)?;
        answered.await.map_err(|_| StoreError::WriterGone)?
    }

    /// The surfaces and states that have any of what is selected.
    async fn groups(&self, selection: &Selection) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT surface, state FROM intent_counts
             WHERE count > 0 AND ($1::text IS NULL OR surface = $1) AND ($2::text IS NULL OR state = $2)
             GROUP BY surface, state",
        )
        .bind(selection.surface.as_deref())
        .bind(selection.state.map(IntentState::as_str))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    async fn page(&self, selection: &Selection, page: Page) -> Result<Vec<IntentRecord>, StoreError> {
        let (after, limit) = (signed(page.after), i64::from(page.limit));
        let before = selection.received_before.map_or(i64::MAX, |at| signed(at.unix_ms()));
        if !selection.ids.is_empty() {
            let ids: Vec<_> = selection.ids.iter().map(|id| id.as_str().to_owned()).collect();
            let rows = sqlx::query(columns!(
                "FROM intents WHERE id = ANY($1) AND ($2::text IS NULL OR surface = $2)
                 AND ($3::text IS NULL OR state = $3) AND received_at < $4 AND seq > $5 ORDER BY seq LIMIT $6"
            ))
            .bind(ids)
            .bind(selection.surface.as_deref())
            .bind(selection.state.map(IntentState::as_str))
            .bind(before)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
            return rows.iter().map(record).collect();
        }
        if selection.surface.is_none() && selection.state.is_none() {
            let rows = sqlx::query(columns!(
                "FROM intents WHERE received_at < $1 AND seq > $2 ORDER BY seq LIMIT $3"
            ))
            .bind(before)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
            return rows.iter().map(record).collect();
        }
        // Group by group along the index, so that what is not selected is not read.
        let (surfaces, states): (Vec<_>, Vec<_>) = self.groups(selection).await?.into_iter().unzip();
        let rows = sqlx::query(columns!(
            "FROM unnest($1::text[], $2::text[]) AS of (surface_wanted, state_wanted)
             CROSS JOIN LATERAL (
                 SELECT * FROM intents WHERE state = state_wanted AND surface = surface_wanted
                 AND seq > $3 AND received_at < $4 ORDER BY seq LIMIT $5
             ) AS found ORDER BY seq LIMIT $5"
        ))
        .bind(surfaces)
        .bind(states)
        .bind(after)
        .bind(before)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(record).collect()
    }

    async fn decide_all(
        &self,
        selection: Selection,
        decision: Decision,
        note: String,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (mut changed, mut after) = (0, 0);
        loop {
            let chosen = self.page(&selection, Page { after, limit: DECIDE_AT_ONCE }).await?;
            let Some(last) = chosen.last() else { return Ok(changed) };
            after = last.seq;
            let from = decision.applies_to();
            let chosen = chosen.iter().filter(|record| from.contains(&record.state));
            let seqs: Vec<_> = chosen.map(|record| record.seq).collect();
            if !seqs.is_empty() {
                let wanted = selection.state;
                changed += self.change(Decide { seqs, wanted, decision, note: note.clone(), now }).await?;
            }
        }
    }

    async fn add_up(&self) -> Result<Vec<Totals>, StoreError> {
        let rows = sqlx::query(
            "SELECT surface, state, sum(count)::bigint, sum(bytes)::bigint,
                 CASE WHEN state IN ('held', 'replaying') THEN (
                     SELECT received_at FROM intents AS i
                     WHERE i.state = intent_counts.state AND i.surface = intent_counts.surface
                     ORDER BY i.seq LIMIT 1
                 ) END
             FROM intent_counts GROUP BY surface, state HAVING sum(count) > 0 ORDER BY surface, state",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Totals {
                    surface: row.try_get(0)?,
                    state: state("totals", &row.try_get::<String, _>(1)?)?,
                    count: unsigned(row.try_get(2)?),
                    bytes: unsigned(row.try_get(3)?),
                    oldest: row.try_get::<Option<i64>, _>(4)?.map(timestamp),
                })
            })
            .collect()
    }
}

impl Ledger for PostgresLedger {
    fn accept(&self, intent: NewIntent, limits: LedgerLimits) -> Pending<'_, Accepted> {
        Box::pin(self.change(Accept { intent, limits }))
    }

    fn intent(&self, id: IntentId) -> Pending<'_, Option<IntentRecord>> {
        Box::pin(async move {
            let row = sqlx::query(columns!("FROM intents WHERE id = $1"))
                .bind(id.as_str())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(record).transpose()
        })
    }

    fn payload(&self, id: IntentId) -> Pending<'_, Option<Payload>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT head, body, sealed_by FROM intents JOIN intent_payloads USING (seq) WHERE id = $1",
            )
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(Payload { head: row.try_get(0)?, body: row.try_get(1)?, sealed_by: row.try_get(2)? }))
        })
    }

    fn list(&self, selection: Selection, page: Page) -> Pending<'_, Vec<IntentRecord>> {
        Box::pin(async move { self.page(&selection, page).await })
    }

    fn claim(&self, claim: Claim) -> Pending<'_, Vec<IntentRecord>> {
        Box::pin(self.change(Claiming(claim)))
    }

    fn conclude(
        &self,
        id: IntentId,
        owner: String,
        conclusion: Conclusion,
        now: Timestamp,
    ) -> Pending<'_, bool> {
        Box::pin(self.change(Conclude { id, owner, conclusion, now }))
    }

    fn decide(
        &self,
        selection: Selection,
        decision: Decision,
        note: String,
        now: Timestamp,
    ) -> Pending<'_, u64> {
        Box::pin(self.decide_all(selection, decision, note, now))
    }

    fn holds_for(&self, window: WindowId) -> Pending<'_, bool> {
        Box::pin(async move {
            // The first part is answered by an index; the second only where no line's turn has come to it.
            let holds: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM intents WHERE window_id = $1 AND due IS NOT NULL)
                     OR EXISTS (SELECT 1 FROM intents WHERE state IN ('held', 'replaying') AND window_id = $1)",
            )
            .bind(window.as_str())
            .fetch_one(&self.pool)
            .await?;
            Ok(holds)
        })
    }

    fn totals(&self) -> Pending<'_, Vec<Totals>> {
        Box::pin(self.add_up())
    }

    fn purge(&self, before: Timestamp, limit: u32) -> Pending<'_, u64> {
        Box::pin(self.change(Purge { before, limit }))
    }
}
