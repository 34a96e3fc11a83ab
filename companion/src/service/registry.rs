//! Reports of enforcers: taken into the fleet at once, to disk in the background.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use quiesce_policy::{snapshot::WindowId, sync::SyncRequest};

use super::Service;
use crate::{
    clock,
    error::ServiceError,
    fleet::{EnforcerKey, PollEnd},
};

/// How long an enforcer's first answer may wait for the disk.
const REGISTRATION_LIMIT: Duration = Duration::from_secs(5);
/// The fleet is looked through this often for what to save.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// An open poll: as long as this lives, its enforcer is connected.
pub struct PollGuard {
    service: Arc<Service>,
    key: EnforcerKey,
    end: PollEnd,
}

impl PollGuard {
    /// The poll ends because it is answered, and not because the enforcer hung up.
    pub fn answered(mut self) {
        self.end = PollEnd::Answered;
    }
}

impl Drop for PollGuard {
    fn drop(&mut self) {
        self.service.fleet().poll_closed(&self.key, self.end, clock::now(), Instant::now());
        if self.end == PollEnd::HungUp {
            self.service.stir();
            self.service.save_fleet.notify_one();
        }
    }
}

impl Service {
    /// Takes a report in. If it is a poll, the enforcer counts as connected until the guard is dropped.
    pub async fn report(self: &Arc<Self>, request: SyncRequest) -> Result<Option<PollGuard>, ServiceError> {
        let key =
            EnforcerKey { id: request.enforcer.id.clone(), instance: request.enforcer.instance.clone() };
        let polls = request.wait_ms > 0;
        let (reported, guard) = {
            let mut fleet = self.fleet();
            let reported = fleet.report(request, || self.in_force(), clock::now(), Instant::now())?;
            let guard = polls.then(|| {
                fleet.poll_opened(&key);
                PollGuard { service: Arc::clone(self), key, end: PollEnd::HungUp }
            });
            (reported, guard)
        };
        if reported.changed {
            self.stir();
            if self.others.is_some() {
                self.save_fleet.notify_one();
            }
        }
        if let Some(seq) = reported.save_before_answer {
            self.save_fleet.notify_one();
            let mut saved = self.fleet_saved.subscribe();
            let wait = saved.wait_for(|saved| *saved >= seq);
            match tokio::time::timeout(REGISTRATION_LIMIT, wait).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return Err(ServiceError::NotRegistered),
            }
        }
        Ok(guard)
    }

    /// The windows in force in the snapshot published.
    fn in_force(&self) -> BTreeSet<WindowId> {
        let published = self.published();
        let started = published.windows.values().filter(|open| open.history.started.is_some());
        started.map(|open| open.id().clone()).collect()
    }

    /// Saves the fleet in the background, until the companion goes down.
    pub async fn keep_fleet(self: Arc<Self>) {
        let mut shutdown = self.follow_shutdown();
        while !*shutdown.borrow_and_update() {
            tokio::select! {
                () = self.save_fleet.notified() => {}
                () = tokio::time::sleep(SAVE_EVERY) => {}
                _ = shutdown.changed() => {}
            }
            if let Err(error) = self.flush_fleet().await {
                tracing::error!(%error, "the fleet could not be saved");
                tokio::time::sleep(SAVE_EVERY).await;
            }
        }
    }

    /// Saves what is not yet saved of the fleet.
    pub async fn flush_fleet(&self) -> Result<(), ServiceError> {
        let held = self.fleet_on_disk.lock().await;
        let at = Instant::now();
        let (changed, removed, up_to) = self.fleet().unsaved(at);
        if !changed.is_empty() || !removed.is_empty() {
            if let Err(error) = self.store.save_fleet(changed.clone(), removed.clone()).await {
                self.fleet().not_saved(removed);
                return Err(error.into());
            }
            self.fleet().saved(&changed, up_to, at);
            drop(held);
            // Whoever is new on disk is given no snapshot that is older than that: another companion proves a window by
            // who is on disk, and who came after it looked must find the window in the first snapshot.
            self.catch_up_windows().await?;
        }
        self.fleet_saved.send_if_modified(|saved| std::mem::replace(saved, up_to) != up_to);
        Ok(())
    }
}
