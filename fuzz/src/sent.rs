//! Requests as fuzzing writes them: text like that of HTTP/1.1, and what policy makes of them.
//!
//! ```text
//! POST /search/tea
//! host: shop.example.com
//!
//! the body
//! ```

use std::fmt;

use quiesce_policy::{Basis, HeaderBlock, Policy, Request, snapshot::Effect};

/// A request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// The method.
    pub method: Vec<u8>,
    /// Path and query.
    pub target: Vec<u8>,
    /// Names, in lower case, and values.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What becomes of a request while writes are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it passes: as a read, or as a write that a rule allows.
    pub passes: bool,
    /// Why.
    pub basis: Basis,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.written().escape_ascii())
    }
}

impl Sent {
    /// Reads the text; whatever there is, is some request.
    pub fn read(text: &[u8]) -> Self {
        let (head, body) = split_at(text, b"\n\n").unwrap_or((text, b""));
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let (method, target) = split_at(first, b" ").unwrap_or((first, b""));
        let header = |line| {
            let (name, value) = split_at(line, b":").unwrap_or((line, b""));
            (name.to_ascii_lowercase(), value.strip_prefix(b" ").unwrap_or(value).to_vec())
        };
        Self {
            method: method.to_vec(),
            target: target.to_vec(),
            headers: lines.map(header).collect(),
            body: body.to_vec(),
        }
    }

    /// The text.
    pub fn written(&self) -> Vec<u8> {
        let mut text = [&self.method, &b" "[..], &self.target].concat();
        for (name, value) in &self.headers {
            text.extend([b"\n", &name[..], b": ", value].concat());
        }
        text.extend([b"\n\n", &self.body[..]].concat());
        text
    }

    /// The headers as Envoy hands them over, with those that stand for the first line and the host.
    pub fn block(&self) -> HeaderBlock {
        let host = self.headers.iter().position(|(name, _)| name == b"host");
        let mut pairs: Vec<(&[u8], &[u8])> = vec![(b":method", &self.method), (b":path", &self.target)];
        for (at, (name, value)) in self.headers.iter().enumerate() {
            pairs.push((if Some(at) == host { b":authority" } else { name }, value));
        }
        HeaderBlock::new(&pairs)
    }

    /// All values of a header, under any name that CGI-like interfaces cannot tell from its own.
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s [u8]> {
        let alike = move |other: &[u8]| {
            let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            other.iter().map(folded).eq(name.bytes())
        };
        self.headers.iter().filter(move |(other, _)| alike(other)).map(|(_, value)| &value[..])
    }

    /// Path, and the query behind the first question mark.
    pub fn path_and_query(&self) -> (&[u8], &[u8]) {
        split_at(&self.target, b"?").unwrap_or((&self.target, b""))
    }

    /// What becomes of it, its body looked into if need be, as in the filter.
    pub fn outcome(&self, policy: &Policy) -> Outcome {
        outcome(policy, &self.block(), &self.body)
    }
}

/// What becomes of a request.
pub fn outcome(policy: &Policy, headers: &HeaderBlock, body: &[u8]) -> Outcome {
    let request = Request::read(headers.headers());
    let mut classified = policy.classify(&request);
    if classified.awaits_body {
        assert_eq!(classified.effect, Effect::Write, "until its body is seen, it writes");
        classified = policy.inspect(&request, classified, body);
    }
    let passes = classified.effect == Effect::Read || !classified.action.stops();
    Outcome { passes, basis: classified.basis }
}

/// What is before and behind the first occurrence of `at`.
pub fn split_at<'t>(text: &'t [u8], at: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let start = text.windows(at.len()).position(|found| found == at)?;
    Some((&text[..start], &text[start + at.len()..]))
}
