//! What goes wrong inside one Envoy process, at moments that only a host of our own can choose: VMs
//! that die, clocks that jump, snapshots that are none. Runs the module that ships.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;
#[path = "common/vms.rs"]
mod vms;

use common::{MINUTE_MS, NOON, shipped_module, snapshot, window};
use quiesce_integration::host::{Head, Outcome, Workers};
use quiesce_policy::{snapshot::Epoch, time::Timestamp};
use vms::{TICK_MS, admitted, other_than, status, workers, write};

/// The lease is taken over when it has not been renewed for this long.
const LEASE_MS: u64 = 3000;

#[test]
fn one_vm_of_each_process_talks_to_the_companion() {
    let mut workers = workers(3, &snapshot(1, vec![]));
    workers.run(2 * MINUTE_MS).unwrap();
    let polls = workers.reports().iter().filter(|report| report.wait_ms > 0).count();
    assert!((4..=8).contains(&polls), "{polls} polls of 30 s in two minutes");
    let instances: std::collections::BTreeSet<_> =
        workers.reports().iter().map(|report| report.enforcer.instance.as_str()).collect();
    assert_eq!(instances.len(), 1, "all VMs are one instance: {instances:?}");
}

#[test]
fn a_freeze_is_in_force_on_every_vm_at_once() {
    let mut workers = workers(3, &snapshot(1, vec![]));
    let vms: Vec<_> = workers.vms.keys().copied().collect();
    for vm in &vms {
        assert_eq!(status(&workers.vm(*vm).exchange(&write()).unwrap()), 200);
    }
    workers.publish(&snapshot(2, vec![window("w", NOON)])).unwrap();
    for vm in &vms {
        assert_eq!(status(&workers.vm(*vm).exchange(&write()).unwrap()), 423, "VM {vm}");
        assert_eq!(status(&workers.vm(*vm).exchange(&Head::new("GET", "/items")).unwrap()), 200, "VM {vm}");
    }
    let report = workers.last_report().unwrap();
    assert_eq!((report.applied, report.in_flight, report.unaccounted), (Epoch(2), 0, 0));
    assert_eq!(report.in_force.len(), 1);
}

#[test]
fn writes_in_flight_on_any_vm_hold_the_barrier_up() {
    let mut workers = workers(3, &snapshot(1, vec![]));
    let streams: Vec<_> = workers.vms.keys().copied().collect::<Vec<_>>();
    let streams: Vec<_> = streams.into_iter().map(|vm| (vm, admitted(&mut workers, vm))).collect();
    workers.publish(&snapshot(2, vec![window("w", NOON)])).unwrap();
    for (left, (vm, stream)) in (0..streams.len()).rev().zip(streams) {
        let before = workers.last_report().unwrap();
        assert_eq!(before.in_flight, u64::try_from(left + 1).unwrap());
        workers.vm(vm).response(stream, 200, true).unwrap();
        workers.vm(vm).finish(stream).unwrap();
        // "while in_flight falls, at most every 50 ms"
        workers.run(100).unwrap();
        assert_eq!(workers.last_report().unwrap().in_flight, u64::try_from(left).unwrap());
    }
}

#[test]
fn the_lease_moves_when_the_leaders_vm_is_gone() {
    let mut workers = workers(3, &snapshot(1, vec![]));
    let leader = workers.leader().unwrap();
    workers.drop_vm(leader);
    workers.publish(&snapshot(2, vec![window("w", NOON)])).unwrap();
    assert_eq!(workers.process.metric("quiesce.epoch"), 1, "nobody fetches it yet");
    workers.run(LEASE_MS + 2 * TICK_MS).unwrap();
    assert_eq!(workers.process.metric("quiesce.epoch"), 2, "the next leader has fetched it");
    let report = workers.last_report().unwrap();
    assert_eq!((report.in_force.len(), report.in_flight), (1, 0));
    assert_ne!(workers.leader(), Some(leader));
}

#[test]
fn a_vm_that_dies_with_writes_in_flight_leaves_the_barrier_unproven() {
    let mut workers = workers(3, &snapshot(1, vec![]));
    let leader = workers.leader().unwrap();
    let victim = other_than(&workers, leader);
    let (one, two) = (admitted(&mut workers, victim), admitted(&mut workers, victim));
    workers.vm(victim).crash();
    assert!(workers.vm(victim).has_failed());
    for stream in [one, two] {
        workers.vm(victim).finish(stream).unwrap();
    }
    workers.drop_vm(victim);
    workers.start_vm().unwrap();
    workers.publish(&snapshot(2, vec![window("w", NOON)])).unwrap();
    let mut reports = workers.reports().len();
    for _ in 0..20 {
        workers.run(TICK_MS).unwrap();
        for report in &workers.reports()[reports..] {
            let proven = report.in_flight == 0 && report.unaccounted == 0 && !report.in_force.is_empty();
            assert!(!proven, "proven though two writes were lost: {report:?}");
        }
        reports = workers.reports().len();
    }
    let report = workers.last_report().unwrap();
    assert_eq!((report.in_flight, report.unaccounted), (0, 2), "the loss is named: {report:?}");
}

