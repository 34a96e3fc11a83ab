//! Waiting for a barrier: shows what changes, and says how it came out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quiesce_policy::snapshot::{InstanceId, WindowId};

use super::{
    client::Client,
    error::{CliError, ErrorKind},
    output::{DIM, GOOD, Printer, WARN, at, span},
};
use crate::{
    barrier::{Barrier, EnforcerProgress, EnforcerState, Problem, Verdict, Weight, writes},
    view::WindowView,
    windows::{Phase, Quiesced},
};

/// The companion may be away for this long, to restart for example, before waiting ends.
const AWAY_LIMIT: Duration = Duration::from_secs(30);
const AWAY_PAUSE: Duration = Duration::from_millis(250);

/// Waits until the barrier of a window holds.
pub async fn wait_for_barrier(
    client: &Client,
    printer: Printer,
    id: &WindowId,
    limit: Duration,
) -> Result<WindowView, CliError> {
    let deadline = Instant::now() + limit;
    let mut progress = Progress::default();
    let mut revision: Option<String> = None;
    let mut away: Option<Instant> = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let look = match client.watch(id, revision.as_deref(), left).await {
            Ok(look) => look,
            Err(error) if error.kind == ErrorKind::Unreachable => {
                let since = *away.get_or_insert_with(|| {
                    printer.line(format!("{WARN}the companion does not answer; trying again{WARN:#}"));
                    Instant::now()
                });
                if since.elapsed() > AWAY_LIMIT {
                    return Err(error.hint(stays(id)));
                }
                tokio::time::sleep(AWAY_PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        away = None;
        revision = Some(look.revision);
        let window = look.window;
        if let Some(quiesced) = &window.quiesced {
            progress.show(printer, &quiesced.barrier);
            printer.line(format!("{GOOD}{}{GOOD:#}", summary(quiesced)));
            show_problems(printer, &quiesced.barrier.problems);
            return Ok(window);
        }
        if window.phase.is_over() {
            return Err(ended(&window));
        }
        let Some(barrier) = &window.barrier else { continue };
        progress.show(printer, barrier);
        if barrier.verdict == Verdict::Unproven {
            return Err(unproven(id, barrier));
        }
        if left.is_zero() {
            return Err(timed_out(&window, barrier, limit));
        }
    }
}

/// What a proof comes down to: `quiesced in 12 ms: 1/1 enforcers, 0 writes in flight`.
pub fn summary(quiesced: &Quiesced) -> String {
    let Quiesced { elapsed_ms, barrier, .. } = quiesced;
    let mut text = format!("quiesced in {elapsed_ms} ms: {}", counts(barrier));
    if barrier.cut > 0 {
        text.push_str(&format!(", {} cut at the drain timeout", barrier.cut));
    }
    text
}

/// `1/1 enforcers, 0 writes in flight`.
pub fn counts(barrier: &Barrier) -> String {
    format!("{}/{} enforcers, {} in flight", barrier.acknowledged, barrier.total, writes(barrier.in_flight))
}

/// Names what should be known beside the numbers.
pub fn show_problems(printer: Printer, problems: &[Problem]) {
    for problem in problems {
        printer.line(format!("  {WARN}{}{WARN:#}", sentence(problem)));
    }
}

fn sentence(problem: &Problem) -> String {
    match &problem.enforcer {
        Some(id) => format!("{id} {}", problem.message),
        None => problem.message.clone(),
    }
}

/// What an interrupted wait leaves.
pub fn stays(id: &WindowId) -> String {
    format!("window {id} stays in force; `quiesce thaw {id}` opens writes again, `quiesce status` shows it")
}

fn ended(window: &WindowView) -> CliError {
    let how = match &window.ended {
        Some(ended) => format!("{} by {} at {}", ended.how.as_str(), ended.by, at(ended.at)),
        None => window.phase.as_str().to_owned(),
    };
    let message = format!("not proven: window {} was {how}, before its barrier held", window.id);
    CliError::new(ErrorKind::NotProven, message)
}

fn unproven(id: &WindowId, barrier: &Barrier) -> CliError {
    let why: Vec<_> = barrier
        .problems
        .iter()
        .filter(|problem| matches!(problem.weight, Weight::Final | Weight::Lost))
        .map(sentence)
        .collect();
    let message = format!("not proven ({}): {}", counts(barrier), why.join("; "));
    CliError::new(ErrorKind::NotProven, message).hint(stays(id))
}

fn timed_out(window: &WindowView, barrier: &Barrier, limit: Duration) -> CliError {
    let limit = span(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let state = if window.phase == Phase::Draining { "draining" } else { "freezing" };
    let missing: Vec<_> = barrier
        .enforcers
        .iter()
        .filter(|one| matches!(one.state, EnforcerState::Pending | EnforcerState::Draining))
        .map(|one| format!("{} {}", one.id, describe(one)))
        .chain(barrier.problems.iter().filter(|it| it.weight == Weight::Waiting).map(sentence))
        .collect();
    let message =
        format!("timed out after {limit}, still {state} ({}): {}", counts(barrier), missing.join("; "));
    CliError::new(ErrorKind::TimedOut, message).hint(stays(&window.id))
}

/// How far an enforcer is, in words.
pub fn describe(one: &EnforcerProgress) -> String {
    let text = match one.state {
        EnforcerState::Pending if one.connected => "not in force yet".to_owned(),
        EnforcerState::Pending => "not in force yet, not connected".to_owned(),
        EnforcerState::Draining | EnforcerState::Quiesced => {
            format!("in force, {} in flight", writes(one.in_flight))
        }
        EnforcerState::Lost => "lost".to_owned(),
        EnforcerState::Replaced => "replaced by a new process".to_owned(),
    };
    if one.unaccounted > 0 { format!("{text}, {} unaccounted for", one.unaccounted) } else { text }
}

/// Shows each enforcer's state when it is another than before.
#[derive(Default)]
struct Progress {
    shown: BTreeMap<(String, InstanceId), String>,
    waiting: Vec<String>,
}

impl Progress {
    fn show(&mut self, printer: Printer, barrier: &Barrier) {
        let width = barrier.enforcers.iter().map(|one| one.id.as_str().len()).max().unwrap_or_default();
        for one in &barrier.enforcers {
            let text = describe(one);
            let key = (one.id.to_string(), one.instance.clone());
            if self.shown.get(&key) != Some(&text) {
                printer.line(format!("{:width$}  {DIM}{text}{DIM:#}", one.id));
                self.shown.insert(key, text);
            }
        }
        let waiting: Vec<_> =
            barrier.problems.iter().filter(|it| it.weight == Weight::Waiting).map(sentence).collect();
        if waiting != self.waiting {
            for text in &waiting {
                printer.line(format!("{WARN}waiting{WARN:#}: {text}"));
            }
            self.waiting = waiting;
        }
    }
}
