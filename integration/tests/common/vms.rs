//! What the tests of several VMs need.
#![allow(dead_code, reason = "no file of tests uses all of it")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

use quiesce_integration::host::{Head, Outcome, StreamId, Workers};
use quiesce_policy::snapshot::Snapshot;

use crate::common::{NOON, plugin_json, shipped_module};

/// The period of a VM's ticks when nothing hurries it.
pub const TICK_MS: u64 = 1000;

/// A process with so many VMs and this snapshot in force.
pub fn workers(count: usize, first: &Snapshot) -> Workers {
    let mut workers = Workers::start(&shipped_module(), count, &plugin_json(), NOON).unwrap();
    workers.publish(first).unwrap();
    workers.run(TICK_MS).unwrap();
    assert_eq!(workers.process.metric("quiesce.epoch"), first.version.0, "the first snapshot is in force");
    workers
}

/// A write.
pub fn write() -> Head {
    Head::new("POST", "/items")
}

/// A write in flight through this VM.
pub fn admitted(workers: &mut Workers, vm: u32) -> StreamId {
    let (stream, outcome) = workers.vm(vm).request(&write(), true).unwrap();
    assert_eq!(outcome, Outcome::Passed);
    stream
}

/// The status that the client sees; 200 if the request passes.
pub fn status(outcome: &Outcome) -> u32 {
    match outcome {
        Outcome::Answered(response) => response.status,
        Outcome::Passed => 200,
        other => panic!("neither passed nor answered: {other:?}"),
    }
}

/// A VM that is not this one.
pub fn other_than(workers: &Workers, vm: u32) -> u32 {
    *workers.vms.keys().find(|number| **number != vm).unwrap()
}
