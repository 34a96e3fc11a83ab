//! `quiesce run`: a command inside a freeze that is proven, and thawed whatever happens.

use std::{
    ffi::OsString,
    io::ErrorKind as IoErrorKind,
    os::unix::process::ExitStatusExt as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use quiesce_policy::snapshot::WindowId;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::{
    Context,
    client::Client,
    error::{CliError, ErrorKind},
    output::{BAD, GOOD, at},
    wait::wait_for_barrier,
    window::{WindowArgs, announce, wait_limit},
};
use crate::{config::Period, event::EventKind, signals::Signals, view::WindowView};

/// Shells' code for a command that cannot be executed, and for one that is not found.
const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;
const SIGNAL_BASE: u8 = 128;
/// A companion that is away, to restart for example, has this long to come back for the thaw.
const THAW_LIMIT: Duration = Duration::from_secs(30);
const THAW_PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    window: WindowArgs,
    /// Give up waiting for the barrier after this long, and thaw.
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Period>,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub async fn run(context: &Context, args: Args) -> Result<ExitCode, CliError> {
    let mut signals = Signals::listen().map_err(CliError::internal)?;
    let client = context.client()?;
    let window = client.create(&args.window.new_window()).await?;
    announce(context, &window, "freezes");
    let limit = wait_limit(args.timeout, &window);
    let proven = tokio::select! {
        proven = wait_for_barrier(&client, context.printer, &window.id, limit) => proven,
        _ = signals.next() => {
            Err(CliError::new(ErrorKind::Interrupted, "interrupted before the barrier held"))
        }
    };
    if let Err(mut error) = proven {
        // What it would leave is what this command does not leave.
        error.hints.clear();
        return Err(match thaw(&client, &window.id).await {
            Ok(_) => error.hint("the command was not run; writes are open again"),
            Err(thaw) => error.hint(format!("the command was not run; and {}", thaw.message)),
        });
    }
    let ended = execute(&args.command, &mut signals).await;
    let over = thaw(&client, &window.id).await;
    let code = ended?;
    let window = match over {
        Ok(window) => window,
        Err(error) if code != 0 => {
            context.printer.line(format!("{BAD}{}{BAD:#}", error.message));
            let failed = serde_json::json!({ "command_exit_code": code, "thaw": error.to_json() });
            context.printer.document(&failed)?;
            return Ok(ExitCode::from(code));
        }
        Err(error) => return Err(error),
    };
    context.printer.line(format!("{GOOD}thawed{GOOD:#} window {}; the command ended with {code}", window.id));
    context.printer.document(&serde_json::json!({ "command_exit_code": code, "window": window }))?;
    Ok(ExitCode::from(code))
}

/// Opens writes again, with patience. That the window is over already means that the command was
/// not covered to its end, which is a failure of its own.
async fn thaw(client: &Client, id: &WindowId) -> Result<WindowView, CliError> {
    let began = Instant::now();
    let mut unanswered = false;
    loop {
        let error = match client.thaw(id).await {
            Ok(window) => return Ok(window),
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::Unreachable if began.elapsed() < THAW_LIMIT => {
                unanswered = true;
                tokio::time::sleep(THAW_PAUSE).await;
            }
            ErrorKind::Conflict => return early_end(client, id, error, unanswered).await,
            _ => {
                let message = format!("window {id} could not be thawed: {}", error.message);
                return Err(CliError { message, ..error }.hint(format!(
                    "writes are refused until its lease ends; `quiesce thaw {id}` opens them"
                )));
            }
        }
    }
}

/// The window is over. If a thaw of ours went unanswered, it may have been that which ended it.
async fn early_end(
    client: &Client,
    id: &WindowId,
    error: CliError,
    unanswered: bool,
) -> Result<WindowView, CliError> {
    let window = client.window(id).await.map_err(|_| error.clone())?;
    let Some(ended) = window.ended.clone() else { return Err(error) };
    if unanswered && ended.how != EventKind::Lapsed {
        return Ok(window);
    }
    let how = if ended.how == EventKind::Lapsed { "its lease ran out" } else { "it was thawed" };
    let message = format!(
        "writes were open again before the command ended: {how} (by {}) at {}",
        ended.by,
        at(ended.at)
    );
    Err(CliError::new(ErrorKind::NotProven, message))
}

/// Runs the command, hands signals on to it, and tells the exit code that stands for how it ended.
async fn execute(command: &[OsString], signals: &mut Signals) -> Result<u8, CliError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(CliError::new(ErrorKind::Usage, "no command is given"));
    };
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => {
            anstream::eprintln!("{BAD}error{BAD:#}: cannot run {}: {error}", program.display());
            let missing = error.kind() == IoErrorKind::NotFound;
            return Ok(if missing { NOT_FOUND } else { CANNOT_EXECUTE });
        }
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(CliError::internal)?,
            signal = signals.next() => hand_on(&child, signal),
        }
    };
    let by_signal = status.signal().and_then(|number| u8::try_from(number).ok());
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.or(by_signal.map(|number| SIGNAL_BASE.saturating_add(number))).unwrap_or(1))
}

/// A terminal's Ctrl-C reaches the command by itself as well; commands bear being told twice.
fn hand_on(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        anstream::eprintln!("cannot hand {signal:?} on to the command: {error}");
    }
}
