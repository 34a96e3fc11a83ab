//! Which line an intent belongs to: what must be sent in order is in one.

use serde::{Deserialize, Deserializer, de::Error as _};

use super::key::hex;
use sha2::{Digest as _, Sha256};

/// A longer line is known by its digest; bytes.
const MAX_LINE_BYTES: usize = 512;
/// The parameter that is the line.
const LINE: &str = "{line}";

/// A pattern of paths, one segment of which is the line: `/accounts/{line}/{*rest}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePattern {
    segments: Vec<Segment>,
    /// Whether more may follow.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Line,
    Any,
}

impl LinePattern {
    /// Reads a pattern. Each parameter is a whole segment.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(format!("`{text}` does not begin with `/`"));
        };
        let (mut segments, mut open) = (Vec::new(), false);
        for segment in path.split('/') {
            if open {
                return Err(format!("`{text}` goes on behind what stands for all that follows"));
            }
            if segment == LINE {
                segments.push(Segment::Line);
                continue;
            }
            match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
                Some(name) if !name.is_empty() && !name.contains(['{', '}']) => {
                    match name.strip_prefix('*') {
                        Some(_) => open = true,
                        None => segments.push(Segment::Any),
                    }
                }
                None if !segment.contains(['{', '}', '?', '#']) => {
                    segments.push(Segment::Literal(segment.to_owned()));
                }
                _ => return Err(format!("`{text}`: write a segment as `name`, `{{name}}` or `{{*rest}}`")),
            }
        }
        match segments.iter().filter(|segment| **segment == Segment::Line).count() {
            1 => Ok(Self { segments, open }),
            count => Err(format!("`{text}` has {count} segments `{LINE}`; one of them tells the line")),
        }
    }

    /// The line of a path without query, as it was sent; none if the pattern does not speak of it.
    pub fn line<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let mut rest = path.strip_prefix(b"/")?.split(|byte| *byte == b'/');
        let mut line = None;
        for segment in &self.segments {
            let found = rest.next()?;
            match segment {
                Segment::Literal(text) if text.as_bytes() != found => return None,
                Segment::Line if found.is_empty() => return None,
                Segment::Line => line = Some(found),
                Segment::Literal(_) | Segment::Any => {}
            }
        }
        if self.open || rest.next().is_none() { line } else { None }
    }
}

impl<'de> Deserialize<'de> for LinePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The name of a line: what it is, or its digest if that is long or no text.
pub fn name(line: &[u8]) -> String {
    match str::from_utf8(line) {
        Ok(text) if text.len() <= MAX_LINE_BYTES => text.to_owned(),
        _ => format!("sha256:{}", hex(&Sha256::digest(line))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pattern: &str, path: &str) -> Option<String> {
        let found = LinePattern::parse(pattern).unwrap().line(path.as_bytes()).map(<[u8]>::to_vec);
        found.map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn finds_the_segment() {
        let pattern = "/accounts/{line}/{*rest}";
        assert_eq!(line(pattern, "/accounts/7/orders/1").as_deref(), Some("7"));
        assert_eq!(line(pattern, "/accounts/7/").as_deref(), Some("7"));
        assert_eq!(line(pattern, "/accounts/7").as_deref(), Some("7"));
        assert_eq!(line(pattern, "/accounts//orders"), None);
        assert_eq!(line(pattern, "/Accounts/7/orders"), None);
        assert_eq!(line("/{tenant}/{line}", "/a/b").as_deref(), Some("b"));
        assert_eq!(line("/{tenant}/{line}", "/a/b/c"), None);
        assert_eq!(line("/{line}", "*"), None);
    }

    #[test]
    fn says_what_is_wrong_with_a_pattern() {
        for bad in
            ["", "a/{line}", "/a", "/{line}/{line}", "/{*rest}/{line}", "/a{line}", "/{}/{line}", "/{line}?x"]
        {
            assert!(LinePattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_lines_and_odd_ones_have_short_names() {
        assert_eq!(name(b"/orders"), "/orders");
        assert!(name(&[b'a'; 513]).starts_with("sha256:"));
        assert_ne!(name(&[255]), name(&[254]));
    }
}
