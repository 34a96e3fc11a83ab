//! The windows on the desk, to be changed by one at a time: by one task of this companion, and by one companion of those
//! that share the store.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Instant,
};

use quiesce_policy::snapshot::{Snapshot, WindowId};
use tokio::sync::MutexGuard;

use super::{Configuration, Service};
use crate::{
    clock,
    error::ServiceError,
    store::{Configured, StoredWindow, Turn},
    windows::OpenWindow,
};

/// The windows that are not over.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Those that are in force or will be: what the snapshot has.
    pub windows: BTreeMap<WindowId, OpenWindow>,
    /// Those whose writes are open again.
    pub ending: BTreeMap<WindowId, OpenWindow>,
    /// The revision of the store that they are of.
    pub revision: u64,
}

impl Desk {
    /// Puts the windows on it that were loaded.
    pub fn take_in(&mut self, windows: Vec<StoredWindow>, revision: u64) {
        let mut windows: BTreeMap<_, _> = windows
            .into_iter()
            .map(OpenWindow::from_stored)
            .map(|window| (window.id().clone(), window))
            .collect();
        for (id, window) in &mut windows {
            window.began = self.windows.get(id).and_then(|known| known.began);
        }
        let (ending, windows) = windows.into_iter().partition(|(_, window)| window.history.ended.is_some());
        *self = Self { windows, ending, revision };
    }

    /// Puts a window where it belongs after what happened to it.
    pub fn put(&mut self, window: OpenWindow) {
        let id = window.id().clone();
        self.windows.remove(&id);
        self.ending.remove(&id);
        if window.history.ended.is_none() {
            self.windows.insert(id, window);
        } else if !window.history.is_over() {
            self.ending.insert(id, window);
        }
    }

    /// A window that is not over.
    pub fn get(&self, id: &WindowId) -> Option<&OpenWindow> {
        self.windows.get(id).or_else(|| self.ending.get(id))
    }
}

/// The desk, and the turn to change what is on it.
pub(super) struct DeskGuard<'a> {
    pub desk: MutexGuard<'a, Desk>,
    pub turn: Turn,
}

impl Deref for DeskGuard<'_> {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl Service {
    /// The windows as they are on disk, to be changed by nobody else until the guard is used or dropped.
    pub(super) async fn desk(&self) -> Result<DeskGuard<'_>, ServiceError> {
        let mut desk = self.desk.lock().await;
        let turn = self.store.turn().await?;
        if self.desk_is_stale.load(Ordering::Acquire) || turn.revision() != desk.revision {
            self.reload(&mut desk).await?;
        }
        self.join_fleet().await?;
        Ok(DeskGuard { desk, turn })
    }

    /// Reads what is on disk, and publishes it.
    pub(super) async fn reload(&self, desk: &mut Desk) -> Result<(), ServiceError> {
        let loaded = self.store.load().await?;
        desk.take_in(loaded.windows, loaded.revision);
        self.adopt(loaded.configured)?;
        if let Some(event) = &loaded.backfill {
            self.backfill.take_note(event);
        }
        self.publish(desk, loaded.version)?;
        self.desk_is_stale.store(false, Ordering::Release);
        if self.others.is_some() {
            self.fleet().retain_windows(desk.windows.values());
        }
        Ok(())
    }

    /// Takes over what another companion has configured: of all that share a store, the one that was started last.
    fn adopt(&self, configured: Configured) -> Result<(), ServiceError> {
        if configured.snapshot.is_empty() || self.configured().digest == configured.digest {
            return Ok(());
        }
        let snapshot: Snapshot = serde_json::from_str(&configured.snapshot)?;
        if configured.digest != self.own_digest {
            tracing::warn!(
                "another companion was started with another configuration, which is in force now; start this one with the same"
            );
        }
        let adopted = Arc::new(Configuration::new(configured.digest, snapshot));
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = adopted;
        Ok(())
    }

    /// Takes in what others have heard of enforcers, if there are others.
    pub(super) async fn join_fleet(&self) -> Result<(), ServiceError> {
        if self.others.is_none() {
            return Ok(());
        }
        let _held = self.fleet_on_disk.lock().await;
        let Some(records) = self.store.shared_fleet().await? else { return Ok(()) };
        if self.fleet().join(records, clock::now(), Instant::now()) {
            self.stir();
        }
        Ok(())
    }
}
