//! `quiesce completions`.

use std::io::Write as _;

use super::error::CliError;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub fn run(args: Args, mut command: clap::Command) -> Result<(), CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "quiesce", &mut text);
    // Whoever does not want to read on closes the pipe; that is not our failure.
    let _ = std::io::stdout().lock().write_all(&text);
    Ok(())
}
