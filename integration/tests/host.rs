//! The Proxy-Wasm host itself: what it does for a module, and what it does not let pass.
#![allow(clippy::unwrap_used, reason = "what fails here fails its test")]

use quiesce_integration::{
    artifacts,
    host::{Head, Module, Outcome, Process},
};
use quiesce_policy::time::Timestamp;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);

/// A module that does nothing passes everything, and costs the entries that the SDK exports.
#[test]
fn a_module_that_does_nothing_passes_everything() {
    let module = Module::load(&artifacts::noop_wasm().unwrap()).unwrap();
    let process = Process::new(&module, "envoy-1", NOW);
    let mut vm = process.start_vm("").unwrap();
    vm.take_usage();
    assert_eq!(vm.exchange(&Head::new("POST", "/x")).unwrap(), Outcome::Passed);
    let usage = vm.take_usage();
    assert!(usage.entries >= 5 && usage.fuel > 0, "{usage:?}");
    assert!(vm.tick().unwrap_err().to_string().contains("asked for no ticks"));
}
