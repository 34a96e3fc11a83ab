//! What a guard is told about its part in Quiesce.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use quiesce_policy::snapshot::EnforcerId;
use reqwest::Url;

/// Longer bodies are not looked into unless told; bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long `Boot::Hold` holds unless told.
const BOOT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a guard is told.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) companion: String,
    pub(crate) token: Secret,
    pub(crate) id: EnforcerId,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) boot: Boot,
    pub(crate) boot_timeout: Duration,
    pub(crate) on_unreachable: OnUnreachable,
    pub(crate) max_body_bytes: usize,
    pub(crate) snapshot_file: Option<PathBuf>,
    pub(crate) client: Option<reqwest::Client>,
}

/// What becomes of writes before the first snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boot {
    /// They are refused for a moment, until a snapshot comes or the boot timeout has passed.
    #[default]
    Hold,
    /// They pass.
    Open,
    /// They are refused.
    Closed,
}

/// What becomes of writes when the companion cannot be reached after a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnreachable {
    /// They pass, unless a snapshot that was saved by an earlier process refuses them.
    Open,
    /// They are refused: there may be a window that nobody can tell of.
    #[default]
    Closed,
}

/// Why a guard could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The companion's address is none.
    #[error(
        "the companion's address `{url}` is no URL of http or https; write it like http://127.0.0.1:7423"
    )]
    Companion {
        /// What was given.
        url: String,
    },
    /// The id is empty.
    #[error(
        "the guard's id is empty; give each instance of a service a name of its own, which it keeps over restarts"
    )]
    Id,
    /// There is no runtime to keep in step on.
    #[error("no tokio runtime; call `Guard::connect` within the one that the service runs on")]
    NoRuntime,
    /// No client can be made that talks to the companion.
    #[error("cannot make a client for the companion: {0}")]
    Client(String),
}

impl Config {
    /// A guard that is known to the companion at this URL as `id`, and shows it this token of role `sync`.
    ///
    /// Give each instance of a service an id of its own, and the same one after a restart: the name of its pod
    /// in a StatefulSet, or host and port. The companion tells processes of one id apart, and waits for each.
    pub fn new(companion: impl Into<String>, token: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            companion: companion.into(),
            token: Secret(token.into()),
            id: EnforcerId::from(id.into()),
            labels: BTreeMap::new(),
            boot: Boot::default(),
            boot_timeout: BOOT_TIMEOUT,
            on_unreachable: OnUnreachable::default(),
            max_body_bytes: MAX_BODY_BYTES,
            snapshot_file: None,
            client: None,
        }
    }

    /// Adds a label, which the scopes of windows are matched against.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// What becomes of writes before the first snapshot; [`Boot::Hold`] unless told.
    #[must_use]
    pub fn boot(mut self, boot: Boot) -> Self {
        self.boot = boot;
        self
    }

    /// How long [`Boot::Hold`] holds; 5 s unless told.
    #[must_use]
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.boot_timeout = timeout;
        self
    }

    /// What becomes of writes after that, still without a snapshot; [`OnUnreachable::Closed`] unless told.
    #[must_use]
    pub fn on_unreachable(mut self, on_unreachable: OnUnreachable) -> Self {
        self.on_unreachable = on_unreachable;
        self
    }

    /// How long a body may be that is looked into where a surface asks for it; a longer one is a write. 64 KiB
    /// unless told.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Where to keep the last snapshot. A process that starts while the companion is away then knows the windows
    /// of the one before, and with [`OnUnreachable::Open`] refuses what they refuse until their leases end.
    #[must_use]
    pub fn snapshot_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.snapshot_file = Some(file.into());
        self
    }

    /// The client by which the companion is reached, for a certificate of one's own or a proxy. Give it no
    /// timeout: the guard sets one for each call.
    #[must_use]
    pub fn client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Whether no write passes before the first snapshot.
    pub(crate) fn boots_closed(&self) -> bool {
        match self.boot {
            Boot::Hold => self.on_unreachable == OnUnreachable::Closed,
            Boot::Open => false,
            Boot::Closed => true,
        }
    }

    /// Where reports go.
    pub(crate) fn sync_url(&self) -> Result<Url, ConfigError> {
        let wrong = || ConfigError::Companion { url: self.companion.clone() };
        let mut url = Url::parse(&self.companion).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(["v1", "sync"]);
        Ok(url)
    }
}

/// A text that never shows in logs.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config::new(url, "t0ps3cret", "orders-1")
    }

    #[test]
    fn the_companion_is_where_the_url_says() {
        let sync = |url: &str| config(url).sync_url().map(String::from).map_err(|error| error.to_string());
        assert_eq!(sync("http://127.0.0.1:7423").unwrap(), "http://127.0.0.1:7423/v1/sync");
        assert_eq!(
            sync("https://mesh.example.com/quiesce/").unwrap(),
            "https://mesh.example.com/quiesce/v1/sync"
        );
        for wrong in ["127.0.0.1:7423", "ftp://example.com", "mailto:a@b"] {
            assert!(sync(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_token_never_shows() {
        assert!(!format!("{:?}", config("http://a")).contains("t0ps3cret"));
    }

    #[test]
    fn says_whether_a_write_may_pass_before_the_first_snapshot() {
        let with = |boot, then| config("http://a").boot(boot).on_unreachable(then).boots_closed();
        assert!(with(Boot::Hold, OnUnreachable::Closed) && with(Boot::Closed, OnUnreachable::Open));
        assert!(!with(Boot::Hold, OnUnreachable::Open) && !with(Boot::Open, OnUnreachable::Closed));
    }
}
