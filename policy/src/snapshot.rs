//! The snapshot: the one immutable JSON document with all that an enforcer needs.
//!
//! These are the wire types, parsed strictly: a field that this version does not know is an error,
//! because it might have been the one that says "write". [`crate::Policy::compile`] checks what
//! types alone cannot and builds what requests are matched against.

mod surface;

use std::{borrow::Borrow, collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

pub use self::surface::{
    Action, BodyProtocol, Catalog, Effect, HeaderCondition, ReadOnly, Rule, Surface, WriteKind,
};

use crate::{intent::DEFAULT_HEADERS, text_enum, time::Timestamp};

/// The version of a snapshot. Later snapshots have larger versions; 0 is "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type! {
    /// Identifies one window for ever.
    WindowId
}
name_type! {
    /// Names a surface: lower-case letters, digits, `-` and `_`, so that it can stand in a metric's name.
    SurfaceName
}
name_type! {
    /// Names a catalog, as a surface's name.
    CatalogName
}
name_type! {
    /// Identifies one enforcer: an Envoy's node id, or what its configuration says.
    EnforcerId
}
name_type! {
    /// Identifies one process of an enforcer: a restart brings a new one.
    InstanceId
}

/// All that an enforcer needs to know, as of one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The version of this document.
    pub version: Epoch,
    /// Whether verdicts are carried out.
    #[serde(default)]
    pub mode: Mode,
    /// Windows that are in force, or will be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Windows that are over, and refuse nothing: people are told of them until `expires_at`, and that they ended at
    /// `ends_at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Window>,
    /// The APIs behind the proxies. A request that belongs to none is judged by its method alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surfaces: Vec<Surface>,
    /// What is known of the products behind them: the catalogs that surfaces name, and no others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub catalogs: BTreeMap<CatalogName, Catalog>,
    /// Who may write during a window.
    #[serde(default, skip_serializing_if = "Exemptions::is_empty")]
    pub exemptions: Exemptions,
    /// How long refused clients are told to wait.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// In what form refused calls of MCP and JSON-RPC are answered.
    #[serde(default)]
    pub refused_calls: RefusedCalls,
    /// What is kept of the writes that rules queue.
    #[serde(default)]
    pub intents: IntentPolicy,
    /// The page that tells people what is going on; an absolute URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_page: Option<String>,
}

text_enum! {
    /// In what form a refused call of MCP or JSON-RPC is answered.
    #[derive(Default)]
    pub enum RefusedCalls {
        /// A JSON-RPC error with HTTP status 200, which all client libraries hand on.
        #[default]
        Error = "error",
        /// The same with the window's HTTP status, which some client libraries report instead.
        Status = "status",
        /// A tool result with `isError: true`, which clients show to the model.
        ToolError = "tool-error",
    }
}

text_enum! {
    /// Whether verdicts are carried out.
    #[derive(Default)]
    pub enum Mode {
        /// Writes are refused while a window is in force.
        #[default]
        Enforce = "enforce",
        /// Verdicts are counted, and every request passes.
        Observe = "observe",
    }
}

/// One read-only period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Identifies the window.
    pub id: WindowId,
    /// Where it applies.
    #[serde(default, skip_serializing_if = "Scope::is_everything")]
    pub scope: Scope,
    /// When it begins.
    pub starts_at: Timestamp,
    /// Before this people are told nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce_at: Option<Timestamp>,
    /// The companion has seen it begin: it is in force from now on, whatever the proxy's clock says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub started: bool,
    /// When people are told that it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The lease: it is in force no longer than this, companion or not.
    pub expires_at: Timestamp,
    /// Why, in words for the people refused.
    pub reason: String,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// The HTTP status of refusals.
    #[serde(default)]
    pub status: RefusalStatus,
    /// Writes still in flight this long after the start are cut; milliseconds.
    pub drain_timeout_ms: u64,
}

/// Where a window applies. Empty means everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Enforcer labels: for every key the enforcer must carry one of the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Vec<String>>,
    /// Hosts, as in [`Surface::hosts`]; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

impl Scope {
    /// Whether the scope narrows nothing.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.hosts.is_empty()
    }

    /// Whether an enforcer with these labels is concerned.
    pub fn covers_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels
            .iter()
            .all(|(key, wanted)| labels.get(key).is_some_and(|value| wanted.iter().any(|one| one == value)))
    }
}

/// The HTTP status that a window's refusals carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RefusalStatus {
    /// 423 Locked, RFC 4918 section 11.3.
    #[default]
    Locked,
    /// 503 Service Unavailable, RFC 9110 section 15.6.4.
    Unavailable,
}

impl From<RefusalStatus> for u16 {
    fn from(status: RefusalStatus) -> Self {
        match status {
            RefusalStatus::Locked => 423,
            RefusalStatus::Unavailable => 503,
        }
    }
}

impl TryFrom<u16> for RefusalStatus {
    type Error = String;

    fn try_from(code: u16) -> Result<Self, Self::Error> {
        match code {
            423 => Ok(Self::Locked),
            503 => Ok(Self::Unavailable),
            other => Err(format!("a refusal's status is 423 or 503, not {other}")),
        }
    }
}

/// Who may write during a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemptions {
    /// URI SANs of client certificates, exact: `spiffe://cluster.local/ns/ops/sa/migrate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<String>,
    /// Public keys whose passes are honoured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_keys: Vec<PassKey>,
}

impl Exemptions {
    /// Whether nobody is exempt.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.pass_keys.is_empty()
    }
}

/// A public key whose passes are honoured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassKey {
    /// The key's id, as passes name it.
    pub kid: String,
    /// The Ed25519 public key (RFC 8032): 32 bytes in unpadded base64url.
    pub public_key: String,
}

/// How long refused clients are told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Told when the end is not known or has passed; seconds.
    pub default_s: u32,
    /// Clients are spread over this long after the end, so that they do not return together; seconds.
    pub spread_s: u32,
    /// Nobody is told to wait longer than this; seconds.
    pub cap_s: u32,
    /// How often one client may come back for the same thing before its time until it is told so.
    pub budget: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { default_s: 10, spread_s: 10, cap_s: 3600, budget: 10 }
    }
}

/// What is kept of the writes that rules queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntentPolicy {
    /// A write with a longer body is refused; bytes.
    pub max_bytes: usize,
    /// The headers that are kept beside method, path and host; names in lower case.
    pub headers: Vec<String>,
}

impl Default for IntentPolicy {
    fn default() -> Self {
        let headers = DEFAULT_HEADERS.iter().map(|&name| name.to_owned()).collect();
        Self { max_bytes: 256 * 1024, headers }
    }
}
