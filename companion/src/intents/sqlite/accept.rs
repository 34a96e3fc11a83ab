//! Stores intents, many with a few statements: each statement is a way to the database's thread and back.

use std::{
    collections::HashSet,
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{changes::standing, writer::Book};
use crate::{
    intents::{
        Accepted, LedgerLimits, NewIntent,
        counts::{Full, Tally},
        rows::{columns, record},
    },
    store::{
        StoreError,
        rows::{signed, unsigned},
    },
};

/// Intents that go into one statement at most, as a power of two.
const MOST_LOG2: usize = 6;
const MOST: usize = 1 << MOST_LOG2;
/// Heads and bodies that are copied for one statement, unless a single one has more.
const MOST_BYTES: u64 = 1024 * 1024;

/// [`super::Ledger::accept`].
pub struct Accept {
    pub intent: NewIntent,
    pub limits: LedgerLimits,
}

impl Accept {
    fn scope(&self) -> (&str, &str, &str) {
        (&self.intent.surface, &self.intent.tenant, &self.intent.key)
    }

    fn line(&self) -> (&str, &str) {
        (&self.intent.surface, &self.intent.line)
    }
}

/// The statements for so many intents. Rows that are not bound are null, and left out: so that a few lengths
/// do for all, each prepared once.
struct Statements {
    look: Arc<str>,
    intents: Arc<str>,
    payloads: Arc<str>,
}

static STATEMENTS: LazyLock<[Statements; MOST_LOG2 + 1]> =
    LazyLock::new(|| std::array::from_fn(|log2| Statements::of(1 << log2)));

impl Statements {
    fn of(rows: usize) -> Self {
        // As one row: each would come from the database's thread by itself.
        let look = format!(
            "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'intents'),
                 json_group_array(json_array(
                     column5,
                     (SELECT seq FROM intents WHERE surface = column1 AND tenant = column2 AND key = column3),
                     EXISTS (SELECT 1 FROM intents WHERE surface = column1 AND line = column4 AND open = 1)
                 ))
             FROM (VALUES {}) WHERE column1 IS NOT NULL",
            values(rows, "(?, ?, ?, ?, ?)")
        );
        let intents = format!(
            "INSERT INTO intents (seq, id, surface, window_id, enforcer, tenant, key, fingerprint, line,
                 method, path, size_bytes, received_at, state, stops_line, open, attempts, next_attempt_at,
                 due, updated_at)
             SELECT column1, column2, column3, column4, column5, column6, column7, column8, column9, column10,
                 column11, column12, column13, 'held', 0, 1, 0, column13, column14, column13
             FROM (VALUES {}) WHERE column1 IS NOT NULL",
            values(rows, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        );
        let payloads = format!(
            "INSERT INTO intent_payloads (seq, sealed_by, head, body)
             SELECT column1, column2, column3, column4 FROM (VALUES {}) WHERE column1 IS NOT NULL",
            values(rows, "(?, ?, ?, ?)")
        );
        Self { look: look.into(), intents: intents.into(), payloads: payloads.into() }
    }

    /// Those with room for so many; `together` takes no more than there is room for.
    fn for_rows(rows: usize) -> Result<&'static Self, StoreError> {
        let log2 = rows.next_power_of_two().trailing_zeros() as usize;
        STATEMENTS.get(log2).ok_or(StoreError::WriterGone)
    }
}

fn values(rows: usize, row: &str) -> String {
    let mut values = row.to_owned();
    for _ in 1..rows {
        let _ = write!(values, ", {row}");
    }
    values
}

/// Stores what is offered, in its order, and says what became of each.
pub async fn accept(book: &mut Book<'_>, mut offered: &[&Accept]) -> Result<Vec<Accepted>, StoreError> {
    let mut accepted = Vec::with_capacity(offered.len());
    while !offered.is_empty() {
        let (together, later) = offered.split_at(together(offered));
        accepted.extend(accept_together(book, together).await?);
        offered = later;
    }
    Ok(accepted)
}

/// How many of the first go into one statement. No two have the same key: the second finds the first.
fn together(offered: &[&Accept]) -> usize {
    let mut keys = HashSet::with_capacity(MOST);
    let mut bytes = 0_u64;
    let fits = offered.iter().take(MOST).take_while(|accept| {
        bytes = bytes.saturating_add(accept.intent.payload.size_bytes());
        keys.insert(accept.scope()) && (bytes <= MOST_BYTES || keys.len() == 1)
    });
    fits.count()
}

