//! `quiesce token`.

use super::{Context, error::CliError};
use crate::auth::{Digest, Role, new_token};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a token, and print what the companion's configuration needs to know it.
    New {
        /// What its holder may do.
        #[arg(long, value_parser = parse_role, value_name = "viewer|operator|sync")]
        role: Role,
        /// Names its holder in the event log.
        #[arg(long)]
        name: Option<String>,
    },
}

fn parse_role(text: &str) -> Result<Role, String> {
    [Role::Viewer, Role::Operator, Role::Sync]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| "roles are viewer, operator and sync".to_owned())
}

pub fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let Command::New { role, name } = command;
    let name = name.unwrap_or_else(|| role.as_str().to_owned());
    crate::limits::text(&name, crate::limits::MAX_NAME)
        .map_err(|message| CliError::new(super::ErrorKind::BadInput, format!("--name {message}")))?;
    let token = new_token().map_err(CliError::internal)?;
    let sha256 = Digest::of(&token).to_hex();
    context.printer.line(&token);
    context.printer.line("");
    context.printer.line("It is shown only now. The companion's configuration knows it by:");
    context.printer.line("");
    context.printer.line("tokens:");
    context.printer.line(format!("  - name: {}", serde_json::Value::from(name.as_str())));
    context.printer.line(format!("    role: {}", role.as_str()));
    context.printer.line(format!("    sha256: {sha256}"));
    context.printer.document(&serde_json::json!({
        "token": token, "name": name, "role": role, "sha256": sha256,
    }))
}
