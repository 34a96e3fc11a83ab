//! What policy looks at in a request: one pass over its headers.

use crate::{
    host::Host,
    path::{Path, query_names},
};

/// The headers of a request, wherever their host keeps them.
pub trait Headers {
    /// Shows every name, in lower case, with its value, in their order and with the pseudo-headers
    /// (`:method`, `:path`, `:authority`). Returns whether these were all.
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a [u8], &'a [u8])) -> bool;
}

impl Headers for Vec<(&[u8], &[u8])> {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a [u8], &'a [u8])) -> bool {
        for (name, value) in self {
            each(name, value);
        }
        true
    }
}

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
    /// Why it can be no read, whatever the rules say.
    pub suspicion: Option<Suspicion>,
    headers: &'a dyn Headers,
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

/// Headers by which frameworks let clients override the method.
const OVERRIDE_HEADERS: [&[u8]; 3] = [b"x-http-method-override", b"x-http-method", b"x-method-override"];

impl<'a> Request<'a> {
    /// Reads what policy looks at from the headers.
    pub fn read(headers: &'a dyn Headers) -> Self {
        let (mut method, mut target, mut authority): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let mut suspicion = None;
        let whole = headers.visit(&mut |name, value| {
            // By the first byte, because most headers are none of these.
            match name.first() {
                Some(b':') => match name {
                    b":method" => method = value,
                    b":path" => target = value,
                    b":authority" => authority = value,
                    _ => {}
                },
                Some(b'h') if name == b"host" && authority.is_empty() => authority = value,
                Some(b'u') if name == b"upgrade" => suspicion = Some(Suspicion::Upgrade),
                Some(b'x') if is_override(name) => suspicion = Some(Suspicion::MethodOverride),
                _ => {}
            }
        });
        if query_names(target, "_method") {
            suspicion = Some(Suspicion::MethodOverride);
        }
        if !whole {
            suspicion = Some(Suspicion::Incomplete);
        }
        Self { method, target, host: Host::read(authority), path: Path::read(target), suspicion, headers }
    }

    /// All headers, pseudo-headers included.
    pub fn headers(&self) -> &'a dyn Headers {
        self.headers
    }

    /// The value of a header that occurs exactly once.
    pub fn single_header(&self, name: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        let mut single = None;
        let mut count = 0_usize;
        self.headers.visit(&mut |other, value| {
            if other == name.as_ref() {
                single = Some(value);
                count += 1;
            }
        });
        single.filter(|_| count == 1)
    }
}

/// CGI-like interfaces cannot tell `_` from `-` in a header's name, so neither does this.
fn is_override(name: &[u8]) -> bool {
    let same = |(one, other): (&u8, &u8)| one == other || (*one == b'_' && *other == b'-');
    OVERRIDE_HEADERS.iter().any(|other| other.len() == name.len() && name.iter().zip(*other).all(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspicion(target: &str, header: &str) -> Option<Suspicion> {
        let headers: Vec<(&[u8], &[u8])> =
            vec![(b":path", target.as_bytes()), (header.as_bytes(), b"DELETE")];
        Request::read(&headers).suspicion
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

    #[test]
    fn a_repeated_header_is_no_single_header() {
        let headers: Vec<(&[u8], &[u8])> = vec![(b"a", b"1"), (b"b", b"2"), (b"a", b"3")];
        let request = Request::read(&headers);
        assert_eq!(request.single_header("a"), None);
        assert_eq!(request.single_header("b"), Some(&b"2"[..]));
        assert_eq!(request.single_header("c"), None);
    }
}
