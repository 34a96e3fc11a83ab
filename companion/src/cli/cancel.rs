//! `quiesce cancel`.

use super::{Context, error::CliError, window::meant};
use crate::windows::Phase;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The window; without it, the only one scheduled.
    window: Option<String>,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let id = meant(&client, args.window, |phase| phase == Phase::Scheduled, "scheduled").await?;
    let window = client.cancel(&id).await?;
    context.printer.line(format!("cancelled window {id}"));
    context.printer.document(&window)
}
