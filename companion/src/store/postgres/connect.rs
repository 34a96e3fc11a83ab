//! Connections to a PostgreSQL: none waits for ever, and none calls a commit done that is not on disk.

use std::time::Duration;

use sqlx::{
    Connection as _, Executor as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use crate::store::{PostgresUrl, StoreError};

const CONNECTIONS: u32 = 16;
/// Whoever finds no connection in this time is told so.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What holds for every connection. A companion that hangs keeps the others waiting for its turn no longer than this;
/// one whose machine is gone is noticed by keepalives. And where the server is set not to wait for its disk, it does
/// for us; any stronger setting stays.
const SESSION: &str = "
    SET lock_timeout = '10s';
    SET statement_timeout = '60s';
    SET idle_in_transaction_session_timeout = '10s';
    SET tcp_keepalives_idle = 5;
    SET tcp_keepalives_interval = 2;
    SET tcp_keepalives_count = 3;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

/// Connects.
pub async fn pool(url: &PostgresUrl) -> Result<PgPool, StoreError> {
    let unreachable = |source| StoreError::Unreachable { url: url.to_string(), source };
    let options = url.options().map_err(|error| unreachable(sqlx::Error::Configuration(error.into())))?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_LIMIT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SESSION).await?;
                Ok(())
            })
        })
        // A pool says only that time is up; the first connection says why.
        .connect_lazy_with(options.application_name("quiesce"));
    let mut first = alone(&pool.connect_options()).await.map_err(unreachable)?;
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut first).await.map_err(unreachable)?;
    if fsync != "on" {
        tracing::error!(store = %url, "fsync is off in this database: what it accepts can be lost with its machine");
    }
    first.close().await.map_err(unreachable)?;
    Ok(pool)
}

/// A connection beside the pool.
pub async fn alone(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connect = async {
        let mut connection = PgConnection::connect_with(options).await?;
        connection.execute(SESSION).await?;
        Ok(connection)
    };
    timeout(CONNECT_LIMIT, connect).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
