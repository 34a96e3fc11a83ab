//! How a write to be kept for later travels from an enforcer to the companion, and how it is answered.
//!
//! The body of `POST /v1/intents` is the length of a header block (32 bits, little-endian), the block as
//! [`HeaderBlock`](crate::HeaderBlock) has it, and the client's body. The block has `:method`, `:path`
//! and `:authority`, and of the other headers those that the snapshot lists, and no others.
//!
//! An answer that bears [`OUTCOME_HEADER`], to an intent or to the question for a receipt, is for the client: the enforcer hands on its status, its body and
//! those of its headers that are in [`RELAYED_HEADERS`]. Any other answer, or none, means that the intent may
//! not have been kept, and the client gets a refusal.

use crate::{
    headers::{HeaderBlock, Headers},
    refusal::Refusal,
    reply::Reply,
    stop::Stop,
};

/// Longer ids are none; bytes.
const MAX_ID_BYTES: usize = 64;

/// Where an enforcer sends intents.
pub const INTENTS_PATH: &str = "/v1/intents";

/// Where an enforcer asks for receipts; the id follows.
pub const RECEIPTS_PATH: &str = "/v1/receipts/";

/// Where a client asks for a receipt, through the enforcer; the id follows.
pub const RECEIPT_PATH: &[u8] = b"/.well-known/maintenance/intents/";

/// The surface that the intent belongs to.
pub const SURFACE_HEADER: &str = "quiesce-surface";

/// The window that the intent waits for.
pub const WINDOW_HEADER: &str = "quiesce-window";

/// The enforcer that sends the intent, by its id.
pub const ENFORCER_HEADER: &str = "quiesce-enforcer";

/// What became of the intent: `queued`, or the code of a refusal. Of a receipt it is `queued` too.
pub const OUTCOME_HEADER: &str = "quiesce-outcome";

/// The value of [`OUTCOME_HEADER`] for an intent that is on disk.
pub const QUEUED: &str = "queued";

/// The headers of an answer that reach the client, beside its status.
pub const RELAYED_HEADERS: [&str; 6] =
    ["content-type", "location", "retry-after", "cache-control", "link", "x-envoy-ratelimited"];

/// The header of a request that is an intent on its way to the origin: its id. No enforcer keeps such a
/// request a second time.
pub const INTENT_HEADER: &[u8] = b"quiesce-intent";

/// The headers that are kept of a write where nothing else is said.
pub const DEFAULT_HEADERS: [&str; 10] = [
    "accept",
    "content-type",
    "content-encoding",
    "content-language",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "x-request-id",
    "user-agent",
    "mcp-protocol-version",
];

/// What is kept of a write's headers: those that stand for its first line, and those that are listed.
pub fn head(headers: Headers<'_>, listed: &[String]) -> HeaderBlock {
    let is_kept = |name: &[u8]| name.starts_with(b":") || listed.iter().any(|one| one.as_bytes() == name);
    let kept: Vec<_> = headers.pairs().filter(|(name, _)| is_kept(name)).collect();
    HeaderBlock::new(&kept)
}

/// What an answer of the companion is for the client, if it is meant for it, and what became of the write.
pub fn relayed(headers: Headers<'_>, body: Vec<u8>) -> Option<(Stop, Reply)> {
    let text = |name: &[u8]| headers.single(name).and_then(|value| std::str::from_utf8(value).ok());
    let (status, outcome) = (text(b":status")?.parse().ok()?, text(OUTCOME_HEADER.as_bytes())?);
    let is_relayed = |name: &[u8]| RELAYED_HEADERS.iter().any(|one| one.as_bytes() == name);
    let relayed: Vec<_> = headers.pairs().filter(|(name, _)| is_relayed(name)).collect();
    let stop = match outcome {
        QUEUED => Stop::Queued,
        // That of a newer companion is the client's to understand.
        code => Stop::Refused(Refusal::of_code(code).unwrap_or(Refusal::IntentNotKept)),
    };
    Some((stop, Reply { status, grpc_status: None, headers: HeaderBlock::new(&relayed), body }))
}

/// The id in the target of a request for a receipt, behind [`RECEIPT_PATH`].
pub fn receipt_id(below: &[u8]) -> Option<&str> {
    let id = below.split(|byte| *byte == b'?').next()?;
    let is_id = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(id).ok().filter(|_| is_id)
}

/// Writes header block and body as they travel.
pub fn write(head: &[u8], body: &[u8]) -> Vec<u8> {
    let head_bytes = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&head_bytes, head, body].concat()
}

/// Reads what [`write`] wrote: header block and body.
pub fn read(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head_bytes, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*head_bytes)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pairs: &[(&str, &str)]) -> HeaderBlock {
        let pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        HeaderBlock::new(&pairs)
    }

    #[test]
    fn of_the_headers_only_those_listed_are_kept() {
        let sent = [
            (":method", "POST"),
            (":path", "/orders?a=b"),
            ("cookie", "secret"),
            ("accept", "text/html"),
            (":authority", "shop.example.com"),
            ("accept", "*/*"),
            ("authorization", "Bearer t"),
        ];
        let kept = [sent[0], sent[1], sent[3], sent[4], sent[5]];
        let listed = ["accept".to_owned(), "content-type".to_owned()];
        assert_eq!(head(block(&sent).headers(), &listed), block(&kept));
    }

    #[test]
    fn an_answer_is_for_the_client_if_it_says_so() {
        let relayed = |pairs: &[(&str, &str)]| relayed(block(pairs).headers(), b"{}".to_vec());
        let (stop, reply) = relayed(&[
            (":status", "202"),
            ("quiesce-outcome", "queued"),
            ("location", "/r/1"),
            ("server", "companion"),
            ("date", "today"),
        ])
        .unwrap();
        assert_eq!((stop, reply.status, reply.body), (Stop::Queued, 202, b"{}".to_vec()));
        assert_eq!(reply.headers, block(&[("location", "/r/1")]));
        let code = |code| relayed(&[(":status", "503"), ("quiesce-outcome", code)]).unwrap().0;
        assert_eq!(code("intents-full"), Stop::Refused(Refusal::IntentsFull));
        assert_eq!(code("invented-later"), Stop::Refused(Refusal::IntentNotKept));
        let queued = ("quiesce-outcome", "queued");
        for not_for_it in [&[(":status", "202")][..], &[queued], &[(":status", "2o2"), queued], &[]] {
            assert_eq!(relayed(not_for_it), None, "{not_for_it:?}");
        }
        assert_eq!(relayed(&[(":status", "202"), queued, queued]), None);
    }

    #[test]
    fn an_id_is_letters_and_digits() {
        assert_eq!(receipt_id(b"01m8492tc1sh7xwp93mf81xqfr?x=/"), Some("01m8492tc1sh7xwp93mf81xqfr"));
        for none in [&b""[..], b"?", b"../v1/freeze", b"a/b", b"a%2Fb", b"a b", &[b'a'; 65]] {
            assert_eq!(receipt_id(none), None);
        }
    }

    #[test]
    fn head_and_body_come_back() {
        for (head, body) in [(&b"head"[..], &b"body"[..]), (b"", b""), (b"h", b"")] {
            assert_eq!(read(&write(head, body)), Some((head, body)));
        }
        assert_eq!(read(b"\x05\0\0\0head"), None);
        assert_eq!(read(b"\x05\0"), None);
    }
}
