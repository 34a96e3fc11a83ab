//! `quiesce announce`.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};

use super::{
    Context,
    error::{CliError, ErrorKind},
    preview,
    schedule::parse_time,
    window::WindowArgs,
};
use crate::{outbox::view::PreviewRequest, view::NewWindow};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The window; with `--dry-run`, without it, one like the other options say.
    #[arg(conflicts_with_all = ["duration", "reason", "contact", "scope", "status", "drain_timeout", "expect"])]
    window: Option<String>,
    /// What to tell people, on the status page and in its feeds.
    #[arg(required_unless_present = "dry_run", conflicts_with = "dry_run", requires = "window")]
    text: Option<String>,
    /// Show what each notifier would be told at each step, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// When it would begin: RFC 3339 with an offset; now, if nothing is said.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "window")]
    from: Option<Timestamp>,
    #[command(flatten)]
    like: WindowArgs,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let named = args.window.map(WindowId::from);
    if let Some(text) = &args.text {
        let id = named.ok_or_else(|| CliError::new(ErrorKind::Usage, "no window is named"))?;
        let window = context.client()?.post_update(&id, text).await?;
        context.printer.line(format!("said of window {id}: {text}"));
        return context.printer.document(&window);
    }
    let asked = match named {
        Some(id) => PreviewRequest { window: Some(id), new: None },
        None => {
            let new = NewWindow { starts_at: args.from, ..args.like.new_window() };
            PreviewRequest { window: None, new: Some(new) }
        }
    };
    preview::show(context, &asked).await
}
