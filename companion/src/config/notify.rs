//! Who is told of windows, as it is configured.

use std::collections::{BTreeMap, BTreeSet};

use hyper::header::{HeaderName, HeaderValue};
use jiff::tz::TimeZone;
use reqwest::Url;
use serde::Deserialize;

use super::{Backoff, Period, backfill::PartialBackoff, layered::layered};
use crate::notify::{Messages, NotifierKind, Step, Wording, secret::Secret};

/// Each has a task and a queue of its own.
const MOST_NOTIFIERS: usize = 32;
/// Components, surrogate keys, tags or URLs of one notifier. Cloudflare takes 30 at once, Fastly 256.
const MOST_THINGS: usize = 30;
const MAX_NAME: usize = 40;

layered! {
    /// The words that others are told.
    pub struct MessagesConfig / PartialMessages {
        required {
            /// The time zone that times are told in.
            zone: String,
            /// Words of one's own.
            wording: Wording,
        }
        nullable {}
        nested {}
    }
}

layered! {
    /// How deliveries are made.
    pub struct Deliveries / PartialDeliveries {
        required {
            /// How long an answer may take.
            timeout: Period,
            /// How long after it was written one is given up.
            deadline: Period,
            /// How long after its end one is remembered.
            retention: Period,
        }
        nullable {}
        nested {
            /// The time between attempts.
            backoff: Backoff / PartialBackoff,
        }
    }
}

/// Somebody who is told. Which fields it needs depends on its kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notifier {
    /// Names it.
    pub name: String,
    /// What it is.
    pub kind: NotifierKind,
    /// What it is told of.
    #[serde(default)]
    pub steps: Option<Vec<Step>>,
    #[serde(default)]
    api_key: Option<Secret>,
    #[serde(default)]
    api_url: Option<String>,
    #[serde(default)]
    page_id: Option<String>,
    #[serde(default)]
    components: Option<Vec<String>>,
    #[serde(default)]
    subscribers: Option<bool>,
    #[serde(default)]
    remind: Option<bool>,
    #[serde(default)]
    webhook_url: Option<Secret>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    secret: Option<Secret>,
    #[serde(default)]
    urls: Option<Vec<String>>,
    #[serde(default)]
    method: Option<PurgeMethod>,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    service_id: Option<String>,
    #[serde(default)]
    keys: Option<Vec<String>>,
    #[serde(default)]
    soft: Option<bool>,
    #[serde(default)]
    zone_id: Option<String>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    prefixes: Option<Vec<String>>,
}

/// How a Varnish is told to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum PurgeMethod {
    /// One URL.
    #[serde(rename = "PURGE")]
    Purge,
    /// Whatever its configuration makes of the request.
    #[serde(rename = "BAN")]
    Ban,
}

impl PurgeMethod {
    /// As HTTP has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purge => "PURGE",
            Self::Ban => "BAN",
        }
    }
}

/// Where and how somebody is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A status page.
    Page(Page),
    /// Slack, or what is like it: the URL is the secret.
    Slack(Secret),
    /// A program.
    Webhook {
        /// Where it listens.
        url: Url,
        /// What it knows us by.
        secret: Secret,
    },
    /// A Varnish, or several.
    Varnish {
        /// What is forgotten, and where.
        urls: Vec<Url>,
        /// How.
        method: PurgeMethod,
        /// Headers, `host` among them perhaps.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// A CDN.
    Cdn {
        /// Its API, up to and without what is purged.
        url: Url,
        /// The key.
        api_key: Secret,
        /// What is purged, as the API wants it.
        body: serde_json::Value,
        /// Copies may still be served while a new one is fetched.
        soft: bool,
    },
}

/// A status page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The API.
    pub api_url: Url,
    /// The page.
    pub page_id: String,
    /// The key.
    pub api_key: Secret,
    /// The components concerned.
    pub components: Vec<String>,
    /// Whether the page tells its subscribers.
    pub subscribers: bool,
    /// Whether it reminds them before the start.
    pub remind: bool,
}

/// A field, and what is wrong with it.
type Problem = (String, String);

impl Notifier {
    /// The steps that it is told of.
    pub fn steps(&self) -> &[Step] {
        self.steps.as_deref().unwrap_or_else(|| self.kind.default_steps())
    }

    /// Where and how it is told; or all that is wrong with it.
    pub fn target(&self) -> Result<Target, Vec<Problem>> {
        let mut found = Vec::new();
        let target = Reader { notifier: self, found: &mut found }.target();
        self.strangers(&mut found);
        match target {
            Some(target) if found.is_empty() => Ok(target),
            _ => Err(found),
        }
    }

