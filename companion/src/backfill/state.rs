//! How the backfill stands: shared by the engine, the operators' calls and the barrier.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quiesce_policy::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use super::{answer::Ending, gate::Running};
use crate::event::{Event, EventKind};

/// The backfill of this process.
pub struct Backfill {
    /// Whose claims are ours: no other process and no earlier run has this name.
    pub owner: String,
    /// Replays that are running.
    pub running: Running,
    /// Wakes the engine.
    pub wake: Notify,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    pause: Option<Pause>,
    /// The latest event that was taken into account, by its place in the log.
    noted: u64,
    run: Option<Run>,
}

/// Why nothing is replayed until an operator says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pause {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who paused it: the name of a token, or `companion`.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// The replays between an idle engine and the next time that it is idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// What became of the attempts.
    pub tally: Tally,
}

/// Attempts, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// Intents that the origin has taken.
    pub done: u64,
    /// Intents that the origin has refused for good.
    pub refused: u64,
    /// Intents given up, whose lines stop.
    pub given_up: u64,
    /// Attempts that are made again.
    pub again: u64,
}

impl Tally {
    fn note(&mut self, ending: Ending) {
        match ending {
            Ending::Done => self.done += 1,
            Ending::Refused => self.refused += 1,
            Ending::GivenUp => self.given_up += 1,
            Ending::Later | Ending::Failure => self.again += 1,
            Ending::Unsent => {}
        }
    }
}

impl Backfill {
    /// As it was left: `last` is the event that last paused or resumed it.
    pub fn new(last: Option<Event>) -> Self {
        let backfill = Self {
            owner: ulid::Ulid::generate().to_string().to_lowercase(),
            running: Running::default(),
            wake: Notify::new(),
            standing: Mutex::default(),
        };
        if let Some(last) = last {
            backfill.take_note(&last);
        }
        backfill
    }

    /// Takes an event of the log into account, unless a later one has been.
    pub fn take_note(&self, event: &Event) {
        let pause = match event.kind {
            EventKind::BackfillPaused => {
                let reason = event.evidence.get("reason").and_then(|it| it.as_str()).unwrap_or_default();
                Some(Pause { at: event.at, by: event.who.clone(), reason: reason.to_owned() })
            }
            EventKind::BackfillResumed => None,
            _ => return,
        };
        let mut standing = self.standing();
        if event.seq > standing.noted {
            standing.noted = event.seq;
            standing.pause = pause;
            self.wake.notify_one();
        }
    }

    /// Stops or lets go what is to be sent.
    pub fn set_pause(&self, pause: Option<Pause>) {
        self.standing().pause = pause;
        self.wake.notify_one();
    }

    /// Why nothing is replayed, if that is so.
    pub fn pause(&self) -> Option<Pause> {
        self.standing().pause.clone()
    }

    /// Begins a run, unless one is under way; says whether it did.
    pub fn begin_run(&self, now: Timestamp) -> bool {
        let mut standing = self.standing();
        let begins = standing.run.is_none();
        standing.run.get_or_insert(Run { started_at: now, tally: Tally::default() });
        begins
    }

    /// Counts an attempt of the run.
    pub fn note(&self, ending: Ending) {
        if let Some(run) = &mut self.standing().run {
            run.tally.note(ending);
        }
    }

    /// Ends the run.
    pub fn end_run(&self) -> Option<Run> {
        self.standing().run.take()
    }

    /// The run under way.
    pub fn run(&self) -> Option<Run> {
        self.standing().run.clone()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
