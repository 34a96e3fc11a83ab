//! `quiesce schedule`.

use quiesce_policy::time::Timestamp;

use super::{
    Context,
    error::CliError,
    output::{at, relative},
    window::{WindowArgs, announce},
};
use crate::{clock, view::NewWindow};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// When it begins: RFC 3339 with an offset, for example 2026-11-24T02:00:00Z or …T03:00:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Timestamp,
    #[command(flatten)]
    window: WindowArgs,
}

pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| "write it as RFC 3339 with an offset, for example 2026-11-24T02:00:00Z".to_owned())?;
    let ms = u64::try_from(time.as_millisecond()).map_err(|_| "it lies before 1970".to_owned())?;
    Ok(Timestamp::from_unix_ms(ms))
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let new = NewWindow { starts_at: Some(args.at), ..args.window.new_window() };
    let window = context.client()?.create(&new).await?;
    announce(context, &window, "will freeze");
    let starts_at = window.starts_at;
    context.printer.line(format!("begins {}, at {}", relative(starts_at, clock::now()), at(starts_at)));
    context.printer.document(&window)
}
