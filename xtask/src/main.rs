//! Set-up and orchestration: everything that a fresh machine needs, and what is run on it.

mod envoy;
mod filter;
mod progress;
mod slim;
mod tools;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, shows, tests and measures Quiesce.
///
/// Does all the set-up by itself and installs nothing outside `target/`. Needs rustup (or a toolchain
/// with the wasm32-unknown-unknown target) and Python 3 with pip.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the filter as it ships: target/quiesce/quiesce_filter.wasm
    Filter,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let ws = Workspace::find()?;
    match cli.command {
        Task::Filter => {
            filter::build(&ws)?;
            envoy::obtain(&ws)?;
        }
    }
    Ok(())
}
