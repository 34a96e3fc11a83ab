//! The changes of the ledger, in SQL.

use std::collections::BTreeSet;

use quiesce_policy::time::Timestamp;
use sqlx::{Row as _, SqliteConnection};

use super::writer::{Book, Change};
use crate::{
    intents::{
        Claim, Conclusion, Decision, IntentId, IntentRecord, IntentState, Outcome,
        counts::{Standing, Tally},
        rows::{columns, record, state},
    },
    store::{
        Pending, StoreError,
        rows::{signed, unsigned},
    },
};

/// [`super::Ledger::claim`].
pub struct Claiming(pub Claim);

impl Change for Claiming {
    type Output = Vec<IntentRecord>;

    fn make<'a>(&'a self, book: &'a mut Book<'_>) -> Pending<'a, Vec<IntentRecord>> {
        Box::pin(async move {
            let claim = &self.0;
            let mut claimed: Vec<IntentRecord> = Vec::new();
            for window in windows_with_work(book.connection).await? {
                let left = claim.limit.saturating_sub(u32::try_from(claimed.len()).unwrap_or(u32::MAX));
                if left == 0 {
                    break;
                }
                if claim.but_of_windows.iter().any(|but| but.as_str() == window) {
                    continue;
                }
                let rows = sqlx::query(columns!(
                    "FROM intents WHERE window_id = ? AND due <= ? ORDER BY due, seq LIMIT ?"
                ))
                .bind(window)
                .bind(signed(claim.now.unix_ms()))
                .bind(i64::from(left))
                .fetch_all(&mut *book.connection)
                .await?;
                for row in &rows {
                    claimed.push(record(row)?);
                }
            }
            if claimed.is_empty() {
                return Ok(claimed);
            }
            sqlx::query(
                "UPDATE intents SET state = 'replaying', attempts = attempts + 1, owner = ?1, due = ?2,
                     updated_at = ?3
                 WHERE seq IN (SELECT value FROM json_each(?4))",
            )
            .bind(claim.owner.as_str())
            .bind(signed(claim.lease_until.unix_ms()))
            .bind(signed(claim.now.unix_ms()))
            .bind(json(claimed.iter().map(|record| record.seq)))
            .execute(&mut *book.connection)
            .await?;
            for record in &mut claimed {
                let before = record.state;
                record.state = IntentState::Replaying;
                record.attempts = record.attempts.saturating_add(1);
                record.updated_at = claim.now;
                let now = standing(record);
                book.counts.shift(Standing { state: before, ..now }, now, record.size_bytes);
            }
            Ok(claimed)
        })
    }
}

/// The windows that have something to be claimed, now or later, found without a look at each intent.
async fn windows_with_work(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "WITH RECURSIVE next (id) AS (
             SELECT min(window_id) FROM intents WHERE due IS NOT NULL
             UNION ALL
             SELECT (SELECT min(window_id) FROM intents WHERE due IS NOT NULL AND window_id > next.id)
             FROM next WHERE next.id IS NOT NULL
         )
         SELECT id FROM next WHERE id IS NOT NULL",
    )
    .fetch_all(connection)
    .await?)
}

/// [`super::Ledger::conclude`].
pub struct Conclude {
    pub id: IntentId,
    pub owner: String,
    pub conclusion: Conclusion,
    pub now: Timestamp,
}

impl Change for Conclude {
    type Output = bool;

    fn make<'a>(&'a self, book: &'a mut Book<'_>) -> Pending<'a, bool> {
        Box::pin(async move {
            let row = sqlx::query(columns!("FROM intents WHERE id = ? AND owner = ?"))
                .bind(self.id.as_str())
                .bind(self.owner.as_str())
                .fetch_optional(&mut *book.connection)
                .await?;
            let Some(row) = row else { return Ok(false) };
            let before = record(&row)?;
            let mut after = before.clone();
            after.updated_at = self.now;
            let (state, outcome) = match &self.conclusion {
                Conclusion::Done(outcome) => (IntentState::Done, Some(outcome)),
                Conclusion::Refused(outcome) | Conclusion::GivenUp(outcome) => {
                    (IntentState::Failed, Some(outcome))
                }
                Conclusion::Later { outcome, .. } => (IntentState::Held, Some(outcome)),
                Conclusion::Unsent => (IntentState::Held, before.outcome.as_ref()),
            };
            after.state = state;
            if self.conclusion == Conclusion::Unsent {
                after.attempts = before.attempts.saturating_sub(1);
            }
            after.stops_line = matches!(self.conclusion, Conclusion::GivenUp(_));
            if let Conclusion::Later { at, .. } = self.conclusion {
                after.next_attempt_at = at;
            }
            sqlx::query(
                "UPDATE intents SET state = ?1, stops_line = ?2, open = ?3, next_attempt_at = ?4, due = NULL,
                     owner = NULL, updated_at = ?5, outcome = ?6, attempts = ?7
                 WHERE seq = ?8",
            )
            .bind(after.state.as_str())
            .bind(after.stops_line)
            .bind(standing(&after).open)
            .bind(signed(after.next_attempt_at.unix_ms()))
            .bind(signed(after.updated_at.unix_ms()))
            .bind(outcome.map(outcome_json))
            .bind(after.attempts)
            .bind(signed(after.seq))
            .execute(&mut *book.connection)
            .await?;
            book.counts.shift(standing(&before), standing(&after), after.size_bytes);
            give_turn(book.connection, &after.surface, &after.line).await?;
            Ok(true)
        })
    }
}

