//! An intent as the request that is sent.

use axum::body::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Uri,
    header::{HOST, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};
use quiesce_policy::Headers;

use crate::intents::IntentRecord;

/// Names the intent, for origins that keep it with what they make of it.
const INTENT_HEADER: HeaderName = HeaderName::from_static("quiesce-intent");
/// When the write was received, RFC 3339.
const RECEIVED_AT_HEADER: HeaderName = HeaderName::from_static("quiesce-received-at");
const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const PASS: HeaderName = HeaderName::from_static("quiesce-pass");
/// Headers of this product are for enforcers, and never those of a client.
const OURS: &[u8] = b"quiesce-";
/// What is about one connection, or follows from the body.
const NOT_SENT: [&[u8]; 11] = [
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"keep-alive",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// Why an intent is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// The header block does not hold what it says.
    #[error("its headers are damaged")]
    Damaged,
    /// A pseudo-header is missing or there twice.
    #[error("its `{0}` is missing")]
    Missing(&'static str),
    /// Something in it cannot be part of a request of HTTP/1.1.
    #[error("its {0} cannot be sent as it was received")]
    Odd(String),
}

/// Makes the request: the method, path, authority, headers and body that were received, byte for byte, with
/// the key, the intent's id and the time at which it was received.
pub fn request(
    target: &Uri,
    record: &IntentRecord,
    head: &[u8],
    body: Vec<u8>,
) -> Result<Request<Full<Bytes>>, Unsendable> {
    let parts = parts(head)?;
    let odd = |what: &str| Unsendable::Odd(what.to_owned());
    let mut uri = target.clone().into_parts();
    uri.path_and_query = Some(parts.path);
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = parts.method;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| odd("path"))?;
    let headers = request.headers_mut();
    *headers = parts.headers;
    headers.insert(HOST, parts.authority);
    if !headers.contains_key(KEY_HEADER) {
        headers.insert(KEY_HEADER, quoted(&record.key).ok_or_else(|| odd("key"))?);
    }
    let text = |text: &str| HeaderValue::from_str(text).map_err(|_| odd("id"));
    headers.insert(INTENT_HEADER, text(record.id.as_str())?);
    headers.insert(RECEIVED_AT_HEADER, text(&record.received_at.to_string())?);
    Ok(request)
}

/// Adds a pass, with which enforcers let it through whatever window is in force.
pub fn show_pass(request: &mut Request<Full<Bytes>>, pass: &str) {
    if let Ok(mut value) = HeaderValue::from_str(pass) {
        value.set_sensitive(true);
        request.headers_mut().insert(PASS, value);
    }
}

/// Whether what was received can be sent again byte for byte: to be asked before it is accepted.
pub fn check(head: &[u8]) -> Result<(), Unsendable> {
    parts(head).map(|_| ())
}

struct Parts {
    method: Method,
    path: PathAndQuery,
    authority: HeaderValue,
    headers: HeaderMap,
}

fn parts(head: &[u8]) -> Result<Parts, Unsendable> {
    let block = Headers::read(head);
    let pseudo = |name: &'static str| block.single(name.as_bytes()).ok_or(Unsendable::Missing(name));
    let odd = |what: &str| Unsendable::Odd(what.to_owned());
    let method = Method::from_bytes(pseudo(":method")?).map_err(|_| odd("method"))?;
    let raw = pseudo(":path")?;
    // The parser cuts a fragment off, and an origin would see another path than enforcers did.
    let path = PathAndQuery::try_from(raw).ok().filter(|path| path.as_str().as_bytes() == raw);
    let authority = HeaderValue::from_bytes(pseudo(":authority")?).map_err(|_| odd("authority"))?;
    let mut headers = HeaderMap::new();
    let mut pairs = block.pairs();
    for (name, value) in pairs.by_ref() {
        if name.starts_with(b":") || name.starts_with(OURS) || NOT_SENT.contains(&name) {
            continue;
        }
        let shown = || Unsendable::Odd(format!("header `{}`", String::from_utf8_lossy(name)));
        let value = HeaderValue::from_bytes(value).map_err(|_| shown())?;
        headers.append(HeaderName::from_bytes(name).map_err(|_| shown())?, value);
    }
    if !pairs.were_all() {
        return Err(Unsendable::Damaged);
    }
    Ok(Parts { method, path: path.ok_or_else(|| odd("path"))?, authority, headers })
}

