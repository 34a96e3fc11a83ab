//! A freeze between any two host calls of the module that ships: whatever is then reported must be true.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;
#[path = "common/vms.rs"]
mod vms;

use std::sync::{Arc, Mutex};

use common::{NOON, snapshot, window};
use quiesce_integration::host::Outcome;
use vms::{TICK_MS, other_than, status, workers, write};

/// The argument for the barrier, tried on the module that ships: a freeze comes in between any two
/// host calls of a write's admission, and whatever the leader then reports must be true.
#[test]
fn a_freeze_between_any_two_host_calls_lets_no_write_escape() {
    let mut points = 0;
    for at in 1.. {
        let workers = Arc::new(Mutex::new(workers(2, &snapshot(1, vec![]))));
        let leader = workers.lock().unwrap().leader().unwrap();
        let vm = other_than(&workers.lock().unwrap(), leader);
        // The worker's VM is apart from the others, so that they can run while it is within a call.
        let mut worker = workers.lock().unwrap().vms.remove(&vm).unwrap();
        let process = workers.lock().unwrap().process.clone();
        let calls = Arc::new(Mutex::new((0, None)));
        let (others, seen) = (Arc::clone(&workers), Arc::clone(&calls));
        process.on_host_call(move |number, _| {
            let mut seen = seen.lock().unwrap();
            if number != vm {
                return;
            }
            seen.0 += 1;
            if seen.0 == at {
                let mut others = others.lock().unwrap();
                others.publish(&snapshot(2, vec![window("w", NOON)])).unwrap();
                seen.1 = Some(others.last_report().unwrap().clone());
            }
        });
        let (stream, outcome) = worker.request(&write(), true).unwrap();
        process.clear_hook();
        let Some(report) = calls.lock().unwrap().1.take() else { break };
        points += 1;
        assert_eq!(report.in_force.len(), 1, "the freeze is acknowledged at once");
        if report.in_flight == 0 {
            assert_eq!(status(&outcome), 423, "proven at host call {at}, and the write passed");
        }
        worker.finish(stream).unwrap();
        let mut workers = workers.lock().unwrap();
        workers.vms.insert(vm, worker);
        workers.run(2 * TICK_MS).unwrap();
        assert_eq!(workers.last_report().unwrap().in_flight, 0, "in the end it is proven");
    }
    assert!(points >= 5, "only {points} host calls were tried");
}

/// The same for a write that its VM's tick moves from one lane to the other, because the window in
/// force does not concern it, while one comes into force that does.
#[test]
fn a_freeze_between_any_two_host_calls_of_a_tick_lets_no_write_escape() {
    let scoped = |id: &str, host: &str| {
        let mut window = window(id, NOON);
        window.scope.hosts = vec![host.to_owned()];
        window
    };
    let mut moved = 0;
    for at in 1.. {
        let workers = Arc::new(Mutex::new(workers(2, &snapshot(1, vec![]))));
        let leader = workers.lock().unwrap().leader().unwrap();
        let vm = other_than(&workers.lock().unwrap(), leader);
        let mut worker = workers.lock().unwrap().vms.remove(&vm).unwrap();
        let (stream, outcome) = worker.request(&write().header(":authority", "b.example.com"), true).unwrap();
        assert_eq!(outcome, Outcome::Passed);
        workers.lock().unwrap().publish(&snapshot(2, vec![scoped("a", "a.example.com")])).unwrap();
        let process = workers.lock().unwrap().process.clone();
        let lane = process.metric("quiesce.lane");

        let calls = Arc::new(Mutex::new((0, None)));
        let (others, seen) = (Arc::clone(&workers), Arc::clone(&calls));
        process.on_host_call(move |number, _| {
            let mut seen = seen.lock().unwrap();
            if number != vm {
                return;
            }
            seen.0 += 1;
            if seen.0 == at {
                let both = vec![scoped("a", "a.example.com"), scoped("b", "b.example.com")];
                let mut others = others.lock().unwrap();
                others.publish(&snapshot(3, both)).unwrap();
                seen.1 = Some(others.last_report().unwrap().clone());
            }
        });
        worker.tick().unwrap();
        process.clear_hook();
        let Some(report) = calls.lock().unwrap().1.take() else { break };
        assert_eq!(report.in_force.len(), 2, "the second freeze is acknowledged at once");
        assert!(report.in_flight > 0, "proven at host call {at} of the tick while the write runs");
        let mut workers = workers.lock().unwrap();
        workers.vms.insert(vm, worker);
        for _ in 0..3 {
            workers.run(TICK_MS).unwrap();
            assert!(workers.last_report().unwrap().in_flight > 0, "proven after host call {at} of the tick");
        }
        workers.vm(vm).finish(stream).unwrap();
        workers.run(2 * TICK_MS).unwrap();
        assert_eq!(workers.last_report().unwrap().in_flight, 0, "in the end it is proven");
        moved += u32::from(lane == 1);
    }
    assert!(moved >= 5, "the write was to be moved at only {moved} host calls");
}
