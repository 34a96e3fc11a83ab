//! What rules ask for beside method and path: headers and query parameters.
//!
//! As with paths, what lets requests through must match exactly, and what stops matches generously.
//! A request is looked up by each header and parameter that it has, so that the number of conditions
//! does not count; only those that ask for several things are checked one by one, among the few that
//! have the first of them in common.

use crate::{bytes::ByteMap, headers::Headers, query, request::Request, rules::Strictness, snapshot::Rule};

/// What some rule asks for: one thing or several at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConditionId(usize);

/// All conditions of one surface.
#[derive(Default)]
pub struct Conditions {
    by_header: ByteMap<Values>,
    /// By the parameter's name as lenient origins compare it.
    by_parameter: ByteMap<Values>,
    /// By id; the first thing that each asks for is what it is found by.
    all: Vec<Vec<Asked>>,
}

/// One thing that is asked for. Its value is nothing where any will do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Header(String, Option<String>),
    Parameter(String, Option<String>),
}

/// The conditions that begin with one header or parameter, by its value.
#[derive(Default)]
struct Values {
    any: Vec<ConditionId>,
    exact: ByteMap<Vec<ConditionId>>,
    folded: ByteMap<Vec<ConditionId>>,
}

impl Conditions {
    /// The condition that a rule sets, if it sets one.
    pub fn id_of(&mut self, rule: &Rule) -> Option<ConditionId> {
        let header =
            rule.header.iter().map(|header| Asked::Header(header.name.clone(), header.value.clone()));
        let parameter = |(name, value): (&String, &String)| {
            Asked::Parameter(name.clone(), Some(value.clone()).filter(|value| value != "*"))
        };
        let asked: Vec<_> = header.chain(rule.query.iter().map(parameter)).collect();
        let (values, value) = match asked.first()?.clone() {
            Asked::Header(name, value) => (self.by_header.entry(name.as_bytes(), Values::default), value),
            Asked::Parameter(name, value) => {
                (self.by_parameter.entry(&folded_name(name.as_bytes()), Values::default), value)
            }
        };
        let alike = match &value {
            None => &mut values.any,
            Some(value) => values.exact.entry(value.as_bytes(), Vec::new),
        };
        let known = alike.iter().find(|id| self.all.get(id.0) == Some(&asked));
        if let Some(known) = known {
            return Some(*known);
        }
        let id = ConditionId(self.all.len());
        self.all.push(asked);
        alike.push(id);
        if let Some(value) = value {
            values.folded.entry(&folded(value.as_bytes()), Vec::new).push(id);
        }
        Some(id)
    }

    /// Shows every condition that a request meets, and how strictly.
    pub fn met_by(&self, request: &Request<'_>, mut each: impl FnMut(Strictness, ConditionId)) {
        if self.all.is_empty() {
            return;
        }
        if !self.by_header.is_empty() {
            for (name, value) in request.headers.pairs() {
                if let Some(values) = self.by_header.get(name) {
                    self.met(values, value, request, &mut each);
                }
            }
        }
        if !self.by_parameter.is_empty() && !request.query.is_empty() {
            for parameter in query::parameters(request.query) {
                let twice = query::decoded(&parameter.name);
                let name = folded_name(twice.as_deref().unwrap_or(&parameter.name));
                if let Some(values) = self.by_parameter.get(&name) {
                    self.met(values, &parameter.value, request, &mut each);
                }
            }
        }
    }

    fn met(
        &self,
        values: &Values,
        value: &[u8],
        request: &Request<'_>,
        each: &mut impl FnMut(Strictness, ConditionId),
    ) {
        for (strictness, by_value) in [
            (Strictness::Generous, values.folded.get(&folded(value))),
            (Strictness::Exact, values.exact.get(value)),
        ] {
            for id in values.any.iter().chain(by_value.into_iter().flatten()) {
                let asked = self.all.get(id.0).map(Vec::as_slice).unwrap_or_default();
                if asked.iter().all(|asked| asked.is_in(request, strictness)) {
                    each(strictness, *id);
                }
            }
        }
    }
}

impl Asked {
    fn is_in(&self, request: &Request<'_>, strictness: Strictness) -> bool {
        match self {
            Self::Header(name, wanted) => header_is(request.headers, name, wanted.as_deref(), strictness),
            Self::Parameter(name, wanted) => parameter_is(request.query, name, wanted.as_deref(), strictness),
        }
    }
}

fn header_is(headers: Headers<'_>, name: &str, wanted: Option<&str>, strictness: Strictness) -> bool {
    match strictness {
        Strictness::Generous => headers.pairs().any(|(other, value)| {
            other == name.as_bytes() && wanted.is_none_or(|wanted| alike(value, wanted))
        }),
        // Of a repeated header, origins may take the first value, the last, or both.
        Strictness::Exact => headers
            .single(name.as_bytes())
            .is_some_and(|value| wanted.is_none_or(|wanted| value == wanted.as_bytes())),
    }
}

fn parameter_is(query: &[u8], name: &str, wanted: Option<&str>, strictness: Strictness) -> bool {
    let mut like = query::parameters(query).filter(|parameter| parameter.is_like(name));
    match strictness {
        Strictness::Generous => {
            like.any(|parameter| wanted.is_none_or(|wanted| alike(&parameter.value, wanted)))
        }
        Strictness::Exact => {
            let found = like.next().filter(|parameter| *parameter.name == *name.as_bytes());
            query::is_plain(query)
                && like.next().is_none()
                && found.is_some_and(|parameter| {
                    wanted.is_none_or(|wanted| *parameter.value == *wanted.as_bytes())
                })
        }
    }
}

fn alike(value: &[u8], wanted: &str) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes().trim_ascii())
}

fn folded_name(name: &[u8]) -> Vec<u8> {
    query::folded(name).collect()
}

fn folded(value: &[u8]) -> Vec<u8> {
    value.trim_ascii().to_ascii_lowercase()
}
