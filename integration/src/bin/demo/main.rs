//! The demo: freezes a real Envoy, proves that it is frozen, thaws it, and says what it measured.
//!
//! `cargo xtask demo` builds and finds what this needs. Every request and every answer is real, and
//! anything that does not go as the story says ends it with what was expected and what happened.

mod show;
mod story;
mod traffic;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use quiesce_integration::{
    companion::OPERATOR_TOKEN,
    stack::{Stack, StackOptions},
};
use tokio::signal::unix::{SignalKind, signal};

/// Tells the story of one freeze with a real Envoy, companion and origin.
#[derive(Parser)]
#[command(name = "cargo xtask demo", bin_name = "cargo xtask demo")]
struct Cli {
    /// Leave everything running afterwards, until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// Tell nothing: bring everything up and leave it running until Ctrl-C
    #[arg(long, conflicts_with = "stay")]
    up: bool,
}

/// The one rule of the demo: this POST reads.
const COMPANION: &str = "\
status_page: https://status.example.com/
surfaces:
  - name: shop
    path_prefix: /
    rules:
      - methods: [POST]
        path: /search/{index}
        effect: read
";

#[tokio::main]
async fn main() -> ExitCode {
    match demo(&Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nThis is not how the story goes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(cli: &Cli) -> Result<ExitCode> {
    let stack = tokio::select! {
        stack = run(cli) => stack?,
        interrupted = asked_to_stop() => {
            interrupted?;
            eprintln!("\nInterrupted; everything is stopped.");
            return Ok(ExitCode::from(130));
        }
    };
    if cli.up || cli.stay {
        how_to_try(&stack)?;
        asked_to_stop().await?;
        show::say("Stopped.");
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(cli: &Cli) -> Result<Stack> {
    let options = StackOptions { companion: COMPANION.to_owned(), ..StackOptions::default() };
    let stack = Stack::start(options).await?;
    show::parts(&stack);
    if !cli.up {
        story::tell(&stack).await.with_context(|| logs(&stack))?;
    }
    Ok(stack)
}

/// Ctrl-C, or whatever else asks a process to end: what was started must not be left behind.
async fn asked_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// How to try things with what is running.
fn how_to_try(stack: &Stack) -> Result<()> {
    let envoy = stack.envoy().addr();
    let admin = stack.envoy().admin_addr();
    let companion = stack.companion.addr();
    let quiesce = stack.companion.command(&[])?.get_program().to_string_lossy().into_owned();
    show::title("Yours until Ctrl-C");
    show::say(&format!(
        "In another terminal:

  export QUIESCE_URL=http://{companion} QUIESCE_TOKEN={OPERATOR_TOKEN}
  alias quiesce={quiesce}

  quiesce freeze --for 10m --reason 'trying it' --wait
  curl -i http://{envoy}/orders/7
  curl -i -X POST http://{envoy}/orders -d '{{\"item\":\"tea\"}}'
  curl -i http://{envoy}/.well-known/maintenance
  quiesce status --watch
  quiesce thaw

What the filter counts: http://{admin}/stats?filter=quiesce
What the companion offers: http://{companion}/openapi.json"
    ));
    Ok(())
}

fn logs(stack: &Stack) -> String {
    format!(
        "\n---- Envoy's log ----\n{}---- the companion's log ----\n{}----",
        stack.envoy().log(),
        stack.companion.log()
    )
}
