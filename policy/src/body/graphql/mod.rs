//! GraphQL: which operation a request would run, and whether it only reads.
//!
//! By the specification (October 2021 and September 2025) and GraphQL over HTTP; a document or request that
//! some server in use may read differently is in doubt. A query and a subscription read, a mutation
//! writes.

mod lexer;
mod multipart;
#[cfg(test)]
mod oracle;
mod parser;
mod request;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;

pub use multipart::read_multipart;
pub use request::{names_request, read_graphql, read_json, read_query_string};

use crate::json::Fault;

/// An operation of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its name, if it has one.
    pub name: Option<&'a str>,
}

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `query`, or nothing but a selection.
    Query,
    /// `mutation`
    Mutation,
    /// `subscription`
    Subscription,
}

impl Kind {
    /// Whether operations of this kind only read.
    pub fn is_read(self) -> bool {
        !matches!(self, Self::Mutation)
    }
}

/// Why nobody can tell what a request would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The request is none, or servers may take it apart differently.
    Request,
    /// The document is none, or servers may take it apart differently.
    Document,
    /// It does not say which one of the document's operations, or one that is not there.
    Operation,
    /// It names a document that the server has.
    Persisted {
        /// The name or hash by which it does. The operation may be any of that document's.
        id: String,
    },
}

impl From<Fault> for Doubt {
    fn from(_: Fault) -> Self {
        Self::Request
    }
}

/// The operations of an executable document, in their order. A document of fragments alone has none.
pub fn operations(document: &str) -> Result<Vec<Operation<'_>>, Doubt> {
    parser::parse(document).ok_or(Doubt::Document)
}

/// What the operation is that would run (spec section 6.1, `GetOperation`).
pub fn effect_of(document: &str, operation_name: Option<&str>) -> Result<Kind, Doubt> {
    let operations = operations(document)?;
    let mut candidates = operations.iter().filter(|operation| match operation_name {
        // Some servers take the empty name for none, and run what they like.
        None | Some("") => true,
        // The specification tells names apart by case, but servers may not.
        Some(chosen) => operation.name.is_some_and(|name| name.eq_ignore_ascii_case(chosen)),
    });
    let first = candidates.next().ok_or(Doubt::Operation)?;
    if operation_name == Some("") {
        return Ok(candidates.find(|operation| !operation.kind.is_read()).unwrap_or(first).kind);
    }
    let is_the_one =
        candidates.next().is_none() && (operation_name.is_none() || first.name == operation_name);
    if is_the_one { Ok(first.kind) } else { Err(Doubt::Operation) }
}
