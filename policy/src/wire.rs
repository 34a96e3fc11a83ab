//! Refusals in the protocol that the client speaks.
//!
//! What a refusal says is the same problem in all of them; here it is dressed for clients that would
//! make nothing of a plain HTTP answer, or would take it for the end of their session.

use base64ct::{Base64, Encoding as _};

use crate::{
    body::json_rpc,
    headers::{HeaderBlock, Headers},
    object::quoted,
    reply::{RefusalReply, Reply},
    request::Request,
    snapshot::{BodyProtocol, RefusedCalls},
};

/// `UNAVAILABLE` of gRPC: the call was not begun and may be repeated.
const GRPC_UNAVAILABLE: u32 = 14;

/// The JSON-RPC error code of refusals, from the range that JSON-RPC and MCP leave to servers.
const JSON_RPC_READ_ONLY: i32 = -32010;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect<'a> {
    /// Nothing but HTTP.
    Http,
    /// gRPC (`application/grpc`), in which the proxy itself writes statuses.
    Grpc,
    /// gRPC-Web; its bodies may be base64.
    GrpcWeb {
        /// As the request has it.
        content_type: &'a [u8],
        /// Whether they are.
        text: bool,
    },
    /// A unary call of Connect.
    Connect,
    /// A streaming call of Connect.
    ConnectStream {
        /// As the request has it.
        content_type: &'a [u8],
    },
    /// JSON-RPC.
    JsonRpc {
        /// The id to answer, if it could be read.
        id: Option<&'a [u8]>,
        /// Whether it is that of MCP.
        mcp: bool,
    },
    /// GraphQL.
    Graphql {
        /// Whether it understands `application/graphql-response+json`.
        modern: bool,
    },
}

impl<'a> Dialect<'a> {
    /// What the sender of a request speaks. `body` is the request's body as far as it is known.
    pub fn of(request: &Request<'a>, protocol: Option<BodyProtocol>, body: &'a [u8]) -> Self {
        match protocol {
            Some(BodyProtocol::Mcp) => return Self::JsonRpc { id: json_rpc::id_of(body), mcp: true },
            Some(BodyProtocol::JsonRpc) => return Self::JsonRpc { id: json_rpc::id_of(body), mcp: false },
            Some(BodyProtocol::Graphql) => return Self::Graphql { modern: accepts_graphql(request.headers) },
            None => {}
        }
        let content_type = request.headers.single(b"content-type").unwrap_or_default();
        let is = |start: &[u8]| {
            content_type.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        };
        if is(b"application/grpc-web") {
            return Self::GrpcWeb { content_type, text: is(b"application/grpc-web-text") };
        }
        if is(b"application/grpc") {
            return Self::Grpc;
        }
        if is(b"application/connect+") {
            return Self::ConnectStream { content_type };
        }
        if request.headers.single(b"connect-protocol-version").is_some() {
            return Self::Connect;
        }
        Self::Http
    }
}

fn accepts_graphql(headers: Headers<'_>) -> bool {
    let modern = b"application/graphql-response+json";
    let accepts = |value: &[u8]| value.windows(modern.len()).any(|part| part.eq_ignore_ascii_case(modern));
    headers.pairs().any(|(name, value)| name == b"accept" && accepts(value))
}

impl RefusalReply {
    /// The answer in a client's own dialect, to one that shall wait so long; seconds.
    pub fn to(&self, dialect: Dialect<'_>, calls: RefusedCalls, retry_after_s: u64) -> Reply {
        match dialect {
            Dialect::Http => self.after(retry_after_s),
            Dialect::Grpc => self.grpc(retry_after_s),
            Dialect::GrpcWeb { content_type, text } => self.grpc_web(content_type, text, retry_after_s),
            Dialect::Connect => self.connect(retry_after_s),
            Dialect::ConnectStream { content_type } => self.connect_stream(content_type, retry_after_s),
            Dialect::JsonRpc { id, mcp } => self.json_rpc(id, mcp, calls, retry_after_s),
            Dialect::Graphql { modern } => self.graphql(modern, retry_after_s),
        }
    }

    /// Trailers alone: the proxy makes them of the status, and the message of the body.
    fn grpc(&self, retry_after_s: u64) -> Reply {
        let pushback = pushback_ms(retry_after_s);
        let details = self.status_details(retry_after_s);
        let headers = HeaderBlock::new(&[
            (b"grpc-retry-pushback-ms", pushback.as_bytes()),
            (b"grpc-status-details-bin", details.as_bytes()),
        ]);
        Reply {
            status: 200,
            grpc_status: Some(GRPC_UNAVAILABLE),
            headers,
            body: self.message().as_bytes().to_vec(),
        }
    }

