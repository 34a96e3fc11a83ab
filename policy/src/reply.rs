//! The answers that an enforcer gives itself to writes: refusals as problem details.

use crate::{
    headers::HeaderBlock,
    object::Object,
    refusal::Refusal,
    snapshot::{RefusalStatus, Window},
    stop::Stop,
};

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
        // Problem details (RFC 9457) with the members that Quiesce adds; `retry_after_s` follows as the last.
        let mut problem = Object::default();
        problem.text("type", &format!("urn:quiesce:problem:{}", refusal.code()));
        problem.text("title", refusal.title());
        problem.raw("status", &status.to_string());
        problem.text("detail", &detail);
        problem.text("code", refusal.code());
        if let Some(window) = window {
            problem.text("window", window.id.as_str());
            problem.text("reason", &window.reason);
            problem.instant("starts_at", Some(window.starts_at));
            problem.instant("ends_at", window.ends_at);
            problem.maybe("contact", window.contact.as_deref());
        }
        let link = status_page.map(|page| format!("<{page}>; rel=\"status\""));
        let mut headers: Vec<(&[u8], &[u8])> = vec![
            (b"content-type", b"application/problem+json"),
            (b"cache-control", b"no-store"),
            // Envoy's own retries would only meet the same refusal.
            (b"x-envoy-ratelimited", b"true"),
        ];
        headers.extend(link.as_ref().map(|link| (&b"link"[..], link.as_bytes())));
        headers.push((b"retry-after", b""));
        let mut body_start = problem.unfinished();
        body_start.push_str(RETRY_AFTER_MEMBER);
        Self { status, headers: HeaderBlock::new(&headers), message: detail, body_start }
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
