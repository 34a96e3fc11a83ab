//! The VMs of the process: which of them live, and what those that do not took with them.
//!
//! Every participant (a root context in a VM) owns a slot: a gauge per lane with its own writes in
//! flight, and a gauge that it moves on every tick. Of a slot that stands still the leader knows that
//! its writes will never be counted down.

use crate::{
    barrier::{LANES, Lane},
    host::{self, Metric},
};

/// How many slots were given out; decimal.
const SLOTS: &str = "quiesce.slots";

/// Participants beyond this share the last slot.
const MAX_SLOTS: u64 = 4096;

/// A slot that has stood still for so long belongs to a VM that is gone; milliseconds.
const GONE_AFTER_MS: u64 = 3000;

/// The gauges of one slot.
#[derive(Clone, Copy)]
pub struct Slot {
    number: u64,
    in_flight: [Metric; LANES],
    beat: Metric,
}

impl Slot {
    /// Takes a slot that nobody else has.
    pub fn take() -> Option<Self> {
        loop {
            let read = host::shared(SLOTS);
            let taken = slots_taken(&read);
            let number = taken.min(MAX_SLOTS - 1);
            if host::replace_shared(SLOTS, &read, (number + 1).to_string().as_bytes()) {
                return Self::numbered(number);
            }
        }
    }

    fn numbered(number: u64) -> Option<Self> {
        let gauge = |what: &str| Metric::gauge(&format!("quiesce.vm.{number}.{what}"));
        Some(Self { number, in_flight: [gauge("in_flight.0")?, gauge("in_flight.1")?], beat: gauge("beat")? })
    }

    /// Its number, unique within the process.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Shows that the VM lives.
    pub fn beat(&self) {
        self.beat.add(1);
    }

    /// Counts writes in flight up or down.
    pub fn add(&self, lane: Lane, offset: i64) {
        if let Some(gauge) = self.in_flight.get(lane.index()) {
            gauge.add(offset);
        }
    }
}

/// The leader's view of all slots.
#[derive(Default)]
pub struct Roll {
    watched: Vec<Watched>,
}

struct Watched {
    slot: Slot,
    last_beat: u64,
    silent_ms: u64,
}

impl Roll {
    /// Looks at all slots, `elapsed_ms` after the last look.
    pub fn tick(&mut self, elapsed_ms: u64) {
        let taken = slots_taken(&host::shared(SLOTS));
        while let Ok(number) = u64::try_from(self.watched.len())
            && number < taken
        {
            let Some(slot) = Slot::numbered(number) else { break };
            self.watched.push(Watched { slot, last_beat: 0, silent_ms: 0 });
        }
        for watched in &mut self.watched {
            let beat = watched.slot.beat.get().unwrap_or(watched.last_beat);
            watched.silent_ms =
                if beat == watched.last_beat { watched.silent_ms.saturating_add(elapsed_ms) } else { 0 };
            watched.last_beat = beat;
        }
    }

    /// Writes by lane whose end will never be known.
    pub fn left_behind(&self) -> [u64; LANES] {
        let mut left = [0; LANES];
        for watched in self.watched.iter().filter(|watched| watched.silent_ms >= GONE_AFTER_MS) {
            for (sum, gauge) in left.iter_mut().zip(watched.slot.in_flight) {
                *sum += gauge.get().unwrap_or(0);
            }
        }
        left
    }
}

fn slots_taken(read: &host::Shared) -> u64 {
    let text = read.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
