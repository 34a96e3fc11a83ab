//! MCP and JSON-RPC: a body that some server could read as a call that writes, is stopped.

use quiesce_policy::{
    Basis, Refusal, Request,
    reply::RefusalReply,
    snapshot::{BodyProtocol, RefusedCalls},
    wire::Dialect,
};
use serde::de::IgnoredAny;

use crate::{
    lenient::json::{self, Json},
    policies::{POLICY, READ_ONLY_METHODS, READ_ONLY_TOOL},
    sent::Sent,
};

/// The methods of MCP by which clients change nothing (`ClientRequest` and `ClientNotification` of its
/// schemas).
const MCP_READS: [&str; 22] = [
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tools/list",
];

/// The input is a request to a surface of MCP or JSON-RPC.
pub fn holds(input: &[u8]) {
    let mut sent = Sent::read(input);
    let is_mcp = !sent.target.starts_with(b"/rpc");
    let (target, host) = if is_mcp { ("/mcp", "mcp.example.com") } else { ("/rpc", "rpc.example.com") };
    (sent.method, sent.target) = (b"POST".to_vec(), target.into());
    sent.headers.retain(|(name, _)| name != b"host");
    sent.headers.insert(0, (b"host".to_vec(), host.into()));
    let outcome = sent.outcome(&POLICY);
    if outcome.passes && matches!(outcome.basis, Basis::Body(_)) {
        let found = json::read(&sent.body);
        if let Some(write) = found.iter().find_map(|json| write_in(json, is_mcp)) {
            panic!("{} passes, and may be read as {write:?}", sent.body.escape_ascii());
        }
        assert!(is_json(&sent.body), "{} passes, and is no JSON", sent.body.escape_ascii());
    }
    check_answer(&sent, if is_mcp { BodyProtocol::Mcp } else { BodyProtocol::JsonRpc });
}

/// Whatever id a call has, the answer to it is JSON.
fn check_answer(sent: &Sent, protocol: BodyProtocol) {
    let block = sent.block();
    let request = Request::read(block.headers());
    let dialect = Dialect::of(&request, Some(protocol), &sent.body);
    let refusal = RefusalReply::new(Refusal::ReadOnly, None, None);
    let reply = refusal.to(dialect, RefusedCalls::ToolError, 1);
    assert!(is_json(&reply.body), "{} is no JSON", reply.body.escape_ascii());
}

/// Whether a text is JSON, however large the numbers in it.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// A call in a body that writes, if some server could find one.
pub fn write_in(body: &Json, is_mcp: bool) -> Option<(String, Option<String>)> {
    body.objects().into_iter().find_map(|message| {
        let params = message.members("params");
        let names: Vec<_> = params.iter().flat_map(|params| params.members("name")).collect();
        let calls = message.members("method").into_iter().flat_map(|method| {
            let method = method.as_text().unwrap_or_default();
            let named = names.iter().map(move |name| (method, Some(name.as_text().unwrap_or_default())));
            named.chain(names.is_empty().then_some((method, None)))
        });
        let writes = |(method, name): &(&str, Option<&str>)| match is_mcp {
            true => mcp_call_writes(method, *name),
            false => !method.starts_with(READ_ONLY_METHODS),
        };
        calls.into_iter().find(writes).map(|(method, name)| (method.to_owned(), name.map(str::to_owned)))
    })
}

/// Whether a call of MCP changes something, or is not known to change nothing.
pub fn mcp_call_writes(method: &str, name: Option<&str>) -> bool {
    match method {
        "tools/call" => name != Some(READ_ONLY_TOOL),
        method => !MCP_READS.contains(&method),
    }
}
