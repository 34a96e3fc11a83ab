//! What the filter would make of a request, by the code that the filter runs.

use std::{borrow::Cow, collections::BTreeMap};

use base64ct::{Base64, Encoding as _};
use quiesce_policy::{
    Basis, Circumstances, Classified, HeaderBlock, Latches, Policy, Refusal, Request, SnapshotError, Stop,
    Suspicion, Timestamp, Verdict,
    reply::{self, RefusalReply, Reply},
    retry::RetryLedger,
    snapshot::{Action, Effect, Snapshot, Window, WindowId, WriteKind},
    wire::Dialect,
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    catalog::Catalogs,
    rule_text::{BY_DOUBT, BY_METHOD, RuleTexts},
};

/// The host of requests that name none.
pub const ANY_HOST: &str = "any.invalid";

/// What only a server can tell, and only a filter hears.
const UNLESS_LEARNED: &str = "a filter that learns has heard the server say that the tool reads";

/// A request to be explained.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked<'a> {
    /// The method.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// Path and query.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// The host.
    #[serde(borrow, default)]
    pub host: Option<Cow<'a, str>>,
    /// The other headers; one that is repeated has a list of values.
    #[serde(default)]
    pub headers: BTreeMap<String, Values>,
    /// The body, as text.
    #[serde(default)]
    pub body: Option<String>,
    /// The body as bytes, written in Base64.
    #[serde(default, deserialize_with = "from_base64")]
    pub body_b64: Option<Vec<u8>>,
}

impl Asked<'_> {
    fn body_bytes(&self) -> &[u8] {
        match (&self.body, &self.body_b64) {
            (Some(text), _) => text.as_bytes(),
            (None, Some(bytes)) => bytes,
            (None, None) => &[],
        }
    }
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let decode = |text: String| Base64::decode_vec(&text).map_err(D::Error::custom);
    Option::<String>::deserialize(deserializer)?.map(decode).transpose()
}

/// One value of a header, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Values {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// What the filter would make of it, were writes frozen.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation<'a> {
    /// Whether it reads or writes.
    pub effect: Effect,
    /// What would become of it: `pass` for reads, and for writes what their rule says.
    pub action: &'static str,
    /// What decided.
    pub rule: Cow<'a, str>,
    /// Why it would be refused, if it would: the code of the refusal.
    pub refusal: Option<&'static str>,
    /// The surface it belongs to.
    pub surface: &'a str,
    /// What kind of write it is, if the rule says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<WriteKind>,
    /// What would make a read of it that cannot be known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unless: Option<&'static str>,
    /// What the client would get.
    #[serde(skip)]
    pub reply: Option<Reply>,
}

/// Explains requests under one configuration.
pub struct Explainer {
    policy: Policy,
    surfaces: Vec<RuleTexts>,
    now: Timestamp,
}

impl Explainer {
    /// Takes the configured part of a snapshot; everything is frozen from `now` on.
    pub fn new(snapshot: Snapshot, catalogs: &Catalogs, now: Timestamp) -> Result<Self, SnapshotError> {
        let surfaces = snapshot.surfaces.iter().map(|surface| RuleTexts::of(surface, catalogs)).collect();
        Self::with_texts(snapshot, surfaces, now)
    }

    /// The same, with the rules of each of its surfaces as people read them.
    pub fn with_texts(
        snapshot: Snapshot,
        surfaces: Vec<RuleTexts>,
        now: Timestamp,
    ) -> Result<Self, SnapshotError> {
        let policy = Policy::compile(&Snapshot { windows: vec![frozen(now)], ..snapshot })?;
        Ok(Self { policy, surfaces, now })
    }

