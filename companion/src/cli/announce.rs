//! `quiesce announce`.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};

use super::{Context, error::CliError, preview, schedule::parse_time, window::WindowArgs};
use crate::{outbox::view::PreviewRequest, view::NewWindow};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The window; without it, one like the other options say.
    #[arg(conflicts_with_all = ["duration", "reason", "contact", "scope", "status", "drain_timeout", "expect"])]
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
    preview::show(context, &asked).await
}
