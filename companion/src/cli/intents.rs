//! `quiesce intents`.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    Context,
    error::{CliError, ErrorKind},
    output::{BAD, DIM, GOOD, Printer, at, columns, relative},
};
use crate::{
    backfill::view::{IntentSelection, IntentView},
    clock,
    intents::{IntentId, IntentState},
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List intents in the order in which they were received.
    List {
        #[command(flatten)]
        narrowing: Narrowing,
        /// Only those behind this place in the order, as the last list said.
        #[arg(long, value_name = "SEQ", default_value_t, hide_default_value = true)]
        after: u64,
        /// So many at most.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one intent and what became of it.
    Show {
        /// The intent.
        id: String,
    },
    /// Have failed intents tried again, in their place.
    Retry(Selected),
    /// Take back intents that are held or have failed: they are never sent.
    Discard(Selected),
    /// Write intents out with headers and bodies, a line of JSON each.
    Export {
        #[command(flatten)]
        narrowing: Narrowing,
        /// Write to this file, which must not be there yet and is for its owner alone; without it, to standard
        /// output.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

/// What a list is narrowed by.
#[derive(Clone, Debug, clap::Args)]
pub struct Narrowing {
    /// Only of this surface.
    #[arg(long, value_name = "NAME")]
    surface: Option<String>,
    /// Only in this state: held, replaying, done, failed or discarded.
    #[arg(long, value_parser = state)]
    state: Option<IntentState>,
}

/// Which intents are meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Selected {
    /// These.
    ids: Vec<String>,
    #[command(flatten)]
    narrowing: Narrowing,
    /// All of them.
    #[arg(long, conflicts_with_all = ["ids", "surface", "state"])]
    all: bool,
}

fn state(text: &str) -> Result<IntentState, String> {
    IntentState::parse(text).ok_or_else(|| {
        let names: Vec<_> = IntentState::ALL.into_iter().map(IntentState::as_str).collect();
        format!("a state is one of {}", names.join(", "))
    })
}

impl Narrowing {
    /// As the API's query has it.
    pub fn query(&self) -> Vec<(&'static str, &str)> {
        let surface = self.surface.as_deref().map(|surface| ("surface", surface));
        let state = self.state.map(|state| ("state", state.as_str()));
        surface.into_iter().chain(state).collect()
    }
}

impl From<Selected> for IntentSelection {
    fn from(selected: Selected) -> Self {
        let Selected { ids, narrowing: Narrowing { surface, state }, all } = selected;
        Self {
            ids: ids.into_iter().map(IntentId::from).collect(),
            surface,
            state,
            received_before: None,
            all,
        }
    }
}

pub async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let client = context.client()?;
    let printer = context.printer;
    match command {
        Command::List { narrowing, after, limit } => {
            let list = client.intents(&narrowing.query(), after, limit).await?;
            show_list(printer, &list.intents);
            if let Some(next) = list.next {
                printer.line(format!("{DIM}there may be more: --after {next}{DIM:#}"));
            }
            printer.document(&list)
        }
        Command::Show { id } => {
            let intent = client.intent(&id).await?;
            show(printer, &intent);
            printer.document(&intent)
        }
        Command::Retry(selected) => {
            let changed = client.decide("retry", &selected.into()).await?;
            printer.line(format!("{GOOD}{} to be tried again{GOOD:#}", intents(changed.changed)));
            printer.document(&changed)
        }
        Command::Discard(selected) => {
            let changed = client.decide("discard", &selected.into()).await?;
            printer.line(format!("{GOOD}{} discarded{GOOD:#}", intents(changed.changed)));
            printer.document(&changed)
        }
        Command::Export { narrowing, to: None } => {
            // Not through the printer: the lines are the output, in either format.
            client.export(&narrowing.query(), &mut io::stdout().lock()).await
        }
        Command::Export { narrowing, to: Some(path) } => {
            let mut file = create(&path)?;
            client.export(&narrowing.query(), &mut file).await?;
            file.sync_all().map_err(|error| unwritable(&path, &error))?;
            printer.line(format!("{GOOD}exported{GOOD:#} to {}", path.display()));
            printer.document(&serde_json::json!({ "exported_to": path }))
        }
    }
}

fn create(path: &Path) -> Result<std::fs::File, CliError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::new(ErrorKind::BadInput, format!("cannot write --to {}: {error}", path.display()))
}

/// `1 intent`, `2 intents`.
pub fn intents(count: u64) -> String {
    format!("{count} intent{}", if count == 1 { "" } else { "s" })
}

/// Intents in a table.
pub fn show_list(printer: Printer, intents: &[IntentView]) {
    if intents.is_empty() {
        printer.line("no intents");
        return;
    }
    let mut rows = vec![["INTENT", "STATE", "RECEIVED", "ATTEMPTS", "SURFACE", "REQUEST"].map(str::to_owned)];
    rows.extend(intents.iter().map(|intent| {
        [
            intent.id.to_string(),
            state_of(intent),
            at(intent.received_at),
            intent.attempts.to_string(),
            intent.surface.clone(),
            format!("{} {}", intent.method, intent.path),
        ]
    }));
    for (index, line) in columns(&rows).into_iter().enumerate() {
        printer.line(if index == 0 { format!("{DIM}{line}{DIM:#}") } else { line });
        if let Some(intent) = index.checked_sub(1).and_then(|index| intents.get(index))
            && intent.state == IntentState::Failed
        {
            printer.line(format!("  {BAD}{}{BAD:#}", outcome(intent)));
        }
    }
}

fn state_of(intent: &IntentView) -> String {
    let stops = if intent.stops_line { ", stops its line" } else { "" };
    format!("{}{stops}", intent.state.as_str())
}

/// What came of the last attempt, in words.
fn outcome(intent: &IntentView) -> String {
    let Some(outcome) = &intent.outcome else { return "not sent yet".to_owned() };
    let status = outcome.status.map(|status| format!("answered {status}"));
    let parts: Vec<_> = status.into_iter().chain(outcome.note.clone()).collect();
    if parts.is_empty() { "no answer".to_owned() } else { parts.join("; ") }
}

fn show(printer: Printer, intent: &IntentView) {
    let now = clock::now();
    let moment = |time| format!("{} ({})", at(time), relative(time, now));
    printer.line(format!("intent {}: {}", intent.id, state_of(intent)));
    let field = |name: &str, value: &str| printer.line(format!("  {DIM}{name:<9}{DIM:#} {value}"));
    field("request", &format!("{} {}", intent.method, intent.path));
    field("surface", &intent.surface);
    field("line", &intent.line);
    if !intent.tenant.is_empty() {
        field("tenant", &intent.tenant);
    }
    field("key", &intent.key);
    field("window", intent.window.as_str());
    field("size", &format!("{} bytes", intent.size_bytes));
    field("received", &moment(intent.received_at));
    field("attempts", &intent.attempts.to_string());
    if intent.outcome.is_some() {
        field("outcome", &outcome(intent));
    }
    if intent.state == IntentState::Held && intent.next_attempt_at > now {
        field("next", &moment(intent.next_attempt_at));
    }
}