    /// Fields that a notifier of this kind has no use for.
    fn strangers(&self, found: &mut Vec<Problem>) {
        use NotifierKind as K;
        let page = [K::Statuspage, K::Instatus].as_slice();
        let api = [K::Statuspage, K::Instatus, K::Fastly, K::Cloudflare].as_slice();
        for (field, given, kinds) in [
            ("api_key", self.api_key.is_some(), api),
            ("api_url", self.api_url.is_some(), api),
            ("page_id", self.page_id.is_some(), page),
            ("components", self.components.is_some(), page),
            ("subscribers", self.subscribers.is_some(), page),
            ("remind", self.remind.is_some(), &[K::Statuspage]),
            ("webhook_url", self.webhook_url.is_some(), &[K::Slack]),
            ("url", self.url.is_some(), &[K::Webhook]),
            ("secret", self.secret.is_some(), &[K::Webhook]),
            ("urls", self.urls.is_some(), &[K::Varnish, K::Cloudflare]),
            ("method", self.method.is_some(), &[K::Varnish]),
            ("headers", self.headers.is_some(), &[K::Varnish]),
            ("service_id", self.service_id.is_some(), &[K::Fastly]),
            ("keys", self.keys.is_some(), &[K::Fastly]),
            ("soft", self.soft.is_some(), &[K::Fastly]),
            ("zone_id", self.zone_id.is_some(), &[K::Cloudflare]),
            ("tags", self.tags.is_some(), &[K::Cloudflare]),
            ("prefixes", self.prefixes.is_some(), &[K::Cloudflare]),
        ] {
            if given && !kinds.contains(&self.kind) {
                found.push((field.to_owned(), format!("means nothing to a {}", self.kind.as_str())));
            }
        }
    }
}

/// Reads the fields of a notifier, and notes what is wrong.
struct Reader<'a> {
    notifier: &'a Notifier,
    found: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.found.push((field.to_owned(), message.into()));
    }

    fn needed<T: Clone>(&mut self, field: &str, value: &Option<T>) -> Option<T> {
        if value.is_none() {
            self.wrong(field, format!("is missing; a {} needs it", self.notifier.kind.as_str()));
        }
        value.clone()
    }

    /// What becomes a segment of a path.
    fn id(&mut self, field: &str, value: &Option<String>) -> Option<String> {
        let id = self.needed(field, value)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if id.is_empty() || !id.bytes().all(plain) {
            self.wrong(field, format!("`{id}` is no identifier: letters, digits, - and _"));
            return None;
        }
        Some(id)
    }

    fn url(&mut self, field: &str, text: &str) -> Option<Url> {
        match Url::parse(text) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none() =>
            {
                Some(url)
            }
            _ => {
                self.wrong(field, format!("`{text}` is no absolute URL of http or https without a password"));
                None
            }
        }
    }

    fn api(&mut self, default: &str) -> Option<Url> {
        let text = self.notifier.api_url.as_deref().unwrap_or(default);
        self.url("api_url", text)
    }

    fn things(&mut self, field: &str, things: &[String]) {
        if things.is_empty() || things.len() > MOST_THINGS {
            self.wrong(field, format!("names {}; name 1 to {MOST_THINGS}", things.len()));
        }
        for (index, thing) in things.iter().enumerate() {
            if let Err(message) = crate::limits::text(thing, 1_024) {
                self.wrong(&format!("{field}[{index}]"), message);
            }
        }
    }

    fn target(&mut self) -> Option<Target> {
        let notifier = self.notifier;
        match notifier.kind {
            NotifierKind::Statuspage => self.page("https://api.statuspage.io/"),
            NotifierKind::Instatus => self.page("https://api.instatus.com/"),
            NotifierKind::Slack => self.needed("webhook_url", &notifier.webhook_url).map(Target::Slack),
            NotifierKind::Webhook => {
                let url = self.needed("url", &notifier.url);
                let url = url.and_then(|url| self.url("url", &url));
                let secret = self.needed("secret", &notifier.secret);
                Some(Target::Webhook { url: url?, secret: secret? })
            }
            NotifierKind::Varnish => self.varnish(),
            NotifierKind::Fastly => {
                let api = self.api("https://api.fastly.com/");
                let id = self.id("service_id", &notifier.service_id);
                let api_key = self.needed("api_key", &notifier.api_key);
                let keys = self.needed("keys", &notifier.keys);
                self.things("keys", keys.as_deref().unwrap_or_default());
                Some(Target::Cdn {
                    url: api?.join(&format!("service/{}/purge", id?)).ok()?,
                    api_key: api_key?,
                    body: serde_json::json!({ "surrogate_keys": keys? }),
                    soft: notifier.soft.unwrap_or(false),
                })
            }
            NotifierKind::Cloudflare => {
                let api = self.api("https://api.cloudflare.com/");
                let id = self.id("zone_id", &notifier.zone_id);
                let api_key = self.needed("api_key", &notifier.api_key);
                let ways =
                    [("tags", &notifier.tags), ("prefixes", &notifier.prefixes), ("urls", &notifier.urls)];
                let mut given = ways.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?)));
                let (Some((name, list)), None) = (given.next(), given.next()) else {
                    self.wrong("tags", "give one of `tags`, `prefixes` and `urls`");
                    return None;
                };
                self.things(name, list);
                let field = if name == "urls" { "files" } else { name };
                Some(Target::Cdn {
                    url: api?.join(&format!("client/v4/zones/{}/purge_cache", id?)).ok()?,
                    api_key: api_key?,
                    body: serde_json::json!({ field: list }),
                    soft: false,
                })
            }
        }
    }

    fn page(&mut self, default: &str) -> Option<Target> {
        let notifier = self.notifier;
        let api_url = self.api(default);
        let page_id = self.id("page_id", &notifier.page_id);
        let api_key = self.needed("api_key", &notifier.api_key);
        let components = notifier.components.clone().unwrap_or_default();
        if !components.is_empty() {
            self.things("components", &components);
        }
        Some(Target::Page(Page {
            api_url: api_url?,
            page_id: page_id?,
            api_key: api_key?,
            components,
            subscribers: notifier.subscribers.unwrap_or(true),
            remind: notifier.remind.unwrap_or(false),
        }))
    }

    fn varnish(&mut self) -> Option<Target> {
        let given = self.needed("urls", &self.notifier.urls)?;
        self.things("urls", &given);
        let read = |(index, url): (usize, &String)| self.url(&format!("urls[{index}]"), url);
        let urls: Vec<_> = given.iter().enumerate().filter_map(read).collect();
        let mut headers = Vec::new();
        for (name, value) in self.notifier.headers.iter().flatten() {
            match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => self.wrong(&format!("headers.{name}"), "is no header"),
            }
        }
        Some(Target::Varnish { urls, method: self.notifier.method.unwrap_or(PurgeMethod::Purge), headers })
    }
}

