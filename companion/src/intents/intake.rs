//! Makes an intent of what an enforcer sends: whose it is, its key, its line, and sealed.

use quiesce_policy::{
    HeaderBlock, Headers, OTHER_SURFACE, Refusal,
    intent::{self, INTENT_HEADER},
    snapshot::{Surface, WindowId},
    time::Timestamp,
};

use super::{
    IntentId, LedgerLimits, NewIntent, SealError, Seals,
    key::{derived, fingerprint, parse},
    line::name,
    storing::{InUse, KeyScope, Storing},
};
use crate::{
    config::{Config, Intents, KEY_HEADER, KeyRule, OrderBy, SurfaceRules},
    limits,
};

/// Characters of an enforcer's or a window's id.
const MAX_ID: usize = 253;
/// The pseudo-headers that are kept.
const PSEUDO_HEADERS: [&[u8]; 4] = [b":method", b":path", b":authority", b":scheme"];

/// What an enforcer sends.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The surface it belongs to.
    pub surface: &'a str,
    /// The window it waits for.
    pub window: &'a str,
    /// The enforcer's id.
    pub enforcer: &'a str,
    /// Headers and body (`quiesce_policy::intent`).
    pub bytes: &'a [u8],
}

/// Why nothing is made of an offer.
#[derive(Debug, thiserror::Error)]
pub enum Declined {
    /// No enforcer sends this.
    #[error("{0}")]
    Malformed(String),
    /// The client's write cannot be kept.
    #[error("{1}")]
    Refused(Refusal, String),
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// An intent to be stored.
#[derive(Debug)]
pub struct Prepared {
    /// What to store.
    pub intent: NewIntent,
    /// How much its surface may hold.
    pub limits: LedgerLimits,
    /// Its key in use, if it is the client's own.
    pub in_use: Option<InUse>,
}

/// Makes intents of offers.
#[derive(Debug)]
pub struct Intake {
    config: Intents,
    surfaces: Vec<Surface>,
    /// The names of the headers that are kept, beside the pseudo-headers.
    kept: Vec<Vec<u8>>,
    seals: Seals,
    storing: Storing,
}

impl Intake {
    /// As configured.
    pub fn new(config: &Config, seals: Seals) -> Self {
        let kept = config.intents.policy().headers.into_iter().map(String::into_bytes).collect();
        Self {
            config: config.intents.clone(),
            surfaces: config.surfaces.clone(),
            kept,
            seals,
            storing: Storing::default(),
        }
    }

    /// The keys that seal.
    pub fn seals(&self) -> &Seals {
        &self.seals
    }

    /// The name of a surface, if it is configured, else of those that belong to none: there are no others,
    /// whatever an enforcer with another configuration says.
    pub fn surface(&self, name: &str) -> &str {
        let configured = self.surfaces.iter().map(|surface| surface.name.as_str());
        configured.into_iter().find(|known| *known == name).unwrap_or(OTHER_SURFACE)
    }

