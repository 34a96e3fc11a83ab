//! `quiesce thaw`.

use super::{
    Context,
    error::CliError,
    output::{GOOD, span},
    window::meant,
};
use crate::{event::EventKind, windows::Phase};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The window; without it, the only one in force.
    window: Option<String>,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let id = meant(&client, args.window, Phase::is_frozen, "in force").await?;
    let window = client.thaw(&id).await?;
    let lasted = match (window.started_at, &window.ended) {
        (Some(start), Some(ended)) => span(ended.at.ms_since(start)),
        _ => "0s".to_owned(),
    };
    let aborted = window.ended.as_ref().is_some_and(|ended| ended.how == EventKind::Aborted);
    let note = if aborted { " (it was not quiesced yet)" } else { "" };
    context.printer.line(format!("{GOOD}thawed{GOOD:#} window {id} after {lasted}{note}"));
    context.printer.document(&window)
}
