//! The answers that an enforcer gives itself: refusals as problem details, and the banner.

use serde::Serialize;

use crate::{
    headers::HeaderBlock,
    host::Host,
    policy::Policy,
    refusal::Refusal,
    schedule::{Latches, covers_host},
    snapshot::{RefusalStatus, Window, WindowId},
    stop::Stop,
    time::Timestamp,
};

/// Where the banner is read: a well-known URI (RFC 8615).
pub const BANNER_PATH: &[u8] = b"/.well-known/maintenance";

/// How long caches may keep the banner; seconds.
const BANNER_MAX_AGE_S: u32 = 5;

/// How the last member of a refusal's body begins.
const RETRY_AFTER_MEMBER: &str = ",\"retry_after_s\":";

/// An answer to be sent instead of the origin's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The status of gRPC, for a proxy that writes it into trailers itself; the body is its message then.
    pub grpc_status: Option<u32>,
    /// The headers.
    pub headers: HeaderBlock,
    /// The body; the answer to HEAD has none.
    pub body: Vec<u8>,
}

/// The answer to refused writes but for the time to wait: written once, sent many times.
#[derive(Clone, Debug)]
pub struct RefusalReply {
    status: u16,
    /// The last of them is `retry-after`, without its value.
    headers: HeaderBlock,
    /// What it says to people.
    message: String,
    /// The body up to where the time to wait follows as its last member.
    body_start: String,
}

/// Problem details (RFC 9457) with the members that Quiesce adds; `retry_after_s` follows as the last.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
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

impl RefusalReply {
    /// The answer for one reason. `window` is the one that refuses, if it is known.
    pub fn new(refusal: Refusal, window: Option<&Window>, status_page: Option<&str>) -> Self {
        Self::with_detail(refusal, window, status_page, detail(refusal, window))
    }

    /// The same, in other words for people.
    pub fn with_detail(
        refusal: Refusal,
        window: Option<&Window>,
        status_page: Option<&str>,
        detail: String,
    ) -> Self {
        let status = refusal.status(window.map_or(RefusalStatus::Unavailable, |window| window.status));
        let problem = Problem {
            r#type: format!("urn:quiesce:problem:{}", refusal.code()),
            title: refusal.title(),
            status,
            detail,
            code: refusal.code(),
            window: window.map(|window| &window.id),
            reason: window.map(|window| window.reason.as_str()),
            starts_at: window.map(|window| window.starts_at),
            ends_at: window.and_then(|window| window.ends_at),
            contact: window.and_then(|window| window.contact.as_deref()),
        };
        let link = status_page.map(|page| format!("<{page}>; rel=\"status\""));
        let mut headers: Vec<(&[u8], &[u8])> = vec![
            (b"content-type", b"application/problem+json"),
            (b"cache-control", b"no-store"),
            // Envoy's own retries would only meet the same refusal.
            (b"x-envoy-ratelimited", b"true"),
        ];
        headers.extend(link.as_ref().map(|link| (&b"link"[..], link.as_bytes())));
        headers.push((b"retry-after", b""));
        let mut body_start = String::from_utf8(to_json(&problem)).unwrap_or_default();
        body_start.pop();
        body_start.push_str(RETRY_AFTER_MEMBER);
        Self { status, headers: HeaderBlock::new(&headers), message: problem.detail, body_start }
    }

    /// The answer to a client that shall wait so long; seconds.
    pub fn after(&self, retry_after_s: u64) -> Reply {
        let mut headers = self.headers.clone();
        headers.append_to_last(retry_after_s.to_string().as_bytes());
        let body = self.problem(retry_after_s).into_bytes();
        Reply { status: self.status, grpc_status: None, headers, body }
    }

    /// The answer to a client that need not come back with the same, because waiting changes nothing.
    pub fn for_good(&self) -> Reply {
        let pairs = self.headers.headers().pairs();
        let headers: Vec<_> = pairs.filter(|(name, _)| *name != b"retry-after").collect();
        let body = self.body_start.replace(RETRY_AFTER_MEMBER, "}").into_bytes();
        Reply { status: self.status, grpc_status: None, headers: HeaderBlock::new(&headers), body }
    }

    /// The problem details.
    pub(crate) fn problem(&self, retry_after_s: u64) -> String {
        format!("{}{retry_after_s}}}", self.body_start)
    }

    /// What it says to people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }
}

fn detail(refusal: Refusal, window: Option<&Window>) -> String {
    match window.map(|window| window.ends_at) {
        _ if refusal == Refusal::IntentNotKept => {
            "It is not known whether the write was kept for later. Send it again, with the same Idempotency-Key.".to_owned()
        }
        Some(Some(ends_at)) => format!("Read-only until {ends_at}. Nothing was written. Reads are served."),
        Some(None) => "Read-only until further notice. Nothing was written. Reads are served.".to_owned(),
        None => "Nothing was written. Reads are served.".to_owned(),
    }
}

/// The answer to a write that a window has dropped.
pub fn dropped(window: &Window) -> Reply {
    let body = format!(
        "{{\"dropped\":true,\"code\":\"{}\",\"detail\":\"Writes are paused. This one is not kept, and will not \
         be made up for.\",\"window\":\"{}\"}}",
        Stop::Dropped.code(),
        window.id
    );
    let headers =
        HeaderBlock::new(&[(b"content-type", b"application/json"), (b"cache-control", b"no-store")]);
    Reply { status: 202, grpc_status: None, headers, body: body.into_bytes() }
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
    let max_age = format!("public, max-age={BANNER_MAX_AGE_S}");
    let headers =
        HeaderBlock::new(&[(b"content-type", b"application/json"), (b"cache-control", max_age.as_bytes())]);
    Reply { status: 200, grpc_status: None, headers, body: to_json(&banner) }
}

/// These types have string keys and no custom serialisation, so that writing them cannot fail.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
