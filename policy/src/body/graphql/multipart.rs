//! GraphQL requests that bring files: the `operations` in a `multipart/form-data` body.
//!
//! <https://github.com/jaydenseric/graphql-multipart-request-spec>, in forms as clients write them (RFC
//! 7578): parsers of these differ in what they forgive, so nothing is forgiven here. There is no text
//! around the parts, no quoted boundary, no charset but UTF-8, no folded, unknown or repeated header,
//! and the boundary stands nowhere but between parts.

use std::collections::BTreeMap;

use super::{
    Doubt,
    request::{names_request, read_json},
};
use crate::json;

/// Longer boundaries are not allowed (RFC 2046, section 5.1.1); bytes.
const MAX_BOUNDARY_BYTES: usize = 70;

/// Whether the requests in such a body only read.
pub fn read_multipart(content_type: &[u8], body: &[u8]) -> Result<bool, Doubt> {
    read_json(find_operations(content_type, body).ok_or(Doubt::Request)?)
}

/// The part `operations`, if all parts are as they should be.
fn find_operations<'a>(content_type: &[u8], body: &'a [u8]) -> Option<&'a [u8]> {
    let delimiter = [b"--", boundary(content_type)?].concat();
    let mut operations = None;
    let mut rest = body.strip_prefix(&*delimiter)?;
    for at in 0_usize.. {
        if let Some(after) = rest.strip_prefix(b"--") {
            let is_end = matches!(after, b"" | b"\r\n") && at >= 2;
            return operations.filter(|_| is_end);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let end = find(rest, &delimiter)?;
        let part = Part::read(rest.get(..end)?.strip_suffix(b"\r\n")?)?;
        rest = rest.get(end + delimiter.len()..)?;
        match (at, part.name) {
            (0, b"operations") if !part.is_file => operations = Some(part.content),
            (1, b"map") if !part.is_file => check_map(part.content)?,
            (0 | 1, _) => return None,
            (_, name) => {
                let is_taken = names_request(name)
                    || name.eq_ignore_ascii_case(b"operations")
                    || name.eq_ignore_ascii_case(b"map");
                if is_taken || !part.is_file {
                    return None;
                }
            }
        }
    }
    None
}

fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let parameter = strip_prefix(content_type.trim_ascii(), b"multipart/form-data")?.trim_ascii_start();
    let parameter = parameter.strip_prefix(b";")?.trim_ascii_start();
    strip_prefix(parameter, b"boundary=").filter(|boundary| is_token(boundary))
}

/// Whether this is a text that no parser has to look at twice.
fn is_token(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_BOUNDARY_BYTES).contains(&text.len()) && text.iter().all(is_plain)
}

struct Part<'a> {
    name: &'a [u8],
    is_file: bool,
    content: &'a [u8],
}

impl<'a> Part<'a> {
    fn read(part: &'a [u8]) -> Option<Self> {
        let head_bytes = find(part, b"\r\n\r\n")?;
        let content = part.get(head_bytes + 4..)?;
        let (mut disposition, mut content_type) = (None, None);
        let mut rest = part.get(..head_bytes)?;
        loop {
            let line_bytes = find(rest, b"\r\n").unwrap_or(rest.len());
            let line = rest.get(..line_bytes)?;
            // Line ends that are not CR LF among them, which end a line for some.
            if line.iter().any(u8::is_ascii_control) {
                return None;
            }
            let place = if let Some(value) = strip_prefix(line, b"content-disposition:") {
                disposition.replace(value.trim_ascii())
            } else {
                content_type.replace(strip_prefix(line, b"content-type:")?.trim_ascii())
            };
            if place.is_some() {
                return None;
            }
            match rest.get(line_bytes + 2..) {
                Some(lines) => rest = lines,
                None => break,
            }
        }
        let (name, is_file) = read_disposition(disposition?)?;
        is_plain_type(content_type, is_file).then_some(Self { name, is_file, content })
    }
}

/// The name of a part, and whether it is a file.
fn read_disposition(value: &[u8]) -> Option<(&[u8], bool)> {
    let rest = strip_prefix(value, b"form-data")?.strip_prefix(b";")?.trim_ascii_start();
    let (name, rest) = quoted(rest.strip_prefix(b"name=")?)?;
    // `_charset_` would say how to read the others (RFC 7578, section 4.6).
    if !is_token(name) || name.starts_with(b"_") {
        return None;
    }
    if rest.is_empty() {
        return Some((name, false));
    }
    let (file_name, rest) = quoted(rest.strip_prefix(b";")?.trim_ascii_start().strip_prefix(b"filename=")?)?;
    // To those who split at semicolons first, what follows one is another parameter.
    let is_odd = file_name.iter().any(|byte| matches!(byte, b'\\' | b';'));
    (rest.is_empty() && !is_odd).then_some((name, true))
}

/// What is between quotes, and what is behind them.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn is_plain_type(content_type: Option<&[u8]>, is_file: bool) -> bool {
    let Some(content_type) = content_type else { return true };
    if is_file {
        // Parts within the part (RFC 2388, section 4.2), which could be anything.
        return strip_prefix(content_type, b"multipart/").is_none();
    }
    let json: [&[u8]; 3] =
        [b"application/json", b"application/json;charset=utf-8", b"application/json; charset=utf-8"];
    json.iter().any(|json| content_type.eq_ignore_ascii_case(json))
}

/// Sees to it that files go into variables only, and not where the document is.
fn check_map(content: &[u8]) -> Option<()> {
    let map: BTreeMap<String, Vec<String>> = json::from_slice(content).ok()?;
    let is_variable = |path: &String| {
        // In a batch, after the number of the request.
        let numbered = path.trim_start_matches(|c: char| c.is_ascii_digit());
        let path = if numbered.len() < path.len() { numbered.strip_prefix('.') } else { Some(numbered) };
        path.is_some_and(|path| path.starts_with("variables."))
    };
    map.values().flatten().all(is_variable).then_some(())
}

/// What follows a prefix, which is in lower case here and in any case there.
fn strip_prefix<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|found| found == wanted)
}
