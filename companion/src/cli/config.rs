//! `quiesce config`.

use std::path::PathBuf;

use super::{
    Context,
    error::{CliError, ErrorKind},
    output::{GOOD, WARN},
};
use crate::config::{Config, ConfigError};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say what is wrong with a configuration, as `serve` would.
    Check {
        /// The file.
        #[arg(default_value = "quiesce.yaml")]
        file: PathBuf,
    },
    /// Print the built-in configuration, which explains every field.
    Default,
}

pub fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Check { file } => {
            let summary = Config::read(&file)?.summary();
            context.printer.line(format!("{GOOD}ok{GOOD:#} {}: {summary}", file.display()));
            for warning in &summary.warnings {
                context.printer.line(format!("{WARN}warning{WARN:#}: {warning}"));
            }
            context.printer.document(&summary)
        }
        Command::Default => {
            context.printer.line(crate::config::DEFAULT_YAML.trim_end());
            context.printer.document(&serde_json::json!({ "yaml": crate::config::DEFAULT_YAML }))
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        CliError::new(ErrorKind::BadInput, error.to_string())
            .hint("`quiesce config default` prints a configuration that explains every field")
    }
}
