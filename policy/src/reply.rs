//! The answers that an enforcer gives itself: refusals as problem details, and the banner.

use serde::Serialize;

use crate::{
    host::Host,
    policy::Policy,
    refusal::Refusal,
    schedule::{Latches, covers_host},
    snapshot::{RefusalStatus, Window, WindowId},
    time::Timestamp,
};

/// Where the banner is read: a well-known URI (RFC 8615).
pub const BANNER_PATH: &[u8] = b"/.well-known/maintenance";

/// How long caches may keep the banner; seconds.
const BANNER_MAX_AGE_S: u32 = 5;

/// An answer to be sent instead of the origin's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body; the answer to HEAD has none.
    pub body: Vec<u8>,
}

/// Problem details (RFC 9457) with the members that Quiesce adds.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    retry_after_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<&'a WindowId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<&'a str>,
}

/// The answer to a refused write. `window` is the one that refuses it, if it is known.
pub fn refusal(
    refusal: Refusal,
    window: Option<&Window>,
    retry_after_s: u64,
    status_page: Option<&str>,
) -> Reply {
    let status = refusal.status(window.map_or(RefusalStatus::Unavailable, |window| window.status));
    let problem = Problem {
        r#type: format!("urn:quiesce:problem:{}", refusal.code()),
        title: refusal.title(),
        status,
        detail: detail(window, retry_after_s),
        code: refusal.code(),
        retry_after_s,
        window: window.map(|window| &window.id),
        reason: window.map(|window| window.reason.as_str()),
        starts_at: window.map(|window| window.starts_at),
        ends_at: window.and_then(|window| window.ends_at),
        contact: window.and_then(|window| window.contact.as_deref()),
    };
    let mut headers = vec![
        ("content-type", "application/problem+json".to_owned()),
        ("retry-after", retry_after_s.to_string()),
        ("cache-control", "no-store".to_owned()),
    ];
    if let Some(page) = status_page {
        headers.push(("link", format!("<{page}>; rel=\"status\"")));
    }
    // Envoy's own retries would only meet the same refusal.
    headers.push(("x-envoy-ratelimited", "true".to_owned()));
    Reply { status, headers, body: to_json(&problem) }
}

fn detail(window: Option<&Window>, retry_after_s: u64) -> String {
    let Some(window) = window else {
        return format!("Nothing was written. Reads are served. Try again in {retry_after_s} s.");
    };
    let until = match window.ends_at {
        Some(ends_at) => format!("until {ends_at}"),
        None => "until further notice".to_owned(),
    };
    format!("Read-only {until}. Nothing was written. Reads are served. Try again in {retry_after_s} s.")
}

/// What the banner says.
#[derive(Serialize)]
struct Banner<'a> {
    state: BannerState,
    windows: Vec<BannerWindow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_page: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum BannerState {
    Open,
    Upcoming,
    ReadOnly,
}

#[derive(Serialize)]
struct BannerWindow<'a> {
    id: &'a WindowId,
    state: BannerState,
    starts_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<&'a str>,
}

/// The banner for a host: the windows that are in force or to come.
pub fn banner(policy: &Policy, host: &Host<'_>, now: Timestamp, latches: &Latches) -> Reply {
    let windows: Vec<_> = policy
        .schedule()
        .windows()
        .iter()
        .filter(|window| now < window.expires_at && covers_host(window, host))
        .map(|window| BannerWindow {
            id: &window.id,
            state: if window.started || now >= window.starts_at || latches.contains(&window.id) {
                BannerState::ReadOnly
            } else {
                BannerState::Upcoming
            },
            starts_at: window.starts_at,
            ends_at: window.ends_at,
            reason: &window.reason,
            contact: window.contact.as_deref(),
        })
        .collect();
    let state = windows.iter().map(|window| window.state).max().unwrap_or(BannerState::Open);
    let banner = Banner { state, windows, status_page: policy.status_page() };
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("cache-control", format!("public, max-age={BANNER_MAX_AGE_S}")),
    ];
    Reply { status: 200, headers, body: to_json(&banner) }
}

/// These types have string keys and no custom serialisation, so that writing them cannot fail.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
