//! The fleet as all companions on a database know it: what each has heard of an enforcer becomes one record.

use std::collections::{BTreeMap, BTreeSet};

use quiesce_policy::snapshot::WindowId;
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    fleet::{EnforcerKey, FleetRecord},
    store::{
        StoreError,
        rows::{from_json, signed, to_json},
    },
};

/// All records.
pub async fn all(connection: &mut PgConnection) -> Result<Vec<FleetRecord>, StoreError> {
    let rows =
        sqlx::query("SELECT id, record FROM fleet ORDER BY id, instance").fetch_all(connection).await?;
    rows.iter().map(record).collect()
}

/// Joins records with what others have saved, and removes others, within a transaction.
pub async fn save(
    connection: &mut PgConnection,
    changed: Vec<FleetRecord>,
    removed: &[EnforcerKey],
) -> Result<(), StoreError> {
    // One after the other: of two who save the same record, the second has to see what the first one wrote.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('quiesce fleet ' || current_schema(), 0))")
        .execute(&mut *connection)
        .await?;
    let names = |keys: &mut dyn Iterator<Item = EnforcerKey>| -> (Vec<String>, Vec<String>) {
        keys.map(|key| (key.id.to_string(), key.instance.as_str().to_owned())).unzip()
    };
    let (ids, instances) = names(&mut changed.iter().map(FleetRecord::key));
    let known = sqlx::query(
        "SELECT id, record FROM fleet
         WHERE (id, instance) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
    )
    .bind(&ids)
    .bind(&instances)
    .fetch_all(&mut *connection)
    .await?;
    let known = known.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let mut known: BTreeMap<_, _> = known.into_iter().map(|record| (record.key(), record)).collect();
    let open: BTreeSet<WindowId> = sqlx::query_scalar::<_, String>("SELECT id FROM windows WHERE open")
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .map(WindowId::from)
        .collect();
    let (mut last_seen, mut records) = (Vec::new(), Vec::new());
    for ours in changed {
        let id = ours.enforcer.id.to_string();
        let mut record = match known.remove(&ours.key()) {
            Some(theirs) => theirs.joined(ours),
            None => ours,
        };
        // What is known of windows that are over would otherwise be joined for ever.
        record.retain_windows(|id| open.contains(id));
        last_seen.push(signed(record.last_seen.unix_ms()));
        records.push(to_json("fleet", &id, &record)?);
    }
    sqlx::query(
        "INSERT INTO fleet (id, instance, last_seen, record)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
         ON CONFLICT (id, instance) DO UPDATE SET last_seen = excluded.last_seen, record = excluded.record",
    )
    .bind(&ids)
    .bind(&instances)
    .bind(&last_seen)
    .bind(&records)
    .execute(&mut *connection)
    .await?;
    let (ids, instances) = names(&mut removed.iter().cloned());
    sqlx::query("DELETE FROM fleet WHERE (id, instance) IN (SELECT * FROM unnest($1::text[], $2::text[]))")
        .bind(&ids)
        .bind(&instances)
        .execute(connection)
        .await?;
    Ok(())
}

fn record(row: &PgRow) -> Result<FleetRecord, StoreError> {
    from_json("fleet", &row.try_get::<String, _>(0)?, &row.try_get::<String, _>(1)?)
}
