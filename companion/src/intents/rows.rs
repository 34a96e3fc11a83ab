//! Rows of a ledger as records, whichever database they are of.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use sqlx::{ColumnIndex, Decode, Row, Type};

use super::{IntentId, IntentRecord, IntentState};
use crate::store::{StoreError, rows::unsigned};

/// A query of what [`record`] reads.
macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT seq, id, surface, window_id, tenant, key, line, method, path, size_bytes, received_at, ",
            "state, stops_line, attempts, next_attempt_at, updated_at, outcome ",
            $rest
        )
    };
}
pub(super) use columns;

/// Reads a row of `columns!`.
pub fn record<R: Row>(row: &R) -> Result<IntentRecord, StoreError>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> bool: Decode<'r, R::Database> + Type<R::Database>,
{
    let id: String = row.try_get(1)?;
    let state = state(&id, &row.try_get::<String, _>(11)?)?;
    let outcome = match row.try_get::<Option<String>, _>(16)? {
        Some(json) => Some(serde_json::from_str(&json).map_err(|error| corrupt(&id, error.to_string()))?),
        None => None,
    };
    Ok(IntentRecord {
        seq: unsigned(row.try_get(0)?),
        surface: row.try_get(2)?,
        window: WindowId::from(row.try_get::<String, _>(3)?),
        tenant: row.try_get(4)?,
        key: row.try_get(5)?,
        line: row.try_get(6)?,
        method: row.try_get(7)?,
        path: row.try_get(8)?,
        size_bytes: unsigned(row.try_get(9)?),
        received_at: timestamp(row.try_get(10)?),
        state,
        stops_line: row.try_get(12)?,
        attempts: u32::try_from(row.try_get::<i64, _>(13)?).unwrap_or(u32::MAX),
        next_attempt_at: timestamp(row.try_get(14)?),
        updated_at: timestamp(row.try_get(15)?),
        outcome,
        id: IntentId::from(id),
    })
}

/// Reads a state; `id` is whose it is.
pub fn state(id: &str, text: &str) -> Result<IntentState, StoreError> {
    IntentState::parse(text).ok_or_else(|| corrupt(id, format!("`{text}` is no state")))
}

fn corrupt(id: &str, message: String) -> StoreError {
    StoreError::Corrupt { table: "intent", key: id.to_owned(), message }
}

pub fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(unsigned(ms))
}
