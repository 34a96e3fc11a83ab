//! Hears of what other companions change.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Executor as _, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{CHANNEL, FLEET, WINDOWS};
use crate::store::News;

const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// After so long a silence the connection is asked whether it still stands.
const SILENCE: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Listens as long as it runs.
pub async fn listen(options: Arc<PgConnectOptions>, name: String, news: watch::Sender<News>) {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER_LIMIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with((*options).clone());
    let own = format!("{FLEET}{name}");
    loop {
        match hear(&pool, &own, &news).await {
            Ok(()) => tracing::warn!("lost touch with the database"),
            Err(error) => tracing::debug!(%error, "the database cannot be listened to"),
        }
        sleep(RECONNECT_AFTER).await;
    }
}

/// Returns when the connection is gone.
async fn hear(pool: &PgPool, own: &str, news: &watch::Sender<News>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // Whatever was said while nobody listened.
    news.send_modify(|news| {
        news.windows += 1;
        news.fleet += 1;
    });
    loop {
        let heard = match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(heard))) => heard,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => match timeout(ANSWER_LIMIT, listener.execute("SELECT 1")).await {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(()),
            },
        };
        match heard.payload() {
            WINDOWS => news.send_modify(|news| news.windows += 1),
            fleet if fleet.starts_with(FLEET) && fleet != own => news.send_modify(|news| news.fleet += 1),
            _ => {}
        }
    }
}
