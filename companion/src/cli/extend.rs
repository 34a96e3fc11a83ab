//! `quiesce extend`.

use super::{
    Context,
    error::CliError,
    output::{at, relative},
    window::meant,
};
use crate::{clock, config::Period};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The window; without it, the only one that is in force or will be.
    window: Option<String>,
    /// By how much its end is moved.
    #[arg(long, value_name = "DURATION")]
    by: Period,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let id =
        meant(&client, args.window, |phase| !phase.is_over() && !phase.is_ending(), "in force or scheduled")
            .await?;
    let window = client.extend(&id, args.by.ms()).await?;
    let end = window.ends_at.unwrap_or(window.expires_at);
    let now = clock::now();
    context.printer.line(format!(
        "window {id} now ends {}, at {}; its lease at {}",
        relative(end, now),
        at(end),
        at(window.expires_at)
    ));
    context.printer.document(&window)
}
