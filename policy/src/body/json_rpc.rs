//! Bodies that are JSON-RPC 2.0: what they call.
//!
//! <https://www.jsonrpc.org/specification>. The origin reads the body again, with a parser nobody here
//! knows; so a body counts only where every parser must come to the same calls, and is [`Doubt`] else.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::json::{Fault, Scanner, Text, Value};

/// Messages of one batch, at most.
const MAX_MESSAGES: usize = 1000;
/// An id that is sent back has at most so many bytes.
const MAX_ID_BYTES: usize = 256;

/// Members of a message that decide what it is, and the one by which JavaScript gives an object members
/// that it does not show (`__proto__`).
const MEMBERS: [&str; 7] = ["jsonrpc", "method", "params", "id", "result", "error", "proto"];

/// One message of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A request, or a notification, which has no id.
    Call(Call<'a>),
    /// The answer to a request that the server has sent.
    Answer,
}

/// What would be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The method.
    pub method: Cow<'a, str>,
    /// The string `params.name`: in MCP, the tool or prompt.
    pub name: Option<Cow<'a, str>>,
    /// The id as written: a string, a number or `null`.
    pub id: Option<&'a [u8]>,
}

/// Why a body may be read in more than one way, or in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is no JSON, or may be other JSON to others.
    Json(Fault),
    /// A method or name has a NUL in it.
    Nul,
    /// A key that matters is written in another case or form, which some parsers match all the same.
    KeyInAnotherCase,
    /// A batch has too many messages.
    TooMany,
    /// A batch is empty.
    EmptyBatch,
    /// A message is neither a call nor an answer, or both.
    NotAMessage,
    /// A message does not say that it is JSON-RPC 2.0.
    MissingVersion,
    /// A method is no string.
    MethodNotText,
    /// Parameters are neither an object nor an array.
    ParamsNotStructured,
    /// An id is neither a string nor a number nor `null`.
    BadId,
}

impl From<Fault> for Doubt {
    fn from(fault: Fault) -> Self {
        Self::Json(fault)
    }
}

/// Reads the messages of a body, of which a batch has several, in order.
pub fn read(body: &[u8]) -> Result<Vec<Message<'_>>, Doubt> {
    let mut scanner = Scanner::new(body)?;
    let mut messages = Vec::new();
    if scanner.peek() == Some(b'[') {
        let mut batch = scanner.open(b'[')?;
        while scanner.has_next(&mut batch, b']')? {
            if messages.len() == MAX_MESSAGES {
                return Err(Doubt::TooMany);
            }
            messages.push(message(&mut scanner)?);
        }
    } else {
        messages.push(message(&mut scanner)?);
    }
    scanner.finish()?;
    if messages.is_empty() { Err(Doubt::EmptyBatch) } else { Ok(messages) }
}

/// The id of a single call as written, for an answer to it, doubt or not; if it is a short string or a
/// number, and there is no other that it could be.
pub fn id_of(body: &[u8]) -> Option<&[u8]> {
    let mut scanner = Scanner::new(body).ok()?;
    if scanner.peek() != Some(b'{') {
        return None;
    }
    let mut object = scanner.open(b'{').ok()?;
    let (mut id, mut has_method) = (None, false);
    while let Some(key) = scanner.key(&mut object).ok()? {
        let (value, raw) = scanner.raw_value().ok()?;
        match (key.raw, value) {
            ("id", Value::Text(_) | Value::Number(_)) => id = Some(raw),
            ("method", _) => has_method = true,
            ("result" | "error", _) => return None,
            _ if key.resembles("id") => return None,
            _ => {}
        }
    }
    scanner.finish().ok()?;
    id.filter(|id| has_method && id.len() <= MAX_ID_BYTES)
}

fn message<'a>(scanner: &mut Scanner<'a>) -> Result<Message<'a>, Doubt> {
    if scanner.peek() != Some(b'{') {
        scanner.value()?;
        return Err(Doubt::NotAMessage);
    }
    let mut object = scanner.open(b'{')?;
    let (mut has_version, mut outcomes) = (false, 0);
    let (mut method, mut name, mut id) = (None, None, None);
    while let Some(key) = scanner.key(&mut object)? {
        match key.raw {
            "params" if scanner.peek() == Some(b'{') => {
                name = name_in(scanner)?;
                continue;
            }
            "jsonrpc" | "method" | "params" | "id" | "result" | "error" => {}
            _ if MEMBERS.iter().any(|member| key.resembles(member)) => return Err(Doubt::KeyInAnotherCase),
            _ => {}
        }
        let (value, raw) = scanner.raw_value()?;
        match (key.raw, value) {
            ("jsonrpc", Value::Text(version)) => has_version = version.decoded() == "2.0",
            ("method", Value::Text(text)) => method = Some(without_nul(text)?),
            ("method", _) => return Err(Doubt::MethodNotText),
            // `null` is against the specification, but has nothing in it to be seen by another.
            ("params", Value::Array | Value::Null) => {}
            ("params", _) => return Err(Doubt::ParamsNotStructured),
            ("id", Value::Text(_) | Value::Number(_) | Value::Null) => id = Some(raw),
            ("id", _) => return Err(Doubt::BadId),
            ("result" | "error", _) => outcomes += 1,
            _ => {}
        }
    }
    if !has_version {
        return Err(Doubt::MissingVersion);
    }
    match (method, outcomes, id) {
        (Some(method), 0, id) => Ok(Message::Call(Call { method, name, id })),
        (None, 1, Some(_)) => Ok(Message::Answer),
        _ => Err(Doubt::NotAMessage),
    }
}

/// The string `name` among the parameters that start here.
fn name_in<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Cow<'a, str>>, Doubt> {
    let mut object = scanner.open(b'{')?;
    let mut name = None;
    while let Some(key) = scanner.key(&mut object)? {
        let value = scanner.value()?;
        match value {
            Value::Text(text) if key.raw == "name" => name = Some(without_nul(text)?),
            _ if key.raw != "name" && key.resembles("name") => return Err(Doubt::KeyInAnotherCase),
            _ => {}
        }
    }
    Ok(name)
}

fn without_nul<'a>(text: Text<'a>) -> Result<Cow<'a, str>, Doubt> {
    if text.has_nul { Err(Doubt::Nul) } else { Ok(text.decoded()) }
}
