//! Writes in flight: counted before the state is looked at, for as long as their stream lives.

use std::{borrow::Cow, cell::RefCell};

use rustc_hash::FxHashMap as HashMap;

use quiesce_policy::{Host, Latches, Policy, Timestamp, snapshot::Window};

use crate::{
    barrier::{LANES, Lane},
    host::Metric,
    vms::Slot,
};

/// How often a lane that is not at zero is read again: a write that is being refused is counted for
/// some microseconds, and any one reading at zero proves that no admitted write is left in the lane.
const READINGS: usize = 32;

/// The writes in flight through one VM, and the process's count of all.
pub struct InFlight {
    lanes: [Metric; LANES],
    current: Metric,
    slot: Slot,
    streams: RefCell<HashMap<u32, Stream>>,
}

/// A write that was admitted.
struct Stream {
    lane: Lane,
    /// What it asked for, if that could be read; in lower case.
    host: Option<Box<[u8]>>,
}

impl Stream {
    /// The window that would refuse it now.
    fn refusing<'p>(&self, policy: &'p Policy, now: Timestamp, latches: &Latches) -> Option<&'p Window> {
        let host = self.host.as_deref().map_or(Host::Odd, |host| Host::Named(Cow::Borrowed(host)));
        policy.schedule().refusing(&host, now, latches)
    }
}

/// What [`InFlight::sort`] found.
#[derive(Default)]
pub struct Sorted {
    /// Writes to cut.
    pub overdue: Vec<u32>,
    /// Writes on their way to another lane.
    pub moving: Vec<Moving>,
}

/// A write that is counted in two lanes.
pub struct Moving {
    context_id: u32,
    from: Lane,
    to: Lane,
}

/// A write that is counted and not decided about: no longer counted when this is dropped.
pub struct Counted<'a> {
    in_flight: &'a InFlight,
    lane: Lane,
}

impl InFlight {
    /// The process's gauges, and this VM's own.
    pub fn new(slot: Slot) -> Option<Self> {
        Some(Self {
            lanes: [Metric::gauge("quiesce.in_flight.0")?, Metric::gauge("quiesce.in_flight.1")?],
            current: Metric::gauge("quiesce.lane")?,
            slot,
            streams: RefCell::default(),
        })
    }

    /// This VM's slot.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Counts a write. Whoever calls this looks at the state only afterwards.
    pub fn count(&self) -> Counted<'_> {
        let lane = self.current();
        self.add(lane, 1);
        Counted { in_flight: self, lane }
    }

    /// Whether no admitted write is in flight.
    pub fn is_empty(&self) -> bool {
        self.streams.borrow().is_empty()
    }

    /// Counts a write down, if this is the end of one that was admitted here.
    pub fn leave(&self, context_id: u32) {
        if self.is_empty() {
            return;
        }
        let stream = self.streams.borrow_mut().remove(&context_id);
        if let Some(stream) = stream {
            self.add(stream.lane, -1);
        }
    }

    /// The lane that new writes are counted in.
    pub fn current(&self) -> Lane {
        Lane::from_gauge(self.current.get().unwrap_or(0))
    }

    /// Has new writes counted in this lane from now on.
    pub fn steer_to(&self, lane: Lane) {
        self.current.set(u64::try_from(lane.index()).unwrap_or(0));
    }

    /// The process's writes in flight by lane, without those that dead VMs left behind.
    pub fn counts(&self, left_behind: [u64; LANES]) -> [u64; LANES] {
        let mut counts = [0; LANES];
        for ((count, gauge), left) in counts.iter_mut().zip(self.lanes).zip(left_behind) {
            let read = || gauge.get().unwrap_or(u64::MAX).saturating_sub(left);
            *count = read();
            for _ in 0..READINGS {
                if *count == 0 {
                    break;
                }
                *count = read().min(*count);
            }
        }
        counts
    }

    /// Finds this VM's writes that no window in force concerns, to move them to the lane of new ones so
    /// that the other lane can drain, and those that have outstayed their window's drain timeout. Those
    /// to move are counted in both lanes until [`InFlight::settle`], before which the state has to be
    /// looked at again: a window may come into force meanwhile, as it may while a new write is counted.
    pub fn sort(&self, policy: &Policy, now: Timestamp, latches: &Latches) -> Sorted {
        let to = self.current();
        let mut sorted = Sorted::default();
        for (context_id, stream) in self.streams.borrow().iter() {
            match stream.refusing(policy, now, latches) {
                Some(window) if now >= window.starts_at.plus_ms(window.drain_timeout_ms) => {
                    sorted.overdue.push(*context_id);
                }
                None if stream.lane != to => {
                    sorted.moving.push(Moving { context_id: *context_id, from: stream.lane, to });
                }
                _ => {}
            }
        }
        for _ in &sorted.moving {
            self.add(to, 1);
        }
        sorted
    }

    /// Ends the moves of [`InFlight::sort`]; a write that a window concerns by now stays where it was.
    pub fn settle(&self, moving: Vec<Moving>, policy: &Policy, now: Timestamp, latches: &Latches) {
        for Moving { context_id, from, to } in moving {
            let mut streams = self.streams.borrow_mut();
            let left = match streams.get_mut(&context_id) {
                Some(stream) if stream.refusing(policy, now, latches).is_none() => {
                    stream.lane = to;
                    from
                }
                _ => to,
            };
            self.add(left, -1);
        }
    }

    fn add(&self, lane: Lane, offset: i64) {
        if let Some(gauge) = self.lanes.get(lane.index()) {
            gauge.add(offset);
        }
        self.slot.add(lane, offset);
    }
}

impl Counted<'_> {
    /// Admits the write of this stream, to this host: it stays counted until [`InFlight::leave`].
    pub fn admit(self, context_id: u32, host: &Host<'_>) {
        let host = match host {
            Host::Named(host) => Some(Box::from(&**host)),
            Host::Odd => None,
        };
        self.in_flight.streams.borrow_mut().insert(context_id, Stream { lane: self.lane, host });
        std::mem::forget(self);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.in_flight.add(self.lane, -1);
    }
}
