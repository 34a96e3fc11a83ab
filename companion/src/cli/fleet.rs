//! `quiesce fleet`.

use super::{
    Context,
    error::CliError,
    output::{BAD, DIM, Printer, columns, relative},
};
use crate::{
    clock,
    view::{EnforcerView, FleetView, Liveness},
};

/// Clocks that are apart by less than this are not worth a word; milliseconds.
const SKEW_WORTH_SHOWING_MS: u64 = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Give up on an enforcer that is lost.
    Forget {
        /// The enforcer.
        id: String,
    },
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    match args.command {
        None => {
            let fleet = client.fleet().await?;
            show(context.printer, &fleet);
            context.printer.document(&fleet)
        }
        Some(Command::Forget { id }) => {
            client.forget(&id).await?;
            context.printer.line(format!("forgot enforcer {id}"));
            context.printer.document(&serde_json::json!({ "forgotten": id }))
        }
    }
}

fn show(printer: Printer, fleet: &FleetView) {
    if fleet.enforcers.is_empty() {
        printer.line("no enforcer is known");
        return;
    }
    let mut rows = vec![["ENFORCER", "STATE", "EPOCH", "IN FLIGHT", "VERSION", "LABELS"].map(str::to_owned)];
    rows.extend(fleet.enforcers.iter().map(|one| row(one, fleet)));
    for (index, line) in columns(&rows).into_iter().enumerate() {
        printer.line(if index == 0 { format!("{DIM}{line}{DIM:#}") } else { line });
        if let Some(one) = index.checked_sub(1).and_then(|index| fleet.enforcers.get(index)) {
            notes(printer, one);
        }
    }
}

fn row(one: &EnforcerView, fleet: &FleetView) -> [String; 6] {
    let state = match one.state {
        Liveness::Connected => "connected".to_owned(),
        Liveness::Silent => format!("silent, heard {}", relative(one.last_seen, clock::now())),
        Liveness::Lost => format!("lost, heard {}", relative(one.last_seen, clock::now())),
        Liveness::Replaced => "replaced".to_owned(),
    };
    let epoch =
        if one.applied == fleet.epoch { one.applied.to_string() } else { format!("{} (old)", one.applied) };
    let labels: Vec<_> = one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    [one.id.to_string(), state, epoch, one.in_flight.to_string(), one.version.clone(), labels.join(",")]
}

fn notes(printer: Printer, one: &EnforcerView) {
    if let Some(rejected) = &one.rejected {
        printer.line(format!(
            "  {BAD}could not use snapshot {}{BAD:#} (rejected {} so far): {}",
            rejected.version, rejected.count, rejected.error
        ));
    }
    if one.unaccounted > 0 {
        printer.line(format!("  {BAD}lost count of writes{BAD:#}: {} unaccounted for", one.unaccounted));
    }
    if one.clock_skew_ms.unsigned_abs() >= SKEW_WORTH_SHOWING_MS {
        let ahead = if one.clock_skew_ms > 0 { "ahead" } else { "behind" };
        printer.line(format!("  its clock is {} ms {ahead}", one.clock_skew_ms.unsigned_abs()));
    }
}
