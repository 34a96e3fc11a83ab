//! One companion of those on a database sees to what happens by itself: the one that holds the lock.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::connect;

/// How often the lock is asked for, or whether its connection still stands.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Holds or asks for the lock as long as it runs. The lock ends with the connection, and so with whoever holds it.
///
/// For some moments two may think that they hold it, when the connection of one is gone and it has not noticed. That
/// is harmless: it spares work, and what is done is decided in turns.
pub async fn contend(options: Arc<PgConnectOptions>, controls: watch::Sender<bool>) {
    loop {
        match connect::alone(&options).await {
            Ok(mut connection) => {
                let error = hold(&mut connection, &controls).await;
                let was = controls.send_replace(false);
                tracing::warn!(%error, controlled = was, "lost touch with the database");
                // Gone or not: what is left of it must not keep the lock.
                let _ = timeout(ANSWER_LIMIT, connection.close()).await;
            }
            Err(error) => tracing::debug!(%error, "the database cannot be reached"),
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Returns when the connection is gone.
async fn hold(connection: &mut PgConnection, controls: &watch::Sender<bool>) -> sqlx::Error {
    loop {
        let held = *controls.borrow();
        let look = async {
            if held {
                connection.ping().await.map(|()| true)
            } else {
                // The schema is part of the name: two installations can have one database.
                sqlx::query_scalar(
                    "SELECT pg_try_advisory_lock(hashtextextended('quiesce controller ' || current_schema(), 0))",
                )
                .fetch_one(&mut *connection)
                .await
            }
        };
        match timeout(ANSWER_LIMIT, look).await {
            Ok(Ok(holds)) => {
                if controls.send_if_modified(|known| std::mem::replace(known, holds) != holds) {
                    tracing::info!("this companion controls the windows from now on");
                }
            }
            Ok(Err(error)) => return error,
            Err(_) => return sqlx::Error::PoolTimedOut,
        }
        sleep(LOOK_EVERY).await;
    }
}
