//! The benchmark runs; what it measures is not judged here.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

use std::process::Command;

use serde_json::Value;

#[test]
fn a_quick_run_measures_every_figure() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("--quick")
        .env("QUIESCE_BENCH_DIR", dir.path())
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("quick.json")).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    assert!(figures.iter().all(|figure| figure["measured"].as_f64().is_some_and(f64::is_finite)), "{said}");
    let with_target = figures.iter().filter(|figure| figure["at_most"].is_number()).count();
    assert_eq!(with_target, 26, "{said}");
    assert_eq!(report["variants"].as_array().unwrap().len(), 18, "{said}");
}