/// Gives the turn of a line to the first that is not over, if nobody has it and that one is held.
async fn give_turn(connection: &mut SqliteConnection, surface: &str, line: &str) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE intents SET due = next_attempt_at
         WHERE seq = (
                 SELECT seq FROM intents WHERE surface = ?1 AND line = ?2 AND open = 1 ORDER BY seq LIMIT 1
             )
             AND state = 'held'
             AND NOT EXISTS (
                 SELECT 1 FROM intents WHERE surface = ?1 AND line = ?2 AND due IS NOT NULL
             )",
    )
    .bind(surface)
    .bind(line)
    .execute(connection)
    .await?;
    Ok(())
}

/// A part of [`super::Ledger::decide`].
pub struct Decide {
    pub seqs: Vec<u64>,
    /// Only those that are in this state still.
    pub wanted: Option<IntentState>,
    pub decision: Decision,
    pub note: String,
    pub now: Timestamp,
}

impl Change for Decide {
    type Output = u64;

    fn make<'a>(&'a self, book: &'a mut Book<'_>) -> Pending<'a, u64> {
        Box::pin(async move {
            let rows = sqlx::query(columns!("FROM intents WHERE seq IN (SELECT value FROM json_each(?))"))
                .bind(json(self.seqs.iter().copied()))
                .fetch_all(&mut *book.connection)
                .await?;
            let mut lines = BTreeSet::new();
            let mut changed = 0;
            for row in &rows {
                let before = record(row)?;
                let wanted = self.wanted.is_none_or(|wanted| wanted == before.state);
                if !wanted || !self.decision.applies_to().contains(&before.state) {
                    continue;
                }
                let mut outcome =
                    Outcome { note: Some(self.note.clone()), ..before.outcome.clone().unwrap_or_default() };
                let mut after = before.clone();
                after.stops_line = false;
                match self.decision {
                    Decision::Retry => {
                        after.state = IntentState::Held;
                        after.attempts = 0;
                        (outcome.failures, outcome.since) = (0, None);
                        after.next_attempt_at = self.now;
                    }
                    Decision::Discard => after.state = IntentState::Discarded,
                }
                sqlx::query(
                    "UPDATE intents SET state = ?1, stops_line = 0, open = ?2, attempts = ?3,
                         next_attempt_at = ?4, due = NULL, updated_at = ?5, outcome = ?6
                     WHERE seq = ?7",
                )
                .bind(after.state.as_str())
                .bind(standing(&after).open)
                .bind(after.attempts)
                .bind(signed(after.next_attempt_at.unix_ms()))
                .bind(signed(self.now.unix_ms()))
                .bind(outcome_json(&outcome))
                .bind(signed(after.seq))
                .execute(&mut *book.connection)
                .await?;
                book.counts.shift(standing(&before), standing(&after), after.size_bytes);
                lines.insert((after.surface, after.line));
                changed += 1;
            }
            for (surface, line) in lines {
                // One that is held again may come before the one whose turn it was.
                sqlx::query(
                    "UPDATE intents SET due = NULL
                     WHERE surface = ? AND line = ? AND due IS NOT NULL AND state = 'held'",
                )
                .bind(surface.as_str())
                .bind(line.as_str())
                .execute(&mut *book.connection)
                .await?;
                give_turn(book.connection, &surface, &line).await?;
            }
            Ok(changed)
        })
    }
}

/// [`super::Ledger::purge`].
pub struct Purge {
    pub before: Timestamp,
    pub limit: u32,
}

impl Change for Purge {
    type Output = u64;

    fn make<'a>(&'a self, book: &'a mut Book<'_>) -> Pending<'a, u64> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT seq, surface, state, size_bytes, id FROM intents
                 WHERE state IN ('done', 'discarded') AND updated_at < ? ORDER BY updated_at LIMIT ?",
            )
            .bind(signed(self.before.unix_ms()))
            .bind(i64::from(self.limit))
            .fetch_all(&mut *book.connection)
            .await?;
            let mut seqs = Vec::with_capacity(rows.len());
            for row in &rows {
                seqs.push(unsigned(row.try_get(0)?));
                let surface: &str = row.try_get(1)?;
                let state = state(row.try_get(4)?, row.try_get(2)?)?;
                let tally = Tally { count: 1, bytes: unsigned(row.try_get(3)?) };
                book.counts.take(Standing { surface, state, open: false }, tally);
            }
            if seqs.is_empty() {
                return Ok(0);
            }
            let purged = json(seqs.into_iter());
            for delete in [
                "DELETE FROM intent_payloads WHERE seq IN (SELECT value FROM json_each(?))",
                "DELETE FROM intents WHERE seq IN (SELECT value FROM json_each(?))",
            ] {
                sqlx::query(delete).bind(purged.as_str()).execute(&mut *book.connection).await?;
            }
            Ok(rows.len() as u64)
        })
    }
}

pub(super) fn standing(record: &IntentRecord) -> Standing<'_> {
    let open = record.state.is_open() || record.stops_line;
    Standing { surface: &record.surface, state: record.state, open }
}

fn json(seqs: impl Iterator<Item = u64>) -> String {
    serde_json::Value::from_iter(seqs).to_string()
}

/// An outcome has string keys and no serialisation of its own, so that writing it cannot fail.
fn outcome_json(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).unwrap_or_default()
}
