//! Tests that a system cannot run say so.

use std::io::Write as _;

/// Says that this test is skipped, where nobody captures it.
///
/// # Panics
/// Where `CI` is set: CI skips nothing.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not by `eprintln!`, of which nobody sees what tests say that pass.
    let _ = std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes());
}
