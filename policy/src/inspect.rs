//! What headers and bodies show of requests whose method and path leave open whether they read.
//!
//! A rule with a `body` calls all such requests writes; what is here may find that one is a read.

use crate::{
    body::{
        graphql,
        json_rpc::{self, Message},
        mcp::{self, MethodEffect},
    },
    headers::Headers,
    request::Request,
    snapshot::{BodyProtocol, ReadOnly},
};

/// The revision of MCP from which on headers say what a request calls, and servers reject bodies that say
/// otherwise (SEP-2243). Of later ones it is not known what their headers mean.
const MCP_HEADERS_DECIDE: &[u8] = b"2026-07-28";

/// Whether the headers alone show that a request reads; `has_tool` says which tools do.
pub fn reads_by_headers(
    protocol: BodyProtocol,
    request: &Request<'_>,
    known: &ReadOnly,
    has_tool: impl Fn(&str) -> bool,
) -> bool {
    match protocol {
        BodyProtocol::Mcp => mcp_by_headers(request.headers, has_tool).unwrap_or(false),
        BodyProtocol::JsonRpc => false,
        // Of a request whose document is in its query there is no body to wait for.
        BodyProtocol::Graphql => {
            matches!(request.method, b"GET" | b"HEAD")
                && graphql_known(graphql::read_query_string(request.query), known)
        }
    }
}

/// Whether the body shows that a request reads; `has_tool` says which tools do.
pub fn reads_by_body(
    protocol: BodyProtocol,
    request: &Request<'_>,
    known: &ReadOnly,
    has_tool: impl Fn(&str) -> bool,
    body: &[u8],
) -> bool {
    if request.headers.pairs().any(|(name, _)| name == b"content-encoding") {
        return false;
    }
    if protocol == BodyProtocol::Graphql {
        return graphql_reads(request, known, body);
    }
    if !is_json(request.headers) {
        return false;
    }
    let Ok(messages) = json_rpc::read(body) else { return false };
    let headers_refuse = mcp_by_headers(request.headers, &has_tool) == Some(false);
    messages.iter().all(|message| match (protocol, message) {
        (BodyProtocol::Mcp, Message::Answer) => true,
        (BodyProtocol::Mcp, Message::Call(call)) => {
            !headers_refuse && mcp_reads(&call.method, call.name.as_deref(), &has_tool)
        }
        (BodyProtocol::JsonRpc, Message::Answer) => false,
        (BodyProtocol::JsonRpc, Message::Call(call)) => known.has_method(&call.method),
        (BodyProtocol::Graphql, _) => false,
    })
}

/// Some servers take the document of a POST from its query, if it has one there.
fn graphql_reads(request: &Request<'_>, known: &ReadOnly, body: &[u8]) -> bool {
    if request.method != b"POST" || graphql::names_request(request.query) {
        return false;
    }
    let read = if is_json(request.headers) {
        graphql::read_json(body)
    } else if is_media_type(request.headers, b"application/graphql") {
        graphql::read_graphql(body)
    } else {
        request
            .headers
            .single(b"content-type")
            .map_or(Ok(false), |content_type| graphql::read_multipart(content_type, body))
    };
    graphql_known(read, known)
}

/// Of a document that only the server has, the operator may know that it reads.
fn graphql_known(read: Result<bool, graphql::Doubt>, known: &ReadOnly) -> bool {
    match read {
        Ok(reads) => reads,
        Err(graphql::Doubt::Persisted { id }) => known.queries.contains(&id),
        Err(_) => false,
    }
}

/// What headers or body call, for people: methods, and the tools they name.
pub fn called(protocol: BodyProtocol, request: &Request<'_>, body: &[u8]) -> Vec<String> {
    let told = |method: &str, name: Option<&str>| match name {
        Some(name) => format!("{method} {name}"),
        None => method.to_owned(),
    };
    if protocol == BodyProtocol::Graphql {
        return Vec::new();
    }
    let messages = json_rpc::read(body).unwrap_or_default();
    if messages.is_empty() {
        let header = |name| request.headers.single(name).and_then(mcp::header_value);
        let method = header(b"mcp-method").filter(|_| protocol == BodyProtocol::Mcp);
        return method.iter().map(|method| told(method, header(b"mcp-name").as_deref())).collect();
    }
    let call = |message: &Message<'_>| match message {
        Message::Call(call) => Some(told(&call.method, call.name.as_deref())),
        Message::Answer => None,
    };
    messages.iter().filter_map(call).collect()
}

/// What `Mcp-Method` and `Mcp-Name` say, where they decide.
fn mcp_by_headers(headers: Headers<'_>, has_tool: impl Fn(&str) -> bool) -> Option<bool> {
    if headers.single(b"mcp-protocol-version")? != MCP_HEADERS_DECIDE {
        return None;
    }
    let method = mcp::header_value(headers.single(b"mcp-method")?)?;
    let name = headers.single(b"mcp-name").and_then(mcp::header_value);
    Some(mcp_reads(&method, name.as_deref(), has_tool))
}

fn mcp_reads(method: &str, name: Option<&str>, has_tool: impl Fn(&str) -> bool) -> bool {
    match mcp::effect(method) {
        MethodEffect::Read => true,
        MethodEffect::Tool => name.is_some_and(has_tool),
        MethodEffect::Write => false,
    }
}