impl MessagesConfig {
    /// The zone, if this machine knows it.
    pub fn time_zone(&self) -> Option<TimeZone> {
        if self.zone == "UTC" { Some(TimeZone::UTC) } else { TimeZone::get(&self.zone).ok() }
    }
}

/// Every field whose contents are wrong, and what is wrong with it.
pub(super) fn problems(
    notify: &[Notifier],
    messages: &MessagesConfig,
    deliveries: &Deliveries,
    wrong: &mut impl FnMut(&str, String),
) {
    if notify.len() > MOST_NOTIFIERS {
        wrong("notify", format!("names {}, {MOST_NOTIFIERS} at most", notify.len()));
    }
    let mut names = BTreeSet::new();
    for (index, notifier) in notify.iter().enumerate() {
        let name = &notifier.name;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            let message =
                format!("`{name}` is no name: lower-case letters, digits, - and _, {MAX_NAME} at most");
            wrong(&format!("notify[{index}].name"), message);
        }
        if !names.insert(name) {
            let message = format!("`{name}` is the name of another notifier; deliveries are kept by name");
            wrong(&format!("notify[{index}].name"), message);
        }
        if notifier.steps.as_ref().is_some_and(Vec::is_empty) {
            wrong(
                &format!("notify[{index}].steps"),
                "is empty, so that it is never told of anything".to_owned(),
            );
        }
        for (field, message) in notifier.target().err().into_iter().flatten() {
            wrong(&format!("notify[{index}].{field}"), message);
        }
    }
    match messages.time_zone() {
        None => wrong(
            "messages.zone",
            format!(
                "`{}` is no time zone that this machine knows; write it like Europe/Berlin",
                messages.zone
            ),
        ),
        Some(zone) => {
            for problem in Messages::new(&messages.wording, zone, None).err().into_iter().flatten() {
                wrong(&format!("messages.wording.{}", problem.place), problem.message);
            }
        }
    }
    if deliveries.timeout > deliveries.deadline {
        let message =
            format!("{} is longer than deliveries.deadline, {}", deliveries.timeout, deliveries.deadline);
        wrong("deliveries.timeout", message);
    }
    if deliveries.backoff.first > deliveries.backoff.cap {
        let Backoff { first, cap } = deliveries.backoff;
        wrong("deliveries.backoff.first", format!("{first} is longer than deliveries.backoff.cap, {cap}"));
    }
}
