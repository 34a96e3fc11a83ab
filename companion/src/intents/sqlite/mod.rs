//! The ledger in the embedded store: what is waiting is committed together, with one sync to disk.

mod changes;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use sqlx::{Row as _, SqlitePool};
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    changes::{Accept, Claiming, Conclude, Decide, Purge},
    writer::{Change, Ticket, Work},
};
use super::{
    Accepted, Claim, Conclusion, Decision, IntentId, IntentRecord, IntentState, Ledger, LedgerLimits,
    NewIntent, Page, Payload, Selection, Totals,
    counts::{Counts, Standing, Tally},
    rows::{columns, record, state, timestamp},
};
use crate::store::{
    Pending, SqliteStore, StoreError,
    rows::{signed, unsigned},
};

/// Changes that wait for the writer at most; whoever comes then waits for a place.
const QUEUE: usize = 256;
/// Intents that an operator's decision changes in one transaction.
const DECIDE_AT_ONCE: u32 = 500;

/// Intents in the file of a [`SqliteStore`], written by its one writer.
#[derive(Clone)]
pub struct SqliteLedger {
    readers: SqlitePool,
    queue: mpsc::Sender<Box<dyn Work>>,
    /// As of the last commit.
    counts: Arc<Mutex<Counts>>,
}

impl SqliteLedger {
    /// The ledger of a store that is open.
    pub async fn open(store: &SqliteStore) -> Result<Self, StoreError> {
        let (writer, readers) = (store.writer().clone(), store.readers().clone());
        // The store is locked, so that whoever had claimed anything is dead: nobody needs to wait for its leases.
        sqlx::query("UPDATE intents SET due = 0 WHERE state = 'replaying'").execute(&writer).await?;
        let counts = Arc::new(Mutex::new(count(&readers).await?));
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (committed, commits) = watch::channel(());
        tokio::spawn(writer::write(writer, waiting, Arc::clone(&counts), committed));
        tokio::spawn(writer::checkpoint(store.checkpointer().clone(), commits));
        Ok(Self { readers, queue, counts })
    }

    /// Has the writer carry out a change; returns when it is on disk.
    async fn change<C: Change>(&self, change: C) -> Result<C::Output, StoreError> {
        let (answer, answered) = oneshot::channel();
        let ticket = Box::new(Ticket::new(change, answer));
        self.queue.send(ticket).await.map_err(|_| StoreError::WriterGone)?;
        answered.await.map_err(|_| StoreError::WriterGone)?
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The surfaces and states that have any of what is selected.
    fn groups(&self, selection: &Selection) -> Vec<(String, IntentState)> {
        let counts = self.counts();
        let wanted = counts.groups().filter(|(surface, state, _)| {
            selection.surface.as_ref().is_none_or(|wanted| wanted == surface)
                && selection.state.is_none_or(|wanted| wanted == *state)
        });
        wanted.map(|(surface, state, _)| (surface.to_owned(), state)).collect()
    }

    async fn page(&self, selection: &Selection, page: Page) -> Result<Vec<IntentRecord>, StoreError> {
        let (after, limit) = (signed(page.after), i64::from(page.limit));
        let before = selection.received_before.map_or(i64::MAX, |at| signed(at.unix_ms()));
        if !selection.ids.is_empty() {
            let ids: Vec<_> = selection.ids.iter().map(IntentId::as_str).collect();
            let ids = serde_json::to_string(&ids).unwrap_or_default();
            let rows = sqlx::query(columns!(
                "FROM intents WHERE id IN (SELECT value FROM json_each(?1))
                 AND (?2 IS NULL OR surface = ?2) AND (?3 IS NULL OR state = ?3)
                 AND received_at < ?4 AND seq > ?5 ORDER BY seq LIMIT ?6"
            ))
            .bind(ids)
            .bind(selection.surface.as_deref())
            .bind(selection.state.map(IntentState::as_str))
            .bind(before)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            return rows.iter().map(record).collect();
        }
        if selection.surface.is_none() && selection.state.is_none() {
            let rows = sqlx::query(columns!(
                "FROM intents WHERE received_at < ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
            ))
            .bind(before)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            return rows.iter().map(record).collect();
        }
        // Group by group along the index, so that what is not selected is not read.
        let mut found = Vec::new();
        for (surface, state) in self.groups(selection) {
            let rows = sqlx::query(columns!(
                "FROM intents WHERE state = ?1 AND surface = ?2 AND seq > ?3 AND received_at < ?4
                 ORDER BY seq LIMIT ?5"
            ))
            .bind(state.as_str())
            .bind(surface)
            .bind(after)
            .bind(before)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            for row in &rows {
                found.push(record(row)?);
            }
        }
        found.sort_by_key(|record| record.seq);
        found.truncate(usize::try_from(page.limit).unwrap_or(usize::MAX));
        Ok(found)
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
            let seqs: Vec<_> = chosen
                .iter()
                .filter(|record| from.contains(&record.state))
                .map(|record| record.seq)
                .collect();
            if !seqs.is_empty() {
                let wanted = selection.state;
                changed += self.change(Decide { seqs, wanted, decision, note: note.clone(), now }).await?;
            }
        }
    }
}

