//! `quiesce announce`.

use super::{Context, error::CliError, window::meant};

#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Args {
    /// The window; without it, the only one that is not over.
    window: Option<String>,
    /// What to tell people, on the status page and in its feeds.
    text: String,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let id = meant(&client, args.window, |phase| !phase.is_over(), "not over").await?;
    let window = client.post_update(&id, &args.text).await?;
    context.printer.line(format!("said of window {id}: {}", args.text));
    context.printer.document(&window)
}
