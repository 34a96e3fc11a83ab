//! A fleet that several companions hear of: what others have heard becomes part of what this one knows.

use std::{collections::BTreeSet, time::Instant};

use quiesce_policy::time::Timestamp;

use super::{EnforcerKey, Fleet, FleetRecord, Save};

impl Fleet {
    /// An empty one, whose changes other companions have to be told.
    pub fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }

    /// Takes in all that is saved, by this companion and by others. Whoever calls this lets nothing be saved between
    /// loading the records and this. Returns whether anything is another than before.
    pub fn join(&mut self, records: Vec<FleetRecord>, now: Timestamp, at: Instant) -> bool {
        let saved: BTreeSet<EnforcerKey> = records.iter().map(FleetRecord::key).collect();
        let mut changed = false;
        for record in records {
            changed |= self.join_one(record, now, at);
        }
        let before = self.entries.len();
        // What was saved and is no longer there, another companion has forgotten.
        self.entries.retain(|key, entry| {
            saved.contains(key)
                || entry.open_polls > 0
                || entry.tell.is_some()
                || matches!(entry.save, Save::Due(_))
        });
        changed || self.entries.len() != before
    }

    fn join_one(&mut self, record: FleetRecord, now: Timestamp, at: Instant) -> bool {
        let key = record.key();
        if self.removed.contains(&key) {
            return false;
        }
        let theirs = record.elsewhere(now, at);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.entries.insert(key, theirs);
            return true;
        };
        let known = (entry.settled.len(), entry.born_under.len(), entry.is_live(at), entry.is_connected(at));
        let mut changed = false;
        entry.first_seen = entry.first_seen.min(theirs.first_seen);
        entry.settled.extend(theirs.settled);
        entry.born_under.extend(theirs.born_under);
        if theirs.reported_at > entry.reported_at {
            changed = entry.report != theirs.report || entry.enforcer != theirs.enforcer;
            entry.report = theirs.report;
            entry.enforcer = theirs.enforcer;
            entry.reported_at = theirs.reported_at;
            entry.poll_ms = theirs.poll_ms;
        }
        if theirs.last_seen > entry.last_seen {
            entry.last_seen = theirs.last_seen;
            entry.heard = entry.heard.max(theirs.heard);
            entry.hung_up = theirs.hung_up;
        }
        changed
            || known
                != (entry.settled.len(), entry.born_under.len(), entry.is_live(at), entry.is_connected(at))
    }
}
