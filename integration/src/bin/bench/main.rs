//! What Quiesce costs, measured beside what it competes with, in one run on one machine.
//!
//! Real Envoys side by side, each in a process of its own, take turns under the same load; the
//! wasmtime host gives exact numbers. Prints a table and writes it as JSON to `$QUIESCE_BENCH_DIR`.
#![allow(clippy::indexing_slicing, reason = "a benchmark that finds nothing where it looks has failed")]

mod bare;
mod cpus;
mod envoys;
mod exact;
mod explain;
mod fleet;
mod freezes;
mod guard;
mod intents;
mod people;
mod policies;
mod report;
mod rounds;
mod starts;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::report::Report;

/// Measures what the filter costs beside bare Envoy, Lua, RBAC and a no-op filter.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// Only see that everything runs: few rounds, few requests, figures that mean nothing.
    #[arg(long)]
    quick: bool,
    /// Rounds in which every variant has its turn: many short ones, so that what else the machine does
    /// meets all variants alike.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Requests of one turn.
    #[arg(long, default_value_t = 400)]
    requests: u64,
    /// Freezes of which the time until they are proven is taken.
    #[arg(long, default_value_t = 300)]
    freezes: usize,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Where the report goes.
    #[arg(long, env = "QUIESCE_BENCH_DIR", default_value = "target/bench")]
    dir: PathBuf,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests on the wasmtime host, counted.
    Exact,
    /// `quiesce explain`.
    Explain,
    /// Freezes until they are proven.
    Freezes,
    /// Ten thousand simulated enforcers, and a freeze.
    Fleet,
    /// Banner and status page.
    People,
    /// Planned windows, and when they begin.
    Starts,
    /// Reads through the guard of a service.
    Guard,
    /// Writes that are kept and replayed.
    Intents,
    /// Only how writes are taken in.
    Intake,
    /// All variants under load.
    Rounds,
}

impl Args {
    /// Whether a part is to be run.
    fn wants(&self, part: Part) -> bool {
        // The one is a part of the other.
        let named = |part| self.only.contains(&part);
        if self.only.is_empty() { part != Part::Intake } else { named(part) }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = Args::parse();
    if args.quick {
        (args.rounds, args.requests, args.freezes) = (2, 100, 5);
    }
    let mut report = Report::new(args.quick);
    if args.wants(Part::Exact) {
        eprintln!("exact figures, on the wasmtime host …");
        exact::measure(&mut report).await?;
    }
    if args.wants(Part::Explain) {
        eprintln!("explaining requests …");
        explain::measure(&mut report, args.quick)?;
    }
    if args.wants(Part::Guard) {
        eprintln!("reads through the guard of a service …");
        guard::measure(&mut report, args.quick)?;
    }
    if args.wants(Part::Freezes) {
        eprintln!("{} freezes …", args.freezes);
        freezes::measure(&mut report, args.freezes).await?;
    }
    if args.wants(Part::Fleet) {
        eprintln!("a large fleet …");
        fleet::measure(&mut report, args.quick).await?;
    }
    if args.wants(Part::People) {
        eprintln!("telling people …");
        people::measure(&mut report, args.quick).await?;
    }
    if args.wants(Part::Starts) {
        eprintln!("windows that begin by themselves …");
        starts::measure(&mut report, args.quick).await?;
    }
    if args.wants(Part::Intents) || args.wants(Part::Intake) {
        eprintln!("keeping writes{} …", if args.wants(Part::Intents) { " and replaying them" } else { "" });
        intents::measure(&mut report, args.quick, args.wants(Part::Intents)).await?;
    }
    if args.wants(Part::Rounds) {
        eprintln!("{} rounds of {} requests to each variant …", args.rounds, args.requests);
        rounds::measure(&mut report, args.rounds, args.requests).await?;
    }
    report.print();
    let file = report.write(&args.dir)?;
    println!("\nwritten to {}", file.display());
    Ok(())
}
