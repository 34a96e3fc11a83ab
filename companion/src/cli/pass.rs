//! `quiesce pass`.

use quiesce_policy::snapshot::WindowId;

use super::{Context, error::CliError, output::at};
use crate::{config::Period, view::NewPass};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Issue a pass: its holder may write during a window.
    Issue {
        /// For how long it is valid.
        #[arg(long = "for", value_name = "DURATION")]
        duration: Period,
        /// Who writes; it is logged with every write.
        #[arg(long, value_name = "NAME")]
        subject: String,
        /// The only window it is good for.
        #[arg(long, value_name = "ID")]
        window: Option<String>,
    },
}

pub async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let Command::Issue { duration, subject, window } = command;
    let new = NewPass { subject, duration_ms: duration.ms(), window: window.map(WindowId::from) };
    let pass = context.client()?.issue_pass(&new).await?;
    context.printer.line(format!("Quiesce-Pass: {}", pass.pass));
    context.printer.line(format!(
        "valid for {} until {}; send it as this request header. It is shown only now.",
        pass.subject,
        at(pass.expires_at)
    ));
    context.printer.document(&pass)
}
