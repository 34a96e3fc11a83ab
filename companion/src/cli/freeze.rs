//! `quiesce freeze`.

use super::{
    Context,
    error::{CliError, ErrorKind},
    wait::{stays, wait_for_barrier},
    window::{WindowArgs, announce, wait_limit},
};
use crate::{config::Period, server::told_to_stop};

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
    let window = client.create(&args.window.new_window()).await?;
    announce(context, &window, "freezes");
    if !args.wait {
        context.printer.line("not waited for: `quiesce status` tells when it is quiesced");
        return context.printer.document(&window);
    }
    let limit = wait_limit(args.timeout, &window);
    let window = tokio::select! {
        done = wait_for_barrier(&client, context.printer, &window.id, limit) => done?,
        signal = told_to_stop() => {
            signal.map_err(CliError::internal)?;
            let error = CliError::new(ErrorKind::Interrupted, "interrupted before the barrier held");
            return Err(error.hint(stays(&window.id)));
        }
    };
    context.printer.document(&window)
}
