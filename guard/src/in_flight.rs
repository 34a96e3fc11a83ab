//! Writes in flight: counted before the state is looked at, for as long as they last.
//!
//! A write is entered under a lock, and the state is looked at after that lock was released; whoever asks what is
//! in flight has put the state in force before taking the same lock. Of the two, whichever comes second sees what
//! the first has done: the write sees the window, or the window sees the write. There is no third way.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quiesce_policy::{
    Host, Latches, Policy, Timestamp,
    snapshot::{Window, WindowId},
};

/// Writes are spread over so many locks, so that they do not wait for each other.
const SHARDS: usize = 16;

/// All writes in flight in this process, by number.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    shards: [Shard; SHARDS],
    next: AtomicU64,
    /// Writes whose end will never be seen.
    lost: AtomicU64,
}

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<u64, Option<Box<[u8]>>>>);

impl Shard {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<Box<[u8]>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is counted: no longer when this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    in_flight: Arc<InFlight>,
    number: u64,
}

/// A write in flight that goes on after its response: the guard puts it into the extensions of requests that ask to
/// switch to another protocol. The handler keeps it for as long as the connection lasts.
///
/// The guard sees a response end, and not a WebSocket. If nobody keeps this when the protocol is switched, the
/// guard has lost sight of the write and says so: the barrier is then *not proven*.
#[derive(Clone, Debug)]
pub struct WriteInFlight {
    _counted: Arc<Counted>,
}

impl WriteInFlight {
    pub(crate) fn of(counted: &Arc<Counted>) -> Self {
        Self { _counted: Arc::clone(counted) }
    }
}

impl InFlight {
    /// Counts a write to this host. Whoever calls this looks at the state only afterwards.
    pub(crate) fn count(self: &Arc<Self>, host: &Host<'_>) -> Counted {
        let host = match host {
            Host::Named(host) => Some(Box::from(&**host)),
            Host::Odd => None,
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(number).lock().insert(number, host);
        Counted { in_flight: Arc::clone(self), number }
    }

    /// Notes that a write was lost sight of.
    pub(crate) fn lose_sight(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes that were lost sight of since the process started.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How many writes are in flight.
    pub(crate) fn total(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().len() as u64).sum()
    }

    #[allow(clippy::indexing_slicing, reason = "the remainder is less than the number of shards")]
    fn shard(&self, number: u64) -> &Shard {
        &self.shards[(number % SHARDS as u64) as usize]
    }

    /// The numbers of the writes that a window in force concerns.
    fn concerned(&self, policy: &Policy, now: Timestamp, latches: &Latches) -> Vec<u64> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let writes = shard.lock();
            let concerned = writes.iter().filter(|(_, host)| {
                let host = host.as_deref().map_or(Host::Odd, |host| Host::Named(Cow::Borrowed(host)));
                policy.schedule().refusing(&host, now, latches).is_some()
            });
            found.extend(concerned.map(|(number, _)| *number));
        }
        found
    }

    fn has(&self, number: u64) -> bool {
        self.shard(number).lock().contains_key(&number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.in_flight.shard(self.number).lock().remove(&self.number);
    }
}

/// Between two steps whose order matters. Tests let other threads go on here, so that a wrong order shows.
#[inline(always)]
pub(crate) fn between_steps() {
    #[cfg(test)]
    if fastrand::u8(..) < 64 {
        std::thread::yield_now();
    }
}

/// Which writes the windows in force wait for.
///
/// All that are in flight, and that a window concerns, when it has just come into force. A write that is entered
/// after that is about to be refused, or may pass during the window: nobody waits for it.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    covered: Vec<WindowId>,
    pending: Vec<u64>,
}

impl Drain {
    /// How many writes are waited for. The windows in force must have been so, for every write from then on, before
    /// this is called.
    pub(crate) fn look(
        &mut self,
        in_flight: &InFlight,
        policy: &Policy,
        now: Timestamp,
        latches: &Latches,
    ) -> u64 {
        let in_force: Vec<&Window> = policy.schedule().in_force(now, latches).collect();
        if in_force.iter().any(|window| !self.covered.contains(&window.id)) {
            self.pending = in_flight.concerned(policy, now, latches);
        } else {
            self.pending.retain(|number| in_flight.has(*number));
        }
        self.covered = in_force.into_iter().map(|window| window.id.clone()).collect();
        self.pending.len() as u64
    }
}
