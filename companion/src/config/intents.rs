//! What is kept of writes for later, and how much, as it is configured.

use std::{collections::BTreeMap, num::NonZeroU64};

use axum::http::HeaderName;
use quiesce_policy::{
    OTHER_SURFACE,
    snapshot::{IntentPolicy, Surface, SurfaceName},
};
use serde::Deserialize;

use super::{Period, layered::layered};
use crate::intents::{LedgerLimits, LinePattern};

/// Bodies that are longer than this are no single writes; bytes.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Headers that are kept, at most.
const MOST_HEADERS: usize = 64;
/// The header that tells a repetition.
pub const KEY_HEADER: &str = "idempotency-key";

layered! {
    /// What is kept of writes for later, and how much.
    pub struct Intents / PartialIntents {
        required {
            /// No longer body is kept.
            max_bytes: usize,
            /// The headers that are kept.
            headers: Vec<String>,
            /// So many of one surface at most.
            max_count: NonZeroU64,
            /// So many bytes of one surface at most.
            max_total_bytes: NonZeroU64,
            /// What is held for longer is discarded.
            max_age: Period,
            /// For how long what is over is remembered.
            retention: Period,
            /// Where keys come from.
            key: KeyRule,
            /// What is different for one surface.
            surfaces: BTreeMap<SurfaceName, SurfaceIntents>,
        }
        nullable {
            /// The header that tells whose keys are shared.
            tenant_header: String,
            /// What makes a line.
            order_by: OrderBy,
        }
        nested {}
    }
}

/// What is different for one surface.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SurfaceIntents {
    /// Where keys come from.
    pub key: Option<KeyRule>,
    /// The header that tells whose keys are shared.
    pub tenant_header: Option<String>,
    /// What makes a line.
    pub order_by: Option<OrderBy>,
    /// So many at most.
    pub max_count: Option<NonZeroU64>,
    /// So many bytes at most.
    pub max_total_bytes: Option<NonZeroU64>,
}

/// Where the key of a write comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyRule {
    /// From the client; without one, the write is refused.
    Required,
    /// From the client; without one, a key is made.
    Optional,
    /// From the client; without one, from method, path and body, so that the same write twice is one.
    Derived,
}

/// What makes a line: intents of one line are sent one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderBy {
    /// The value of a header.
    Header(String),
    /// A segment of the path.
    Path(LinePattern),
}

/// What holds for the intents of one surface.
#[derive(Clone, Debug)]
pub struct SurfaceRules<'a> {
    /// Where keys come from.
    pub key: KeyRule,
    /// The header that tells whose keys are shared.
    pub tenant_header: Option<&'a str>,
    /// What makes a line; the resource path, if nothing is said.
    pub order_by: Option<&'a OrderBy>,
    /// How much it may hold.
    pub limits: LedgerLimits,
}

impl Intents {
    /// What holds for one surface.
    pub fn of(&self, surface: &str) -> SurfaceRules<'_> {
        let own = self.surfaces.get(surface);
        SurfaceRules {
            key: own.and_then(|own| own.key).unwrap_or(self.key),
            tenant_header: own
                .and_then(|own| own.tenant_header.as_ref())
                .or(self.tenant_header.as_ref())
                .map(String::as_str),
            order_by: own.and_then(|own| own.order_by.as_ref()).or(self.order_by.as_ref()),
            limits: LedgerLimits {
                count: own.and_then(|own| own.max_count).unwrap_or(self.max_count).get(),
                bytes: own.and_then(|own| own.max_total_bytes).unwrap_or(self.max_total_bytes).get(),
            },
        }
    }

    /// What enforcers are told to keep: what is listed, and what the companion itself goes by.
    pub fn policy(&self) -> IntentPolicy {
        let mut headers = self.headers.clone();
        let gone_by = self.gone_by().map(|(_, name)| name.to_owned());
        for name in gone_by.chain([KEY_HEADER.to_owned()]) {
            if !headers.contains(&name) {
                headers.push(name);
            }
        }
        IntentPolicy { max_bytes: self.max_bytes, headers }
    }

    /// The headers that tell tenants and lines, each with the field that names it.
    fn gone_by(&self) -> impl Iterator<Item = (String, &str)> {
        let here = fields("intents".to_owned(), self.tenant_header.as_deref(), self.order_by.as_ref());
        here.chain(self.surfaces.iter().flat_map(|(name, own)| {
            fields(format!("intents.surfaces.{name}"), own.tenant_header.as_deref(), own.order_by.as_ref())
        }))
    }
}

fn fields<'a>(
    place: String,
    tenant_header: Option<&'a str>,
    order_by: Option<&'a OrderBy>,
) -> impl Iterator<Item = (String, &'a str)> {
    let tenant = tenant_header.map(|name| (format!("{place}.tenant_header"), name));
    let order = order_by.and_then(|order_by| match order_by {
        OrderBy::Header(name) => Some((format!("{place}.order_by.header"), name.as_str())),
        OrderBy::Path(_) => None,
    });
    tenant.into_iter().chain(order)
}

/// Every field whose contents are wrong, and what is wrong with it.
pub(super) fn problems(intents: &Intents, surfaces: &[Surface], wrong: &mut impl FnMut(&str, String)) {
    if intents.max_bytes == 0 || intents.max_bytes > MOST_BYTES {
        wrong("intents.max_bytes", format!("is {}; say 1 to {MOST_BYTES}", intents.max_bytes));
    }
    if intents.headers.len() > MOST_HEADERS {
        wrong("intents.headers", format!("names {}, {MOST_HEADERS} at most", intents.headers.len()));
    }
    let listed = intents.headers.iter().enumerate();
    let listed = listed.map(|(index, name)| (format!("intents.headers[{index}]"), name.as_str()));
    for (place, name) in listed.chain(intents.gone_by()) {
        if let Err(message) = header(name) {
            wrong(&place, message);
        }
    }
    for (name, own) in &intents.surfaces {
        let known = surfaces.iter().any(|surface| surface.name == *name) || name.as_str() == OTHER_SURFACE;
        if !known {
            wrong(
                &format!("intents.surfaces.{name}"),
                format!("no surface has this name; say one of `surfaces`, or `{OTHER_SURFACE}` for the rest"),
            );
        }
        let max_total_bytes = own.max_total_bytes.unwrap_or(intents.max_total_bytes);
        too_small(&format!("intents.surfaces.{name}.max_total_bytes"), max_total_bytes, intents, wrong);
    }
    too_small("intents.max_total_bytes", intents.max_total_bytes, intents, wrong);
}

fn too_small(place: &str, total: NonZeroU64, intents: &Intents, wrong: &mut impl FnMut(&str, String)) {
    if total.get() < intents.max_bytes as u64 {
        wrong(place, format!("{total} is less than intents.max_bytes, {}", intents.max_bytes));
    }
}

/// Checks the name of a header that may be kept.
fn header(name: &str) -> Result<(), String> {
    const ABOUT_THE_CONNECTION: [&str; 9] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if HeaderName::from_lowercase(name.as_bytes()).is_err() {
        return Err(format!("`{name}` is no name of a header; write it in lower case"));
    }
    if ABOUT_THE_CONNECTION.contains(&name) {
        return Err(format!("`{name}` belongs to one connection, and is made anew for every sending"));
    }
    if name == "quiesce-pass" || name == "quiesce-intent" {
        return Err(format!("`{name}` belongs to Quiesce itself"));
    }
    Ok(())
}
