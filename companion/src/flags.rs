//! Flags: whether whoever asks may write, and which window keeps them from it, as OpenFeature has such answers.
//!
//! The context of the caller is matched against the scopes of the windows in force: its attribute `host` against
//! their hosts, the others against their labels. What the context does not say may be anything, so that a window
//! which may concern the caller does: doubt is a write.

use std::collections::BTreeMap;

use quiesce_policy::{
    Host,
    snapshot::{Mode, Window},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::windows::hosts_meet;

/// The attribute of a context that names the host a caller writes to.
const HOST: &str = "host";

/// A flag that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKey {
    /// Whether writes are refused: a boolean.
    ReadOnly,
    /// The window that refuses them: an object, empty if none does.
    Window,
}

impl FlagKey {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ReadOnly, Self::Window];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Window => "window",
        }
    }

    /// The flag of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == name)
    }
}

/// What is known of the caller.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct FlagRequest {
    /// Attributes: `targetingKey`, `host`, and labels as the scopes of windows have them.
    #[serde(default)]
    pub context: BTreeMap<String, Value>,
}

/// One flag, evaluated: OFREP's `evaluationSuccess`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Flag {
    /// Its name.
    pub key: &'static str,
    /// Its value.
    pub value: Value,
    /// Which of its values that is.
    pub variant: &'static str,
    /// Why: `TARGETING_MATCH` if a window concerns the caller, `DEFAULT` if none does.
    pub reason: &'static str,
    /// `epoch`: the version of the state that this rests on.
    pub metadata: BTreeMap<&'static str, u64>,
}

/// What flags rest on.
#[derive(Clone, Copy, Debug)]
pub struct Frozen<'a> {
    epoch: u64,
    /// The window in force that concerns the caller and ends last.
    window: Option<&'a Window>,
}

impl<'a> Frozen<'a> {
    /// What concerns a caller at this moment.
    pub fn of(
        windows: impl IntoIterator<Item = &'a Window>,
        mode: Mode,
        epoch: u64,
        context: &BTreeMap<String, Value>,
        now: Timestamp,
    ) -> Self {
        let in_force =
            |window: &&Window| (window.started || now >= window.starts_at) && now < window.expires_at;
        let concerned = windows.into_iter().filter(in_force).filter(|window| may_concern(window, context));
        let last =
            concerned.max_by_key(|window| (window.ends_at.is_none(), window.ends_at, window.expires_at));
        Self { epoch, window: last.filter(|_| mode == Mode::Enforce) }
    }

    /// A flag.
    pub fn flag(&self, key: FlagKey) -> Flag {
        let (value, variant) = match (key, self.window) {
            (FlagKey::ReadOnly, window) => {
                (json!(window.is_some()), if window.is_some() { "read-only" } else { "open" })
            }
            (FlagKey::Window, Some(window)) => (shown(window), "in-force"),
            (FlagKey::Window, None) => (json!({}), "none"),
        };
        let reason = if self.window.is_some() { "TARGETING_MATCH" } else { "DEFAULT" };
        Flag { key: key.as_str(), value, variant, reason, metadata: [("epoch", self.epoch)].into() }
    }
}

/// A window as callers see it: what refusals and the banner say too.
fn shown(window: &Window) -> Value {
    let Window { id, starts_at, ends_at, expires_at, reason, contact, .. } = window;
    let mut shown = json!({
        "id": id, "starts_at": starts_at, "ends_at": ends_at, "expires_at": expires_at, "reason": reason,
        "contact": contact,
    });
    if let Some(members) = shown.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    shown
}

/// Whether a window concerns whoever has this context, or may.
fn may_concern(window: &Window, context: &BTreeMap<String, Value>) -> bool {
    let of_labels = window.scope.labels.iter().all(|(label, wanted)| match context.get(label) {
        Some(Value::String(value)) => wanted.contains(value),
        _ => true,
    });
    let of_host = match context.get(HOST) {
        Some(Value::String(host)) => match Host::read(host.as_bytes()) {
            Host::Named(host) => {
                let host = String::from_utf8_lossy(&host);
                let hosts = &window.scope.hosts;
                hosts.is_empty() || hosts.iter().any(|pattern| hosts_meet(pattern, &host))
            }
            Host::Odd => true,
        },
        _ => true,
    };
    of_labels && of_host
}

#[cfg(test)]
mod tests {
    use quiesce_policy::snapshot::{RefusalStatus, Scope};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);

    fn window(id: &str, scope: Scope, minutes: u64) -> Window {
        Window {
            id: id.into(),
            scope,
            starts_at: NOW,
            announce_at: None,
            started: true,
            ends_at: Some(NOW.plus_ms(minutes * 60_000)),
            expires_at: NOW.plus_ms(minutes * 60_000),
            reason: "reindex".to_owned(),
            contact: Some("#sre".to_owned()),
            status: RefusalStatus::Locked,
            drain_timeout_ms: 1000,
        }
    }

    fn read_only(windows: &[Window], context: Value) -> (bool, String) {
        let context = serde_json::from_value(context).unwrap();
        let frozen = Frozen::of(windows, Mode::Enforce, 7, &context, NOW.plus_ms(1));
        let (flag, window) = (frozen.flag(FlagKey::ReadOnly), frozen.flag(FlagKey::Window));
        assert_eq!((flag.metadata["epoch"], flag.reason), (7, window.reason));
        (flag.value == json!(true), window.value["id"].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn scopes_are_matched_and_doubt_is_a_write() {
        let labels = [("region".to_owned(), vec!["eu".to_owned()])].into();
        let eu = window("eu", Scope { labels, ..Scope::default() }, 10);
        let shop = window("shop", Scope { hosts: vec!["*.shop.example".to_owned()], ..Scope::default() }, 20);
        let both = [eu, shop];
        for (context, expected) in [
            (json!({ "region": "eu", "host": "docs.example" }), "eu"),
            (json!({ "region": "us", "host": "docs.example" }), ""),
            (json!({ "region": "us", "host": "A.Shop.Example:443" }), "shop"),
            (json!({ "region": "us" }), "shop"),
            (json!({ "region": ["us"], "host": "docs.example" }), "eu"),
            (json!({ "region": "eu", "host": "b.shop.example" }), "shop"),
            (json!({ "region": "us", "host": "no host" }), "shop"),
            (json!({}), "shop"),
        ] {
            let seen = read_only(&both, context.clone());
            assert_eq!(seen, (!expected.is_empty(), expected.to_owned()), "{context}");
        }
    }

    #[test]
    fn only_what_is_in_force_counts() {
        let mut to_come = window("w", Scope::default(), 10);
        (to_come.started, to_come.starts_at) = (false, NOW.plus_ms(2));
        assert!(!read_only(&[to_come.clone()], json!({})).0);
        to_come.starts_at = NOW.plus_ms(1);
        assert!(read_only(&[to_come.clone()], json!({})).0, "by the clock alone");
        to_come.expires_at = NOW.plus_ms(1);
        assert!(!read_only(&[to_come], json!({})).0, "its lease is over");
        let observed = window("w", Scope::default(), 10);
        let frozen = Frozen::of([&observed], Mode::Observe, 7, &BTreeMap::new(), NOW);
        assert_eq!(frozen.flag(FlagKey::ReadOnly).value, json!(false), "nothing is refused");
    }
}
