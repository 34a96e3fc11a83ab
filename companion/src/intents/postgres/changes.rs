//! The changes of the ledger, in PostgreSQL's SQL.

use std::collections::BTreeSet;

use quiesce_policy::time::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, Row as _};

use super::writer::Change;
use crate::{
    intents::{
        Accepted, Claim, Conclusion, Decision, IntentId, IntentRecord, IntentState, LedgerLimits, NewIntent,
        Outcome,
        rows::{columns, record},
    },
    store::{
        Pending, StoreError,
        rows::{signed, unsigned},
    },
};

/// [`super::Ledger::accept`].
pub struct Accept {
    pub intent: NewIntent,
    pub limits: LedgerLimits,
}

impl Change for Accept {
    type Output = Accepted;

    fn make<'a>(&'a self, connection: &'a mut PgConnection) -> Pending<'a, Accepted> {
        Box::pin(async move {
            if let Some(seq) = self.insert(connection).await? {
                return Ok(Accepted::Stored(self.intent.record(unsigned(seq))));
            }
            // What is on disk already has its receipt, however full it is.
            if let Some(known) = self.known(connection).await? {
                return Ok(known);
            }
            let held: i64 = sqlx::query_scalar(
                "SELECT coalesce(sum(count), 0)::bigint FROM intent_counts WHERE surface = $1 AND open",
            )
            .bind(self.intent.surface.as_str())
            .fetch_one(connection)
            .await?;
            let by_count = unsigned(held) >= self.limits.count;
            Ok(if by_count { Accepted::FullByCount } else { Accepted::FullByBytes })
        })
    }
}

impl Accept {
    fn key_id(&self) -> [u8; 32] {
        key_id(&self.intent.surface, &self.intent.tenant, &self.intent.key)
    }

    /// Its place, unless its key is there already or its surface is full.
    async fn insert(&self, connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
        let (intent, payload) = (&self.intent, &self.intent.payload);
        Ok(sqlx::query_scalar(
            "WITH held AS (
                 SELECT coalesce(sum(count), 0) AS count, coalesce(sum(bytes), 0) AS bytes
                 FROM intent_counts WHERE surface = $2 AND open
             ), new AS (
                 INSERT INTO intents (id, surface, window_id, enforcer, tenant, key, key_id, fingerprint, line,
                     line_id, method, path, size_bytes, received_at, state, stops_line, open, attempts,
                     next_attempt_at, due, updated_at)
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::bigint, $14::bigint, 'held',
                     false, true, 0, $14,
                     CASE WHEN EXISTS (SELECT FROM intents WHERE line_id = $10 AND open) THEN NULL ELSE $14 END,
                     $14
                 FROM held WHERE held.count < $15::bigint AND held.bytes + $13 <= $16::bigint
                 ON CONFLICT (key_id) DO NOTHING
                 RETURNING seq
             ), sent AS (
                 INSERT INTO intent_payloads (seq, sealed_by, head, body) SELECT seq, $17, $18, $19 FROM new
             )
             SELECT seq FROM new",
        )
        .bind(intent.id.as_str())
        .bind(intent.surface.as_str())
        .bind(intent.window.as_str())
        .bind(intent.enforcer.as_str())
        .bind(intent.tenant.as_str())
        .bind(intent.key.as_str())
        .bind(self.key_id())
        .bind(intent.fingerprint)
        .bind(intent.line.as_str())
        .bind(line_id(&intent.surface, &intent.line))
        .bind(intent.method.as_str())
        .bind(intent.path.as_str())
        .bind(signed(payload.size_bytes()))
        .bind(signed(intent.received_at.unix_ms()))
        .bind(signed(self.limits.count))
        .bind(signed(self.limits.bytes))
        .bind(payload.sealed_by.as_deref())
        .bind(payload.head.as_slice())
        .bind(payload.body.as_slice())
        .fetch_optional(connection)
        .await?)
    }

    /// What is there under its key.
    async fn known(&self, connection: &mut PgConnection) -> Result<Option<Accepted>, StoreError> {
        let row = sqlx::query(columns!(", fingerprint FROM intents WHERE key_id = $1"))
            .bind(self.key_id())
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let same = row.try_get::<&[u8], _>("fingerprint")? == self.intent.fingerprint;
        Ok(Some(if same { Accepted::Repeated(record(&row)?) } else { Accepted::KeyReused }))
    }
}

