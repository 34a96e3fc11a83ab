//! What enforcers have seen of observed surfaces, added up within bounds and in memory only.

mod places;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use quiesce_policy::{
    OTHER_SURFACE,
    snapshot::{Effect, Surface},
    sync::{DecidedBy, Seen, SeenRule},
    time::Timestamp,
};

use self::places::{Place, Step};

/// Entries that are listed at most, shared evenly among the surfaces, so that none crowds out another;
const MAX_LISTED: usize = 4096;
/// but each has room for this many.
const MIN_ROOM: usize = 64;

/// How it is known what a request would do; with surface, method and path, what makes an entry of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Basis {
    /// What decided.
    pub by: DecidedBy,
    /// The rule, if it was one, and one of those in use: which catalog, and which rule there.
    pub rule: Option<(Option<usize>, usize)>,
    /// What was called.
    pub call: Option<String>,
}

/// How often something was seen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many requests.
    pub count: u64,
    /// When the first was reported.
    pub first_seen: Timestamp,
    /// When the last was reported.
    pub last_seen: Timestamp,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// Requests that are listed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The method.
    pub method: &'a str,
    /// The path with its variable segments left open, if it is not a rule's.
    pub path: Option<String>,
    /// What they would do.
    pub effect: Effect,
    /// How that is known.
    pub basis: &'a Basis,
    /// How many, and when.
    pub tally: Tally,
}

/// All that was seen since the companion started.
#[derive(Debug)]
pub struct SeenRequests {
    since: Timestamp,
    surfaces: BTreeMap<String, SurfaceRequests>,
    unlisted: u64,
}

impl SeenRequests {
    /// Nothing yet, of these surfaces and of what belongs to none of them.
    pub fn new(surfaces: &[Surface], since: Timestamp) -> Self {
        let room = (MAX_LISTED / (surfaces.len() + 1)).max(MIN_ROOM);
        let names = surfaces.iter().map(|surface| surface.name.as_str()).chain([OTHER_SURFACE]);
        let surfaces = names.map(|name| (name.to_owned(), SurfaceRequests::with_room_for(room))).collect();
        Self { since, surfaces, unlisted: 0 }
    }

    /// Since when.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Adds what was seen. A rule is named only if it is one of those in use.
    pub fn note(&mut self, seen: Seen, rules_in_use: bool, at: Timestamp) {
        let tally = Tally { count: seen.count, first_seen: at, last_seen: at };
        // Of surfaces that are no longer configured there is nothing to say.
        let Some(surface) = self.surfaces.get_mut(&seen.surface) else {
            return self.note_unlisted(seen.count);
        };
        let rule = seen.rule.filter(|_| rules_in_use).map(|SeenRule { catalog, index }| (catalog, index));
        let basis = Basis { by: seen.by, rule, call: seen.call.as_deref().map(printable) };
        let path = seen.path.as_deref().map(places::steps).unwrap_or_default();
        let dropped = surface.note(seen.effect, &printable(&seen.method), &path, basis, tally);
        self.note_unlisted(dropped);
    }

    /// Adds requests of which nothing is known.
    pub fn note_unlisted(&mut self, count: u64) {
        self.unlisted = self.unlisted.saturating_add(count);
    }

    /// What was seen of a surface.
    pub fn listed(&self, surface: &str) -> Vec<Listed<'_>> {
        self.surfaces.get(surface).map(SurfaceRequests::listed).unwrap_or_default()
    }

    /// How many requests more there were, for which there was no room.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }
}

/// Requests of one surface. Reads make room for writes.
#[derive(Debug)]
struct SurfaceRequests {
    room: usize,
    reads: Requests,
    writes: Requests,
}

impl SurfaceRequests {
    fn with_room_for(room: usize) -> Self {
        Self { room, reads: Requests::default(), writes: Requests::default() }
    }

    /// Adds requests; tells how many are not listed for it.
    fn note(&mut self, effect: Effect, method: &str, path: &[Step], basis: Basis, tally: Tally) -> u64 {
        let requests = match effect {
            Effect::Read => &mut self.reads,
            Effect::Write => &mut self.writes,
        };
        requests.add(method, path, basis.clone(), tally);
        if self.reads.listed + self.writes.listed <= self.room {
            return 0;
        }
        let dropped = match effect {
            Effect::Read => self.reads.remove(method, path, &basis),
            Effect::Write => self.reads.drop_rarest().or_else(|| self.writes.remove(method, path, &basis)),
        };
        dropped.map_or(0, |dropped| dropped.count)
    }

    fn listed(&self) -> Vec<Listed<'_>> {
        let mut listed = Vec::new();
        for (effect, requests) in [(Effect::Write, &self.writes), (Effect::Read, &self.reads)] {
            requests.visit(&mut |method, path, basis, tally| {
                listed.push(Listed { method, path: places::template(path), effect, basis, tally });
            });
        }
        listed
    }
}

/// Requests by their methods and paths.
#[derive(Debug, Default)]
struct Requests {
    by_method: BTreeMap<String, Place>,
    listed: usize,
}

impl Requests {
    fn add(&mut self, method: &str, path: &[Step], basis: Basis, tally: Tally) {
        let place = self.by_method.entry(method.to_owned()).or_default();
        self.listed = (self.listed + 1).saturating_sub(place.add(path, basis, tally));
    }

    fn remove(&mut self, method: &str, path: &[Step], basis: &Basis) -> Option<Tally> {
        let place = self.by_method.get_mut(method)?;
        let removed = place.remove(path, basis)?;
        if place.is_empty() {
            self.by_method.remove(method);
        }
        self.listed -= 1;
        Some(removed)
    }

    /// Gives up the entry with the fewest requests, if there is any.
    fn drop_rarest(&mut self) -> Option<Tally> {
        let mut rarest: Option<(u64, &str, Vec<Step>, &Basis)> = None;
        self.visit(&mut |method, path, basis, tally| {
            if rarest.as_ref().is_none_or(|(count, ..)| tally.count < *count) {
                rarest = Some((tally.count, method, path.to_vec(), basis));
            }
        });
        let (_, method, path, basis) = rarest?;
        let (method, basis) = (method.to_owned(), basis.clone());
        self.remove(&method, &path, &basis)
    }

    fn visit<'a>(&'a self, look: &mut impl FnMut(&'a str, &[Step], &'a Basis, Tally)) {
        for (method, place) in &self.by_method {
            place.visit(&mut Vec::new(), &mut |path, basis, tally| look(method, path, basis, tally));
        }
    }
}

/// A text that clients chose, as terminals and files may show it: on one line, and without what moves a cursor or
/// turns the direction of writing.
fn printable(text: &str) -> String {
    let moves = |char: char| {
        char.is_control()
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.replace(moves, "\u{fffd}")
}
