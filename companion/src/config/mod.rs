//! Configuration: strict YAML, read by the same code at start-up and in `quiesce config check`.

mod backfill;
mod duration;
mod intents;
mod layered;
mod notify;
mod places;
mod validate;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use quiesce_policy::snapshot::{
    CatalogName, Mode, RefusalStatus, RefusedCalls, RetryPolicy, Snapshot, Surface, SurfaceName,
};
use serde::Deserialize;

pub(crate) use self::backfill::target;
use self::{
    backfill::PartialBackfill,
    intents::PartialIntents,
    layered::layered,
    notify::{PartialDeliveries, PartialMessages},
};
pub use self::{
    backfill::{Backfill, Backoff},
    duration::Period,
    intents::{Intents, KEY_HEADER, KeyRule, OrderBy, SurfaceIntents, SurfaceRules},
    notify::{Deliveries, MessagesConfig, Notifier, Page, PurgeMethod, Target},
    validate::Summary,
};
use crate::{
    auth::Role,
    catalog::{CatalogError, Catalogs},
    store::Location,
};

/// The sample configuration, whose values are the defaults.
pub const DEFAULT_YAML: &str = include_str!("../../quiesce.default.yaml");
/// The name that errors in [`DEFAULT_YAML`] carry.
const DEFAULT_NAME: &str = "quiesce.default.yaml (built in)";

layered! {
    /// All that can be configured. The fields are described in `quiesce.default.yaml`.
    pub struct Config / PartialConfig {
        required {
            /// Where the API listens.
            listen: SocketAddr,
            /// The embedded database, or a PostgreSQL.
            store: Location,
            /// How logs are written.
            log_format: LogFormat,
            /// Whether verdicts are carried out.
            mode: Mode,
            /// Files with catalogs of one's own.
            catalogs: Vec<PathBuf>,
            /// The APIs behind the proxies.
            surfaces: Vec<Surface>,
            /// How long refused clients are told to wait.
            retry: RetryPolicy,
            /// In what form refused calls of MCP and JSON-RPC are answered.
            refused_calls: RefusedCalls,
            /// Who may call the API.
            tokens: Vec<Token>,
            /// Who is told of windows.
            notify: Vec<Notifier>,
        }
        nullable {
            /// Where files with relative paths live.
            state_dir: PathBuf,
            /// The page that refusals link.
            status_page: String,
        }
        nested {
            /// Who may write during a window.
            exemptions: Exempt / PartialExempt,
            /// Signed permissions to write during a window.
            passes: Passes / PartialPasses,
            /// What windows may be like.
            windows: Windows / PartialWindows,
            /// What is kept of writes for later, and how much.
            intents: Intents / PartialIntents,
            /// How held writes are replayed.
            backfill: Backfill / PartialBackfill,
            /// The words that others are told.
            messages: MessagesConfig / PartialMessages,
            /// How deliveries are made.
            deliveries: Deliveries / PartialDeliveries,
        }
    }
}

layered! {
    /// Who may write during a window.
    pub struct Exempt / PartialExempt {
        required {
            /// URI SANs of client certificates.
            identities: Vec<String>,
        }
        nullable {}
        nested {}
    }
}

layered! {
    /// Signed permissions to write during a window.
    pub struct Passes / PartialPasses {
        required {
            /// The signing key's file.
            key_file: PathBuf,
            /// No pass is valid for longer.
            max_lifetime: Period,
        }
        nullable {}
        nested {}
    }
}