/// [`super::Ledger::claim`].
pub struct Claiming(pub Claim);

impl Change for Claiming {
    type Output = Vec<IntentRecord>;

    fn make<'a>(&'a self, connection: &'a mut PgConnection) -> Pending<'a, Vec<IntentRecord>> {
        Box::pin(async move {
            let claim = &self.0;
            let but: Vec<_> = claim.but_of_windows.iter().map(|but| but.as_str().to_owned()).collect();
            // Window by window along the index, and no look at each intent.
            let rows = sqlx::query(columns!(
                "FROM (
                     WITH RECURSIVE next (id) AS (
                         SELECT min(window_id) FROM intents WHERE due IS NOT NULL
                         UNION ALL
                         SELECT (SELECT min(window_id) FROM intents WHERE due IS NOT NULL AND window_id > next.id)
                         FROM next WHERE next.id IS NOT NULL
                     )
                     SELECT due_ones.* FROM next CROSS JOIN LATERAL (
                         SELECT * FROM intents WHERE window_id = next.id AND due <= $1 ORDER BY due, seq LIMIT $2
                     ) AS due_ones
                     WHERE next.id IS NOT NULL AND next.id <> ALL ($3)
                     ORDER BY due_ones.window_id, due_ones.due, due_ones.seq LIMIT $2
                 ) AS chosen"
            ))
            .bind(signed(claim.now.unix_ms()))
            .bind(i64::from(claim.limit))
            .bind(but)
            .fetch_all(&mut *connection)
            .await?;
            let mut claimed = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
            if claimed.is_empty() {
                return Ok(claimed);
            }
            sqlx::query(
                "UPDATE intents SET state = 'replaying', attempts = attempts + 1, owner = $1, due = $2,
                     updated_at = $3
                 WHERE seq = ANY($4)",
            )
            .bind(claim.owner.as_str())
            .bind(signed(claim.lease_until.unix_ms()))
            .bind(signed(claim.now.unix_ms()))
            .bind(claimed.iter().map(|record| signed(record.seq)).collect::<Vec<_>>())
            .execute(connection)
            .await?;
            for record in &mut claimed {
                record.state = IntentState::Replaying;
                record.attempts = record.attempts.saturating_add(1);
                record.updated_at = claim.now;
            }
            Ok(claimed)
        })
    }
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

    fn make<'a>(&'a self, connection: &'a mut PgConnection) -> Pending<'a, bool> {
        Box::pin(async move {
            let (state, outcome) = match &self.conclusion {
                Conclusion::Done(outcome) => (IntentState::Done, Some(outcome)),
                Conclusion::Refused(outcome) | Conclusion::GivenUp(outcome) => {
                    (IntentState::Failed, Some(outcome))
                }
                Conclusion::Later { outcome, .. } => (IntentState::Held, Some(outcome)),
                Conclusion::Unsent => (IntentState::Held, None),
            };
            let stops_line = matches!(self.conclusion, Conclusion::GivenUp(_));
            let next_attempt_at = match self.conclusion {
                Conclusion::Later { at, .. } => Some(signed(at.unix_ms())),
                _ => None,
            };
            let line: Option<Vec<u8>> = sqlx::query_scalar(
                "UPDATE intents SET state = $1, stops_line = $2, open = $3,
                     next_attempt_at = coalesce($4, next_attempt_at), due = NULL, owner = NULL,
                     updated_at = $5, outcome = coalesce($6, outcome),
                     attempts = greatest(attempts - $9::boolean::int, 0)
                 WHERE id = $7 AND owner = $8 RETURNING line_id",
            )
            .bind(state.as_str())
            .bind(stops_line)
            .bind(state.is_open() || stops_line)
            .bind(next_attempt_at)
            .bind(signed(self.now.unix_ms()))
            .bind(outcome.map(outcome_json))
            .bind(self.id.as_str())
            .bind(self.owner.as_str())
            .bind(self.conclusion == Conclusion::Unsent)
            .fetch_optional(&mut *connection)
            .await?;
            let Some(line) = line else { return Ok(false) };
            give_turns(connection, &[line]).await?;
            Ok(true)
        })
    }
}

