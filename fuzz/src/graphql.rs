//! GraphQL: a request in which some server could find a mutation to run, is stopped.

use quiesce_policy::Basis;

use crate::{
    lenient::{
        forms,
        graphql::may_write,
        json::{self, Json},
    },
    policies::POLICY,
    sent::{Sent, split_at},
};

/// The parameters that name a document which the server has.
const IDS: [&str; 4] = ["id", "documentId", "doc_id", "queryId"];

/// What some server could take for a request: documents, names of operations, and names of documents.
#[derive(Clone, Debug, Default)]
struct Found {
    documents: Vec<String>,
    operations: Vec<String>,
    is_persisted: bool,
}

/// The input is a request to a GraphQL server.
pub fn holds(input: &[u8]) {
    let mut sent = Sent::read(input);
    let (path, query) = sent.path_and_query();
    if path != b"/graphql" {
        sent.target = [b"/graphql?", query].concat();
    }
    // Servers of GraphQL take no others.
    if !matches!(&sent.method[..], b"GET" | b"HEAD") {
        sent.method = b"POST".to_vec();
    }
    sent.headers.retain(|(name, _)| name != b"host");
    sent.headers.insert(0, (b"host".to_vec(), b"graphql.example.com".to_vec()));
    let outcome = sent.outcome(&POLICY);
    if outcome.passes {
        let write = write_in(&sent);
        // By its method: there was nothing to look into. Servers refuse mutations in bodies of GET.
        let counts = matches!(outcome.basis, Basis::Body(_) | Basis::Headers(_)) || sent.body.is_empty();
        assert!(
            !counts || write.is_none(),
            "{sent:?} passes by {:?}, and may be read as {write:?}",
            outcome.basis
        );
    }
}

/// What a request would run that writes, if some server could find it there.
pub fn write_in(sent: &Sent) -> Option<String> {
    let (_, query) = sent.path_and_query();
    let in_query = in_form(query);
    let mut all = vec![];
    let types: Vec<_> = sent.values("content-type").map(<[u8]>::to_ascii_lowercase).collect();
    let is = |wanted: &str| types.iter().any(|one| split_at(one, wanted.as_bytes()).is_some());
    if is("json") {
        all.extend(in_json(&sent.body));
    }
    if is("graphql") && !is("json") {
        let documents = vec![String::from_utf8_lossy(&sent.body).into_owned()];
        all.push(Found { documents, ..Found::default() });
    }
    if is("urlencoded") {
        all.push(in_form(&sent.body));
    }
    if is("multipart") {
        all.extend(sent.values("content-type").flat_map(|value| in_parts(value, &sent.body)));
    }
    // A parameter of the query may come before what the body says, or beside it.
    let mixed = all.iter().map(|one| Found {
        documents: one.documents.iter().chain(&in_query.documents).cloned().collect(),
        operations: if in_query.operations.is_empty() { &one.operations } else { &in_query.operations }
            .clone(),
        is_persisted: one.is_persisted || in_query.is_persisted,
    });
    mixed.collect::<Vec<_>>().iter().chain([&in_query]).find_map(Found::write)
}

impl Found {
    fn write(&self) -> Option<String> {
        if self.is_persisted {
            return Some("a document that the server has".to_owned());
        }
        let names: Vec<_> = self.operations.iter().map(String::as_str).collect();
        self.documents.iter().find(|document| may_write(document, &names)).cloned()
    }
}

/// The requests in JSON, of which a batch has several.
fn in_json(body: &[u8]) -> Vec<Found> {
    let bodies = json::read(body);
    bodies.iter().flat_map(Json::objects).map(in_object).collect()
}

fn in_object(request: &Json) -> Found {
    let texts = |name: &str| {
        let values = request.members(name).into_iter();
        values.filter_map(Json::as_text).map(str::to_owned).collect::<Vec<_>>()
    };
    let extensions = request.members("extensions");
    Found {
        documents: texts("query"),
        operations: texts("operationName"),
        is_persisted: IDS.iter().any(|id| !texts(id).is_empty())
            || extensions.iter().any(|extensions| !extensions.members("persistedQuery").is_empty()),
    }
}

fn in_form(form: &[u8]) -> Found {
    let mut found = Found::default();
    for parameter in forms::parameters(form) {
        if parameter.is_like("query") {
            found.documents.push(parameter.value);
        } else if parameter.is_like("operationName") {
            found.operations.push(parameter.value);
        } else if parameter.is_like("extensions") {
            let extensions = json::read_text(&parameter.value);
            found.is_persisted |= extensions.iter().any(|one| !one.members("persistedQuery").is_empty());
        } else {
            found.is_persisted |= IDS.iter().any(|id| parameter.is_like(id)) && !parameter.value.is_empty();
        }
    }
    found
}

/// The requests in the parts of a body, as parsers find them that only look for the boundary, wherever and
/// however it is written.
fn in_parts(content_type: &[u8], body: &[u8]) -> Vec<Found> {
    let text = String::from_utf8_lossy(content_type).into_owned();
    let Some(at) = text.to_ascii_lowercase().find("boundary=") else { return Vec::new() };
    let boundary =
        text[at + 9..].trim_start_matches('"').split(['"', ';', ',', ' ']).next().unwrap_or_default();
    if boundary.is_empty() {
        return Vec::new();
    }
    let body = String::from_utf8_lossy(body);
    let mut found = Vec::new();
    for part in body.split(&format!("--{boundary}")) {
        let part = part.trim_start_matches(['\r', '\n', ' ', '\t']);
        let ends = ["\r\n\r\n", "\n\n", "\r\r"].into_iter().filter_map(|end| part.split_once(end));
        for (head, content) in ends {
            let head = head.to_ascii_lowercase();
            for name in head.match_indices("name=").map(|(at, _)| head[at + 5..].trim_start_matches('"')) {
                let is = |wanted: &str| name.starts_with(wanted);
                let content = content.trim();
                let documents = vec![content.to_owned()];
                if is("operations") {
                    found.extend(in_json(content.as_bytes()));
                } else if is("query") && !is("queryid") {
                    found.push(Found { documents, ..Found::default() });
                }
            }
        }
    }
    found
}
