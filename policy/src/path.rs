//! Reads a request's path the way every origin would, or says that origins may differ.
//!
//! An origin may resolve dot segments, merge slashes, decode once or twice, cut `;parameters`, take
//! a backslash for a slash, and so on. A path on which no such habit has any effect is *plain*; on
//! all others origins may disagree, and policy has to assume the worst of them.

use std::borrow::Cow;

/// Longer paths than this are not looked into; bytes.
const MAX_PATH_BYTES: usize = 8 * 1024;

/// The path of a request, without its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path<'a> {
    /// Every origin reads it as this, percent-decoded once.
    Plain(Cow<'a, str>),
    /// Origins may differ about it.
    Odd,
}

impl<'a> Path<'a> {
    /// Reads the request target `target`, as in the `:path` pseudo-header.
    pub fn read(target: &'a [u8]) -> Self {
        let raw = split_query(target).0;
        if raw.len() > MAX_PATH_BYTES {
            return Self::Odd;
        }
        let path = match scan(raw) {
            Scan::Harmless => std::str::from_utf8(raw).ok().map(Cow::Borrowed),
            Scan::Escaped => decode(raw).map(Cow::Owned),
            Scan::Odd => None,
        };
        path.map_or(Self::Odd, Self::Plain)
    }
}

/// What one look at every byte of a path tells.
enum Scan {
    /// It is read alike by all, as it stands.
    Harmless,
    /// It has escapes, which need a closer look.
    Escaped,
    /// Origins may differ.
    Odd,
}

/// Looks for bytes that mean different things to different origins, and for empty and dot segments
/// (a slash at the end is no empty segment).
fn scan(path: &[u8]) -> Scan {
    let Some((b'/', relative)) = path.split_first() else { return Scan::Odd };
    let mut escaped = false;
    let mut segment_bytes = 0;
    let mut only_dots = true;
    let is_dots = |bytes: usize, only_dots: bool| only_dots && (bytes == 1 || bytes == 2);
    for &byte in relative {
        match byte {
            b'/' => {
                if segment_bytes == 0 || is_dots(segment_bytes, only_dots) {
                    return Scan::Odd;
                }
                (segment_bytes, only_dots) = (0, true);
                continue;
            }
            b'\\' | b'#' | b';' => return Scan::Odd,
            b'%' => escaped = true,
            0x21..=0x7e => {}
            _ => return Scan::Odd,
        }
        segment_bytes += 1;
        only_dots &= byte == b'.';
    }
    match (is_dots(segment_bytes, only_dots), escaped) {
        (true, _) => Scan::Odd,
        (false, true) => Scan::Escaped,
        (false, false) => Scan::Harmless,
    }
}

/// Splits a request target into path and query; the query is empty where there is none.
pub fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|&byte| byte == b'?').and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..).unwrap_or_default()),
        None => (target, &[]),
    }
}

/// Whether the query has a parameter of this name under any spelling.
pub fn query_names(target: &[u8], name: &str) -> bool {
    let query = split_query(target).1;
    !query.is_empty()
        && query.split(|byte| matches!(byte, b'&' | b';')).any(|pair| {
            let key = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
            let same = |key: &[u8]| key.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
            if key.contains(&b'%') { percent_decoded(key).is_none_or(|key| same(&key)) } else { same(key) }
        })
}

/// Decodes the escapes of a path; nothing if one stands for a byte that means different things to
/// different origins.
fn decode(raw: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let byte = escaped(&mut rest)?;
        // An encoded delimiter is a delimiter to those who decode first, and an encoded `%` is the
        // start of another escape to those who decode twice.
        let ambiguous = matches!(byte, b'/' | b'\\' | b'.' | b'%' | b';' | b'?' | b'#');
        if ambiguous || byte.is_ascii_control() {
            return None;
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok()
}

fn escaped(rest: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(rest.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

fn percent_decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied();
    while let Some(byte) = rest.next() {
        decoded.push(if byte == b'%' { escaped(&mut rest)? } else { byte });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(target: &str) -> Option<String> {
        match Path::read(target.as_bytes()) {
            Path::Plain(path) => Some(path.into_owned()),
            Path::Odd => None,
        }
    }

    #[test]
    fn plain_paths_are_decoded_once() {
        assert_eq!(plain("/").as_deref(), Some("/"));
        assert_eq!(plain("/a/b?x=../y").as_deref(), Some("/a/b"));
        assert_eq!(plain("/a/b/").as_deref(), Some("/a/b/"));
        assert_eq!(plain("/caf%C3%A9/a%20b").as_deref(), Some("/café/a b"));
        assert_eq!(plain("/a/...").as_deref(), Some("/a/..."));
    }

    #[test]
    fn paths_that_origins_may_read_differently_are_odd() {
        for odd in [
            "",
            "*",
            "a/b",
            "http://x/y",
            "//",
            "//a",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/..",
            "/a/.",
            "/a\\b",
            "/a;b",
            "/a#b",
            "/a b",
            "/a\u{7f}",
            "/é",
            "/a%2Fb",
            "/a%2fb",
            "/%2e%2e/b",
            "/a%5Cb",
            "/a%252Fb",
            "/a%00",
            "/a%0A",
            "/a%3Bb",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a%C0%AF",
            "/a%FF",
            "/a%3Fb",
            "/a%23b",
        ] {
            assert_eq!(plain(odd), None, "{odd}");
        }
        assert_eq!(plain(&format!("/{}", "a".repeat(MAX_PATH_BYTES))), None);
    }

    #[test]
    fn finds_a_query_parameter_under_any_spelling() {
        for target in ["/?_method=PUT", "/?a=b&_METHOD=PUT", "/?a;%5Fmethod=x", "/?_method", "/?a&%5fMethod"]
        {
            assert!(query_names(target.as_bytes(), "_method"), "{target}");
        }
        for target in ["/_method", "/?x_method=1", "/?a=_method"] {
            assert!(!query_names(target.as_bytes(), "_method"), "{target}");
        }
        assert!(query_names(b"/?%zz=1", "_method"), "an escape that cannot be read may be anything");
    }
}