    /// The status in the headers, where clients look first, and as the frame of trailers that ends a body.
    fn grpc_web(&self, content_type: &[u8], text: bool, retry_after_s: u64) -> Reply {
        let (status, pushback) = (GRPC_UNAVAILABLE.to_string(), pushback_ms(retry_after_s));
        let message = percent_encoded(self.message());
        let headers = HeaderBlock::new(&[
            (b"content-type", content_type),
            (b"cache-control", b"no-store"),
            (b"access-control-expose-headers", b"grpc-status,grpc-message,grpc-retry-pushback-ms"),
            (b"grpc-status", status.as_bytes()),
            (b"grpc-message", message.as_bytes()),
            (b"grpc-retry-pushback-ms", pushback.as_bytes()),
        ]);
        let trailers = format!("grpc-status:{status}\r\ngrpc-message:{message}\r\n");
        let frame = framed(0x80, trailers.as_bytes());
        let body = if text { Base64::encode_string(&frame).into_bytes() } else { frame };
        Reply { status: 200, grpc_status: None, headers, body }
    }

    /// <https://connectrpc.com/docs/protocol/#error-end-stream>
    fn connect(&self, retry_after_s: u64) -> Reply {
        Reply {
            status: 503,
            grpc_status: None,
            headers: json_headers(b"application/json", retry_after_s),
            body: self.connect_error().into_bytes(),
        }
    }

    fn connect_stream(&self, content_type: &[u8], retry_after_s: u64) -> Reply {
        Reply {
            status: 200,
            grpc_status: None,
            headers: json_headers(content_type, retry_after_s),
            body: framed(0x02, format!("{{\"error\":{}}}", self.connect_error()).as_bytes()),
        }
    }

    fn connect_error(&self) -> String {
        format!("{{\"code\":\"unavailable\",\"message\":{}}}", quoted(self.message()))
    }

    fn json_rpc(&self, id: Option<&[u8]>, mcp: bool, calls: RefusedCalls, retry_after_s: u64) -> Reply {
        let message = quoted(self.message());
        // An answer without an id cannot be told from an answer to another call; the status has to say it.
        let status = if id.is_none() || calls == RefusedCalls::Status { self.status() } else { 200 };
        let id = id.and_then(|id| std::str::from_utf8(id).ok()).unwrap_or("null");
        let outcome = if mcp && calls == RefusedCalls::ToolError && id != "null" {
            // Since 2026-07-28 a result must say of which type it is; before, clients took any member more.
            let content = format!("[{{\"type\":\"text\",\"text\":{message}}}]");
            format!("\"result\":{{\"resultType\":\"complete\",\"content\":{content},\"isError\":true}}")
        } else {
            let data = self.problem(retry_after_s);
            format!("\"error\":{{\"code\":{JSON_RPC_READ_ONLY},\"message\":{message},\"data\":{data}}}")
        };
        Reply {
            status,
            grpc_status: None,
            headers: json_headers(b"application/json", retry_after_s),
            body: format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{outcome}}}").into_bytes(),
        }
    }

    /// <https://graphql.github.io/graphql-over-http/draft/>: clients that only know `application/json`
    /// look into bodies of 200 alone.
    fn graphql(&self, modern: bool, retry_after_s: u64) -> Reply {
        let (status, content_type): (u16, &[u8]) = match modern {
            true => (self.status(), b"application/graphql-response+json"),
            false => (200, b"application/json"),
        };
        let (message, extensions) = (quoted(self.message()), self.problem(retry_after_s));
        Reply {
            status,
            grpc_status: None,
            headers: json_headers(content_type, retry_after_s),
            body: format!("{{\"errors\":[{{\"message\":{message},\"extensions\":{extensions}}}]}}")
                .into_bytes(),
        }
    }

    /// `google.rpc.Status` with `google.rpc.RetryInfo`, as `grpc-status-details-bin` carries it
    /// (<https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto>).
    fn status_details(&self, retry_after_s: u64) -> String {
        let delay = field(1, &[&[0x08], varint(retry_after_s).as_slice()].concat());
        let any = [field(1, b"type.googleapis.com/google.rpc.RetryInfo"), field(2, &delay)].concat();
        let code = [&[0x08], varint(u64::from(GRPC_UNAVAILABLE)).as_slice()].concat();
        Base64::encode_string(&[code, field(2, self.message().as_bytes()), field(3, &any)].concat())
    }
}

fn json_headers(content_type: &[u8], retry_after_s: u64) -> HeaderBlock {
    let wait = retry_after_s.to_string();
    HeaderBlock::new(&[
        (b"content-type", content_type),
        (b"cache-control", b"no-store"),
        (b"x-envoy-ratelimited", b"true"),
        (b"retry-after", wait.as_bytes()),
    ])
}

/// Clients of gRPC come back after exactly this time; the seconds that it is made of are spread already.
fn pushback_ms(retry_after_s: u64) -> String {
    retry_after_s.saturating_mul(1000).min(i32::MAX as u64).to_string()
}

/// A message of gRPC-Web or Connect: flags, length, bytes.
fn framed(flags: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[flags], length.to_be_bytes().as_slice(), bytes].concat()
}

/// A field of Protocol Buffers that has a length: number, length, bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], varint(bytes.len() as u64).as_slice(), bytes].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
    bytes
}

/// As `grpc-message` has it.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(char::from(byte)),
        }
        encoded
    })
}
