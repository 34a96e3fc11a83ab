//! Which requests need not enter the filter's VM, because policy calls every one of them a read.
//!
//! Envoy decides it by matching headers, before the VM is asked. What it cannot tell apart with
//! certainty goes to the filter, so all of this errs on that side: a request is skipped if its method
//! is safe, nothing about it is unusual, and no rule calls a write what has the least in common with it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use quiesce_policy::{
    OVERRIDE_HEADERS,
    banner::BANNER_PATH,
    snapshot::{Effect, Rule, Snapshot, Surface},
};

use crate::{
    envoy::UnderscoreHeaders,
    yaml::{Yaml, map, text},
};

/// Whether Envoy skips the filter: a condition on headers, pseudo-headers included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// All of these hold; Envoy wants at least two.
    All(Vec<Predicate>),
    /// One of these holds; Envoy wants at least two, and asks for no more once one does.
    Any(Vec<Predicate>),
    /// This does not hold.
    Not(Box<Predicate>),
    /// The header is there and has this value.
    Is(String, String),
    /// The header is there, and its whole value matches a regular expression of RE2; of a repeated
    /// header, its values joined by commas.
    Matches(String, String),
    /// The header is there, whatever its value.
    Has(String),
}

/// What the filter need not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lean {
    /// What is skipped; nothing at all where there is none.
    pub skipped: Option<Predicate>,
    /// The surfaces on whose hosts nothing is skipped, since a rule of theirs speaks of all paths or the
    /// rules are too many.
    pub unskipped: BTreeSet<String>,
}

/// Safe by definition, and so to policy unless a rule says otherwise.
const SAFE_METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

/// A segment of ordinary characters that does not end in a dot.
const PLAIN_SEGMENT: &str = r"[A-Za-z0-9_~!$&'()*,:=@.-]*[A-Za-z0-9_~!$&'()*,:=@-]";

/// A parameter of a query without escapes, which does not begin as `_method` does, nor with what PHP takes
/// for an underscore.
const PLAIN_PARAMETER: &str = concat!(
    r"(?:[A-Za-z0-9~!$'()*,:=@/?-][A-Za-z0-9_~!$'()*,:=@./?-]*",
    r"|_(?:[A-LN-Za-ln-z0-9_~!$'()*,:=@./?-][A-Za-z0-9_~!$'()*,:=@./?-]*)?)?",
);

/// A path of 1000 bytes or more: policy takes one that is very long for any other, and RE2 counts to 1000.
const LONG_PATH: &str = "[!->@-~]{1000}.*";

/// A name or an IPv4 address, perhaps with a port.
const PLAIN_HOST: &str = "[A-Za-z0-9_-][A-Za-z0-9._-]*(?::[0-9]+)?";

/// Longer expressions would take Envoy noticeable memory; bytes.
const MAX_EXPRESSION_BYTES: usize = 32 * 1024;

/// Envoy tries the sets of hosts one by one for each request; of more, it no longer tells hosts apart.
const MAX_HOST_SETS: usize = 32;

/// The hosts of a surface; none means any.
type Hosts = BTreeSet<String>;

/// The paths that may write, as expressions, and whose they are.
struct Writes {
    /// Nothing if all paths may.
    paths: Option<BTreeSet<String>>,
    surfaces: BTreeSet<String>,
}

