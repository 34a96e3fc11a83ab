//! `quiesce status`.

use std::{io::IsTerminal as _, time::Duration};

use quiesce_policy::time::Timestamp;

use super::{
    Context,
    error::CliError,
    output::{BAD, DIM, Format, GOOD, Printer, WARN, at, relative},
    wait::{counts, describe, show_problems, summary},
    window::describe_scope,
};
use crate::{
    barrier::{EnforcerState, Verdict},
    signals::Signals,
    view::{IntentsView, StatusView, WindowView},
    windows::Phase,
};

const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Enforcers named one by one; of more, only those that are not done.
const MANY: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show it again whenever it changes, until interrupted; as JSON, one line each.
    #[arg(long)]
    watch: bool,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let printer = context.printer;
    if !args.watch {
        let status = client.status().await?;
        show(printer, &status);
        return printer.document(&status);
    }
    let mut signals = Signals::listen().map_err(CliError::internal)?;
    let mut shown: Option<StatusView> = None;
    loop {
        let status = client.status().await?;
        let same =
            shown.as_ref().is_some_and(|shown| StatusView { now: status.now, ..shown.clone() } == status);
        let on_terminal = printer.format == Format::Human && std::io::stdout().is_terminal();
        if on_terminal {
            // Home, and clear to the end of the screen.
            printer.line("\x1b[H\x1b[2J");
            show(printer, &status);
        } else if !same {
            match printer.format {
                Format::Human => show(printer, &status),
                Format::Json => printer.record(&status)?,
            }
        }
        shown = Some(status);
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            _ = signals.next() => return Ok(()),
        }
    }
}

fn show(printer: Printer, status: &StatusView) {
    if status.windows.iter().all(|window| window.phase.is_ending()) {
        printer.line(format!("{GOOD}open{GOOD:#}: writes pass, no window is in force or scheduled"));
    }
    for window in &status.windows {
        show_window(printer, window, status);
    }
    let fleet = status.fleet;
    let mut line = format!("enforcers: {} live, {} lost", fleet.live, fleet.lost);
    if fleet.live > 0 {
        line.push_str(&format!(", {} on epoch {}", fleet.up_to_date, status.epoch));
    }
    printer.line(line);
    if let Some(intents) = status.intents {
        printer.line(intents_line(&intents, status.now));
    }
    if let Some(backfill) = &status.backfill {
        let waits_for = backfill.waits_for.as_ref().map(|it| format!(", waits for {it}")).unwrap_or_default();
        printer.line(format!("backfill: {}{waits_for}", backfill.phase.as_str()));
    }
    if let Some(deliveries) = status.deliveries.filter(|it| it.failed > 0) {
        printer.line(format!(
            "{BAD}{} could not be delivered{BAD:#}: `quiesce deliveries list --state failed` says why",
            messages(deliveries.failed)
        ));
    }
    if fleet.rejecting > 0 {
        printer.line(format!(
            "{BAD}{} cannot use the snapshot{BAD:#}: `quiesce fleet` says why",
            fleet.rejecting
        ));
    }
}

fn messages(count: u64) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}

fn intents_line(intents: &IntentsView, now: Timestamp) -> String {
    let mut line = format!("intents: {} held", intents.held);
    if intents.replaying > 0 {
        line.push_str(&format!(", {} replaying", intents.replaying));
    }
    if intents.failed > 0 {
        line.push_str(&format!(", {BAD}{} failed{BAD:#}", intents.failed));
    }
    if let Some(oldest) = intents.oldest {
        line.push_str(&format!(", the oldest from {} ({})", at(oldest), relative(oldest, now)));
    }
    line
}

fn show_window(printer: Printer, window: &WindowView, status: &StatusView) {
    let calm = matches!(window.phase, Phase::Quiesced | Phase::Backfilling);
    let style = if calm { GOOD } else { WARN };
    let what = describe_scope(&window.scope);
    printer.line(format!("{style}{}{style:#}: window {}, {what}", window.phase.as_str(), window.id));
    let field = |name: &str, value: &str| printer.line(format!("  {DIM}{name:<9}{DIM:#} {value}"));
    field("reason", &window.reason);
    if let Some(contact) = &window.contact {
        field("contact", contact);
    }
    let moment = |time| format!("{} ({})", at(time), relative(time, status.now));
    field("begins", &moment(window.started_at.unwrap_or(window.starts_at)));
    if let Some(ended) = &window.ended {
        field("reopened", &format!("{}, {} by {}", moment(ended.at), ended.how.as_str(), ended.by));
        match (window.phase, ended.soak_until) {
            (Phase::Soaking, Some(until)) => field("soaks", &format!("until {}", moment(until))),
            _ => field("closure", "announced; held writes are replayed"),
        }
        return;
    }
    if let Some(end) = window.ends_at {
        field("ends", &moment(end));
    }
    field("lease", &moment(window.expires_at));
    field("issued by", &window.issued_by);
    let Some(barrier) = &window.barrier else { return };
    if let Some(quiesced) = &window.quiesced {
        field("proof", &summary(quiesced));
        if barrier.verdict == Verdict::Proven {
            return;
        }
        field("now", &counts(barrier));
    } else if window.phase.is_frozen() {
        field("barrier", &counts(barrier));
    } else {
        return;
    }
    let many = barrier.enforcers.len() > MANY;
    for one in barrier.enforcers.iter().filter(|one| !many || one.state != EnforcerState::Quiesced) {
        printer.line(format!("    {}  {DIM}{}{DIM:#}", one.id, describe(one)));
    }
    show_problems(printer, &barrier.problems);
}
