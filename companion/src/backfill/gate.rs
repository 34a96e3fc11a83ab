//! Count, then look, for the companion's own writes.
//!
//! A replay that saw no window in force was counted before it looked, and a barrier is asked for after its window
//! was published: so that either the replay sees the window, or the barrier sees the replay.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use quiesce_policy::{snapshot::WindowId, time::Timestamp};

use crate::service::{Published, Service};

/// Replays that are running.
#[derive(Debug, Default)]
pub struct Running {
    count: AtomicU64,
    /// What an earlier process had sent, and until when an answer was due.
    earlier: Mutex<Option<(u64, Instant)>>,
}

/// What a barrier has to know of replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replays {
    /// Of this companion.
    pub running: u64,
    /// Of one that stopped in the middle: nobody knows whether they are over.
    pub earlier: u64,
}

impl Running {
    /// Notes what another process was sending when it stopped; what it sent may arrive until `until`.
    pub fn note_earlier(&self, count: u64, until: Instant) {
        if count > 0 {
            *self.earlier.lock().unwrap_or_else(PoisonError::into_inner) = Some((count, until));
        }
    }

    /// How many may be running.
    pub fn now(&self, at: Instant) -> Replays {
        let earlier = *self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        Replays {
            running: self.count.load(Ordering::SeqCst),
            earlier: earlier.filter(|(_, until)| at < *until).map(|(count, _)| count).unwrap_or_default(),
        }
    }
}

/// A replay that is counted, until this is dropped.
pub struct Counted(Arc<Service>);

impl Counted {
    /// Counts one, and then looks: nothing if a window is in force, or if another companion has taken over.
    pub fn begin(service: &Arc<Service>, now: Timestamp) -> Option<Self> {
        service.backfill.running.count.fetch_add(1, Ordering::SeqCst);
        let counted = Self(Arc::clone(service));
        (service.controls() && in_force(&service.published(), now).is_none()).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = self.0.backfill.running.count.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && !self.0.published().windows.is_empty() {
            self.0.stir();
        }
    }
}

/// A window that is in force, or is by the clock: enforcers begin by their own, and ask nobody.
pub fn in_force(published: &Published, now: Timestamp) -> Option<&WindowId> {
    let mut windows = published.windows.values().map(|open| &open.record.window);
    windows.find(|window| window.started || window.starts_at <= now).map(|window| &window.id)
}
