//! `quiesce serve`.

use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tracing_subscriber::EnvFilter;

use super::error::{CliError, ErrorKind};
use crate::{
    config::{Config, LogFormat},
    intents::Seals,
    server::{ServeError, Server},
    signals::Signals,
    store::{Location, StoreError},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; without it, the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here instead of where the configuration says; port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Keep state here instead of where the configuration says.
    #[arg(long, value_name = "DIRECTORY", env = "QUIESCE_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Use this database instead of what the configuration says: a file, or postgres://user@host/database.
    #[arg(long, value_name = "FILE|URL", env = "QUIESCE_STORE", hide_env_values = true)]
    store: Option<Location>,
    /// Once listening, write the URL of the API to this file.
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

pub async fn run(args: Args) -> Result<(), CliError> {
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::built_in()?,
    };
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if let Some(directory) = args.state_dir {
        config.state_dir = Some(directory);
    }
    if let Some(store) = args.store {
        config.store = store;
    }
    config.check(args.config.as_deref().unwrap_or(Path::new("command line")))?;
    log_to_stderr(config.log_format);
    let mut signals = Signals::listen().map_err(CliError::internal)?;
    let seals = Seals::from_env().map_err(|error| CliError::new(ErrorKind::BadInput, error.to_string()))?;
    let server = Server::open(config, seals).await?;
    if let Some(path) = &args.address_file {
        server.write_address(path)?;
    }
    server
        .run(async move {
            signals.next().await;
        })
        .await?;
    Ok(())
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !terminal,
    };
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(terminal).init();
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let (kind, hint) = match &error {
            ServeError::Listen { .. } => {
                (ErrorKind::Conflict, Some("is another companion running? `listen` or --listen says where"))
            }
            ServeError::Store(StoreError::InUse { .. }) => (
                ErrorKind::Conflict,
                Some("stop the other one, or give this one a place of its own with --state-dir"),
            ),
            ServeError::Store(StoreError::Unreachable { .. }) => (
                ErrorKind::Unreachable,
                Some(
                    "`store` or --store says where the database is; is it running, and are name and password right?",
                ),
            ),
            ServeError::Token(_) | ServeError::Pass(_) => (ErrorKind::BadInput, None),
            ServeError::Store(_) | ServeError::AddressFile { .. } => {
                (ErrorKind::BadInput, Some("`state_dir` or --state-dir says where state is kept"))
            }
            ServeError::Service(_) | ServeError::Io(_) => (ErrorKind::Internal, None),
        };
        let error = CliError::new(kind, error.to_string());
        hint.into_iter().fold(error, CliError::hint)
    }
}
