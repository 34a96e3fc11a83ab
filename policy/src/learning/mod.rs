//! What MCP servers say of their own tools, learned from the answers to `tools/list` that pass by.
//!
//! Annotations are only as good as the server that gives them, so a surface has to say that its servers are
//! trusted (`learn_tools`). Nobody else gets a say: an answer counts if it is the one to a request that is
//! a `tools/list` for every reader, and holds for just the URL that was asked. What cannot be read with
//! certainty teaches nothing, and what it might have taken back is forgotten.

mod answer;
mod events;
mod learned;
#[cfg(test)]
mod tests;

use crate::{
    body::{
        json_rpc::{self, Message},
        mcp,
    },
    headers::Headers,
    inspect::{is_json, is_media_type},
    request::Request,
};

pub use self::{
    answer::{Lesson, MAX_NAME_BYTES},
    learned::{MAX_LEARNED_BYTES, MAX_TOOLS, Url, forget, has_learned, learn},
};

use self::{answer::read_answer, events::Events};

/// The method whose answers teach.
const METHOD: &str = "tools/list";
/// Longer answers teach nothing, nor do longer events; bytes.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// An answer is known by an id of at most so many bytes.
const MAX_ID_BYTES: usize = 256;

/// Whether a request may list tools, as far as its headers tell: if so, its body is to be looked into.
pub fn may_list_tools(request: &Request<'_>) -> bool {
    let is_plain = !request.headers.pairs().any(|(name, _)| name == b"content-encoding");
    request.method == b"POST" && is_plain && is_json(request.headers) && names_nothing_else(request.headers)
}

/// The id, as written, of the one call of `tools/list` that a request with this body is.
pub fn listing_id<'a>(request: &Request<'_>, body: &'a [u8]) -> Option<&'a [u8]> {
    // A batch is answered by a batch.
    if !may_list_tools(request) || body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let messages = json_rpc::read(body).ok()?;
    let [Message::Call(call)] = messages.as_slice() else { return None };
    let id = call.id.filter(|id| call.method == METHOD && id.len() <= MAX_ID_BYTES)?;
    // Errors that belong to no call have the id `null`.
    matches!(id.first(), Some(b'"' | b'-' | b'0'..=b'9')).then_some(id)
}

/// Whether the headers call nothing but `tools/list`, if they call anything.
fn names_nothing_else(headers: Headers<'_>) -> bool {
    let mut said = headers.pairs().filter(|(name, _)| *name == b"mcp-method").map(|(_, value)| value);
    said.all(|method| mcp::header_value(method).as_deref() == Some(METHOD))
}

/// What an answer has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// There may be more to hear.
    Nothing,
    /// The answer, and what it teaches. Nothing that follows matters.
    Lesson(Lesson),
    /// It may say anything. Nothing that follows matters.
    Unreadable,
}

/// Listens to one answer while it passes.
#[derive(Debug)]
pub struct Listener {
    id: Vec<u8>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Json(Vec<u8>),
    Events(Events),
    Unreadable,
}

impl Listener {
    /// Listens to the answer with these headers to the call with this id, if it is one that may teach.
    pub fn new(id: Vec<u8>, headers: Headers<'_>) -> Option<Self> {
        if headers.single(b":status") != Some(b"200") {
            return None;
        }
        let form = if headers.pairs().any(|(name, _)| name == b"content-encoding") {
            Form::Unreadable
        } else if is_json(headers) {
            Form::Json(Vec::new())
        } else if is_media_type(headers, b"text/event-stream") {
            Form::Events(Events::default())
        } else {
            return None;
        };
        Some(Self { id, form })
    }

    /// Hears the next part, and whether it is the last.
    pub fn hear(&mut self, part: &[u8], is_last: bool) -> Heard {
        match &mut self.form {
            Form::Unreadable => Heard::Unreadable,
            Form::Json(text) if text.len() + part.len() > MAX_ANSWER_BYTES => Heard::Unreadable,
            Form::Json(text) => {
                text.extend_from_slice(part);
                if is_last { heard(text, &self.id) } else { Heard::Nothing }
            }
            Form::Events(events) => {
                let id = &self.id;
                events.hear(part, |data| heard(data, id))
            }
        }
    }

    /// What there is to learn where the last part was not marked as such, or never came: an object that is
    /// whole cannot go on.
    pub fn break_off(self) -> Option<Lesson> {
        let Form::Json(text) = &self.form else { return None };
        match heard(text, &self.id) {
            Heard::Lesson(lesson) => Some(lesson),
            Heard::Nothing | Heard::Unreadable => None,
        }
    }
}

fn heard(text: &[u8], id: &[u8]) -> Heard {
    match read_answer(text, id) {
        Ok(None) => Heard::Nothing,
        Ok(Some(lesson)) => Heard::Lesson(lesson),
        Err(_) => Heard::Unreadable,
    }
}
