//! What a person watching sees: one line when a long step begins, one when it is done.
//!
//! All of it goes to standard error, so that standard output holds only what the tests, the demo
//! and the benchmark print.

use std::{fmt::Display, time::Instant};

use anyhow::Result;

/// Says that `what` begins, does it, and says how long it took.
pub fn step<T>(what: impl Display, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {what}");
    let started = Instant::now();
    let result = work();
    let seconds = started.elapsed().as_secs_f64();
    match &result {
        Ok(_) => eprintln!("    done in {seconds:.1} s"),
        Err(_) => eprintln!("    failed after {seconds:.1} s"),
    }
    result
}

/// One more thing worth knowing about the step that is under way or has just ended.
pub fn note(what: impl Display) {
    eprintln!("    {what}");
}
