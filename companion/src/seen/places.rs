//! Requests by the segments of their paths. Where too many different words are seen at one place, they are taken
//! for names of single things.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use super::{Basis, Tally};

/// Different words at one place; of more, all become `{id}`.
pub const MAX_WORDS: usize = 32;
/// Segments of a path; of more, the others become `{*rest}`.
const MAX_STEPS: usize = 16;

/// A segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing, behind a slash at the end.
    Empty,
    /// A word that says what is asked for.
    Word(String),
    /// The name of one thing of many.
    Id,
    /// All that follows.
    Rest,
}

/// A template's segments; what is no plain word names a single thing.
pub fn steps(path: &str) -> Vec<Step> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:~".contains(&byte);
    let mut steps = Vec::new();
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        steps.push(match segment {
            "{*rest}" => Step::Rest,
            _ if steps.len() == MAX_STEPS => Step::Rest,
            "" => Step::Empty,
            word if word.bytes().all(is_plain) => Step::Word(word.to_owned()),
            _ => Step::Id,
        });
        if steps.last() == Some(&Step::Rest) {
            break;
        }
    }
    steps
}

/// Segments as a template; nothing, if there are none.
pub fn template(steps: &[Step]) -> Option<String> {
    let segment = |step: &Step| match step {
        Step::Empty => "/".to_owned(),
        Step::Word(word) => format!("/{word}"),
        Step::Id => "/{id}".to_owned(),
        Step::Rest => "/{*rest}".to_owned(),
    };
    (!steps.is_empty()).then(|| steps.iter().map(segment).collect())
}

/// What was seen of the paths that begin with some segments.
#[derive(Debug, Default)]
pub struct Place {
    /// Of those that end here.
    ends: HashMap<Basis, Tally>,
    next: BTreeMap<Step, Place>,
    /// Words that come next are taken for names.
    names: bool,
}

impl Place {
    /// Adds requests; tells how many entries fewer there are than if these had one of their own.
    pub fn add(&mut self, path: &[Step], basis: Basis, tally: Tally) -> usize {
        let Some((step, rest)) = path.split_first() else { return self.end(basis, tally) };
        let step = self.read(step);
        let merged = self.next.entry(step).or_default().add(rest, basis, tally);
        merged + self.merge_words()
    }

    /// Removes an entry, and what leads to nothing else.
    pub fn remove(&mut self, path: &[Step], basis: &Basis) -> Option<Tally> {
        let Some((step, rest)) = path.split_first() else { return self.ends.remove(basis) };
        let step = self.read(step);
        let next = self.next.get_mut(&step)?;
        let removed = next.remove(rest, basis);
        if next.is_empty() {
            self.next.remove(&step);
        }
        removed
    }

    /// Whether nothing was seen here.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.next.is_empty()
    }

    /// Visits all entries; `path` is what leads here.
    pub fn visit<'a>(&'a self, path: &mut Vec<Step>, look: &mut impl FnMut(&[Step], &'a Basis, Tally)) {
        for (basis, tally) in &self.ends {
            look(path, basis, *tally);
        }
        for (step, place) in &self.next {
            path.push(step.clone());
            place.visit(path, look);
            path.pop();
        }
    }

    /// What a segment counts as here.
    fn read(&self, step: &Step) -> Step {
        match step {
            Step::Word(_) if self.names => Step::Id,
            other => other.clone(),
        }
    }

    fn end(&mut self, basis: Basis, tally: Tally) -> usize {
        match self.ends.entry(basis) {
            Entry::Vacant(entry) => {
                entry.insert(tally);
                0
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().add(tally);
                1
            }
        }
    }

    fn merge_words(&mut self) -> usize {
        let is_word = |step: &Step| matches!(step, Step::Word(_));
        let words = self.next.keys().filter(|step| is_word(step)).count();
        self.names |= words > MAX_WORDS;
        if words == 0 || !self.names {
            return 0;
        }
        let (words, next) = std::mem::take(&mut self.next).into_iter().partition(|(step, _)| is_word(step));
        let words: BTreeMap<Step, Self> = words;
        self.next = next;
        let names = self.next.entry(Step::Id).or_default();
        words.into_values().map(|place| names.absorb(place)).sum()
    }

    fn absorb(&mut self, other: Self) -> usize {
        self.names |= other.names;
        let mut merged: usize = other.ends.into_iter().map(|(basis, tally)| self.end(basis, tally)).sum();
        for (step, place) in other.next {
            let step = self.read(&step);
            merged += self.next.entry(step).or_default().absorb(place);
        }
        merged + self.merge_words()
    }
}