impl Lean {
    /// What may be skipped under a snapshot's rules, whatever its windows are, by an Envoy that does this with
    /// headers that have `_` in their names.
    pub fn of(snapshot: &Snapshot, underscores: UnderscoreHeaders) -> Self {
        let mut writes = writes_by_hosts(snapshot);
        let banner = format!("{}.*", escape(&String::from_utf8_lossy(BANNER_PATH)));
        let everywhere =
            Writes { paths: Some(BTreeSet::from([LONG_PATH.to_owned(), banner])), surfaces: BTreeSet::new() };
        writes.entry(Hosts::new()).or_insert_with(Writes::none).add(everywhere);
        if writes.len() > MAX_HOST_SETS {
            let mut all = Writes::none();
            writes.into_values().for_each(|some| all.add(some));
            writes = BTreeMap::from([(Hosts::new(), all)]);
        }
        let mut unskipped = BTreeSet::new();
        let mut must_not = Vec::new();
        let mut by_path = Vec::new();
        let mut written = BTreeSet::new();
        let mut anything = true;
        for (hosts, writes) in writes {
            let paths = writes.paths.map(|paths| (expression(&paths), paths));
            let paths = paths.filter(|(expression, _)| expression.len() <= MAX_EXPRESSION_BYTES);
            if paths.is_none() {
                unskipped.extend(writes.surfaces);
            }
            let at = (!hosts.is_empty()).then(|| matches(":authority", host_expression(&hosts)));
            let paths = paths.map(|(expression, paths)| {
                written.extend(paths);
                matches(":path", expression)
            });
            match (paths, at) {
                (None, None) => anything = false,
                // The path first: of most requests, that answers it.
                (Some(paths), Some(at)) => by_path.push(Predicate::All(vec![paths, at])),
                (Some(paths), None) => by_path.push(paths),
                (None, Some(at)) => must_not.push(at),
            }
        }
        // Of most requests, one look at the path answers for all hosts.
        let written = expression(&written);
        if by_path.len() > 1 && written.len() <= MAX_EXPRESSION_BYTES {
            must_not.push(Predicate::All(vec![matches(":path", written), Predicate::Any(by_path)]));
        } else {
            must_not.append(&mut by_path);
        }
        // Any of these may make a request another than it shows, whatever their value.
        let overrides = OVERRIDE_HEADERS.iter().flat_map(|name| spellings(&String::from_utf8_lossy(name)));
        let overrides = overrides.filter(|name| underscores.reach_filters() || !name.contains('_'));
        must_not.extend(overrides.chain(["upgrade".to_owned()]).map(Predicate::Has));
        let safe = SAFE_METHODS.map(|method| Predicate::Is(":method".to_owned(), method.to_owned()));
        let skipped = Predicate::All(vec![
            Predicate::Any(safe.into()),
            matches(":path", plain_target()),
            matches(":authority", PLAIN_HOST),
            Predicate::Not(Box::new(Predicate::Any(must_not))),
        ]);
        Self { skipped: anything.then_some(skipped), unskipped }
    }
}

impl Writes {
    fn none() -> Self {
        Self { paths: Some(BTreeSet::new()), surfaces: BTreeSet::new() }
    }

    fn add(&mut self, other: Self) {
        self.surfaces.extend(other.surfaces);
        match (&mut self.paths, other.paths) {
            (Some(paths), Some(others)) => paths.extend(others),
            (paths, _) => *paths = None,
        }
    }
}

/// By the hosts of surfaces: the paths where a rule calls a safe method a write. Which surface and which
/// rule would decide does not count: all of them do.
fn writes_by_hosts(snapshot: &Snapshot) -> BTreeMap<Hosts, Writes> {
    let mut found: BTreeMap<Hosts, Writes> = BTreeMap::new();
    for surface in &snapshot.surfaces {
        let hosts = surface.hosts.iter().cloned().collect();
        for rule in rules(snapshot, surface).filter(|rule| may_write(rule)) {
            let path = path_expression(surface.path_prefix.trim_end_matches('/'), &rule.path);
            let writes = Writes {
                paths: path.map(|path| BTreeSet::from([path])),
                surfaces: BTreeSet::from([surface.name.as_str().to_owned()]),
            };
            match found.get_mut(&hosts) {
                Some(known) => known.add(writes),
                None => _ = found.insert(Hosts::clone(&hosts), writes),
            }
        }
    }
    found
}

fn rules<'a>(snapshot: &'a Snapshot, surface: &'a Surface) -> impl Iterator<Item = &'a Rule> {
    let catalogs = surface.catalogs.iter().filter_map(|name| snapshot.catalogs.get(name));
    surface.rules.iter().chain(catalogs.flat_map(|catalog| &catalog.rules))
}

/// Whether a rule may call a request with a safe method a write, whatever else it asks for; one that is
/// allowed to write at any time too, because the filter counts it.
fn may_write(rule: &Rule) -> bool {
    rule.effect == Effect::Write
        && (rule.methods.is_empty()
            || rule.methods.iter().any(|method| SAFE_METHODS.contains(&method.as_str())))
}

/// An expression for what policy reads alike everywhere, and less.
fn plain_target() -> String {
    format!(r"/(?:{PLAIN_SEGMENT}(?:/{PLAIN_SEGMENT})*/?)?(?:\?{PLAIN_PARAMETER}(?:&{PLAIN_PARAMETER})*)?")
}

