//! `quiesce announce`.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};

use super::{
    Context,
    error::CliError,
    output::{DIM, GOOD},
    schedule::parse_time,
    window::WindowArgs,
};
use crate::{
    outbox::view::{PreviewRequest, PreviewStep},
    view::NewWindow,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The window; without it, one like the other options say.
    window: Option<String>,
    /// Show what each notifier would be told at each step, and send nothing.
    #[arg(long, required = true)]
    dry_run: bool,
    /// When it would begin: RFC 3339 with an offset; now, if nothing is said.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "window")]
    from: Option<Timestamp>,
    #[command(flatten)]
    like: WindowArgs,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let asked = match args.window {
        Some(id) => PreviewRequest { window: Some(WindowId::from(id)), new: None },
        None => {
            let new = NewWindow { starts_at: args.from, ..args.like.new_window() };
            PreviewRequest { window: None, new: Some(new) }
        }
    };
    let preview = context.client()?.preview(&asked).await?;
    for step in &preview.steps {
        show(context, step)?;
    }
    if preview.steps.iter().all(|step| step.deliveries.is_empty()) {
        context.printer.line("nobody would be told: `notify` in the companion's configuration is empty");
    }
    context.printer.document(&preview)
}

fn show(context: &Context, step: &PreviewStep) -> Result<(), CliError> {
    let printer = context.printer;
    printer.line(format!("{GOOD}{}{GOOD:#}: {}", step.step.as_str(), step.title));
    for line in step.text.lines() {
        printer.line(format!("  {line}"));
    }
    for delivery in &step.deliveries {
        let payload = serde_json::to_string(&delivery.payload).map_err(CliError::internal)?;
        printer.line(format!("  {} ({}), to {}", delivery.notifier, delivery.kind.as_str(), delivery.to));
        printer.line(format!("    {DIM}{payload}{DIM:#}"));
    }
    printer.line("");
    Ok(())
}
