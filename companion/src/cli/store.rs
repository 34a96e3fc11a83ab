//! `quiesce store`.

use std::path::PathBuf;

use super::{
    Context,
    error::{CliError, ErrorKind},
    output::GOOD,
};
use crate::store::{self, Location, StoreError};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Copy all of an embedded store to an empty PostgreSQL: windows, events, fleet, intents and the version.
    ///
    /// The companion on the embedded store has to be stopped; the store is left as it is. Passes go on to be valid if
    /// the companions on the new one have the same `passes.key_file`, and sealed intents can be sent with the same key.
    Copy {
        /// The embedded store's file.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The PostgreSQL, like postgres://quiesce@db.example.com/quiesce; the password may be in PGPASSWORD.
        #[arg(long, value_name = "URL")]
        to: Location,
    },
}

pub async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let Command::Copy { from, to } = command;
    let Location::Postgres(url) = &to else {
        let message = format!("--to {to}: is a file; give the URL of a PostgreSQL");
        return Err(CliError::new(ErrorKind::BadInput, message));
    };
    let copied = store::copy(&from, url).await?;
    context.printer.line(format!("{GOOD}copied{GOOD:#} {copied}, to {to}"));
    context.printer.document(&copied)
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let (kind, hint) = match &error {
            StoreError::InUse { .. } => (
                ErrorKind::Conflict,
                Some("stop the companion first: what it writes meanwhile would be lost"),
            ),
            StoreError::Missing { .. } => {
                (ErrorKind::BadInput, Some("the companion logs where its store is when it starts"))
            }
            StoreError::NotEmpty { .. } => (ErrorKind::Conflict, Some("copy to a new database")),
            StoreError::Unreachable { .. } => {
                (ErrorKind::Unreachable, Some("is it running, and are name and password right?"))
            }
            _ => (ErrorKind::Internal, None),
        };
        let error = Self::new(kind, error.to_string());
        hint.into_iter().fold(error, Self::hint)
    }
}
