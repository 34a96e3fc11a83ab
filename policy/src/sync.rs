//! What an enforcer and the companion say to each other: `POST /v1/sync`, JSON both ways.
//!
//! The enforcer reports and asks; the companion answers 200 with a [`crate::snapshot::Snapshot`]
//! at once when its version differs from `applied`, otherwise holds the request for `wait_ms` and
//! answers 204. Every answer names the companion's version in the header [`EPOCH_HEADER`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    snapshot::{Effect, EnforcerId, Epoch, InstanceId, WindowId},
    text_enum,
    time::Timestamp,
};

/// The response header that names the companion's snapshot version, also when the body cannot be read.
pub const EPOCH_HEADER: &str = "quiesce-epoch";

/// One report of one enforcer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// Who reports.
    pub enforcer: Enforcer,
    /// The version in force; 0 before the first.
    pub applied: Epoch,
    /// The windows in force here, each of them for every request from now on.
    #[serde(default)]
    pub in_force: Vec<WindowId>,
    /// Admitted writes still running, counted after `in_force` took effect.
    pub in_flight: u64,
    /// Admitted writes whose end will never be known, because the VM that counted them is gone.
    #[serde(default)]
    pub unaccounted: u64,
    /// Admitted writes that were cut at a window's drain timeout, since the process started.
    #[serde(default)]
    pub cut: u64,
    /// The enforcer's clock when it reported.
    pub clock: Timestamp,
    /// Requests since the process started, by surface and outcome.
    #[serde(default)]
    pub counters: Vec<SurfaceCounters>,
    /// No write passes here before the first snapshot: what boots into a window has admitted nothing.
    #[serde(default)]
    pub boots_closed: bool,
    /// The last snapshot that could not be used, if it came after the one applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<RejectedSnapshot>,
    /// How long the companion may hold the request if it has nothing new; milliseconds.
    pub wait_ms: u64,
}

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enforcer {
    /// Its identity, kept over restarts.
    pub id: EnforcerId,
    /// The identity of this process.
    pub instance: InstanceId,
    /// What it is.
    pub kind: EnforcerKind,
    /// What scopes are matched against.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The version of the software.
    pub version: String,
}

/// What applies snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnforcerKind {
    /// An Envoy with the filter.
    Envoy,
    /// A service with the guard.
    Service,
}

/// What one enforcer did with requests of one surface since its process started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurfaceCounters {
    /// The surface's name, or `other` for requests that belong to none.
    pub surface: String,
    /// Requests by outcome: `read`, `admitted`, `allowed`, `exempt`, `queued`, `dropped`, `refused.<code>`,
    /// `observed.<code>`.
    pub outcomes: BTreeMap<String, u64>,
}

/// A snapshot that could not be used; the enforcer kept its last good one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectedSnapshot {
    /// The version that the companion named for it.
    pub version: Epoch,
    /// What was wrong with it, naming the place.
    pub error: String,
    /// Snapshots rejected since the process started.
    pub count: u64,
}

/// What one VM of an enforcer has seen of requests whose surfaces are observed: `POST /v1/seen`, answered
/// with 204. What is not answered so is sent again, so that counts may be too high and never too low.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenReport {
    /// Who reports.
    pub enforcer: EnforcerId,
    /// The snapshot whose rules [`SeenRule`] names.
    pub epoch: Epoch,
    /// What was seen.
    pub seen: Vec<Seen>,
    /// Requests for which there was no room in `seen`.
    #[serde(default)]
    pub unlisted: u64,
}

/// Requests that look alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The surface's name, or `other`.
    pub surface: String,
    /// The HTTP method.
    pub method: String,
    /// The path, with `{id}` for what names one thing of many; none where a rule has the path, or where
    /// origins may read it differently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What headers or body call: a method of JSON-RPC, and the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What they would do.
    pub effect: Effect,
    /// How that is known.
    pub by: DecidedBy,
    /// The rule, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<SeenRule>,
    /// How many there were.
    pub count: u64,
}

/// A rule of a surface in the snapshot that a report names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenRule {
    /// Which of the surface's catalogs, if it is none of its own rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<usize>,
    /// Which rule there.
    pub index: usize,
}

text_enum! {
    /// How it is known what a request would do.
    pub enum DecidedBy {
        /// A rule says so.
        Rule = "rule",
        /// A rule leaves it to what the headers call.
        Headers = "headers",
        /// A rule leaves it to what the body calls.
        Body = "body",
        /// No rule speaks of it, so its method does.
        Method = "method",
        /// Origins may read its path or host differently.
        Ambiguous = "ambiguous",
        /// It asks for another method or protocol than it shows.
        Suspicion = "suspicion",
    }
}