async fn accept_together(book: &mut Book<'_>, offered: &[&Accept]) -> Result<Vec<Accepted>, StoreError> {
    let (mut seq, found) = look(book.connection, offered).await?;
    let (mut accepted, mut inserts) = (Vec::with_capacity(offered.len()), Vec::with_capacity(offered.len()));
    let mut lines = HashSet::with_capacity(offered.len());
    for (accept, found) in offered.iter().copied().zip(found) {
        let size_bytes = accept.intent.payload.size_bytes();
        // What is on disk already has its receipt, however full it is.
        if let Some(known) = found.seq {
            accepted.push(accept.known(book.connection, known).await?);
        } else if let Some(full) = book.counts.full(&accept.intent.surface, size_bytes, accept.limits) {
            accepted.push(match full {
                Full::Count => Accepted::FullByCount,
                Full::Bytes => Accepted::FullByBytes,
            });
        } else {
            seq += 1;
            let has_turn = lines.insert(accept.line()) && !found.line_is_open;
            inserts.push(Insert { seq, has_turn, intent: &accept.intent });
            let stored = accept.intent.record(unsigned(seq));
            book.counts.add(standing(&stored), Tally { count: 1, bytes: size_bytes });
            accepted.push(Accepted::Stored(stored));
        }
    }
    if !inserts.is_empty() {
        insert(book.connection, &inserts).await?;
    }
    Ok(accepted)
}

/// What is there already of an intent that is offered.
#[derive(Clone, Copy, Default)]
struct Found {
    /// The one that has its key.
    seq: Option<i64>,
    /// One before it in its line is not over.
    line_is_open: bool,
}

/// The last place that was ever given, and what is there of each.
async fn look(
    connection: &mut SqliteConnection,
    offered: &[&Accept],
) -> Result<(i64, Vec<Found>), StoreError> {
    let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&Statements::for_rows(offered.len())?.look)));
    for (number, accept) in (0_i64..).zip(offered) {
        let intent = &accept.intent;
        query = query
            .bind(intent.surface.as_str())
            .bind(intent.tenant.as_str())
            .bind(intent.key.as_str())
            .bind(intent.line.as_str())
            .bind(number);
    }
    let row = query.fetch_one(connection).await?;
    let last = row.try_get::<Option<i64>, _>(0)?.unwrap_or(0);
    let listed: Vec<(usize, Option<i64>, u8)> =
        serde_json::from_str(row.try_get(1)?).map_err(|error| StoreError::Corrupt {
            table: "intent",
            key: "what is there of those offered".to_owned(),
            message: error.to_string(),
        })?;
    let mut found = vec![Found::default(); offered.len()];
    for (number, seq, line_is_open) in listed {
        if let Some(found) = found.get_mut(number) {
            *found = Found { seq, line_is_open: line_is_open != 0 };
        }
    }
    Ok((last, found))
}

/// What is inserted of an intent.
struct Insert<'a> {
    seq: i64,
    /// Nothing before it in its line is to be sent.
    has_turn: bool,
    intent: &'a NewIntent,
}

async fn insert(connection: &mut SqliteConnection, inserts: &[Insert<'_>]) -> Result<(), StoreError> {
    let statements = Statements::for_rows(inserts.len())?;
    let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&statements.intents)));
    for Insert { seq, has_turn, intent } in inserts {
        let at = signed(intent.received_at.unix_ms());
        query = query
            .bind(seq)
            .bind(intent.id.as_str())
            .bind(intent.surface.as_str())
            .bind(intent.window.as_str())
            .bind(intent.enforcer.as_str())
            .bind(intent.tenant.as_str())
            .bind(intent.key.as_str())
            .bind(intent.fingerprint.as_slice())
            .bind(intent.line.as_str())
            .bind(intent.method.as_str())
            .bind(intent.path.as_str())
            .bind(signed(intent.payload.size_bytes()))
            .bind(at)
            .bind(has_turn.then_some(at));
    }
    query.execute(&mut *connection).await?;
    let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&statements.payloads)));
    for Insert { seq, intent, .. } in inserts {
        let payload = &intent.payload;
        query = query
            .bind(seq)
            .bind(payload.sealed_by.as_deref())
            .bind(payload.head.as_slice())
            .bind(payload.body.as_slice());
    }
    query.execute(connection).await?;
    Ok(())
}

impl Accept {
    /// What is said of one that is there under its key, at the place `seq`.
    async fn known(&self, connection: &mut SqliteConnection, seq: i64) -> Result<Accepted, StoreError> {
        let row = sqlx::query(columns!(", fingerprint FROM intents WHERE seq = ?"))
            .bind(seq)
            .fetch_one(connection)
            .await?;
        let same = row.try_get::<&[u8], _>("fingerprint")? == self.intent.fingerprint;
        Ok(if same { Accepted::Repeated(record(&row)?) } else { Accepted::KeyReused })
    }
}
