//! `quiesce deliveries`.

use quiesce_policy::snapshot::WindowId;

use super::{
    Context,
    error::{CliError, ErrorKind},
    output::{BAD, DIM, GOOD, Printer, WARN, at, columns, relative},
};
use crate::{
    clock,
    outbox::{
        DeliveryId, DeliveryState,
        view::{DeliverySelection, DeliveryView},
    },
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List what others were told or are to be told, the newest first.
    List {
        #[command(flatten)]
        narrowing: Narrowing,
        /// Only older ones than this, as the last list said.
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        /// So many at most.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one delivery with what it says, and what became of it.
    Show {
        /// The delivery.
        id: String,
    },
    /// Send deliveries again that have failed, were cancelled, or were delivered.
    Resend(Selected),
    /// Cancel deliveries that are to be sent, or have failed and need nobody's attention.
    Cancel(Selected),
}

/// What a list is narrowed by.
#[derive(Clone, Debug, clap::Args)]
pub struct Narrowing {
    /// Only about this window.
    #[arg(long, value_name = "ID")]
    window: Option<String>,
    /// Only for this notifier.
    #[arg(long, value_name = "NAME")]
    notifier: Option<String>,
    /// Only in this state: pending, delivered, failed or cancelled.
    #[arg(long, value_parser = state)]
    state: Option<DeliveryState>,
}

/// Which deliveries are meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Selected {
    /// These.
    ids: Vec<String>,
    #[command(flatten)]
    narrowing: Narrowing,
}

fn state(text: &str) -> Result<DeliveryState, String> {
    DeliveryState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        let names: Vec<_> = DeliveryState::ALL.into_iter().map(DeliveryState::as_str).collect();
        format!("a state is one of {}", names.join(", "))
    })
}

pub async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { narrowing, before, limit } => list(context, &narrowing, before, limit).await,
        Command::Show { id } => {
            let delivery = context.client()?.delivery(&id).await?;
            show(context.printer, &delivery)?;
            context.printer.document(&delivery)
        }
        Command::Resend(selected) => decide(context, selected, "resend", "sent again").await,
        Command::Cancel(selected) => decide(context, selected, "cancel", "cancelled").await,
    }
}

async fn list(
    context: &Context,
    narrowing: &Narrowing,
    before: Option<String>,
    limit: u32,
) -> Result<(), CliError> {
    let limit = limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(narrowing.window.as_deref().map(|window| ("window", window)));
    query.extend(narrowing.notifier.as_deref().map(|name| ("notifier", name)));
    query.extend(narrowing.state.map(|state| ("state", state.as_str())));
    query.extend(before.as_deref().map(|before| ("before", before)));
    let found = context.client()?.deliveries(&query).await?;
    if found.deliveries.is_empty() {
        context.printer.line("there are none");
    }
    let rows: Vec<_> = found.deliveries.iter().map(row).collect();
    for line in columns(&rows) {
        context.printer.line(line);
    }
    if let Some(next) = &found.next {
        context.printer.line(format!("older ones: --before {next}"));
    }
    context.printer.document(&found)
}

fn row(delivery: &DeliveryView) -> [String; 6] {
    let style = style(delivery.state);
    let state = format!("{style}{}{style:#}", delivery.state.as_str());
    let note = delivery.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    [
        delivery.id.to_string(),
        at(delivery.created_at),
        delivery.window.to_string(),
        delivery.step.as_str().to_owned(),
        delivery.notifier.clone(),
        format!("{state}{note}"),
    ]
}

fn style(state: DeliveryState) -> anstyle::Style {
    match state {
        DeliveryState::Pending => WARN,
        DeliveryState::Delivered => GOOD,
        DeliveryState::Failed => BAD,
        DeliveryState::Cancelled => DIM,
    }
}

fn show(printer: Printer, delivery: &DeliveryView) -> Result<(), CliError> {
    let style = style(delivery.state);
    printer.line(format!(
        "{style}{}{style:#}: {} of window {}, to {} ({})",
        delivery.state.as_str(),
        delivery.step.as_str(),
        delivery.window,
        delivery.notifier,
        delivery.kind.as_str()
    ));
    let now = clock::now();
    let field = |name: &str, value: String| printer.line(format!("  {DIM}{name:<9}{DIM:#} {value}"));
    let moment = |time| format!("{} ({})", at(time), relative(time, now));
    field("written", format!("{}, with event {}", moment(delivery.created_at), delivery.event_seq));
    field("attempts", delivery.attempts.to_string());
    if let Some(next) = delivery.next_at {
        field("next", moment(next));
    }
    if let Some(done) = delivery.done_at {
        field("since", moment(done));
    }
    if let Some(status) = delivery.last_status {
        field("answer", status.to_string());
    }
    if let Some(note) = &delivery.note {
        field("note", note.clone());
    }
    if let Some(id) = &delivery.external_id {
        field("there", id.clone());
    }
    if let Some(payload) = &delivery.payload {
        let text = serde_json::to_string_pretty(payload).map_err(CliError::internal)?;
        text.lines().for_each(|line| printer.line(format!("  {line}")));
    }
    Ok(())
}

async fn decide(context: &Context, selected: Selected, verb: &str, done: &str) -> Result<(), CliError> {
    let Selected { ids, narrowing: Narrowing { window, notifier, state } } = selected;
    if ids.is_empty() && window.is_none() && notifier.is_none() && state.is_none() {
        return Err(CliError::new(ErrorKind::Usage, "nothing is selected")
            .hint("name deliveries, or narrow them by --window, --notifier or --state"));
    }
    let ids = ids.into_iter().map(DeliveryId::from).collect();
    let selection = DeliverySelection { ids, window: window.map(WindowId::from), notifier, state };
    let changed = context.client()?.decide_deliveries(verb, &selection).await?;
    let count = changed.changed;
    let noun = if count == 1 { "delivery is" } else { "deliveries are" };
    context.printer.line(format!("{count} {noun} {done}"));
    context.printer.document(&changed)
}