layered! {
    /// What windows may be like, and are unless they say otherwise.
    pub struct Windows / PartialWindows {
        required {
            /// From the start to the end told.
            max_duration: Period,
            /// The same, when nothing is said.
            default_duration: Period,
            /// From the end told to the end of the lease.
            grace: Period,
            /// The HTTP status of refusals.
            status: RefusalStatus,
            /// Writes are cut this long after the start.
            drain_timeout: Period,
            /// People are told this long before the start.
            announce_before: Period,
        }
        nullable {
            /// Whom to ask.
            contact: String,
        }
        nested {}
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Somebody who may call the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Names its holder in the event log.
    pub name: String,
    /// What the holder may do.
    pub role: Role,
    /// The SHA-256 of the token: 64 hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
    /// A file that holds the token.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML, or not of the right shape.
    #[error("{origin}:{place}: {message}")]
    Malformed {
        /// The file.
        origin: String,
        /// `line:column`.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A catalog is wrong.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// It has the right shape, but not the right contents.
    #[error("{}", describe(.origin, .problems))]
    Invalid {
        /// The file.
        origin: String,
        /// All that is wrong.
        problems: Vec<ConfigProblem>,
    },
}

/// One thing that is wrong with the contents of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Where, as `line:column`, if the file says it at all.
    pub place: Option<String>,
    /// The field: `windows.grace`, `surfaces[2].rules[0].path`.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

fn describe(origin: &str, problems: &[ConfigProblem]) -> String {
    let line = |problem: &ConfigProblem| match &problem.place {
        Some(place) => format!("{origin}:{place}: {}: {}", problem.field, problem.message),
        None => format!("{origin}: {}: {}", problem.field, problem.message),
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// The configuration that holds where no file is given.
    pub fn built_in() -> Result<Self, ConfigError> {
        Self::from_yaml("{}", DEFAULT_NAME)
    }

    /// Reads and checks a file. Fields that it does not mention have the built-in values.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::from_yaml(&text, &path.display().to_string())
    }

    /// Reads and checks `yaml`; `origin` is what errors call it.
    pub fn from_yaml(yaml: &str, origin: &str) -> Result<Self, ConfigError> {
        let built_in: PartialConfig = parse(DEFAULT_YAML, DEFAULT_NAME)?;
        // A file that holds nothing but comments says nothing.
        let given: Option<PartialConfig> = parse(yaml, origin)?;
        let config = given.unwrap_or_default().over(built_in).map_err(|field| ConfigError::Malformed {
            origin: DEFAULT_NAME.to_owned(),
            place: "1:1".to_owned(),
            message: format!("`{field}` is missing"),
        })?;
        let mut config = config;
        let directory = Path::new(origin).parent().unwrap_or(Path::new(""));
        for file in &mut config.catalogs {
            *file = directory.join(&file);
        }
        config.check_at(Path::new(origin), &places::Places::of(yaml))?;
        Ok(config)
    }

    /// Checks the contents, after something was set that no file says.
    pub fn check(&self, origin: &Path) -> Result<(), ConfigError> {
        self.check_at(origin, &places::Places::default())
    }

    fn check_at(&self, origin: &Path, places: &places::Places) -> Result<(), ConfigError> {
        let problems: Vec<_> = validate::problems(self)
            .into_iter()
            .map(|(field, message)| ConfigProblem { place: places.find(&field), field, message })
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid { origin: origin.display().to_string(), problems })
    }

    /// The snapshot that it makes as long as there is no window, and all catalogs that it may name.
    pub fn snapshot(&self) -> Result<(Snapshot, Catalogs), ConfigError> {
        let catalogs = Catalogs::with_files(&self.catalogs)?;
        Ok((validate::snapshot(self, &catalogs), catalogs))
    }

    /// Has one surface for everything, which these catalogs describe.
    pub fn describe_all_by(&mut self, catalogs: &[String]) {
        let catalogs = catalogs.iter().map(|name| CatalogName::from(name.as_str())).collect();
        self.surfaces = vec![Surface { catalogs, ..Surface::named(SurfaceName::from("all")) }];
    }

    /// The surfaces whose tools are learned from their servers, by name.
    pub fn learning(&self) -> impl Iterator<Item = &str> {
        let learning = self.surfaces.iter().filter(|surface| surface.read_only.learn_tools);
        learning.map(|surface| surface.name.as_str())
    }

    /// What the configuration amounts to.
    pub fn summary(&self) -> Summary {
        Summary::of(self)
    }

    /// The directory that relative paths start from.
    pub fn state_directory(&self) -> PathBuf {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.state_dir
            .clone()
            .or_else(|| from("STATE_DIRECTORY"))
            .or_else(|| from("XDG_STATE_HOME").map(|base| base.join("quiesce")))
            .or_else(|| from("HOME").map(|home| home.join(".local/state/quiesce")))
            .unwrap_or_else(|| PathBuf::from("."))
    }
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(yaml: &str, origin: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(yaml).map_err(|error| {
        let place = error.location().map(|at| format!("{}:{}", at.line(), at.column())).unwrap_or_default();
        let text = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
        // The place is said already.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        let message = match places::Places::of(yaml).field_at(&place) {
            Some(field) if !text.contains(&format!("`{field}`")) => format!("{field}: {text}"),
            _ => text.to_owned(),
        };
        ConfigError::Malformed { origin: origin.to_owned(), place, message }
    })
}

#[cfg(test)]
mod tests;
