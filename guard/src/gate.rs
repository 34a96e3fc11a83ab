//! A gate for what writes without being asked by a request: jobs, schedulers, compactions.

use std::{borrow::Cow, fmt, time::Duration};

use quiesce_policy::{
    Host, Refusal, Stop, Timestamp,
    retry::RetryLedger,
    snapshot::{Mode, Window, WindowId},
};

use crate::{
    Guard,
    counters::Outcome,
    in_flight::{Counted, between_steps},
    state::State,
};

/// Who waits at a gate looks again at least this often: a lease may have ended, which nobody tells.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A write that is held back while a guard starts may come back so soon.
const STARTING_RETRY: Duration = Duration::from_secs(1);

/// A gate through which writes go that no request asks for. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct WriteGate {
    guard: Guard,
    host: Host<'static>,
}

/// A write that may go on: in flight until this is dropped. Keep it until the write is over, and not only begun.
#[derive(Debug)]
#[must_use = "the write is in flight only for as long as this is kept"]
pub struct WritePermit {
    _counted: Counted,
}

/// Why a write may not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; come back in {} s{}", refusal.title(), retry_after.as_secs(), Because(reason.as_deref()))]
pub struct WriteRefused {
    /// The reason.
    pub refusal: Refusal,
    /// The window that refuses it, if it is one.
    pub window: Option<WindowId>,
    /// What the window is for, in its operator's words.
    pub reason: Option<String>,
    /// When people were told that it ends.
    pub ends_at: Option<Timestamp>,
    /// How long to wait before trying again; spread, so that not all who wait come back together.
    pub retry_after: Duration,
}

struct Because<'a>(Option<&'a str>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

impl WriteGate {
    pub(crate) fn new(guard: Guard, host: Option<&str>) -> Self {
        let host = host.map_or(Host::Odd, |host| match Host::read(host.as_bytes()) {
            Host::Named(host) => Host::Named(Cow::Owned(host.into_owned())),
            Host::Odd => Host::Odd,
        });
        Self { guard, host }
    }

    /// Lets a write go on, unless a window refuses it. It never waits.
    ///
    /// # Errors
    /// When a window is in force, or the guard does not know whether one is; the error says when to come back.
    pub fn enter(&self) -> Result<WritePermit, WriteRefused> {
        let shared = self.guard.shared();
        // Count, then look.
        let counted = shared.in_flight.count(&self.host);
        between_steps();
        let now = (shared.clock)();
        let state = shared.state_at(now);
        between_steps();
        if let Some(refusal) = shared.unknown_state(&state) {
            state.note(None, Outcome::Stopped(Stop::Refused(refusal)));
            return Err(WriteRefused::new(refusal, &state, None, now));
        }
        let outcome = match state.policy.schedule().refusing(&self.host, now, &state.latches) {
            None => Outcome::Admitted,
            Some(_) if state.policy.mode() == Mode::Observe => {
                Outcome::Observed(Stop::Refused(Refusal::ReadOnly))
            }
            Some(window) => {
                state.note(None, Outcome::Stopped(Stop::Refused(Refusal::ReadOnly)));
                return Err(WriteRefused::new(Refusal::ReadOnly, &state, Some(window), now));
            }
        };
        state.note(None, outcome);
        Ok(WritePermit { _counted: counted })
    }

    /// Lets a write go on as soon as none refuses it. Who waits for a thaw so is let go at once, together with all
    /// others who wait; give them a spread of their own where that is too many.
    pub async fn enter_when_open(&self) -> WritePermit {
        let mut changes = self.guard.shared().follow();
        loop {
            // What changes after this look ends the wait that follows it.
            changes.mark_unchanged();
            match self.enter() {
                Ok(permit) => return permit,
                Err(_) => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()).await;
                }
            }
        }
    }
}

impl WriteRefused {
    fn new(refusal: Refusal, state: &State, window: Option<&Window>, now: Timestamp) -> Self {
        let ends_at = window.and_then(|window| window.ends_at);
        let retry_after = if refusal == Refusal::Starting {
            STARTING_RETRY
        } else {
            let retry = state.policy.retry();
            let wait = RetryLedger::single().refuse(0, retry, now, ends_at, fastrand::u64(..));
            Duration::from_secs(wait.retry_after_s)
        };
        Self {
            refusal,
            window: window.map(|window| window.id.clone()),
            reason: window.map(|window| window.reason.clone()),
            ends_at,
            retry_after,
        }
    }
}
