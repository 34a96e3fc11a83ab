//! The Proxy-Wasm host itself: what it does for a module, and what it does not let pass.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

use quiesce_integration::{
    artifacts,
    host::{Head, Module, Outcome, Process, Vm},
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

/// A module whose `on_request_headers` runs these instructions, with these imports.
fn module(imports: &str, instructions: &str) -> anyhow::Result<Module> {
    let text = format!(
        r#"(module
            {imports}
            (memory (export "memory") 1)
            (func (export "malloc") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {instructions}))"#
    );
    Module::from_bytes(&wat::parse_str(text).unwrap())
}

fn vm(imports: &str, instructions: &str) -> Vm {
    Process::new(&module(imports, instructions).unwrap(), "envoy-1", NOW).start_vm("").unwrap()
}

fn complaint(imports: &str, instructions: &str) -> String {
    let mut vm = vm(imports, instructions);
    let complaint = vm.exchange(&Head::new("GET", "/")).unwrap_err().to_string();
    assert!(vm.has_failed(), "it goes on after: {complaint}");
    complaint
}

#[test]
fn callbacks_that_a_module_lacks_are_skipped() {
    assert_eq!(vm("", "(i32.const 0)").exchange(&Head::new("GET", "/")).unwrap(), Outcome::Passed);
}

#[test]
fn an_import_that_the_host_does_not_have_fails_at_link_time() {
    let import = r#"(import "env" "proxy_make_coffee" (func (result i32)))"#;
    assert!(module(import, "(i32.const 0)").unwrap_err().to_string().contains("proxy_make_coffee"));
}

#[test]
fn a_metric_that_was_never_defined_fails_the_test() {
    let import = r#"(import "env" "proxy_get_metric" (func $get (param i32 i32) (result i32)))"#;
    assert!(complaint(import, "(call $get (i32.const 5) (i32.const 64))").contains("never defined"));
}

#[test]
fn headers_of_another_callback_fail_the_test() {
    let import =
        r#"(import "env" "proxy_get_header_map_pairs" (func $get (param i32 i32 i32) (result i32)))"#;
    let response_headers = "(call $get (i32.const 2) (i32.const 64) (i32.const 68))";
    assert!(complaint(import, response_headers).contains("response headers in RequestHeaders"));
}

#[test]
fn memory_that_is_not_the_modules_fails_the_test() {
    let import =
        r#"(import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))"#;
    assert!(complaint(import, "(call $now (i32.const 65532))").contains("not the module's"));
}

#[test]
fn a_trap_ends_the_vm() {
    assert!(complaint("", "unreachable").contains("unreachable"));
}
