//! Reads a request's path the way every origin would, or says that origins may differ.
//!
//! An origin may resolve dot segments, merge slashes, decode once or twice, cut `;parameters`, take
//! a backslash for a slash, drop what a segment ends in, and so on. A path on which no such habit has any effect is *plain*; on
//! all others origins may disagree, and policy has to assume the worst of them.

use std::borrow::Cow;

use crate::{bytes::ByteSet, query::escaped};

/// Longer paths than this are not looked into; bytes.
const MAX_PATH_BYTES: usize = 8 * 1024;

/// Of these a path may have any number anywhere; they are their own lower case, and mean nothing but themselves.
static ORDINARY: ByteSet = ByteSet::of(b"abcdefghijklmnopqrstuvwxyz0123456789-_~!$&'()*+,:=@\"<>[]^`{|}");

/// A request target, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The path.
    pub path: Path<'a>,
    /// What follows the first question mark; empty where there is none.
    pub query: &'a [u8],
}

/// The path of a request, without its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path<'a> {
    /// Every origin reads it alike.
    Plain(PlainPath<'a>),
    /// Origins may differ about it.
    Odd,
}

/// A path that every origin reads alike, percent-decoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPath<'a> {
    text: Cow<'a, [u8]>,
    has_upper: bool,
}

impl<'a> Target<'a> {
    /// Takes apart what the `:path` pseudo-header says.
    pub fn read(target: &'a [u8]) -> Self {
        let Some(scanned) = scan(target) else {
            return Self { path: Path::Odd, query: split_query(target).1 };
        };
        let (path, rest) = target.split_at_checked(scanned.path_bytes).unwrap_or((target, &[]));
        let query = rest.get(1..).unwrap_or_default();
        let plain = if path.len() > MAX_PATH_BYTES {
            None
        } else if scanned.escaped {
            decode(path).map(|decoded| PlainPath {
                has_upper: decoded.iter().any(u8::is_ascii_uppercase),
                text: Cow::Owned(decoded),
            })
        } else {
            Some(PlainPath { text: Cow::Borrowed(path), has_upper: scanned.has_upper })
        };
        Self { path: plain.map_or(Path::Odd, Path::Plain), query }
    }
}

impl PlainPath<'_> {
    /// The path, which is UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The same in lower case.
    pub fn folded(&self) -> Cow<'_, [u8]> {
        if self.has_upper { Cow::Owned(self.text.to_ascii_lowercase()) } else { Cow::Borrowed(&self.text) }
    }
}

/// What one look at every byte of a path tells.
struct Scan {
    path_bytes: usize,
    /// It has escapes, which need a closer look.
    escaped: bool,
    has_upper: bool,
}

/// Looks for bytes that mean different things to different origins, for empty segments (a slash at the end is
/// none) and for those that end in a dot, as dot segments do; nothing if it finds any.
fn scan(target: &[u8]) -> Option<Scan> {
    let mut scan = Scan { path_bytes: target.len(), escaped: false, has_upper: false };
    let mut segment_start = 1;
    for (at, &byte) in target.iter().enumerate() {
        if ORDINARY.contains(byte) {
            continue;
        }
        match byte {
            b'/' if at == 0 => {}
            b'/' if matches!(target.get(segment_start..at)?, [] | [.., b'.']) => return None,
            b'/' => segment_start = at + 1,
            b'.' => {}
            b'%' => scan.escaped = true,
            b'A'..=b'Z' => scan.has_upper = true,
            b'?' => {
                scan.path_bytes = at;
                break;
            }
            _ => return None,
        }
    }
    let ends_in_dot = matches!(target.get(segment_start..scan.path_bytes)?, [.., b'.']);
    (target.first() == Some(&b'/') && !ends_in_dot).then_some(scan)
}

/// Splits a request target into path and query; the query is empty where there is none.
fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|&byte| byte == b'?').and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..).unwrap_or_default()),
        None => (target, &[]),
    }
}

/// Decodes the escapes of a path; nothing if one stands for a byte that means different things to
/// different origins.
fn decode(raw: &[u8]) -> Option<Vec<u8>> {
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
        // As names of files on Windows, segments lose the spaces that they end in, and dots.
        let ends_in_space = byte == b' ' && matches!(rest.clone().next(), None | Some(b'/'));
        if ambiguous || ends_in_space || byte.is_ascii_control() {
            return None;
        }
        decoded.push(byte);
    }
    // To who compares as Unicode has it, each of these is a letter of ASCII in another case.
    let is_plain = !std::str::from_utf8(&decoded).ok()?.contains(['ſ', '\u{212a}', 'ı', 'İ']);
    is_plain.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(target: &str) -> Option<String> {
        match Target::read(target.as_bytes()).path {
            Path::Plain(path) => Some(String::from_utf8(path.text.into_owned()).unwrap()),
            Path::Odd => None,
        }
    }

    #[test]
    fn plain_paths_are_decoded_once() {
        assert_eq!(plain("/").as_deref(), Some("/"));
        assert_eq!(plain("/a/b?x=../y").as_deref(), Some("/a/b"));
        assert_eq!(plain("/a/b/").as_deref(), Some("/a/b/"));
        assert_eq!(plain("/caf%C3%A9/a%20b").as_deref(), Some("/café/a b"));
        assert_eq!(plain("/.a/..b/c.d").as_deref(), Some("/.a/..b/c.d"));
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
            "/a/...",
            "/a.",
            "/a./b",
            "/a%20",
            "/a%20/b",
            "/a%20%20",
            "/re%C5%BFet",
            "/%E2%84%AAey",
            "/%C4%B1d",
            "/%C4%B0d",
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
}
