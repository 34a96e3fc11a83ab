//! What commands about windows share: the flags that describe one, and which one is meant.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use quiesce_policy::snapshot::{RefusalStatus, Scope, WindowId};

use super::{
    Context,
    client::Client,
    error::{CliError, ErrorKind},
    output::{WARN, at, span},
};
use crate::{
    config::Period,
    view::{NewWindow, WindowView},
    windows::Phase,
};

/// An enforcer that stopped talking is lost after three polls of 30 s; waiting longer than this
/// beyond the drain timeout would show nothing new.
const LIVE_PERIOD_MS: u64 = 90_000;
const SLACK_MS: u64 = 30_000;

/// What a window is like.
#[derive(Clone, Debug, clap::Args)]
pub struct WindowArgs {
    /// How long people are told that it lasts; without it, what the companion is configured for.
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<Period>,
    /// Why, in words for the people refused.
    #[arg(long)]
    pub reason: Option<String>,
    /// Whom the people refused may ask.
    #[arg(long)]
    pub contact: Option<String>,
    /// Narrow it: `host=api.example.com`, or an enforcer's label; of one key given twice, either will do.
    #[arg(long, value_name = "KEY=VALUE")]
    pub scope: Vec<ScopeArg>,
    /// The HTTP status of refusals: 423 or 503.
    #[arg(long, value_name = "STATUS", value_parser = parse_status)]
    pub status: Option<RefusalStatus>,
    /// Writes still in flight this long after the start are cut.
    #[arg(long, value_name = "DURATION")]
    pub drain_timeout: Option<Period>,
    /// What happens if the work fails, in words for the public.
    #[arg(long, value_name = "TEXT")]
    pub rollback: Option<String>,
    /// Do not call it quiesced with fewer live enforcers.
    #[arg(long, value_name = "N")]
    pub expect: Option<u32>,
}

fn parse_status(text: &str) -> Result<RefusalStatus, String> {
    let code: u16 = text.parse().map_err(|_| "a refusal's status is 423 or 503".to_owned())?;
    RefusalStatus::try_from(code)
}

/// One `KEY=VALUE` of a scope.
#[derive(Clone, Debug)]
pub struct ScopeArg {
    key: String,
    value: String,
}

impl FromStr for ScopeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("write it like host=api.example.com or region=eu".to_owned()),
        }
    }
}

impl WindowArgs {
    /// The window asked for.
    pub fn new_window(&self) -> NewWindow {
        let mut scope = Scope { labels: BTreeMap::new(), hosts: Vec::new() };
        for arg in &self.scope {
            if arg.key == "host" {
                scope.hosts.push(arg.value.clone());
            } else {
                scope.labels.entry(arg.key.clone()).or_default().push(arg.value.clone());
            }
        }
        NewWindow {
            starts_at: None,
            ends_at: None,
            duration_ms: self.duration.map(Period::ms),
            reason: self.reason.clone(),
            contact: self.contact.clone(),
            scope,
            status: self.status,
            drain_timeout_ms: self.drain_timeout.map(Period::ms),
            expect: self.expect,
            rollback: self.rollback.clone(),
        }
    }
}

/// How long to wait for a barrier when nothing is said: until every write was cut and every silent
/// enforcer has been given up.
pub fn wait_limit(given: Option<Period>, window: &WindowView) -> Duration {
    let wait_ms = window.drain_timeout_ms.saturating_add(LIVE_PERIOD_MS).saturating_add(SLACK_MS);
    given.map_or(Duration::from_millis(wait_ms), Period::duration)
}

/// The window that a command means: the one named, or the only one in one of these phases.
pub async fn meant(
    client: &Client,
    named: Option<String>,
    fits: impl Fn(Phase) -> bool,
    what: &str,
) -> Result<WindowId, CliError> {
    if let Some(id) = named {
        return Ok(WindowId::from(id));
    }
    let status = client.status().await?;
    let mut fitting: Vec<_> =
        status.windows.into_iter().filter(|window| fits(window.phase)).map(|window| window.id).collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(id), true) => Ok(id),
        (None, _) => Err(CliError::new(ErrorKind::NotFound, format!("no window is {what}"))
            .hint("`quiesce status` lists the windows that are not over")),
        (Some(last), false) => {
            fitting.push(last);
            let ids: Vec<_> = fitting.iter().map(WindowId::as_str).collect();
            let message = format!("{} windows are {what}: {}", ids.len(), ids.join(", "));
            Err(CliError::new(ErrorKind::Conflict, message).hint("name the one that you mean"))
        }
    }
}

/// Says what was issued.
pub fn announce(context: &Context, window: &WindowView, verb: &str) {
    let what = describe_scope(&window.scope);
    let ends = match window.ends_at {
        Some(end) => format!("until {} ({})", at(end), span(end.ms_since(window.starts_at))),
        None => format!("until {}", at(window.expires_at)),
    };
    context.printer.line(format!("window {} {verb} {what} {ends}", window.id));
    if window.phase == Phase::Scheduled {
        return;
    }
    if window.barrier.as_ref().is_some_and(|barrier| barrier.enforcers.is_empty()) {
        context.printer.line(format!("{WARN}no enforcer is known: nothing refuses writes{WARN:#}"));
    }
}

/// Where a window applies, in words.
pub fn describe_scope(scope: &Scope) -> String {
    if scope.is_everything() {
        return "all writes".to_owned();
    }
    let labels = scope.labels.iter().map(|(key, values)| format!("{key}={}", values.join("|")));
    let hosts = (!scope.hosts.is_empty()).then(|| format!("host={}", scope.hosts.join("|")));
    format!("writes where {}", labels.chain(hosts).collect::<Vec<_>>().join(" and "))
}