/// Gives the turn of each line to the first that is not over, if nobody has it and that one is held.
async fn give_turns(connection: &mut PgConnection, lines: &[Vec<u8>]) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE intents SET due = next_attempt_at
         FROM unnest($1::bytea[]) AS of (line)
         WHERE seq = (SELECT i.seq FROM intents AS i WHERE i.line_id = of.line AND i.open ORDER BY i.seq LIMIT 1)
             AND state = 'held'
             AND NOT EXISTS (SELECT FROM intents AS i WHERE i.line_id = of.line AND i.due IS NOT NULL)",
    )
    .bind(lines)
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

    fn make<'a>(&'a self, connection: &'a mut PgConnection) -> Pending<'a, u64> {
        Box::pin(async move {
            let rows = sqlx::query(columns!("FROM intents WHERE seq = ANY($1)"))
                .bind(self.seqs.iter().copied().map(signed).collect::<Vec<_>>())
                .fetch_all(&mut *connection)
                .await?;
            let (mut seqs, mut outcomes, mut lines) = (Vec::new(), Vec::new(), BTreeSet::new());
            for row in &rows {
                let before = record(row)?;
                let wanted = self.wanted.is_none_or(|wanted| wanted == before.state);
                if !wanted || !self.decision.applies_to().contains(&before.state) {
                    continue;
                }
                let note = Some(self.note.clone());
                let mut outcome = Outcome { note, ..before.outcome.unwrap_or_default() };
                if self.decision == Decision::Retry {
                    (outcome.failures, outcome.since) = (0, None);
                }
                outcomes.push(outcome_json(&outcome));
                seqs.push(signed(before.seq));
                lines.insert(line_id(&before.surface, &before.line).to_vec());
            }
            let held_again = self.decision == Decision::Retry;
            let state = if held_again { IntentState::Held } else { IntentState::Discarded };
            let now = signed(self.now.unix_ms());
            sqlx::query(
                "UPDATE intents SET state = $1, stops_line = false, open = $2, due = NULL, updated_at = $3,
                     attempts = CASE WHEN $2 THEN 0 ELSE attempts END,
                     next_attempt_at = CASE WHEN $2 THEN $3 ELSE next_attempt_at END,
                     outcome = decided.outcome
                 FROM unnest($4::bigint[], $5::text[]) AS decided (seq, outcome)
                 WHERE intents.seq = decided.seq",
            )
            .bind(state.as_str())
            .bind(held_again)
            .bind(now)
            .bind(&seqs)
            .bind(outcomes)
            .execute(&mut *connection)
            .await?;
            let lines: Vec<_> = lines.into_iter().collect();
            // One that is held again may come before the one whose turn it was.
            sqlx::query(
                "UPDATE intents SET due = NULL
                 WHERE line_id = ANY($1) AND due IS NOT NULL AND state = 'held'",
            )
            .bind(&lines)
            .execute(&mut *connection)
            .await?;
            give_turns(connection, &lines).await?;
            Ok(seqs.len() as u64)
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

    fn make<'a>(&'a self, connection: &'a mut PgConnection) -> Pending<'a, u64> {
        Box::pin(async move {
            let purged: i64 = sqlx::query_scalar(
                "WITH gone AS (
                     DELETE FROM intents WHERE seq IN (
                         SELECT seq FROM intents
                         WHERE state IN ('done', 'discarded') AND updated_at < $1 ORDER BY updated_at LIMIT $2
                     )
                     RETURNING seq
                 ), sent AS (
                     DELETE FROM intent_payloads USING gone WHERE intent_payloads.seq = gone.seq
                 )
                 SELECT count(*) FROM gone",
            )
            .bind(signed(self.before.unix_ms()))
            .bind(i64::from(self.limit))
            .fetch_one(connection)
            .await?;
            Ok(unsigned(purged))
        })
    }
}

/// Names a key where it holds.
pub(crate) fn key_id(surface: &str, tenant: &str, key: &str) -> [u8; 32] {
    digest([surface, tenant, key])
}

/// Names a line.
pub(crate) fn line_id(surface: &str, line: &str) -> [u8; 32] {
    digest([surface, line])
}

/// Tells any two lists of texts apart: each goes in with its length.
fn digest<const N: usize>(texts: [&str; N]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// An outcome has string keys and no serialisation of its own, so that writing it cannot fail.
fn outcome_json(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).unwrap_or_default()
}
