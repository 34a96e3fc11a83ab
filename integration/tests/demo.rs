//! The demo tells its story to the end, as somebody on a fresh machine would see it.
#![allow(clippy::unwrap_used, reason = "a demo that cannot be run fails its test")]

use std::process::Command;

#[test]
fn the_demo_goes_as_its_story_says() {
    let told = Command::new(env!("CARGO_BIN_EXE_demo")).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{}\n{out}{err}", told.status);
    for told in ["1/1 enforcers, 0 writes in flight", "HTTP/1.1 423 Locked", "What was measured"] {
        assert!(out.contains(told), "no `{told}` in:\n{out}");
    }
}
