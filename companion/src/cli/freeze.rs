//! `quiesce freeze`.

use super::{
    Context,
    error::{CliError, ErrorKind},
    wait::{stays, wait_for_barrier},
    window::{WindowArgs, announce, wait_limit},
};
use crate::{config::Period, signals::Signals};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    window: WindowArgs,
    /// Return when the freeze is in force everywhere and no admitted write is running any more.
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this long; the window stays in force.
    #[arg(long, value_name = "DURATION", requires = "wait")]
    timeout: Option<Period>,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let client = context.client()?;
    let new = args.window.new_window();
    if !args.wait {
        let window = client.create(&new).await?;
        announce(context, &window, "freezes");
        context.printer.line("not waited for: `quiesce status` tells when it is quiesced");
        return context.printer.document(&window);
    }
    let mut signals = Signals::listen().map_err(CliError::internal)?;
    let window = tokio::select! {
        window = client.create(&new) => window?,
        _ = signals.next() => {
            return Err(CliError::new(ErrorKind::Interrupted, "interrupted before the companion answered")
                .hint("`quiesce status` tells whether the freeze is in force"));
        }
    };
    announce(context, &window, "freezes");
    let limit = wait_limit(args.timeout, &window);
    let window = tokio::select! {
        done = wait_for_barrier(&client, context.printer, &window.id, limit) => done?,
        _ = signals.next() => {
            let error = CliError::new(ErrorKind::Interrupted, "interrupted before the barrier held");
            return Err(error.hint(stays(&window.id)));
        }
    };
    context.printer.document(&window)
}