/// Whether the body is JSON in UTF-8 for everybody.
pub fn is_json(headers: Headers<'_>) -> bool {
    is_media_type(headers, b"application/json")
}

/// Whether the body is of this type for everybody, and in no other charset than UTF-8.
pub fn is_media_type(headers: Headers<'_>, wanted: &[u8]) -> bool {
    let Some(value) = headers.single(b"content-type") else { return false };
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case(wanted))
        && parts.all(|parameter| {
            parameter.eq_ignore_ascii_case(b"charset=utf-8")
                || parameter.eq_ignore_ascii_case(b"charset=\"utf-8\"")
        })
}

impl ReadOnly {
    /// Whether a tool is known to read.
    pub fn has_tool(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool == name)
    }

    /// Whether a method of JSON-RPC is known to read.
    pub fn has_method(&self, name: &str) -> bool {
        self.methods.iter().any(|method| match method.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => method == name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::HeaderBlock;

    fn reads(headers: &[(&str, &str)], body: &str) -> bool {
        let known = ReadOnly {
            tools: vec!["search".to_owned()],
            methods: vec!["get_*".to_owned()],
            ..ReadOnly::default()
        };
        let pairs: Vec<(&[u8], &[u8])> =
            headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let block = HeaderBlock::new(&pairs);
        let request = Request::read(block.headers());
        let has_tool = |name: &str| known.has_tool(name);
        reads_by_headers(BodyProtocol::Mcp, &request, &known, has_tool)
            || reads_by_body(BodyProtocol::Mcp, &request, &known, has_tool, body.as_bytes())
    }

    const JSON: (&str, &str) = ("content-type", "application/json");
    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}"#;
    const SEARCH: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#;

    #[test]
    fn a_tool_writes_unless_it_is_listed() {
        assert!(reads(&[JSON], LIST) && reads(&[JSON], SEARCH) && !reads(&[JSON], CALL));
        assert!(reads(&[("content-type", "application/json; charset=UTF-8")], LIST));
    }

    #[test]
    fn a_body_that_may_be_read_otherwise_writes() {
        assert!(!reads(&[], LIST));
        assert!(!reads(&[JSON, ("content-encoding", "gzip")], LIST));
        assert!(!reads(&[("content-type", "application/json; charset=utf-16")], LIST));
        assert!(!reads(&[JSON, JSON], LIST));
        assert!(!reads(&[JSON], &LIST.replace("tools/list", "tools\\u002fcall")));
        assert!(
            !reads(&[JSON], &format!("[{LIST},{CALL}]")) && reads(&[JSON], &format!("[{LIST},{SEARCH}]"))
        );
    }

    #[test]
    fn a_persisted_query_writes_unless_it_is_listed() {
        let known = ReadOnly { queries: vec!["docs-1".to_owned()], ..ReadOnly::default() };
        let reads = |method: &str, target: &str, body: &str| {
            let block = HeaderBlock::new(&[
                (b":method", method.as_bytes()),
                (b":path", target.as_bytes()),
                (b"content-type", b"application/json"),
            ]);
            let request = Request::read(block.headers());
            let no_tool = |_: &str| false;
            reads_by_headers(BodyProtocol::Graphql, &request, &known, no_tool)
                || reads_by_body(BodyProtocol::Graphql, &request, &known, no_tool, body.as_bytes())
        };
        assert!(
            reads("POST", "/graphql", r#"{"id":"docs-1"}"#)
                && !reads("POST", "/graphql", r#"{"id":"docs-2"}"#)
        );
        assert!(reads("GET", "/graphql?id=docs-1", "") && !reads("GET", "/graphql?id=docs-2", ""));
        let both = r#"{"id":"docs-1","query":"mutation{a}"}"#;
        assert!(
            !reads("POST", "/graphql", both)
                && !reads("POST", "/graphql", &format!("[{{\"id\":\"docs-1\"}},{both}]"))
        );
    }

    #[test]
    fn what_is_called_is_told() {
        let block = HeaderBlock::new(&[(b"mcp-method", b"tools/call"), (b"mcp-name", b"search")]);
        let request = Request::read(block.headers());
        assert_eq!(called(BodyProtocol::Mcp, &request, b""), ["tools/call search"]);
        assert_eq!(called(BodyProtocol::JsonRpc, &request, b""), [""; 0]);
        assert_eq!(
            called(BodyProtocol::Mcp, &request, format!("[{LIST},{CALL}]").as_bytes()),
            ["tools/list", "tools/call delete"]
        );
    }

    #[test]
    fn headers_decide_where_the_revision_says_so() {
        let version = ("mcp-protocol-version", "2026-07-28");
        assert!(reads(&[version, ("mcp-method", "tools/list")], ""));
        assert!(reads(&[version, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?c2VhcmNo?=")], ""));
        let call = [JSON, version, ("mcp-method", "tools/call"), ("mcp-name", "delete")];
        assert!(!reads(&call, LIST), "they differ");
        let old = [JSON, ("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list")];
        assert!(!reads(&old, CALL) && reads(&old, LIST));
        let twice = [JSON, version, ("mcp-method", "tools/list"), ("mcp-method", "tools/call")];
        assert!(!reads(&twice, CALL));
    }
}
