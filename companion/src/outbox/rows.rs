//! Rows of an outbox as records, whichever database they are of.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde::de::{DeserializeOwned, IntoDeserializer as _, value::Error as TextError};
use sqlx::{ColumnIndex, Decode, Row, Type};

use super::{Delivery, DeliveryId, Selection, Total, Verdict};
use crate::store::{StoreError, rows::unsigned};

/// A query of what [`delivery`] reads.
macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, event_seq, window_id, notifier, kind, step, payload, state, attempts, created_at, since, ",
            "next_at, last_status, note, external_id, done_at FROM deliveries ",
            $rest
        )
    };
}
pub(super) use columns;

/// Reads a row of `columns!`.
pub fn delivery<R: Row>(row: &R) -> Result<Delivery, StoreError>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let id: String = row.try_get(0)?;
    let at = |ms: i64| Timestamp::from_unix_ms(unsigned(ms));
    Ok(Delivery {
        event_seq: unsigned(row.try_get(1)?),
        window: WindowId::from(row.try_get::<String, _>(2)?),
        notifier: row.try_get(3)?,
        kind: text(&id, &row.try_get::<String, _>(4)?)?,
        step: text(&id, &row.try_get::<String, _>(5)?)?,
        payload: row.try_get(6)?,
        state: text(&id, &row.try_get::<String, _>(7)?)?,
        attempts: u32::try_from(row.try_get::<i64, _>(8)?).unwrap_or(u32::MAX),
        created_at: at(row.try_get(9)?),
        since: at(row.try_get(10)?),
        next_at: at(row.try_get(11)?),
        last_status: row.try_get::<Option<i64>, _>(12)?.and_then(|status| u16::try_from(status).ok()),
        note: row.try_get(13)?,
        external_id: row.try_get(14)?,
        done_at: row.try_get::<Option<i64>, _>(15)?.map(at),
        id: DeliveryId::from(id),
    })
}

/// Reads notifier, state and count.
pub fn total<R: Row>(row: &R) -> Result<Total, StoreError>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let notifier: String = row.try_get(0)?;
    let state = text(&notifier, &row.try_get::<String, _>(1)?)?;
    Ok(Total { notifier, state, count: unsigned(row.try_get(2)?) })
}

fn text<T: DeserializeOwned>(id: &str, text: &str) -> Result<T, StoreError> {
    T::deserialize(text.into_deserializer()).map_err(|error: TextError| StoreError::Corrupt {
        table: "delivery",
        key: id.to_owned(),
        message: error.to_string(),
    })
}

/// What a selection narrows rows by, as both databases are given it: ids as a JSON array, and the rest.
pub struct Narrowed {
    pub ids: Option<String>,
    pub window: Option<String>,
    pub notifier: Option<String>,
    pub state: Option<&'static str>,
}

impl From<Selection> for Narrowed {
    fn from(selection: Selection) -> Self {
        let ids = (!selection.ids.is_empty()).then(|| serde_json::json!(selection.ids).to_string());
        Self {
            ids,
            window: selection.window.map(|window| window.as_str().to_owned()),
            notifier: selection.notifier,
            state: selection.state.map(super::DeliveryState::as_str),
        }
    }
}

impl Verdict {
    /// The states that it concerns, as a JSON array.
    pub fn concerns(self) -> &'static str {
        match self {
            Self::Resend => r#"["delivered", "failed", "cancelled"]"#,
            Self::Cancel => r#"["pending", "failed"]"#,
        }
    }
}