/// A key as a string of structured fields.
fn quoted(key: &str) -> Option<HeaderValue> {
    let escaped = key.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_str(&format!("\"{escaped}\"")).ok()
}

#[cfg(test)]
mod tests {
    use quiesce_policy::{HeaderBlock, time::Timestamp};

    use super::*;
    use crate::intents::NewIntent;

    fn record(key: &str) -> IntentRecord {
        let payload = crate::intents::Payload { head: Vec::new(), body: Vec::new(), sealed_by: None };
        let intent = NewIntent {
            id: "01abc".to_owned().into(),
            received_at: Timestamp::from_unix_ms(1_795_435_200_123),
            surface: "shop".to_owned(),
            window: "w1".into(),
            enforcer: "edge-1".to_owned(),
            tenant: String::new(),
            key: key.to_owned(),
            fingerprint: [0; 32],
            line: "/orders".to_owned(),
            method: "POST".to_owned(),
            path: "/orders".to_owned(),
            payload,
        };
        intent.record(1)
    }

    fn made(path: &str, key: &str, more: &[(&str, &str)]) -> Result<Request<Full<Bytes>>, Unsendable> {
        let mut pairs = vec![(":method", "POST"), (":path", path), (":authority", "shop.example.com")];
        pairs.extend(more);
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let block = HeaderBlock::new(&pairs);
        request(&"http://10.0.0.5:10000".parse().unwrap(), &record(key), block.as_bytes(), b"{}".to_vec())
    }

    #[test]
    fn what_was_received_is_sent_with_what_names_it() {
        let more = [
            ("content-type", "application/json"),
            ("accept", "a/b"),
            ("accept", "c/d"),
            ("connection", "close"),
            ("content-length", "99"),
            ("transfer-encoding", "chunked"),
            ("quiesce-pass", "forged"),
            ("host", "elsewhere"),
        ];
        let request = made("/a/../b/%2e%2E/c?q=%20&q=x", "k\"1\\", &more).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "http://10.0.0.5:10000/a/../b/%2e%2E/c?q=%20&q=x");
        let mut headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        assert_eq!(
            headers,
            [
                "accept: a/b",
                "accept: c/d",
                "content-type: application/json",
                "host: shop.example.com",
                r#"idempotency-key: "k\"1\\""#,
                "quiesce-intent: 01abc",
                "quiesce-received-at: 2026-11-23T12:00:00.123Z",
            ]
        );
    }

    #[test]
    fn the_header_of_passes_is_the_one_that_enforcers_look_at() {
        let mut request = made("/", "k", &[]).unwrap();
        show_pass(&mut request, "token");
        let value = &request.headers()[std::str::from_utf8(quiesce_policy::pass::PASS_HEADER).unwrap()];
        assert!(value == "token" && value.is_sensitive());
    }

    #[test]
    fn a_key_that_is_kept_goes_as_its_client_wrote_it() {
        let request = made("/", "k", &[("idempotency-key", "bare-k")]).unwrap();
        assert_eq!(request.headers()["idempotency-key"], "bare-k");
    }

    #[test]
    fn what_would_be_another_request_is_none() {
        for path in ["/a#b", "/a b", "/a\u{7f}", "", "a"] {
            let found = made(path, "k", &[]);
            assert!(found.is_err(), "{path}: {found:?}");
        }
        assert_eq!(made("/", "k", &[(":path", "/b")]).unwrap_err(), Unsendable::Missing(":path"));
        let odd = made("/", "k", &[("accept", "a\nb")]).unwrap_err();
        assert_eq!(odd.to_string(), "its header `accept` cannot be sent as it was received");
        let block = HeaderBlock::new(&[(b":method", b"POST"), (b":path", b"/"), (b":authority", b"a")]);
        let cut = block.as_bytes().split_last().unwrap().1;
        assert!(check(cut).is_err());
        assert_eq!(check(block.as_bytes()), Ok(()));
    }
}