    /// Explains one request.
    pub fn explain(&self, asked: &Asked<'_>) -> Explanation<'_> {
        let host = asked.host.as_deref().unwrap_or(ANY_HOST);
        let names: Vec<_> = asked.headers.keys().map(|name| name.to_ascii_lowercase()).collect();
        let mut pairs: Vec<(&[u8], &[u8])> = vec![
            (b":method", asked.method.as_bytes()),
            (b":path", asked.path.as_bytes()),
            (b":authority", host.as_bytes()),
        ];
        for (name, values) in names.iter().zip(asked.headers.values()) {
            pairs.extend(values.all().iter().map(|value| (name.as_bytes(), value.as_bytes())));
        }
        let block = HeaderBlock::new(&pairs);
        let request = Request::read(block.headers());
        let body = asked.body_bytes();
        let classified = self.classify(&request, body, false);
        let learns = classified.effect == Effect::Write && self.policy.learns(&classified).is_some();
        let unless = learns && self.classify(&request, body, true).effect == Effect::Read;
        let unless = unless.then_some(UNLESS_LEARNED);
        let (rule, kind) = self.basis(&classified);
        let (action, stopped) = match (classified.effect, classified.action) {
            (Effect::Read, _) => ("pass", None),
            (Effect::Write, Action::Allow) => ("allow", None),
            (Effect::Write, action) => (action.as_str(), self.stopped(&request, &classified, body)),
        };
        let (refusal, reply) = stopped.unwrap_or_default();
        let surface = self.policy.surface_name(classified.surface);
        Explanation { effect: classified.effect, action, rule, refusal, surface, kind, unless, reply }
    }

    /// What a filter would make of it that has learned nothing, or of all tools that they read.
    fn classify(&self, request: &Request<'_>, body: &[u8], learned: bool) -> Classified {
        let classified = self.policy.classify_with(request, |_, _| learned);
        match classified.awaits_body {
            true => self.policy.inspect_with(request, classified, body, |_, _| learned),
            false => classified,
        }
    }

    /// Why a write would be refused, if it would, and the answer, if it does not take a ledger of intents.
    fn stopped(
        &self,
        request: &Request<'_>,
        classified: &Classified,
        body: &[u8],
    ) -> Option<(Option<&'static str>, Option<Reply>)> {
        let latches = Latches::new();
        let circumstances = Circumstances { now: self.now, latches: &latches, peer_identity: &mut || None };
        let Verdict::Stopped(stop, window) = self.policy.judge(request, classified, circumstances) else {
            return None;
        };
        let refusal = match stop {
            Stop::Queued if body.len() > self.policy.intents().max_bytes => Refusal::IntentTooLarge,
            Stop::Queued => return None,
            Stop::Dropped => return Some((None, Some(reply::dropped(window)))),
            Stop::Refused(refusal) => refusal,
        };
        let wait = RetryLedger::single().refuse(0, self.policy.retry(), self.now, window.ends_at, 0);
        let reply = RefusalReply::new(refusal, Some(window), self.policy.status_page());
        let dialect = Dialect::of(request, classified.protocol, body);
        let reply = reply.to(dialect, self.policy.refused_calls(), wait.retry_after_s);
        Some((Some(refusal.code()), Some(reply)))
    }

    fn basis(&self, classified: &Classified) -> (Cow<'_, str>, Option<WriteKind>) {
        let said = |text: &'static str| (Cow::Borrowed(text), None);
        match classified.basis {
            Basis::Method => said(BY_METHOD),
            Basis::Ambiguous => said(BY_DOUBT),
            Basis::Suspicion(Suspicion::MethodOverride) => said("doubt: it asks for another method"),
            Basis::Suspicion(Suspicion::Upgrade) => said("doubt: it asks to switch protocols"),
            Basis::Suspicion(Suspicion::Incomplete) => said("doubt: not all headers could be seen"),
            Basis::Rule(rule) | Basis::Headers(rule) | Basis::Body(rule) | Basis::Learned(rule) => {
                let texts = classified.surface.and_then(|surface| self.surfaces.get(surface.0));
                match texts.and_then(|texts| texts.get(rule.catalog, rule.rule.0)) {
                    Some(rule) => (Cow::Borrowed(rule.text.as_str()), rule.kind),
                    None => said("a rule"),
                }
            }
        }
    }
}

/// A window in force everywhere.
fn frozen(now: Timestamp) -> Window {
    const HOUR_MS: u64 = 3_600_000;
    Window {
        id: WindowId::from("explain"),
        scope: Default::default(),
        starts_at: now,
        announce_at: None,
        started: true,
        ends_at: Some(now.plus_ms(HOUR_MS)),
        expires_at: now.plus_ms(2 * HOUR_MS),
        reason: "as if writes were frozen".to_owned(),
        contact: None,
        status: Default::default(),
        drain_timeout_ms: 0,
    }
}
