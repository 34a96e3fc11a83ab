//! `quiesce backfill`.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    Context,
    client::Client,
    error::{CliError, ErrorKind},
    intents::{intents, show_list},
    output::{BAD, DIM, Format, GOOD, Printer, WARN, at, relative, span},
};
use crate::{
    backfill::view::{BackfillPhase, BackfillView, IntentTotals},
    clock,
    config::Period,
    intents::IntentState,
};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Away from a terminal, progress is told this often at most.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Between two attempts of a line, or before the companion's first look, it may seem for a moment that nothing
/// goes on.
const STANDSTILL: Duration = Duration::from_secs(5);
/// Intents that a dry run shows.
const SHOWN: u32 = 20;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Show what would be sent, in order, and send nothing by that.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Return when no intent is held any more.
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this long; the backfill goes on.
    #[arg(long, value_name = "DURATION", requires = "wait")]
    timeout: Option<Period>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Send nothing from now on, over restarts too; what is on its way comes to its end.
    Pause {
        /// Why, for the log and for who looks.
        #[arg(long, default_value = "an operator's word")]
        reason: String,
    },
    /// Send again.
    Resume,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let printer = context.printer;
    let view = match args.command {
        Some(Command::Pause { reason }) => client.pause_backfill(&reason).await?,
        Some(Command::Resume) => client.resume_backfill().await?,
        None if args.wait => wait(&client, printer, args.timeout).await?,
        None => client.backfill().await?,
    };
    if args.dry_run {
        return dry_run(&client, printer, &view).await;
    }
    show(printer, &view);
    printer.document(&view)
}

fn show(printer: Printer, view: &BackfillView) {
    let style = match view.phase {
        BackfillPhase::Idle | BackfillPhase::Running => GOOD,
        BackfillPhase::Waiting => WARN,
        BackfillPhase::Stopped | BackfillPhase::Paused | BackfillPhase::Unconfigured => BAD,
    };
    let counts = counts(view);
    printer.line(format!("{style}{}{style:#}: {counts}", view.phase.as_str()));
    let field = |name: &str, value: &str| printer.line(format!("  {DIM}{name:<9}{DIM:#} {value}"));
    field("to", view.to.as_deref().unwrap_or("nowhere: `backfill.to` is not configured"));
    let now = clock::now();
    if let Some(pause) = &view.paused {
        field("paused", &format!("by {}, {}: {}", pause.by, relative(pause.at, now), pause.reason));
    }
    if let Some(waits_for) = view.waits_for.as_ref().filter(|_| view.paused.is_none()) {
        field("waits for", waits_for);
    }
    if let Some(oldest) = view.oldest {
        field("oldest", &format!("{} ({})", at(oldest), relative(oldest, now)));
    }
    if let Some(run) = &view.run {
        let tally = run.tally;
        let took = span(now.ms_since(run.started_at));
        field(
            "this run",
            &format!(
                "{took}: {} done, {} refused, {} given up, {} to be tried again",
                tally.done, tally.refused, tally.given_up, tally.again
            ),
        );
    }
}

fn counts(view: &BackfillView) -> String {
    let mut text = format!("{} held, {} on their way", view.held, view.replaying);
    if view.failed > 0 {
        text.push_str(&format!(", {} failed", view.failed));
    }
    text
}

async fn dry_run(client: &Client, printer: Printer, view: &BackfillView) -> Result<(), CliError> {
    let held = client.intents(&[("state", "held")], 0, SHOWN).await?;
    if view.held == 0 {
        printer.line("nothing is held: nothing would be sent");
    } else {
        let to = view.to.as_deref().unwrap_or("nowhere, because `backfill.to` is not configured");
        printer.line(format!("{} would be sent to {to}:", intents(view.held)));
        for totals in view.intents.iter().filter(|totals| totals.state == IntentState::Held) {
            let IntentTotals { surface, count, bytes, .. } = totals;
            printer.line(format!("  {surface}: {}, {bytes} bytes", intents(*count)));
        }
        if let Some(waits_for) = &view.waits_for {
            printer.line(format!("not before: {waits_for}"));
        }
        printer.line(if held.next.is_some() {
            format!("the first {SHOWN}, in order:")
        } else {
            "in order:".to_owned()
        });
        show_list(printer, &held.intents);
    }
    printer.document(&serde_json::json!({ "backfill": view, "first": held.intents }))
}

