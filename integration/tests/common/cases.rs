//! The one table of cases, `policy/cases/http.json`, and how what was seen is compared with it.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use quiesce_integration::envoy::{EnforcerConfig, PluginConfig};
use quiesce_policy::{snapshot::Snapshot, time::Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    #[serde(rename = "about")]
    _about: String,
    /// Snapshots by name.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// Requests and what becomes of them.
    pub cases: Vec<Case>,
}

/// A request and what becomes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The name of the snapshot.
    pub snapshot: String,
    /// The time.
    pub clock: Timestamp,
    /// The request.
    pub request: CaseRequest,
    expect: Value,
}

/// A request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRequest {
    /// Its method.
    pub method: String,
    /// Its target.
    pub path: String,
    host: Option<String>,
    /// Its headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Option<String>,
    /// The URI SAN of the client's certificate.
    pub peer_identity: Option<String>,
}

impl CaseRequest {
    /// The host that it asks for.
    pub fn host(&self) -> &str {
        self.host.as_deref().unwrap_or("shop.example.com")
    }
}

/// Reads the table.
pub fn table() -> Table {
    let table: Table = serde_json::from_str(include_str!("../../../policy/cases/http.json")).unwrap();
    assert!(table.cases.len() >= 80, "{} cases", table.cases.len());
    table
}

/// The plugin configuration that the table supposes.
pub fn plugin() -> PluginConfig {
    let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    PluginConfig { enforcer: EnforcerConfig { id: None, labels }, ..PluginConfig::default() }
}

/// What a client saw of a request that did not pass, in the words of the table.
pub fn answered(status: u16, header: impl Fn(&str) -> Option<String>, body: &[u8]) -> Value {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let retry_after_s = header("retry-after").map(|value| value.parse::<u64>().unwrap());
    let is_problem = header("content-type").is_some_and(|value| value == "application/problem+json");
    // The same problem is in what JSON-RPC and GraphQL know as errors.
    let dressed = [&body["error"]["data"], &body["errors"][0]["extensions"]];
    let problem = dressed.into_iter().find(|data| data.is_object()).or(is_problem.then_some(&body));
    let verdict = match problem {
        Some(_) => "refuse",
        None if body["dropped"] == true => "drop",
        None if body["state"] == "held" => "queue",
        None => "answer",
    };
    let said = problem.unwrap_or(&body);
    json!({
        "verdict": verdict,
        "status": status,
        "code": said["code"],
        "window": said["window"],
        "retry_after_s": retry_after_s,
        "body": body,
    })
}

impl Case {
    /// Asserts that what was seen is what the table says; the request came up to `late_s` after the clock.
    pub fn assert_met(&self, seen: &Value, late_s: u64) {
        // How a passing request was judged shows in the counters, not in its answer.
        let hidden = ["effect", "exempt", "observed"];
        for (member, expected) in self.expect.as_object().unwrap() {
            let met = match (member.as_str(), expected) {
                (name, _) if hidden.contains(&name) => true,
                ("retry_after_s", Value::Array(range)) => {
                    let (from, to) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
                    seen["retry_after_s"]
                        .as_u64()
                        .is_some_and(|s| (from.saturating_sub(late_s)..=to).contains(&s))
                }
                ("body", Value::Object(members)) => {
                    members.iter().all(|(name, value)| seen["body"][name] == *value)
                }
                _ => seen[member] == *expected,
            };
            assert!(met, "{}: `{member}` should be {expected}, but is as in {seen}", self.name);
        }
    }

    /// Whether the request must reach the origin.
    pub fn passes(&self) -> bool {
        self.expect["verdict"] == "pass"
    }

    /// Whether it is about writes that are kept for later.
    pub fn is_about_keeping(&self) -> bool {
        self.expect["verdict"] == "queue" || self.expect["code"] == "intent-too-large"
    }

    /// The outcomes by which the filter may count it; none for its own answers.
    pub fn outcomes(&self) -> Vec<String> {
        let expect = &self.expect;
        let code = |name: &str| expect[name].as_str().unwrap_or_default().to_owned();
        match expect["verdict"].as_str() {
            Some("refuse") => vec![format!("refused.{}", code("code"))],
            Some("queue") => vec!["queued".to_owned()],
            Some("drop") => vec!["dropped".to_owned()],
            Some("pass") if expect["exempt"] == true => vec!["exempt".to_owned()],
            Some("pass") if expect["observed"].is_string() => vec![format!("observed.{}", code("observed"))],
            Some("pass") if expect["effect"] == "read" => vec!["read".to_owned()],
            Some("pass") => vec!["admitted".to_owned(), "allowed".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// Requests by outcome, all surfaces together, from counters named `…quiesce.surface.<surface>.<outcome>`.
pub fn by_outcome(counters: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut outcomes = BTreeMap::new();
    for (name, count) in counters {
        let Some((_, name)) = name.split_once("quiesce.surface.") else { continue };
        let Some((_, outcome)) = name.split_once('.') else { continue };
        *outcomes.entry(outcome.to_owned()).or_default() += count;
    }
    outcomes
}

/// The snapshot with all its times moved so that `clock` becomes `now`.
pub fn moved(snapshot: &Snapshot, clock: Timestamp, now: Timestamp) -> Snapshot {
    let moved = |at: Timestamp| Timestamp::from_unix_ms(now.unix_ms() + at.unix_ms() - clock.unix_ms());
    let mut snapshot = snapshot.clone();
    for window in snapshot.windows.iter_mut().chain(&mut snapshot.ended) {
        window.starts_at = moved(window.starts_at);
        window.ends_at = window.ends_at.map(moved);
        window.expires_at = moved(window.expires_at);
    }
    snapshot
}

/// The time, for parts whose clock cannot be set.
#[allow(clippy::disallowed_methods, reason = "what is under test goes by the real clock")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap())
}
