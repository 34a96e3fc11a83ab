//! The paths that origins may find in a request target.

use std::collections::BTreeSet;

use super::{folded, forms::unescaped};

/// How many readings are looked for: all of those of short paths.
const MAX_READINGS: usize = 400;

/// How many habits one origin has, at most.
const MAX_HABITS: usize = 5;

/// A path as one origin has read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    /// The path, all its escapes decoded.
    path: Vec<u8>,
    /// The query.
    query: Vec<u8>,
    /// The origin has taken one name for another: it does not tell upper from lower case, or drops
    /// what a name ends in. Whoever has written rules for the name that was sent, may know better.
    pub is_alias: bool,
}

impl Reading {
    /// The same as a target that all origins read alike; nothing if some habit would still change it.
    pub fn target(&self) -> Option<Vec<u8>> {
        let is_plain = std::str::from_utf8(&self.path).is_ok()
            && self.path.starts_with(b"/")
            && self.path.iter().all(|byte| !byte.is_ascii_control() && !b"%;\\?#".contains(byte))
            && !split(&self.path).any(|segment| matches!(segment, b"." | b".."))
            && !self.path.windows(2).any(|two| two == b"//");
        if !is_plain {
            return None;
        }
        let mut target = Vec::new();
        for byte in &self.path {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' | b':' => {
                    target.push(*byte);
                }
                byte => target.extend(format!("%{byte:02X}").bytes()),
            }
        }
        if !self.query.is_empty() {
            target.push(b'?');
            target.extend(&self.query);
        }
        Some(target)
    }

    fn with(&self, path: Vec<u8>) -> Self {
        Self { path, ..self.clone() }
    }

    fn alias(&self, path: Vec<u8>) -> Self {
        Self { path, is_alias: true, ..self.clone() }
    }

    /// What origins make of it, each by one habit.
    fn habits(&self) -> Vec<Self> {
        let path = &self.path[..];
        let up_to = |ends: &[u8]| {
            path.iter().position(|byte| ends.contains(byte)).map_or(path, |at| &path[..at]).to_vec()
        };
        let text = String::from_utf8_lossy(path);
        let trimmed = |by: fn(&u8) -> bool| {
            let segment = |segment: &[u8]| {
                let end = segment.iter().rposition(|byte| !by(byte)).map_or(0, |at| at + 1);
                // What is nothing but dots, is something else.
                if end == 0 { segment.to_vec() } else { segment[..end].to_vec() }
            };
            split(path).map(segment).collect::<Vec<_>>().join(&b'/')
        };
        let mut read = vec![
            self.with(unescaped(path, false)),
            self.with(overlong(path)),
            self.with(path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()),
            self.with(merged(path)),
            self.with(resolved(path)),
            // `;parameters` of every segment, or of the last and all behind it.
            self.with(split(path).map(|one| before(one, b';')).collect::<Vec<_>>().join(&b'/')),
            self.with(up_to(b";")),
            self.with(up_to(b"#")),
            self.with(up_to(b"\0")),
            self.with(up_to(b"\0\r\n\t ")),
            self.alias(path.to_ascii_lowercase()),
            self.alias(folded(&text).into_bytes()),
            // As Windows drops them from names of files.
            self.alias(trimmed(|byte| matches!(byte, b'.' | b' '))),
        ];
        if let Some((path, query)) = crate::sent::split_at(path, b"?") {
            let query = [query, &self.query].join(&b'&');
            read.push(Self { path: path.to_vec(), query, is_alias: self.is_alias });
        }
        if let Some((_, rest)) = crate::sent::split_at(path, b"://") {
            read.push(self.with([b"/", behind_host(rest)].concat()));
        }
        if !path.starts_with(b"/") {
            read.push(self.with([b"/", path].concat()));
        }
        if path.len() > 1 && path.ends_with(b"/") {
            read.push(self.alias(path[..path.len() - 1].to_vec()));
        }
        read
    }
}

/// All readings of a target, that of an origin without any habit first.
pub fn readings(path: &[u8], query: &[u8]) -> Vec<Reading> {
    let as_sent = Reading { path: path.to_vec(), query: query.to_vec(), is_alias: false };
    let mut seen = BTreeSet::from([as_sent.clone()]);
    let mut found = vec![as_sent];
    let mut newest = 0;
    for _ in 0..MAX_HABITS {
        let known = found.len();
        for at in newest..known {
            for reading in found[at].habits() {
                if found.len() < MAX_READINGS && seen.insert(reading.clone()) {
                    found.push(reading);
                }
            }
        }
        newest = known;
    }
    found
}

fn split(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

fn before(text: &[u8], end: u8) -> &[u8] {
    text.split(|byte| *byte == end).next().unwrap_or_default()
}

/// What is behind the host.
fn behind_host(rest: &[u8]) -> &[u8] {
    rest.iter().position(|byte| *byte == b'/').map_or(b"", |at| &rest[at + 1..])
}

fn merged(path: &[u8]) -> Vec<u8> {
    let mut merged = path.to_vec();
    merged.dedup_by(|one, other| (*one, *other) == (b'/', b'/'));
    merged
}

/// Without dot segments (RFC 3986, section 5.2.4); a parameter does not make another segment of one.
fn resolved(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ends_open = false;
    for segment in split(path) {
        ends_open = true;
        match before(segment, b';') {
            b"." => {}
            b".." if kept.len() > 1 => drop(kept.pop()),
            b".." => {}
            _ => {
                kept.push(segment);
                ends_open = false;
            }
        }
    }
    if ends_open {
        kept.push(b"");
    }
    kept.join(&b'/')
}

/// With two and three bytes of UTF-8 decoded, that stand for one of ASCII against the rules.
fn overlong(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    loop {
        match rest {
            [0xe0, middle @ 0x80..=0x81, last @ 0x80..=0xbf, after @ ..]
            | [middle @ 0xc0..=0xc1, last @ 0x80..=0xbf, after @ ..] => {
                decoded.push((middle & 1) << 6 | (last & 0x3f));
                rest = after;
            }
            [byte, after @ ..] => {
                decoded.push(*byte);
                rest = after;
            }
            [] => return decoded,
        }
    }
}
