//! What recurs, as the shared store keeps it.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row as _};

use crate::{
    plans::{PlanId, PlanRecord},
    store::{
        StoreError,
        rows::{from_json, to_json},
    },
};

/// Adds, replaces and removes plans.
pub async fn put(
    connection: &mut PgConnection,
    plans: &BTreeMap<PlanId, Option<PlanRecord>>,
) -> Result<(), StoreError> {
    for (id, record) in plans {
        let query = match record {
            Some(record) => sqlx::query(
                "INSERT INTO plans (id, record) VALUES ($1, $2)
                 ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            )
            .bind(id.as_str())
            .bind(to_json("plan", id.as_str(), record)?),
            None => sqlx::query("DELETE FROM plans WHERE id = $1").bind(id.as_str()),
        };
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// All plans.
pub async fn all(connection: &mut PgConnection) -> Result<Vec<PlanRecord>, StoreError> {
    sqlx::query("SELECT id, record FROM plans ORDER BY id")
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| from_json("plans", &row.try_get::<String, _>(0)?, &row.try_get::<String, _>(1)?))
        .collect()
}
