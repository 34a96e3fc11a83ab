//! What has been learned of one surface, as bytes that the workers of a process share.
//!
//! A line for each URL, the one heard last at the end: the URL, then the tools that read, with tabs
//! between. It is searched in place.

use super::Lesson;
use crate::request::Request;

/// Tools of one URL that are kept; of more, those learned last.
pub const MAX_TOOLS: usize = 512;
/// All that is kept of one surface; of more, the URLs heard last. Bytes.
pub const MAX_LEARNED_BYTES: usize = 64 * 1024;
/// Of longer URLs nothing is learned; bytes.
const MAX_URL_BYTES: usize = 512;

/// Where a server is: authority and target just as a request has them, so that what one server says does
/// not hold for another one on the same surface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Vec<u8>);

impl Url {
    /// The URL of a request, if it is one that is learned of.
    pub fn of(request: &Request<'_>) -> Option<Self> {
        let url = [request.headers.single(b":authority")?, request.target].concat();
        let is_plain = url.iter().all(u8::is_ascii_graphic);
        (is_plain && url.len() <= MAX_URL_BYTES).then_some(Self(url))
    }
}

/// Whether the server at this URL has said that a tool reads.
pub fn has_learned(learned: &[u8], url: &Url, tool: &str) -> bool {
    // A name with a tab in it would be two, of which neither is the tool.
    tools(learned, url).any(|known| known == tool.as_bytes())
}

/// What is known once the server at this URL has said this; what it said before of other tools holds.
pub fn learn(learned: &[u8], url: &Url, lesson: &Lesson) -> Vec<u8> {
    let taught = lesson.tools().filter(|(_, reads)| *reads).map(|(name, _)| name.as_bytes());
    let mut known: Vec<&[u8]> = tools(learned, url).filter(|tool| !lesson.names(tool)).collect();
    known.extend(taught);
    let mut room = MAX_LEARNED_BYTES - url.0.len();
    let fits = |tool: &&&[u8]| {
        let left = room.checked_sub(tool.len() + 1);
        room = left.unwrap_or_default();
        left.is_some()
    };
    let mut kept: Vec<&[u8]> = known.iter().rev().take(MAX_TOOLS).take_while(fits).copied().collect();
    kept.push(&url.0);
    kept.reverse();
    let line = if kept.len() == 1 { Vec::new() } else { kept.join(&b'\t') };
    with_last_line(learned, url, line)
}

/// What is known once nothing is that the server at this URL has said.
pub fn forget(learned: &[u8], url: &Url) -> Vec<u8> {
    with_last_line(learned, url, Vec::new())
}

fn with_last_line(learned: &[u8], url: &Url, line: Vec<u8>) -> Vec<u8> {
    let mut lines = vec![line];
    let mut length = lines.iter().map(Vec::len).sum::<usize>();
    for other in learned.rsplit(|byte| *byte == b'\n') {
        let is_this = other.split(|byte| *byte == b'\t').next() == Some(url.0.as_slice());
        if is_this || other.is_empty() {
            continue;
        }
        length += other.len() + 1;
        if length > MAX_LEARNED_BYTES {
            break;
        }
        lines.push(other.to_vec());
    }
    lines.retain(|line| !line.is_empty());
    lines.reverse();
    lines.join(&b'\n')
}

fn tools<'a>(learned: &'a [u8], url: &Url) -> impl Iterator<Item = &'a [u8]> {
    let mut lines = learned.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b'\t'));
    let line = lines.find_map(|mut parts| (parts.next() == Some(url.0.as_slice())).then_some(parts));
    line.into_iter().flatten()
}
