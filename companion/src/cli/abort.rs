//! `quiesce abort`.

use super::{
    Context,
    error::CliError,
    output::{WARN, span},
    window::meant,
};
use crate::windows::Phase;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The window; without it, the only one in force.
    window: Option<String>,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let id = meant(&client, args.window, Phase::is_frozen, "in force").await?;
    let window = client.abort(&id).await?;
    let lasted = match (window.started_at, &window.ended) {
        (Some(start), Some(ended)) => span(ended.at.ms_since(start)),
        _ => "0s".to_owned(),
    };
    context.printer.line(format!("{WARN}aborted{WARN:#} window {id} after {lasted}: writes are open again"));
    context.printer.document(&window)
}
