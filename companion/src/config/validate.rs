//! What types alone cannot say about a configuration.

use std::{collections::BTreeSet, net::IpAddr};

use quiesce_policy::{
    Policy,
    snapshot::{Action, BodyProtocol, Epoch, Exemptions, Mode, Snapshot},
};

use super::{Config, Token};
use crate::{auth::Role, catalog::Catalogs};

/// What a configuration amounts to, for people to compare with what they meant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Surfaces.
    pub surfaces: usize,
    /// Rules of all surfaces.
    pub rules: usize,
    /// Tokens.
    pub tokens: usize,
    /// Where the API listens.
    pub listen: String,
    /// Whether writes would be refused.
    pub mode: Mode,
    /// What is allowed, and probably not meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Summary {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            surfaces: config.surfaces.len(),
            rules: config.surfaces.iter().map(|surface| surface.rules.len()).sum(),
            tokens: config.tokens.len(),
            listen: config.listen.to_string(),
            mode: config.mode,
            warnings: warnings(config),
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { surfaces, rules, tokens, listen, mode, warnings: _ } = self;
        let mode = mode.as_str();
        let (surfaces, rules) = (count(*surfaces, "surface"), count(*rules, "rule"));
        let tokens = count(*tokens, "token");
        write!(f, "{surfaces}, {rules}, {tokens}, mode {mode}, listening on {listen}")
    }
}

fn warnings(config: &Config) -> Vec<String> {
    let queues = config
        .surfaces
        .iter()
        .flat_map(|surface| &surface.rules)
        .any(|rule| rule.action == Some(Action::Queue));
    let nowhere = (queues && config.backfill.to.is_none()).then(|| {
        "backfill.to: rules queue writes, and it is not said where they are to be sent: they stay held"
            .to_owned()
    });
    nowhere.into_iter().collect()
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// The snapshot that a configuration makes as long as there is no window and no signing key.
pub(super) fn snapshot(config: &Config, catalogs: &Catalogs) -> Snapshot {
    Snapshot {
        version: Epoch(0),
        mode: config.mode,
        windows: Vec::new(),
        ended: Vec::new(),
        catalogs: catalogs.named_by(&config.surfaces),
        surfaces: config.surfaces.clone(),
        exemptions: Exemptions { identities: config.exemptions.identities.clone(), pass_keys: Vec::new() },
        retry: config.retry,
        refused_calls: config.refused_calls,
        intents: config.intents.policy(),
        status_page: config.status_page.clone(),
    }
}

/// Every field whose contents are wrong, and what is wrong with it.
pub(super) fn problems(config: &Config) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut wrong = |field: &str, message: String| found.push((field.to_owned(), message));
    if !is_loopback(config.listen.ip()) && config.tokens.is_empty() {
        wrong(
            "listen",
            format!(
                "{} can be reached from other machines, so `tokens` must say who may call: add some \
                 (`quiesce token new --role operator`), or listen on 127.0.0.1",
                config.listen
            ),
        );
    }
    let windows = &config.windows;
    if windows.default_duration > windows.max_duration {
        wrong(
            "windows.default_duration",
            format!(
                "{} is longer than windows.max_duration, {}",
                windows.default_duration, windows.max_duration
            ),
        );
    }
    if windows.drain_timeout > windows.max_duration {
        wrong(
            "windows.drain_timeout",
            format!(
                "{} is longer than windows.max_duration, {}",
                windows.drain_timeout, windows.max_duration
            ),
        );
    }
    if let Some(contact) = &windows.contact
        && let Err(message) = crate::limits::text(contact, crate::limits::MAX_CONTACT)
    {
        wrong("windows.contact", message);
    }
    if config.retry.default_s > config.retry.cap_s {
        wrong(
            "retry.default_s",
            format!("{} is more than retry.cap_s, {}", config.retry.default_s, config.retry.cap_s),
        );
    }
    if let Some(page) = &config.status_page
        && !reqwest::Url::parse(page).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        wrong(
            "status_page",
            format!("`{page}` is no absolute URL; write it like https://status.example.com/"),
        );
    }
    super::intents::problems(&config.intents, &config.surfaces, &mut wrong);
    super::backfill::problems(&config.backfill, &mut wrong);
    super::notify::problems(&config.notify, &config.messages, &config.deliveries, &mut wrong);
    super::public::problems(&config.public, &config.surfaces, &mut wrong);
    tokens(&config.tokens, &mut wrong);
    match Catalogs::with_files(&config.catalogs) {
        Err(error) => wrong("catalogs", error.to_string()),
        Ok(catalogs) => {
            if let Some((field, message)) = uncompilable(config, &catalogs) {
                wrong(&field, message);
            }
            unlearnable(config, &catalogs, &mut wrong);
        }
    }
    found
}

fn tokens(tokens: &[Token], wrong: &mut impl FnMut(&str, String)) {
    let mut names = BTreeSet::new();
    for (index, token) in tokens.iter().enumerate() {
        if let Err(message) = crate::limits::text(&token.name, crate::limits::MAX_NAME) {
            wrong(&format!("tokens[{index}].name"), message);
        }
        if !names.insert(&token.name) {
            wrong(
                &format!("tokens[{index}].name"),
                format!(
                    "`{}` is the name of another token; names tell in the event log who did what",
                    token.name
                ),
            );
        }
        match (&token.sha256, &token.file) {
            (Some(hash), None) => {
                if crate::auth::Digest::from_hex(hash).is_none() {
                    wrong(
                        &format!("tokens[{index}].sha256"),
                        "is not a SHA-256: write 64 hexadecimal digits, as `quiesce token new` prints them"
                            .to_owned(),
                    );
                }
            }
            (None, Some(_)) => {}
            _ => wrong(&format!("tokens[{index}]"), "needs one of `sha256` and `file`".to_owned()),
        }
    }
    let has = |role| tokens.iter().any(|token| token.role == role);
    if !tokens.is_empty() && !has(Role::Sync) {
        wrong(
            "tokens",
            "none has the role `sync`, so no enforcer could fetch its snapshot: add one".to_owned(),
        );
    }
    if !tokens.is_empty() && !has(Role::Operator) {
        wrong("tokens", "none has the role `operator`, so nobody could freeze or thaw: add one".to_owned());
    }
}

/// What the enforcers' own compiler says of the configured part of the snapshot.
fn uncompilable(config: &Config, catalogs: &Catalogs) -> Option<(String, String)> {
    Policy::compile(&snapshot(config, catalogs)).err().map(|error| (error.place, error.problem))
}

/// Surfaces that would learn tools of which no rule can see a call.
fn unlearnable(config: &Config, catalogs: &Catalogs, wrong: &mut impl FnMut(&str, String)) {
    let named = catalogs.named_by(&config.surfaces);
    for (index, surface) in config.surfaces.iter().enumerate() {
        let of_catalogs = surface.catalogs.iter().filter_map(|name| named.get(name));
        let mut rules = of_catalogs.flat_map(|catalog| &catalog.rules).chain(&surface.rules);
        if surface.read_only.learn_tools && !rules.any(|rule| rule.body == Some(BodyProtocol::Mcp)) {
            wrong(
                &format!("surfaces[{index}].read_only.learn_tools"),
                format!(
                    "no rule of `{}` has `body: mcp`, so none of its requests calls a tool: add the catalog \
                     `mcp`, or such a rule",
                    surface.name
                ),
            );
        }
    }
}

/// Whether an address can be reached from this machine only.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