/// Counts what is there.
async fn count(readers: &SqlitePool) -> Result<Counts, StoreError> {
    let mut tx = readers.begin().await?;
    let mut counts = Counts::default();
    let rows = sqlx::query(
        "SELECT surface, state, count(*), sum(size_bytes),
             CASE state WHEN 'failed' THEN (
                 SELECT count(*) FROM intents AS i
                 WHERE i.state = 'failed' AND i.surface = intents.surface AND i.open = 1
             ) ELSE 0 END,
             CASE state WHEN 'failed' THEN (
                 SELECT coalesce(sum(size_bytes), 0) FROM intents AS i
                 WHERE i.state = 'failed' AND i.surface = intents.surface AND i.open = 1
             ) ELSE 0 END
         FROM intents GROUP BY state, surface",
    )
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let surface: String = row.try_get(0)?;
        let state = state("totals", &row.try_get::<String, _>(1)?)?;
        let tally = |at: usize| -> Result<Tally, StoreError> {
            Ok(Tally { count: unsigned(row.try_get(at)?), bytes: unsigned(row.try_get(at + 1)?) })
        };
        let (all, stopping) = (tally(2)?, tally(4)?);
        let standing = |open| Standing { surface: &surface, state, open };
        if state.is_open() {
            counts.add(standing(true), all);
        } else {
            counts.add(standing(false), all);
            counts.take(standing(false), stopping);
            if stopping.count > 0 {
                counts.add(standing(true), stopping);
            }
        }
    }
    Ok(counts)
}

impl Ledger for SqliteLedger {
    fn accept(&self, intent: NewIntent, limits: LedgerLimits) -> Pending<'_, Accepted> {
        Box::pin(self.change(Accept { intent, limits }))
    }

    fn intent(&self, id: IntentId) -> Pending<'_, Option<IntentRecord>> {
        Box::pin(async move {
            let row = sqlx::query(columns!("FROM intents WHERE id = ?"))
                .bind(id.as_str())
                .fetch_optional(&self.readers)
                .await?;
            row.as_ref().map(record).transpose()
        })
    }

    fn payload(&self, id: IntentId) -> Pending<'_, Option<Payload>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT head, body, sealed_by FROM intents JOIN intent_payloads USING (seq) WHERE id = ?",
            )
            .bind(id.as_str())
            .fetch_optional(&self.readers)
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
            if !self.counts().groups().any(|(_, state, tally)| state.is_open() && tally.count > 0) {
                return Ok(false);
            }
            // The first part is answered by an index; the second only where no line's turn has come to it.
            let holds: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM intents WHERE window_id = $1 AND due IS NOT NULL)
                     OR EXISTS (SELECT 1 FROM intents WHERE state IN ('held', 'replaying') AND window_id = $1)",
            )
            .bind(window.as_str())
            .fetch_one(&self.readers)
            .await?;
            Ok(holds)
        })
    }

    fn totals(&self) -> Pending<'_, Vec<Totals>> {
        Box::pin(async move {
            let counts = self.counts().clone();
            let mut totals = Vec::new();
            for (surface, state, tally) in counts.groups() {
                let oldest = if state.is_open() {
                    sqlx::query_scalar::<_, i64>(
                        "SELECT received_at FROM intents WHERE state = ? AND surface = ? ORDER BY seq LIMIT 1",
                    )
                    .bind(state.as_str())
                    .bind(surface)
                    .fetch_optional(&self.readers)
                    .await?
                } else {
                    None
                };
                totals.push(Totals {
                    surface: surface.to_owned(),
                    state,
                    count: tally.count,
                    bytes: tally.bytes,
                    oldest: oldest.map(timestamp),
                });
            }
            Ok(totals)
        })
    }

    fn purge(&self, before: Timestamp, limit: u32) -> Pending<'_, u64> {
        Box::pin(self.change(Purge { before, limit }))
    }
}

#[cfg(test)]
mod tests;
