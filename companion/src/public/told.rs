//! What the public may know of one window: what it is told at its announcement, and what has happened since.

use quiesce_policy::{
    snapshot::{Scope, WindowId},
    time::Timestamp,
};
use serde::Deserialize;

use super::view::{Update, WindowState};
use crate::{
    event::{Event, EventKind},
    store::StoredWindow,
    windows::WindowRecord,
};

/// Of one window so many updates are kept: the first, and the latest.
const MAX_UPDATES: usize = 50;

/// What an event means to the public.
struct Meaning {
    kind: &'static str,
    text: &'static str,
    /// The state from then on, if it is another.
    state: Option<WindowState>,
}

/// The one place that says what people are told of which event; of the others they are told nothing.
fn meaning(kind: EventKind) -> Option<Meaning> {
    use EventKind as K;
    use WindowState as S;
    let (kind, text, state) = match kind {
        K::Announced => ("announced", "This maintenance was announced.", Some(S::Upcoming)),
        K::Started => ("started", "Writes are paused. Reads are served as usual.", Some(S::Active)),
        K::Quiesced => {
            ("quiesced", "Everything written before is complete. The work is under way.", Some(S::Active))
        }
        K::Extended => ("extended", "The end was moved.", None),
        K::Thawed | K::Lapsed => ("thawed", "Writes are open again.", Some(S::Reopening)),
        K::Aborted => ("aborted", "The work was called off. Writes are open again.", Some(S::Reopening)),
        K::ClosureAnnounced => ("closed", "This maintenance is over.", Some(S::Ended)),
        K::Cancelled => ("cancelled", "This maintenance was cancelled.", Some(S::Cancelled)),
        K::UpdatePosted => ("update", "", None),
        _ => return None,
    };
    Some(Meaning { kind, text, state })
}

/// What an operator posts.
#[derive(Deserialize)]
struct Posted {
    text: String,
}

/// Where an end was moved.
#[derive(Deserialize)]
struct Moved {
    ends_at: To,
}

#[derive(Deserialize)]
struct To {
    to: Timestamp,
}

/// One window as the public may know it.
#[derive(Clone, Debug)]
pub struct Told {
    pub(super) id: WindowId,
    pub(super) scope: Scope,
    /// Before this it is nobody's business.
    announce_at: Timestamp,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
    pub(super) reason: String,
    pub(super) contact: Option<String>,
    pub(super) rollback: Option<String>,
    /// The state that its events make.
    pub(super) state: WindowState,
    /// Since when.
    pub(super) since: Timestamp,
    /// When writes were opened again.
    pub(super) reopened_at: Option<Timestamp>,
    /// Oldest first.
    pub(super) updates: Vec<Update>,
    /// How many there were.
    pub(super) count: u32,
}

impl Told {
    /// A window of which nothing has happened yet.
    pub fn of(record: &WindowRecord) -> Self {
        let window = &record.window;
        Self {
            id: window.id.clone(),
            scope: window.scope.clone(),
            announce_at: window.announce_at.unwrap_or(record.issued_at),
            starts_at: window.starts_at,
            ends_at: window.ends_at,
            expires_at: window.expires_at,
            reason: window.reason.clone(),
            contact: window.contact.clone(),
            rollback: record.rollback.clone(),
            state: WindowState::Upcoming,
            since: record.issued_at,
            reopened_at: None,
            updates: Vec::new(),
            count: 0,
        }
    }

    /// A window as the store knows it.
    pub fn of_stored(stored: &StoredWindow) -> Self {
        let mut told = Self::of(&stored.record);
        stored.events.iter().for_each(|event| told.apply(event));
        told
    }

    /// Takes over what can change of a window without a word in the log.
    pub(super) fn refresh(&mut self, record: &WindowRecord) {
        let (state, since, reopened_at, count) = (self.state, self.since, self.reopened_at, self.count);
        let updates = std::mem::take(&mut self.updates);
        *self = Self { state, since, reopened_at, updates, count, ..Self::of(record) };
    }

    /// Whether people are told of it at `now`: not before it is announced, and never of what was cancelled before that.
    pub(super) fn is_announced(&self, now: Timestamp) -> bool {
        match self.state {
            WindowState::Upcoming => now >= self.announce_at,
            WindowState::Cancelled => self.since >= self.announce_at,
            WindowState::Active | WindowState::Reopening | WindowState::Ended => true,
        }
    }

    /// Whether it is to come, and not announced yet.
    pub(super) fn is_planned(&self, now: Timestamp) -> bool {
        self.state == WindowState::Upcoming && now < self.announce_at
    }

    /// When people are told of it, if that is still to come.
    pub(super) fn told_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.is_planned(now).then_some(self.announce_at)
    }

    /// Whether nothing more will be heard of it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, WindowState::Ended | WindowState::Cancelled)
    }

    /// Takes in what happened.
    pub fn apply(&mut self, event: &Event) {
        let Some(Meaning { kind, text, state }) = meaning(event.kind) else { return };
        let mut update =
            Update { number: self.count, at: event.at, kind, text: text.to_owned(), until: None };
        if let Ok(Posted { text }) = Posted::deserialize(&event.evidence) {
            update.text = text;
        }
        if let Ok(Moved { ends_at }) = Moved::deserialize(&event.evidence) {
            update.until = Some(ends_at.to);
        }
        if state == Some(WindowState::Reopening) {
            self.reopened_at = Some(event.at);
        }
        if let Some(state) = state {
            if state != self.state {
                self.since = event.at;
            }
            self.state = state;
        }
        self.count = self.count.saturating_add(1);
        if self.updates.len() >= MAX_UPDATES {
            self.updates.remove(1);
        }
        self.updates.push(update);
    }
}
