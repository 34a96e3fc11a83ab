//! The plugin configuration: strict JSON, given to Envoy beside the module.

use std::{collections::BTreeMap, fmt};

use quiesce_policy::{json, text_enum};
use serde::Deserialize;

/// What an Envoy is told about its part in Quiesce.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// The Envoy cluster of the companion.
    pub companion_cluster: String,
    /// What the enforcer shows to the companion.
    pub sync_token: Secret,
    /// Who this enforcer is.
    #[serde(default)]
    pub enforcer: EnforcerConfig,
    /// What becomes of writes before the first snapshot.
    #[serde(default)]
    pub boot: Boot,
    /// How long `boot: hold` holds; milliseconds.
    #[serde(default = "default_boot_timeout_ms")]
    pub boot_timeout_ms: u64,
    /// What becomes of writes after that, still without a snapshot.
    #[serde(default)]
    pub on_unreachable: OnUnreachable,
    /// How bodies are inspected, where a surface asks for it.
    #[serde(default)]
    pub inspect_bodies: InspectBodies,
}

/// How bodies are inspected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InspectBodies {
    /// A request with a longer body is a write. Envoy's buffers must hold as much: its listener's
    /// `per_connection_buffer_limit_bytes`, 1 MiB by default.
    pub max_bytes: usize,
}

impl Default for InspectBodies {
    fn default() -> Self {
        Self { max_bytes: 64 * 1024 }
    }
}

/// Who this enforcer is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcerConfig {
    /// Its identity; by default the id of Envoy's node.
    #[serde(default)]
    pub id: Option<String>,
    /// What the scopes of windows are matched against.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

text_enum! {
    /// What becomes of writes before the first snapshot.
    #[derive(Default)]
    pub enum Boot {
        /// They are refused for a moment, until a snapshot comes or `boot_timeout_ms` has passed.
        #[default]
        Hold = "hold",
        /// They pass.
        Open = "open",
        /// They are refused.
        Closed = "closed",
    }
}

text_enum! {
    /// What becomes of writes when the companion cannot be reached after a start.
    #[derive(Default)]
    pub enum OnUnreachable {
        /// They pass.
        Open = "open",
        /// They are refused: there may be a window that nobody can tell of.
        #[default]
        Closed = "closed",
    }
}

/// A text that never shows in logs.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

fn default_boot_timeout_ms() -> u64 {
    5000
}

impl PluginConfig {
    /// Whether no write passes before the first snapshot.
    pub fn boots_closed(&self) -> bool {
        match self.boot {
            Boot::Hold => self.on_unreachable == OnUnreachable::Closed,
            Boot::Open => false,
            Boot::Closed => true,
        }
    }

    /// Reads the configuration; the error names the line, the column and what is wrong.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let config: Self = json::from_slice(json).map_err(|err| err.to_string())?;
        if config.companion_cluster.is_empty() {
            return Err("companion_cluster: empty; name the Envoy cluster of the companion".to_owned());
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_that_must_be_said() {
        let config =
            PluginConfig::read(br#"{"companion_cluster":"quiesce","sync_token":"t0ps3cret"}"#).unwrap();
        assert_eq!(config.boot, Boot::Hold);
        assert_eq!(config.boot_timeout_ms, 5000);
        assert_eq!(config.on_unreachable, OnUnreachable::Closed);
        assert!(config.boots_closed());
        assert_eq!(config.sync_token.expose(), "t0ps3cret");
        assert!(!format!("{config:?}").contains("t0ps3cret"));
    }

    #[test]
    fn says_whether_a_write_may_pass_before_the_first_snapshot() {
        let boots_closed = |settings: &str| {
            let json = format!(r#"{{"companion_cluster":"q","sync_token":"t",{settings}}}"#);
            PluginConfig::read(json.as_bytes()).unwrap().boots_closed()
        };
        assert!(boots_closed(r#""boot":"closed","on_unreachable":"open""#));
        assert!(!boots_closed(r#""boot":"hold","on_unreachable":"open""#));
        assert!(!boots_closed(r#""boot":"open""#));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let error = |json: &str| PluginConfig::read(json.as_bytes()).unwrap_err();
        assert!(error("{").contains("line 1"));
        assert!(
            error(r#"{"companion_cluster":"q","sync_token":"t","bot":"open"}"#)
                .contains("unknown field `bot`")
        );
        assert!(
            error(r#"{"companion_cluster":"q","sync_token":"t","boot":"ajar"}"#)
                .contains("unknown variant `ajar`")
        );
        assert!(error(r#"{"companion_cluster":"","sync_token":"t"}"#).contains("companion_cluster"));
    }
}
