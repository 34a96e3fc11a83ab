//! A store that others share: what they change is read and published, and one of all sees to what happens by itself.

use std::{sync::Arc, time::Duration};

use super::Service;
use crate::{clock, error::ServiceError, store::News};

/// Whatever nobody was told of is noticed this late at most.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);
/// After a failure the next try waits this long.
const PAUSE: Duration = Duration::from_secs(1);
/// The fleet is read no more often than this, and in a large fleet than that.
const READ_EVERY: Duration = Duration::from_millis(10);
const READ_LARGE_EVERY: Duration = Duration::from_millis(250);
const LARGE_FLEET: usize = 200;

impl Service {
    /// Whether this companion is the one that sees to what happens by itself.
    pub fn controls(&self) -> bool {
        self.others.as_ref().is_none_or(|others| *others.controls.borrow())
    }

    /// Returns when that is another than before; never, where nobody else could.
    pub(crate) async fn controls_changed(&self) {
        let Some(others) = &self.others else { return std::future::pending().await };
        let mut controls = others.controls.clone();
        let before = *controls.borrow_and_update();
        if controls.wait_for(|now| *now != before).await.is_err() {
            std::future::pending().await
        }
    }

    /// Follows what others do, until the companion goes down.
    pub async fn keep_up(self: Arc<Self>) {
        let Some(mut others) = self.others.clone() else { return };
        let mut shutdown = self.follow_shutdown();
        let mut known: Option<News> = None;
        while !*shutdown.borrow_and_update() {
            let news = *others.news.borrow_and_update();
            match self.catch_up(known, news).await {
                Ok(()) => known = Some(news),
                Err(error) => {
                    tracing::error!(%error, "what other companions do cannot be read");
                    known = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
            let large = self.fleet().len() > LARGE_FLEET;
            tokio::time::sleep(if large { READ_LARGE_EVERY } else { READ_EVERY }).await;
            tokio::select! {
                changed = others.news.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_ANYWAY) => known = None,
                _ = shutdown.changed() => {}
            }
        }
    }

    /// Reads what there is news of; without `known`, all of it.
    async fn catch_up(&self, known: Option<News>, news: News) -> Result<(), ServiceError> {
        if known.is_none_or(|known| known.windows != news.windows) {
            self.catch_up_windows().await?;
        }
        if known.is_none_or(|known| known.fleet != news.fleet) {
            self.join_fleet().await?;
        }
        if known.is_none() && self.controls() {
            // With the turn: a window that this companion has not heard of may have a question about who is pruned.
            let desk = self.desk().await?;
            self.fleet().prune(desk.windows.values(), clock::now(), std::time::Instant::now());
        }
        Ok(())
    }

    /// Publishes at least what is on disk now.
    pub(super) async fn catch_up_windows(&self) -> Result<(), ServiceError> {
        if self.store.revision().await? == self.published().revision {
            return Ok(());
        }
        let mut desk = self.desk.lock().await;
        self.reload(&mut desk).await
    }
}