/// An expression for all that a rule's path can match, and more: with slashes at the end, and with nothing in
/// place of a parameter. Nothing if those are all paths there are.
fn path_expression(prefix: &str, path: &str) -> Option<String> {
    let mut expression = escape(prefix);
    let mut rest = path;
    while let Some((literal, after)) = rest.split_once('{') {
        expression.push_str(&escape(literal));
        // What cannot be read may be anything.
        let (name, after) = after.split_once('}')?;
        if name.starts_with('*') {
            let bare = expression.trim_end_matches('/');
            return match bare {
                "" => None,
                bare if bare.len() < expression.len() => Some(format!("{bare}(?:/.*)?")),
                bare => Some(format!("{bare}.*")),
            };
        }
        expression.push_str("[^/?]*");
        rest = after;
    }
    expression.push_str(&escape(rest));
    Some(format!("{}/*", expression.trim_end_matches('/')))
}

/// An expression for a target with any of these paths, in any case, with any query.
fn expression(paths: &BTreeSet<String>) -> String {
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    format!(r"(?i)(?:{})(?:\?.*)?", paths.join("|"))
}

/// An expression for the hosts that these patterns cover, in any case, with any port.
fn host_expression(patterns: &Hosts) -> String {
    let host = |pattern: &String| match pattern.strip_prefix("*.") {
        Some(domain) => format!(r".*\.{}", escape(domain)),
        None => escape(pattern),
    };
    let hosts: Vec<_> = patterns.iter().map(host).collect();
    format!(r"(?i)(?:{})\.*(?::[0-9]*)?", hosts.join("|"))
}

/// A header's name, each `-` in it also as the `_` that CGI-like interfaces take for it.
fn spellings(name: &str) -> Vec<String> {
    name.split('-').fold(Vec::new(), |begun, word| {
        if begun.is_empty() {
            return vec![word.to_owned()];
        }
        begun.iter().flat_map(|begun| ["-", "_"].map(|dash| format!("{begun}{dash}{word}"))).collect()
    })
}

fn escape(literal: &str) -> String {
    let mut escaped = String::with_capacity(literal.len());
    for char in literal.chars() {
        if matches!(char, '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$')
        {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

fn matches(header: &str, expression: impl Into<String>) -> Predicate {
    Predicate::Matches(header.to_owned(), expression.into())
}

impl Predicate {
    /// The predicate as Envoy's matchers have it (`xds.type.matcher.v3.Matcher.MatcherList.Predicate`).
    pub fn matcher(&self) -> Yaml {
        match self {
            Self::All(all) => several("and_matcher", all),
            Self::Any(any) => several("or_matcher", any),
            Self::Not(not) => map([("not_matcher", not.matcher())]),
            Self::Is(header, value) => single(header, map([("exact", text(value.clone()))])),
            Self::Matches(header, expression) => single(header, regex(expression.clone())),
            // Any bytes at all: `.` would not match those that are no UTF-8.
            Self::Has(header) => single(header, regex(r"\C*")),
        }
    }
}

fn several(kind: &'static str, predicates: &[Predicate]) -> Yaml {
    let predicates = predicates.iter().map(Predicate::matcher).collect();
    map([(kind, map([("predicate", Yaml::List(predicates))]))])
}

fn regex(expression: impl Into<Cow<'static, str>>) -> Yaml {
    map([("safe_regex", map([("google_re2", map([])), ("regex", text(expression))]))])
}

fn single(header: &str, value: Yaml) -> Yaml {
    let input = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput";
    let input = map([("@type", text(input)), ("header_name", text(header.to_owned()))]);
    let input = map([("name", text("request-header")), ("typed_config", input)]);
    let flow = |value| Yaml::Flow(Box::new(value));
    map([("single_predicate", map([("input", flow(input)), ("value_match", flow(value))]))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_covers_what_lenient_origins_take_for_its_path() {
        let expression = |path| path_expression("/v1", path);
        assert_eq!(expression("/a.b/{x}").as_deref(), Some(r"/v1/a\.b/[^/?]*/*"));
        assert_eq!(expression("/{x}:go/").as_deref(), Some("/v1/[^/?]*:go/*"));
        assert_eq!(expression("/a/{*rest}").as_deref(), Some("/v1/a(?:/.*)?"));
        assert_eq!(expression("/a{*rest}").as_deref(), Some("/v1/a.*"));
        assert_eq!(path_expression("", "/").as_deref(), Some("/*"));
        assert_eq!(path_expression("", "/{*rest}"), None);
    }

    #[test]
    fn every_spelling_of_a_header_is_listed() {
        assert_eq!(
            spellings("x-http-method"),
            ["x-http-method", "x-http_method", "x_http-method", "x_http_method"]
        );
        assert_eq!(spellings("x-http-method-override").len(), 8);
        assert_eq!(spellings("upgrade"), ["upgrade"]);
    }
}
