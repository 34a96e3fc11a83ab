//! How a write to be kept for later travels from an enforcer to the companion, and how it is answered.
//!
//! The body of `POST /v1/intents` is the length of a header block (32 bits, little-endian), the block as
//! [`HeaderBlock`](crate::HeaderBlock) has it, and the client's body. The block has `:method`, `:path`
//! and `:authority`, and of the other headers those that the snapshot lists, and no others.
//!
//! An answer that bears [`OUTCOME_HEADER`] is for the client: the enforcer hands on its status, its body and
//! those of its headers that are in [`RELAYED_HEADERS`]. Any other answer, or none, means that the intent may
//! not have been kept, and the client gets a refusal.

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

/// What became of the intent: `queued`, or the code of a refusal.
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

    #[test]
    fn head_and_body_come_back() {
        for (head, body) in [(&b"head"[..], &b"body"[..]), (b"", b""), (b"h", b"")] {
            assert_eq!(read(&write(head, body)), Some((head, body)));
        }
        assert_eq!(read(b"\x05\0\0\0head"), None);
        assert_eq!(read(b"\x05\0"), None);
    }
}
