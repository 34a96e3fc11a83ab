//! What an enforcer and the companion say to each other: `POST /v1/sync`, JSON both ways.
//!
//! The enforcer reports and asks; the companion answers 200 with a [`crate::snapshot::Snapshot`]
//! at once when its version differs from `applied`, otherwise holds the request for `wait_ms` and
//! answers 204. Every answer names the companion's version in the header [`EPOCH_HEADER`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    snapshot::{EnforcerId, Epoch, InstanceId, WindowId},
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
    /// Requests by outcome: `read`, `admitted`, `allowed`, `exempt`, `refused.<code>`, `observed.<code>`.
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