#[test]
fn a_crashed_leader_with_writes_in_flight_is_noticed_by_the_next_one() {
    let mut workers = workers(3, &snapshot(1, vec![]));
    let leader = workers.leader().unwrap();
    admitted(&mut workers, leader);
    workers.vm(leader).crash();
    workers.drop_vm(leader);
    workers.publish(&snapshot(2, vec![window("w", NOON)])).unwrap();
    workers.run(4 * LEASE_MS).unwrap();
    let report = workers.last_report().unwrap();
    assert_eq!((report.in_force.len(), report.in_flight, report.unaccounted), (1, 0, 1), "{report:?}");
}

#[test]
fn a_scheduled_window_starts_by_the_proxys_clock_with_the_companion_down() {
    let start = NOON.plus_ms(5 * MINUTE_MS);
    let mut scheduled = window("w", start);
    scheduled.started = false;
    let mut workers = workers(2, &snapshot(1, vec![scheduled]));
    let vms: Vec<_> = workers.vms.keys().copied().collect();
    workers.set_companion_down(true).unwrap();
    workers.run(start.ms_since(workers.process.clock()) - 1).unwrap();
    for vm in &vms {
        assert_eq!(status(&workers.vm(*vm).exchange(&write()).unwrap()), 200, "VM {vm} before the start");
    }
    workers.run(1).unwrap();
    for vm in &vms {
        assert_eq!(status(&workers.vm(*vm).exchange(&write()).unwrap()), 423, "VM {vm} at the start");
    }
    workers.set_companion_down(false).unwrap();
    workers.run(10 * TICK_MS).unwrap();
    let report = workers.last_report().unwrap();
    assert_eq!((report.in_force.len(), report.in_flight), (1, 0), "acknowledged when the companion is back");
}

#[test]
fn a_clock_that_jumps_back_reopens_nothing() {
    let start = NOON.plus_ms(MINUTE_MS);
    let mut scheduled = window("w", start);
    scheduled.started = false;
    let mut workers = workers(2, &snapshot(1, vec![scheduled]));
    let vms: Vec<_> = workers.vms.keys().copied().collect();
    workers.run(MINUTE_MS).unwrap();
    assert_eq!(workers.last_report().unwrap().in_force.len(), 1, "acknowledged at its start");
    workers.jump_clock(NOON.plus_ms(2000));
    for vm in &vms {
        assert_eq!(status(&workers.vm(*vm).exchange(&write()).unwrap()), 423, "VM {vm}");
    }
    workers.run(10 * TICK_MS).unwrap();
    let fresh = workers.start_vm().unwrap();
    for vm in [vms[0], vms[1], fresh] {
        assert_eq!(status(&workers.vm(vm).exchange(&write()).unwrap()), 423, "VM {vm} ten seconds later");
    }
    assert_eq!(workers.last_report().unwrap().in_force.len(), 1);
}

#[test]
fn a_window_lapses_at_expires_at_with_the_companion_down() {
    let frozen = window("w", NOON);
    let lapse = frozen.expires_at;
    let mut workers = workers(2, &snapshot(1, vec![frozen]));
    let vm = other_than(&workers, workers.leader().unwrap());
    workers.set_companion_down(true).unwrap();
    // Long past `ends_at`, which is only what people are told.
    workers.run(lapse.ms_since(workers.process.clock()) - 1).unwrap();
    assert_eq!(status(&workers.vm(vm).exchange(&write()).unwrap()), 423, "a millisecond before");
    workers.run(1).unwrap();
    assert_eq!(status(&workers.vm(vm).exchange(&write()).unwrap()), 200, "at expires_at");
}

