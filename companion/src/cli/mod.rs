//! The command line: `quiesce serve`, and the operator's commands that talk to it.

mod abort;
mod announce;
mod backfill;
mod cancel;
mod catalog;
mod client;
mod completions;
mod config;
mod deliveries;
mod envoy;
mod error;
mod explain;
mod extend;
mod fleet;
mod freeze;
mod intents;
mod output;
mod pass;
mod plan;
mod preview;
mod run;
mod schedule;
mod serve;
mod status;
mod store;
mod surfaces;
mod thaw;
mod timeline;
mod token;
mod wait;
mod window;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use self::{
    client::Client,
    error::{CliError, EXIT_CODES, ErrorKind},
    output::{Format, Printer},
};

const GLOBAL: &str = "Global options";

/// Freeze writes behind a fleet of proxies, prove that none is in flight, thaw.
#[derive(Debug, Parser)]
#[command(name = "quiesce", version, after_help = EXIT_CODES, subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, clap::Args)]
struct Global {
    /// Where the companion is.
    #[arg(long, global = true, help_heading = GLOBAL, env = "QUIESCE_URL", hide_env_values = true)]
    #[arg(default_value = "http://127.0.0.1:7423")]
    url: String,
    /// A file that holds the token; without it, QUIESCE_TOKEN in the environment does.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// For people, or one JSON document on standard output.
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the companion.
    Serve(serve::Args),
    /// Freeze writes now.
    Freeze(freeze::Args),
    /// Open writes again.
    Thaw(thaw::Args),
    /// Open writes again because the work is given up.
    Abort(abort::Args),
    /// Move a window's end.
    Extend(extend::Args),
    /// Take back a window that has not begun.
    Cancel(cancel::Args),
    /// Show the windows that are not over, and the fleet in numbers.
    Status(status::Args),
    /// Show what happened to a window, and when.
    Timeline(timeline::Args),
    /// Freeze writes later.
    Schedule(schedule::Args),
    /// Freeze writes again and again, by a rule.
    #[command(subcommand)]
    Plan(plan::Command),
    /// Freeze, wait for the barrier, run a command, thaw whatever happens.
    Run(run::Args),
    /// List the enforcers, or forget a lost one.
    Fleet(fleet::Args),
    /// Show writes held for later, and decide about those that have failed.
    #[command(subcommand)]
    Intents(intents::Command),
    /// Show how held writes are brought back; pause and resume it.
    Backfill(backfill::Args),
    /// Show what others would be told of a window, and tell nobody.
    Announce(announce::Args),
    /// Show what others are told of windows, and have it sent again.
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    /// Show what was seen in observe mode: every write, and what no rule knows.
    Surfaces(surfaces::Args),
    /// Say what would become of a request, and what decides.
    Explain(explain::Args),
    /// Show what is known of products' operations.
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Issue passes, with which somebody may write during a window.
    #[command(subcommand)]
    Pass(pass::Command),
    /// Make tokens for the companion's API.
    #[command(subcommand)]
    Token(token::Command),
    /// Move the companion's state to another database.
    #[command(subcommand)]
    Store(store::Command),
    /// Check a configuration of the companion.
    #[command(subcommand)]
    Config(config::Command),
    /// Print what to put into Envoy.
    #[command(subcommand)]
    Envoy(envoy::Command),
    /// Print what a shell needs to complete commands.
    Completions(completions::Args),
}

/// What commands work with.
struct Context {
    global: Global,
    printer: Printer,
}

impl Context {
    fn client(&self) -> Result<Client, CliError> {
        Client::new(&self.global.url, self.global.token_file.as_ref())
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let printer = Printer { format: cli.global.output };
    let context = Context { global: cli.global, printer };
    match execute(&context, cli.command) {
        Ok(code) => code,
        Err(error) => {
            printer.error(&error);
            error.kind.into()
        }
    }
}

fn execute(context: &Context, command: Command) -> Result<ExitCode, CliError> {
    let mut runtime = match &command {
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build().map_err(CliError::internal)?;
    let done = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Freeze(args) => freeze::run(context, args).await,
            Command::Thaw(args) => thaw::run(context, args).await,
            Command::Abort(args) => abort::run(context, args).await,
            Command::Extend(args) => extend::run(context, args).await,
            Command::Cancel(args) => cancel::run(context, args).await,
            Command::Status(args) => status::run(context, args).await,
            Command::Timeline(args) => timeline::run(context, args).await,
            Command::Schedule(args) => schedule::run(context, args).await,
            Command::Plan(command) => plan::run(context, command).await,
            Command::Run(args) => return run::run(context, args).await,
            Command::Fleet(args) => fleet::run(context, args).await,
            Command::Intents(command) => intents::run(context, command).await,
            Command::Backfill(args) => backfill::run(context, args).await,
            Command::Announce(args) => announce::run(context, args).await,
            Command::Deliveries(command) => deliveries::run(context, command).await,
            Command::Surfaces(args) => surfaces::run(context, args).await,
            Command::Explain(args) => explain::run(context, args),
            Command::Catalog(command) => catalog::run(context, command),
            Command::Pass(command) => pass::run(context, command).await,
            Command::Token(command) => token::run(context, command),
            Command::Store(command) => store::run(context, command).await,
            Command::Config(command) => config::run(context, command),
            Command::Envoy(command) => envoy::run(context, command),
            Command::Completions(args) => completions::run(args, Cli::command()),
        }
        .map(|()| ExitCode::SUCCESS)
    });
    // A request that was interrupted must not keep the process.
    runtime.shutdown_background();
    done
}
