//! The windows on the desk, to be changed by one at a time: by one task of this companion, and by one companion of those
//! that share the store.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Instant,
};

use quiesce_policy::{
    snapshot::{Epoch, Snapshot, Window, WindowId},
    time::Timestamp,
};
use tokio::sync::MutexGuard;

use super::{Configuration, Service};
use crate::{
    clock,
    error::ServiceError,
    plans::{PlanId, PlanRecord},
    store::{Configured, ENDED_KEPT, Loaded, StoreError, StoredWindow, Turn},
    windows::{OpenWindow, WindowRecord},
};

/// The windows that are not over.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Those that are in force or will be: what the snapshot has.
    pub windows: BTreeMap<WindowId, OpenWindow>,
    /// Those whose writes are open again.
    pub ending: BTreeMap<WindowId, OpenWindow>,
    /// The windows issued last that are over, by when they were issued; bounded.
    ended: BTreeMap<(Timestamp, WindowId), WindowRecord>,
    /// What recurs.
    pub plans: BTreeMap<PlanId, PlanRecord>,
    /// The revision of the store that they are of.
    pub revision: u64,
}

impl Desk {
    /// Puts the windows on it that were loaded.
    pub fn take_in(&mut self, loaded: Stored) {
        let Stored { windows, ended, plans, revision } = loaded;
        let mut windows: BTreeMap<_, _> = windows
            .into_iter()
            .map(OpenWindow::from_stored)
            .map(|window| (window.id().clone(), window))
            .collect();
        for (id, window) in &mut windows {
            window.began = self.windows.get(id).and_then(|known| known.began);
        }
        let (ending, windows) = windows.into_iter().partition(|(_, window)| window.history.ended.is_some());
        let plans = plans.into_iter().map(|record| (record.id.clone(), record)).collect();
        *self = Self { windows, ending, ended: BTreeMap::new(), plans, revision };
        ended.into_iter().for_each(|record| self.note_end(record));
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
        } else {
            self.note_end(window.record);
        }
    }

    /// Takes over what became of plans.
    pub fn put_plans(&mut self, plans: BTreeMap<PlanId, Option<PlanRecord>>) {
        for (id, record) in plans {
            match record {
                Some(record) => self.plans.insert(id, record),
                None => self.plans.remove(&id),
            };
        }
    }

    /// A window that is not over.
    pub fn get(&self, id: &WindowId) -> Option<&OpenWindow> {
        self.windows.get(id).or_else(|| self.ending.get(id))
    }

    /// Keeps what people are to be told of a window that is over.
    fn note_end(&mut self, record: WindowRecord) {
        self.ended.insert((record.issued_at, record.window.id.clone()), record);
        while self.ended.len() > usize::try_from(ENDED_KEPT).unwrap_or(usize::MAX) {
            self.ended.pop_first();
        }
    }

    /// What enforcers tell people of windows whose writes are open again, in the snapshot of this version: of one
    /// version it is always the same, for versions are instants.
    pub fn told_as_ended(&self, version: Epoch) -> Vec<Window> {
        let open = self.ending.values().map(|open| &open.record);
        let told = open.chain(self.ended.values()).filter_map(WindowRecord::told_as_ended);
        told.filter(|window| window.expires_at.unix_ms() > version.0).collect()
    }
}

/// What the store has for the desk.
pub(super) struct Stored {
    pub windows: Vec<StoredWindow>,
    pub ended: Vec<WindowRecord>,
    pub plans: Vec<PlanRecord>,
    pub revision: u64,
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

    /// A commit failed, and it is not known whether it took effect: what is on disk must be read again.
    pub(super) fn doubt_desk(&self, error: StoreError) -> ServiceError {
        self.desk_is_stale.store(true, Ordering::Release);
        self.stir();
        error.into()
    }

    /// Reads what is on disk, and publishes it.
    pub(super) async fn reload(&self, desk: &mut Desk) -> Result<(), ServiceError> {
        let loaded = self.store.load().await?;
        let Loaded { windows, ended, plans, revision, .. } = loaded;
        desk.take_in(Stored { windows, ended, plans, revision });
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
