//! GraphQL requests over HTTP: JSON bodies, bare documents and query strings.
//!
//! <https://graphql.github.io/graphql-over-http/draft/>, batches of it as Apollo has them, and the ways in
//! which a request names a document that the server has: `extensions.persistedQuery` (Apollo) and ids
//! (Relay and others). Any other parameter is doubt, because it may be one that some server heeds, or
//! one of these in another spelling.

use std::borrow::Cow;

use super::{Doubt, effect_of};
use crate::{
    json::{Scanner, Value},
    query,
};

/// The parameters of a request; all from the fifth on are ids of a document.
const PARAMETERS: [&str; 8] =
    ["query", "operationName", "variables", "extensions", "id", "documentId", "doc_id", "queryId"];

/// Whether a body in JSON, a request or a batch of them, only reads.
pub fn read_json(body: &[u8]) -> Result<bool, Doubt> {
    let mut scanner = Scanner::new(body)?;
    if scanner.peek() == Some(b'[') {
        return read_batch(&mut scanner);
    }
    let request = Request::read(&mut scanner)?;
    scanner.finish()?;
    request.only_reads()
}

/// Whether a body that is a document only reads.
pub fn read_graphql(body: &[u8]) -> Result<bool, Doubt> {
    let document = std::str::from_utf8(body).map_err(|_| Doubt::Document)?;
    effect_of(document, None).map(|kind| kind.is_read())
}

/// Whether the request in a query string only reads.
pub fn read_query_string(query: &[u8]) -> Result<bool, Doubt> {
    Request::from_query_string(query)?.only_reads()
}

/// Whether a query string has parameters of a request. Beside a body they are doubt: servers are in
/// use that put them before what the body says (express-graphql's `getGraphQLParams`).
pub fn names_request(query: &[u8]) -> bool {
    PARAMETERS.iter().any(|name| query::names(query, name))
}

fn read_batch(scanner: &mut Scanner<'_>) -> Result<bool, Doubt> {
    let mut batch = scanner.open(b'[')?;
    let (mut is_empty, mut is_read) = (true, true);
    while scanner.has_next(&mut batch, b']')? {
        is_read &= Request::read(scanner)?.only_reads().map_err(|doubt| match doubt {
            // One id does not tell what the others are.
            Doubt::Persisted { .. } => Doubt::Request,
            doubt => doubt,
        })?;
        is_empty = false;
    }
    scanner.finish()?;
    if is_empty { Err(Doubt::Request) } else { Ok(is_read) }
}

/// What a request says, as far as it matters.
#[derive(Default)]
struct Request<'a> {
    /// A bit for each of the parameters that it has.
    seen: u8,
    document: Option<Cow<'a, str>>,
    operation_name: Option<Cow<'a, str>>,
    persisted: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Doubt> {
        let mut request = Self::default();
        let mut object = scanner.open(b'{')?;
        while let Some(key) = scanner.key(&mut object)? {
            match request.parameter(&key.decoded())? {
                // What they are, does not change what runs.
                "variables" => {
                    scanner.value()?;
                }
                "extensions" if scanner.peek() == Some(b'{') => request.read_extensions(scanner)?,
                parameter => match scanner.value()? {
                    Value::Text(text) => request.set(parameter, text.decoded())?,
                    Value::Null => {}
                    _ => return Err(Doubt::Request),
                },
            }
        }
        Ok(request)
    }

    fn from_query_string(query: &[u8]) -> Result<Self, Doubt> {
        // Some servers separate by semicolons too. What may not stand in a query, may be cut or read in
        // some other encoding than UTF-8.
        if !query.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b'#')) {
            return Err(Doubt::Request);
        }
        let mut request = Self::default();
        for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else { return Err(Doubt::Request) };
            match request.parameter(&decode(key)?)? {
                "variables" => {}
                "extensions" => {
                    let text = decode(value)?;
                    // What is borrowed from the text here is owned by the request.
                    let mut scanner = Scanner::new(text.as_bytes())?;
                    let mut inner = Request::default();
                    inner.read_extensions(&mut scanner)?;
                    scanner.finish()?;
                    if let Some(id) = inner.persisted {
                        request.set("id", Cow::Owned(id.into_owned()))?;
                    }
                }
                parameter => request.set(parameter, Cow::Owned(decode(value)?))?,
            }
        }
        Ok(request)
    }

    /// The parameter of this name, if it is one and was not there before.
    fn parameter(&mut self, name: &str) -> Result<&'static str, Doubt> {
        let at = PARAMETERS.iter().position(|parameter| *parameter == name).ok_or(Doubt::Request)?;
        let bit = 1 << at;
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        PARAMETERS.get(at).copied().filter(|_| is_new).ok_or(Doubt::Request)
    }

    fn set(&mut self, parameter: &str, value: Cow<'a, str>) -> Result<(), Doubt> {
        let place = match parameter {
            "query" => &mut self.document,
            "operationName" => &mut self.operation_name,
            // Some servers take a text for the JSON in it.
            "extensions" => return Err(Doubt::Request),
            _ if value.is_empty() => return Err(Doubt::Request),
            _ => &mut self.persisted,
        };
        // Which one of several ids counts, is anybody's guess.
        if place.replace(value).is_none() { Ok(()) } else { Err(Doubt::Request) }
    }

    fn read_extensions(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Doubt> {
        let mut object = scanner.open(b'{')?;
        while let Some(key) = scanner.key(&mut object)? {
            let key = key.decoded();
            if key == "persistedQuery" {
                self.read_persisted(scanner)?;
                continue;
            }
            // The same name in a spelling that some servers take for it.
            let mut parts = key.as_bytes().windows(9);
            if !key.is_ascii() || parts.any(|part| part.eq_ignore_ascii_case(b"persisted")) {
                return Err(Doubt::Request);
            }
            scanner.value()?;
        }
        Ok(())
    }

    fn read_persisted(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Doubt> {
        let mut object = scanner.open(b'{')?;
        let mut hash = None;
        while let Some(key) = scanner.key(&mut object)? {
            match (&*key.decoded(), scanner.value()?) {
                ("sha256Hash", Value::Text(text)) => hash = Some(text),
                ("version", Value::Number(_)) => {}
                _ => return Err(Doubt::Request),
            }
        }
        self.set("id", hash.ok_or(Doubt::Request)?.decoded())
    }

    fn only_reads(self) -> Result<bool, Doubt> {
        match (self.document, self.persisted) {
            (Some(document), None) => {
                effect_of(&document, self.operation_name.as_deref()).map(|kind| kind.is_read())
            }
            (None, Some(id)) => Err(Doubt::Persisted { id: id.into_owned() }),
            // Of both, some servers take the one and some the other.
            _ => Err(Doubt::Request),
        }
    }
}

/// Decodes a key or value of a query string.
fn decode(raw: &[u8]) -> Result<String, Doubt> {
    let decoded = query::decoded(raw).ok_or(Doubt::Request)?;
    // To those who decode twice, a percent sign starts another escape.
    String::from_utf8(decoded.into_owned())
        .ok()
        .filter(|text| !text.as_bytes().contains(&b'%'))
        .ok_or(Doubt::Request)
}
