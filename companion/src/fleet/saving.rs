//! What of the fleet has to be saved, and when.

use std::time::{Duration, Instant};

use super::{EnforcerKey, Entry, Fleet, FleetRecord, Save};

/// `last_seen` of an unchanged enforcer is saved this often,
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// of so many at once, lest a freeze waits for the disk,
const SAVE_AT_ONCE: usize = 200;
/// and so, in the largest fleet, it is never older than this.
pub(super) const OLDEST_SAVED: Duration = Duration::from_secs(150);

impl Entry {
    fn is_due(&self) -> bool {
        matches!(self.save, Save::Due(_)) || self.tell.is_some()
    }

    fn is_stale(&self, at: Instant) -> bool {
        let Save::Saved(when) = self.save else { return false };
        self.tell.is_none()
            && self.heard.is_some_and(|heard| heard > when)
            && at.saturating_duration_since(when) >= SAVE_EVERY
    }
}

impl Fleet {
    /// What has to be saved, and up to which report that goes.
    pub fn unsaved(&mut self, at: Instant) -> (Vec<FleetRecord>, Vec<EnforcerKey>, u64) {
        let due = self.entries.values().filter(|entry| entry.is_due());
        let stale = self.entries.values().filter(|entry| entry.is_stale(at)).take(SAVE_AT_ONCE);
        let changed = due.chain(stale).map(FleetRecord::of).collect();
        (changed, std::mem::take(&mut self.removed), self.save_seq)
    }

    /// What [`Self::unsaved`] returned is on disk.
    pub fn saved(&mut self, changed: &[FleetRecord], up_to: u64, at: Instant) {
        for record in changed {
            if let Some(entry) = self.entries.get_mut(&record.key()) {
                entry.tell = entry.tell.filter(|seq| *seq > up_to);
                match entry.save {
                    Save::Due(seq) if seq > up_to => {}
                    _ => entry.save = Save::Saved(at),
                }
            }
        }
    }

    /// What [`Self::unsaved`] returned could not be saved.
    pub fn not_saved(&mut self, removed: Vec<EnforcerKey>) {
        self.removed.extend(removed);
    }
}
