//! Writes that are kept for later, and their receipts: what is asked of the companion, and what it answers.
//!
//! A call outlives the stream that waits for its answer, and whoever has gone gets none: the intent may be on
//! disk then, and was promised to nobody. How many wait at once is bounded by Envoy: by how many streams it
//! lets in, and by the circuit breaker of the companion's cluster, beyond which a call fails at once.

use quiesce_policy::{
    Policy, Request, Stop,
    intent::{self, ENFORCER_HEADER, INTENTS_PATH, RECEIPTS_PATH, SURFACE_HEADER, WINDOW_HEADER},
    reply::Reply,
    snapshot::Window,
};

use crate::{host, plugin::Plugin};

/// How long the companion may take to answer; milliseconds.
const ANSWER_MS: u32 = 5000;

/// Offers a write to the companion; the answer comes with the token returned.
pub fn offer(
    plugin: &Plugin,
    policy: &Policy,
    request: &Request<'_>,
    (surface, window): (&str, &Window),
    body: &[u8],
) -> Option<u32> {
    let head = intent::head(request.headers, &policy.intents().headers);
    let headers: [(&[u8], &[u8]); 3] = [
        (SURFACE_HEADER.as_bytes(), surface.as_bytes()),
        (WINDOW_HEADER.as_bytes(), window.id.as_str().as_bytes()),
        (ENFORCER_HEADER.as_bytes(), plugin.enforcer.id.as_str().as_bytes()),
    ];
    let intent = intent::write(head.as_bytes(), body);
    host::call(&plugin.config, INTENTS_PATH, &headers, &intent, ANSWER_MS)
}

/// Asks the companion for a receipt; the answer comes with the token returned.
pub fn ask_for_receipt(plugin: &Plugin, id: &str) -> Option<u32> {
    let path = [RECEIPTS_PATH, id].concat();
    host::call(&plugin.config, &path, &[], &[], ANSWER_MS)
}

/// The companion's answer to either, in its callback, if there is one for the client.
pub fn answer(body_bytes: usize) -> Option<(Stop, Reply)> {
    intent::relayed(host::response_headers().headers(), host::response_body(body_bytes))
}
