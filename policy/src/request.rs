//! What policy looks at in a request: one pass over its headers.

use crate::{
    bytes::is,
    headers::Headers,
    host::Host,
    pass::PASS_HEADER,
    path::{Path, Target},
    query,
};

/// A request as a proxy or server hands it over, before anything is believed about it.
pub struct Request<'a> {
    /// The method, as received.
    pub method: &'a [u8],
    /// The request target: path and query.
    pub target: &'a [u8],
    /// The host, read from the authority.
    pub host: Host<'a>,
    /// The path, read from the target.
    pub path: Path<'a>,
    /// The query of the target.
    pub query: &'a [u8],
    /// Why it can be no read, whatever the rules say.
    pub suspicion: Option<Suspicion>,
    /// Whether it has a pass, or several.
    pub has_pass: bool,
    /// All headers, pseudo-headers included.
    pub headers: Headers<'a>,
}

/// What makes a request a write whatever its method and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// It asks the origin to take another method for the one it shows.
    MethodOverride,
    /// It asks to switch to another protocol, in which anything may follow.
    Upgrade,
    /// Not all of its headers could be seen.
    Incomplete,
}

/// Headers by which frameworks let clients override the method; any `-` in them may be a `_` too.
pub const OVERRIDE_HEADERS: [&[u8]; 3] = [b"x-http-method-override", b"x-http-method", b"x-method-override"];

/// A bit for every length that a name has which policy looks at.
const KNOWN_LENGTHS: u64 = {
    let [override_, method_, method_override] = OVERRIDE_HEADERS;
    let lengths = [
        b":method".len(),
        b":path".len(),
        b":authority".len(),
        b"host".len(),
        PASS_HEADER.len(),
        b"upgrade".len(),
        override_.len(),
        method_.len(),
        method_override.len(),
    ];
    let (mut bits, mut at) = (0, 0);
    #[allow(clippy::indexing_slicing, reason = "run by the compiler, and bounded by the loop")]
    while at < lengths.len() {
        bits |= 1 << lengths[at];
        at += 1;
    }
    bits
};

impl<'a> Request<'a> {
    /// Reads what policy looks at from the headers.
    pub fn read(headers: Headers<'a>) -> Self {
        let (mut method, mut target, mut authority): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let (mut suspicion, mut has_pass) = (None, false);
        let mut pairs = headers.pairs();
        while let Some((name, value)) = pairs.next_of_length(|bytes| KNOWN_LENGTHS >> bytes.min(63) & 1 == 1)
        {
            // By the first byte, because most headers are none of these.
            match name.first() {
                Some(b':') if is(name, b":method") => method = value,
                Some(b':') if is(name, b":path") => target = value,
                Some(b':') if is(name, b":authority") => authority = value,
                Some(b'h') if is(name, b"host") && authority.is_empty() => authority = value,
                Some(b'q') if is(name, PASS_HEADER) => has_pass = true,
                Some(b'u') if is(name, b"upgrade") => suspicion = Some(Suspicion::Upgrade),
                Some(b'x') if is_override(name) => suspicion = Some(Suspicion::MethodOverride),
                _ => {}
            }
        }
        let whole = pairs.were_all();
        let Target { path, query } = Target::read(target);
        if query::names(query, "_method") {
            suspicion = Some(Suspicion::MethodOverride);
        }
        if !whole {
            suspicion = Some(Suspicion::Incomplete);
        }
        Self { method, target, host: Host::read(authority), path, query, suspicion, has_pass, headers }
    }
}

/// CGI-like interfaces cannot tell `_` from `-` in a header's name, so neither does this.
fn is_override(name: &[u8]) -> bool {
    if !matches!(name.get(2), Some(b'h' | b'm')) {
        return false;
    }
    let same = |(one, other): (&u8, &u8)| one == other || (*one == b'_' && *other == b'-');
    OVERRIDE_HEADERS.iter().any(|other| other.len() == name.len() && name.iter().zip(*other).all(same))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::HeaderBlock;

    fn suspicion(target: &str, header: &str) -> Option<Suspicion> {
        let block = HeaderBlock::new(&[(b":path", target.as_bytes()), (header.as_bytes(), b"DELETE")]);
        Request::read(block.headers()).suspicion
    }

    #[test]
    fn an_override_is_seen_under_every_spelling() {
        for header in [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x_http_method_override",
            "x-http_method",
        ] {
            assert_eq!(suspicion("/", header), Some(Suspicion::MethodOverride), "{header}");
        }
        assert_eq!(suspicion("/?_method=delete", "accept"), Some(Suspicion::MethodOverride));
        assert_eq!(suspicion("/", "x-http-methods"), None);
    }

    #[test]
    fn an_upgrade_is_seen() {
        assert_eq!(suspicion("/", "upgrade"), Some(Suspicion::Upgrade));
    }
}