    /// Makes an intent of an offer.
    pub fn prepare(&self, offer: Offer<'_>, now: Timestamp) -> Result<Prepared, Declined> {
        for (field, text) in [("window", offer.window), ("enforcer", offer.enforcer)] {
            limits::text(text, MAX_ID)
                .map_err(|message| Declined::Malformed(format!("the {field} {message}")))?;
        }
        let malformed = |what: &str| Declined::Malformed(format!("the body has {what}"));
        let (head, body) = intent::read(offer.bytes).ok_or_else(|| malformed("no header block"))?;
        let headers = Headers::read(head);
        let mut pairs = headers.pairs();
        let kept: Vec<_> = pairs.by_ref().filter(|(name, _)| self.keeps(name)).collect();
        if !pairs.were_all() {
            return Err(malformed("a header block that is not whole"));
        }
        let single = |name: &[u8], what| headers.single(name).ok_or_else(|| malformed(what));
        let method = single(b":method", "not one :method")?;
        let path = single(b":path", "not one :path")?;
        single(b":authority", "not one :authority")?;
        if body.len() > self.config.max_bytes {
            return Err(refused(
                Refusal::IntentTooLarge,
                format!("The body has {} bytes; {} at most are kept.", body.len(), self.config.max_bytes),
            ));
        }

        let surface = self.surface(offer.surface);
        let rules = self.config.of(surface);
        let id = IntentId::generate();
        let fingerprint = fingerprint(method, path, body);
        let tenant = rules.tenant_header.map(|header| name(&joined(&headers, header))).unwrap_or_default();
        let (key, is_clients) = match client_key(&headers)? {
            Some(key) => (key, true),
            None if rules.key == KeyRule::Required => {
                return Err(refused(
                    Refusal::KeyMissing,
                    "Only writes with the header Idempotency-Key are kept for later here.".to_owned(),
                ));
            }
            None if rules.key == KeyRule::Derived => (derived(&fingerprint), false),
            None => (id.to_string(), false),
        };
        let in_use = if is_clients {
            let scope = KeyScope { surface: surface.to_owned(), tenant: tenant.clone(), key: key.clone() };
            let in_use = self.storing.take(scope).ok_or_else(|| {
                refused(
                    Refusal::KeyInUse,
                    "The first write with this Idempotency-Key is just being kept.".to_owned(),
                )
            })?;
            Some(in_use)
        } else {
            None
        };
        let intent = NewIntent {
            payload: self.seals.seal(&id, HeaderBlock::new(&kept).as_bytes(), body)?,
            id,
            received_at: now,
            surface: surface.to_owned(),
            window: WindowId::from(offer.window),
            enforcer: offer.enforcer.to_owned(),
            tenant,
            key,
            fingerprint,
            line: self.line(surface, &rules, &headers, path),
            method: String::from_utf8_lossy(method).into_owned(),
            path: String::from_utf8_lossy(path).into_owned(),
        };
        Ok(Prepared { intent, limits: rules.limits, in_use })
    }

    fn keeps(&self, name: &[u8]) -> bool {
        (PSEUDO_HEADERS.contains(&name) || self.kept.iter().any(|kept| kept == name)) && name != INTENT_HEADER
    }

    /// The line, from what was sent and as it was sent.
    fn line(&self, surface: &str, rules: &SurfaceRules<'_>, headers: &Headers<'_>, path: &[u8]) -> String {
        let resource = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or(path);
        let by = match rules.order_by {
            None => None,
            Some(OrderBy::Header(header)) => Some(joined(headers, header)).filter(|value| !value.is_empty()),
            Some(OrderBy::Path(pattern)) => {
                let configured = self.surfaces.iter().find(|known| known.name.as_str() == surface);
                let prefix = configured.map_or("/", |surface| surface.path_prefix.as_str());
                let below = resource.strip_prefix(prefix.trim_end_matches('/').as_bytes());
                below.and_then(|below| pattern.line(below)).map(<[u8]>::to_vec)
            }
        };
        name(by.as_deref().unwrap_or(resource))
    }
}

fn refused(refusal: Refusal, detail: String) -> Declined {
    Declined::Refused(refusal, format!("{detail} Nothing was written."))
}

/// The key that the client sent.
fn client_key(headers: &Headers<'_>) -> Result<Option<String>, Declined> {
    if !headers.pairs().any(|(name, _)| name == KEY_HEADER.as_bytes()) {
        return Ok(None);
    }
    let key = headers.single(KEY_HEADER.as_bytes()).and_then(parse);
    key.map(Some).ok_or_else(|| {
        refused(
            Refusal::KeyInvalid,
            "Idempotency-Key is one string of 1 to 255 printable ASCII characters, for example \
             \"8e03978e-40d5-43dd-bc93-6894a57f9324\"."
                .to_owned(),
        )
    })
}

/// All values of a header, as one (RFC 9110 section 5.3); empty, if there is none.
fn joined(headers: &Headers<'_>, name: &str) -> Vec<u8> {
    let values: Vec<_> =
        headers.pairs().filter(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value).collect();
    values.join(&b", "[..])
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