/// Follows the backfill until nothing is held any more, or nothing goes on by itself.
async fn wait(client: &Client, printer: Printer, limit: Option<Period>) -> Result<BackfillView, CliError> {
    let began = Instant::now();
    let mut progress = Progress::new(printer);
    let mut still_since: Option<Instant> = None;
    loop {
        let view = client.backfill().await?;
        progress.show(&view);
        let open = view.held + view.replaying;
        if open == 0 {
            progress.end();
            return if view.failed == 0 {
                Ok(view)
            } else {
                Err(CliError::new(
                    ErrorKind::Conflict,
                    format!("all is sent, but {} failed", have(view.failed)),
                )
                .hint("`quiesce intents list --state failed` says why"))
            };
        }
        let stands = matches!(
            view.phase,
            BackfillPhase::Stopped | BackfillPhase::Paused | BackfillPhase::Unconfigured
        );
        if !stands {
            still_since = None;
        } else if still_since.get_or_insert_with(Instant::now).elapsed() >= patience(view.phase) {
            progress.end();
            return Err(stuck(&view, open));
        }
        if limit.is_some_and(|limit| began.elapsed() >= limit.duration()) {
            progress.end();
            let message = format!("timed out, {}", counts(&view));
            return Err(CliError::new(ErrorKind::TimedOut, message).hint("the backfill goes on"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn patience(phase: BackfillPhase) -> Duration {
    if phase == BackfillPhase::Stopped { STANDSTILL } else { Duration::ZERO }
}

fn have(count: u64) -> String {
    format!("{} {}", intents(count), if count == 1 { "has" } else { "have" })
}

fn stuck(view: &BackfillView, open: u64) -> CliError {
    let (why, hint) = match (view.phase, &view.paused) {
        (BackfillPhase::Unconfigured, _) => (
            "it is not configured where they are sent".to_owned(),
            "set `backfill.to` and restart the companion",
        ),
        (_, Some(pause)) => {
            (format!("paused by {}: {}", pause.by, pause.reason), "`quiesce backfill resume` lets them go on")
        }
        _ => (
            format!("their lines are stopped by what has failed ({})", view.failed),
            "`quiesce intents list --state failed` says why; `quiesce intents retry` or `discard` lets them go on",
        ),
    };
    CliError::new(ErrorKind::Conflict, format!("{} held: {why}", are(open))).hint(hint)
}

fn are(count: u64) -> String {
    format!("{} {}", intents(count), if count == 1 { "is" } else { "are" })
}

/// A bar on a terminal, and elsewhere a line now and then.
struct Progress {
    printer: Printer,
    bar: ProgressBar,
    total: u64,
    told: Option<(Instant, String)>,
}

impl Progress {
    fn new(printer: Printer) -> Self {
        let on_terminal = printer.format == Format::Human && std::io::stderr().is_terminal();
        let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:32} {pos}/{len} replayed, {per_sec}, {eta} to go  {msg}")
        {
            bar.set_style(style);
        }
        Self { printer, bar, total: 0, told: None }
    }

    fn show(&mut self, view: &BackfillView) {
        let open = view.held + view.replaying;
        self.total = self.total.max(open);
        self.bar.set_length(self.total);
        self.bar.set_position(self.total - open);
        self.bar.set_message(view.phase.as_str());
        if !self.bar.is_hidden() {
            return;
        }
        let text = format!("{}: {}", view.phase.as_str(), counts(view));
        let due = self.told.as_ref().is_none_or(|(at, told)| at.elapsed() >= TELL_EVERY && *told != text);
        if due {
            self.printer.line(&text);
            self.told = Some((Instant::now(), text));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