#[test]
fn a_snapshot_that_is_none_changes_nothing_and_is_reported() {
    let mut workers = workers(2, &snapshot(1, vec![window("w", NOON)]));
    for (count, (version, body)) in (1..).zip([
        (2, "{ not json".to_owned()),
        (3, r#"{"version":3,"windoms":[]}"#.to_owned()),
        (4, r#"{"version":4,"windows":[{"id":"w"}]}"#.to_owned()),
        (5, String::new()),
        (6, "[".repeat(100_000)),
    ]) {
        workers.publish_bytes(Epoch(version), body.into_bytes()).unwrap();
        workers.run(10 * TICK_MS).unwrap();
        let report = workers.last_report().unwrap();
        let rejected = report.rejected.as_ref().unwrap();
        assert_eq!((report.applied, rejected.version, rejected.count), (Epoch(1), Epoch(version), count));
        assert!(!rejected.error.is_empty());
        assert_eq!(workers.process.metric("quiesce.snapshots_rejected"), count);
        let vms: Vec<_> = workers.vms.keys().copied().collect();
        for vm in vms {
            assert_eq!(status(&workers.vm(vm).exchange(&write()).unwrap()), 423, "the last good one holds");
        }
    }
    let polls = workers.reports().len();
    assert!(polls < 60, "{polls} calls in 50 s: a bad snapshot is not asked for in a loop");
    workers.publish(&snapshot(7, vec![])).unwrap();
    workers.run(10 * TICK_MS).unwrap();
    let report = workers.last_report().unwrap();
    assert_eq!((report.applied, &report.rejected), (Epoch(7), &None), "a good one clears it");
}

#[test]
fn a_write_that_outstays_the_drain_timeout_is_cut() {
    let mut workers = workers(2, &snapshot(1, vec![]));
    let leader = workers.leader().unwrap();
    let vm = other_than(&workers, leader);
    let (stream, outcome) = workers.vm(vm).request(&write(), false).unwrap();
    assert_eq!(outcome, Outcome::Passed);
    let at = workers.process.clock();
    let mut frozen = window("w", at);
    frozen.drain_timeout_ms = 5000;
    workers.publish(&snapshot(2, vec![frozen])).unwrap();
    workers.run(4900).unwrap();
    assert_eq!(workers.vm(vm).outcome(stream), Outcome::Passed, "not before its time");
    workers.run(2 * TICK_MS).unwrap();
    assert_eq!(workers.vm(vm).outcome(stream), Outcome::Reset);
    let report = workers.last_report().unwrap();
    assert_eq!((report.in_flight, report.cut, report.unaccounted), (0, 1, 0), "{report:?}");
}

#[test]
fn boot_modes_say_what_becomes_of_writes_before_the_first_snapshot() {
    let boot = |extra: &str| {
        let config = format!(r#"{{"companion_cluster":"quiesce","sync_token":"t"{extra}}}"#);
        Workers::start(&shipped_module(), 1, &config, NOON).unwrap()
    };
    let write_status = |workers: &mut Workers| {
        let outcome = workers.vm(0).exchange(&write()).unwrap();
        let retry =
            outcome.answered().ok().and_then(|answer| answer.header("retry-after").map(str::to_owned));
        (status(&outcome), retry)
    };
    let read_status =
        |workers: &mut Workers| status(&workers.vm(0).exchange(&Head::new("GET", "/")).unwrap());
    let held = (503, Some("1".to_owned()));

    let mut default = boot("");
    default.set_companion_down(true).unwrap();
    assert_eq!(
        (write_status(&mut default), read_status(&mut default)),
        (held.clone(), 200),
        "hold by default"
    );

    let mut open = boot(r#","boot":"open""#);
    assert_eq!((write_status(&mut open).0, read_status(&mut open)), (200, 200), "open");

    let mut closed = boot(r#","boot":"closed""#);
    closed.run(MINUTE_MS).unwrap();
    assert_eq!((write_status(&mut closed).0, read_status(&mut closed)), (503, 200), "closed");

    for (unreachable, then) in [("open", 200), ("closed", 503)] {
        let extra = format!(r#","boot":"hold","boot_timeout_ms":2000,"on_unreachable":"{unreachable}""#);
        let mut hold = boot(&extra);
        hold.set_companion_down(true).unwrap();
        hold.run(1900).unwrap();
        assert_eq!(write_status(&mut hold), held, "hold, then {unreachable}");
        hold.run(200).unwrap();
        assert_eq!(write_status(&mut hold).0, then, "hold, then {unreachable}");
        hold.set_companion_down(false).unwrap();
        hold.publish(&snapshot(1, vec![])).unwrap();
        hold.run(10 * TICK_MS).unwrap();
        assert_eq!(write_status(&mut hold).0, 200, "the snapshot is there");
    }
}

/// The companion's clock says that the window has begun, the proxy's does not yet.
#[test]
fn a_window_that_the_companion_calls_started_is_in_force_whatever_the_clock() {
    let mut workers = workers(1, &snapshot(1, vec![]));
    let late: Timestamp = NOON.plus_ms(MINUTE_MS);
    workers.publish(&snapshot(2, vec![window("w", late)])).unwrap();
    assert_eq!(status(&workers.vm(0).exchange(&write()).unwrap()), 423);
    assert_eq!(workers.last_report().unwrap().in_force.len(), 1);
}
