//! What snapshots say of the APIs behind the proxies: surfaces, catalogs, rules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CatalogName, Mode, SurfaceName};
use crate::text_enum;

/// One API behind the proxies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surface {
    /// Names it in metrics, logs and verdicts.
    pub name: SurfaceName,
    /// Hosts it answers on: `api.example.com`, or `*.example.com` for any depth below; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The path it lives under; its rules' paths are relative to this.
    #[serde(default = "root", skip_serializing_if = "is_root")]
    pub path_prefix: String,
    /// Overrides the snapshot's mode for this surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The catalogs that describe it. Its own rules come before theirs; of several catalogs that speak of
    /// one request, one that says "write" wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catalogs: Vec<CatalogName>,
    /// What the method and the catalogs get wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What is known to read among the calls that only bodies tell.
    #[serde(default, skip_serializing_if = "ReadOnly::is_empty")]
    pub read_only: ReadOnly,
}

/// Calls that are known to read; all others write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOnly {
    /// Tools of MCP, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Methods of JSON-RPC; one that ends in `*` stands for all that begin so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Persisted queries of GraphQL, by id or hash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<String>,
}

impl ReadOnly {
    fn is_empty(&self) -> bool {
        self.tools.is_empty() && self.methods.is_empty() && self.queries.is_empty()
    }
}

impl Surface {
    /// A surface of all hosts and paths, of which nothing is said yet.
    pub fn named(name: SurfaceName) -> Self {
        Self {
            name,
            hosts: Vec::new(),
            path_prefix: root(),
            mode: None,
            catalogs: Vec::new(),
            rules: Vec::new(),
            read_only: ReadOnly::default(),
        }
    }
}

/// What is known of one product's operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The version of the product's API that it was made from.
    pub version: String,
    /// What the method alone gets wrong, and what is worth naming.
    pub rules: Vec<Rule>,
}

fn root() -> String {
    "/".to_owned()
}

fn is_root(prefix: &str) -> bool {
    prefix == "/"
}

/// Says of some requests whether they read or write, and what becomes of the writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Methods it speaks of; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// The path, relative to the surface's prefix: `/a/{any}/c`, or `/a/{*rest}` for all below `/a/`.
    pub path: String,
    /// A header that the request must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderCondition>,
    /// Query parameters that the request must have, by name; `*` stands for any value, or none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// What such a request does.
    pub effect: Effect,
    /// What becomes of it while frozen, if it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The protocol of the bodies of such requests, which may show that a write is a read after all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyProtocol>,
    /// What kind of write it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<WriteKind>,
}

impl Rule {
    /// Whether it stops, while frozen, what it speaks of.
    pub fn stops(&self) -> bool {
        self.effect == Effect::Write && self.action.unwrap_or_default().stops()
    }

    /// A rule that asks for nothing but methods (none means all) and path.
    pub fn new(methods: &[&str], path: &str, effect: Effect) -> Self {
        Self {
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            path: path.to_owned(),
            header: None,
            query: BTreeMap::new(),
            effect,
            action: None,
            body: None,
            kind: None,
        }
    }
}

text_enum! {
    /// A protocol whose bodies tell reads from writes.
    pub enum BodyProtocol {
        /// The Model Context Protocol over streamable HTTP.
        Mcp = "mcp",
        /// JSON-RPC 2.0.
        JsonRpc = "json-rpc",
        /// GraphQL over HTTP.
        Graphql = "graphql",
    }
}

text_enum! {
    /// What kind of write a request is.
    pub enum WriteKind {
        /// Vectors go into an index.
        VectorUpsert = "vector-upsert",
        /// Embeddings are made anew.
        EmbeddingBackfill = "embedding-backfill",
        /// Keys of a key-value store change.
        KvMutation = "kv-mutation",
        /// A tool is called.
        ToolCall = "tool-call",
        /// Indexes, collections, mappings or schemas change.
        SchemaChange = "schema-change",
        /// Users, keys, settings or the cluster change.
        Admin = "admin",
        /// Other data changes.
        DocumentWrite = "document-write",
    }
}

/// A header that a request must carry for a rule to speak of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderCondition {
    /// The header's name, lower case.
    pub name: String,
    /// The exact value; without one, any value will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

text_enum! {
    /// What a request would do.
    pub enum Effect {
        /// It changes nothing.
        Read = "read",
        /// It may change something.
        Write = "write",
    }
}

text_enum! {
    /// What becomes of a write while a window is in force.
    #[derive(Default)]
    pub enum Action {
        /// It is refused.
        #[default]
        Block = "block",
        /// It is kept, acknowledged, and sent to the origin once the window is over.
        Queue = "queue",
        /// It is acknowledged and never reaches the origin.
        Drop = "drop",
        /// It passes, and the barrier does not wait for it.
        Allow = "allow",
    }
}

impl Action {
    /// Whether the write does not reach the origin while a window is in force.
    pub fn stops(self) -> bool {
        self != Self::Allow
    }
}
