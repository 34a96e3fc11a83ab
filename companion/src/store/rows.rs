//! What both databases keep in the same way: records as JSON, times and numbers as signed integers.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use super::StoreError;
use crate::event::{Event, EventKind};

/// An event, of the columns that it is kept in.
pub fn event(
    seq: i64,
    at: i64,
    who: String,
    kind: String,
    window: Option<String>,
    evidence: String,
) -> Result<Event, StoreError> {
    let seq = unsigned(seq);
    Ok(Event {
        seq,
        at: Timestamp::from_unix_ms(unsigned(at)),
        who,
        kind: EventKind::parse(&kind).ok_or_else(|| StoreError::Corrupt {
            table: "event",
            key: seq.to_string(),
            message: format!("`{kind}` is no kind of event"),
        })?,
        window: window.map(WindowId::from),
        evidence: from_json("event", &seq.to_string(), &evidence)?,
    })
}

pub fn to_json<T: Serialize>(table: &'static str, key: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| corrupt(table, key, &error))
}

pub fn from_json<T: DeserializeOwned>(table: &'static str, key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(table, key, &error))
}

fn corrupt(table: &'static str, key: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { table, key: key.to_owned(), message: error.to_string() }
}

/// Databases' integers are signed; versions and milliseconds stay far below where that matters.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
