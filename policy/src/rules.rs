//! The rules of one surface, compiled so that looking one up does not depend on how many there are.
//!
//! A rule lets requests through (reads, and writes with action `allow`) or stops them. What lets
//! through must match exactly; what stops matches generously: in any case, with or without a slash
//! at the end. So the two live in separate routers, split further by method and by the header that
//! a rule asks for. A request is looked up once per router that can concern it, which its own
//! method and headers bound, and the most specific of the winners decides.

use std::fmt;

use path_tree::PathTree;
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use crate::{
    pattern::{Pattern, Rank},
    request::Request,
    snapshot::{Action, Effect, HeaderCondition, Rule},
};

/// Which rule of its surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub usize);

/// Rules of one surface, ready to be looked up.
#[derive(Default)]
pub struct RuleTable {
    /// The values are rule indices. (One type for all routers keeps one copy of their code in the module.)
    routers: HashMap<RouterKey, PathTree<usize>>,
    /// By rule: how specific its path is, and whether it speaks of any method.
    ranks: Vec<(Rank, bool)>,
    methods: HashMap<String, MethodId>,
    headers: HashMap<String, HeaderValues>,
}

/// A method that some rule names, or [`OTHER_METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct MethodId(usize);

const OTHER_METHODS: MethodId = MethodId(0);

/// A header and value that some rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ConditionId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RouterKey {
    strictness: Strictness,
    method: MethodId,
    condition: Option<ConditionId>,
}

/// How a rule's path and header are compared; what stops comes first where claims are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Strictness {
    Generous,
    Exact,
}

/// The values of one header that rules ask for.
#[derive(Default)]
struct HeaderValues {
    any: Option<ConditionId>,
    exact: HashMap<String, ConditionId>,
    folded: HashMap<String, Vec<ConditionId>>,
}

/// How well a rule's claim to a request is founded; the least wins: the most specific path, then the
/// one that asks for a header, then the one that names its methods, then the one that stops.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Claim<'t> {
    rank: &'t Rank,
    unconditional: bool,
    of_any_method: bool,
    strictness: Strictness,
}

/// Why a rule cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Which rule.
    pub rule: RuleIndex,
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub problem: String,
}

impl RuleTable {
    /// Compiles the rules of a surface under `prefix`, which is empty or ends in no slash.
    pub fn compile(prefix: &str, rules: &[Rule]) -> Result<Self, RuleError> {
        let mut build = Build::default();
        for method in rules.iter().flat_map(|rule| &rule.methods) {
            let next = MethodId(build.table.methods.len() + 1);
            build.table.methods.entry(method.clone()).or_insert(next);
        }
        let mut patterns = Vec::with_capacity(rules.len());
        for (at, rule) in rules.iter().enumerate() {
            let at = RuleIndex(at);
            let fail = |(field, problem)| RuleError { rule: at, field, problem };
            check(rule).map_err(fail)?;
            let pattern = Pattern::parse(prefix, &rule.path).map_err(|problem| fail(("path", problem)))?;
            build.table.ranks.push((pattern.rank(), rule.methods.is_empty()));
            patterns.push(pattern);
        }
        // A rule that names its methods wins over one that speaks of all.
        for names_methods in [true, false] {
            for (at, (rule, pattern)) in rules.iter().zip(&patterns).enumerate() {
                if names_methods != rule.methods.is_empty() {
                    build.insert(RuleIndex(at), rule, pattern)?;
                }
            }
        }
        // What a lenient origin takes for a stopped path is stopped too, where no rule says so already.
        for (at, (rule, pattern)) in rules.iter().zip(&patterns).enumerate() {
            build.insert_lenient(RuleIndex(at), rule, pattern);
        }
        Ok(build.table)
    }

    /// Which rule speaks for a request whose path all origins read alike; `folded` is it in lower case.
    pub fn look_up(&self, request: &Request<'_>, path: &str, folded: &str) -> Option<RuleIndex> {
        let mut search =
            Search { table: self, method: self.method(request.method), path, folded, best: None };
        search.consider(Strictness::Generous, None);
        search.consider(Strictness::Exact, None);
        if !self.headers.is_empty() {
            for &(name, value) in request.headers() {
                let Ok(name) = std::str::from_utf8(name) else { continue };
                let Some(values) = self.headers.get(name) else { continue };
                let value = std::str::from_utf8(value).unwrap_or_default();
                search.consider_all(Strictness::Generous, values.any);
                let folded_value = value.trim().to_ascii_lowercase();
                search.consider_all(
                    Strictness::Generous,
                    values.folded.get(&folded_value).into_iter().flatten().copied(),
                );
                // Of a repeated header, origins may take the first value, the last, or both.
                if request.single_header(name).is_some() {
                    search.consider_all(Strictness::Exact, values.any);
                    search.consider_all(Strictness::Exact, values.exact.get(value).copied());
                }
            }
        }
        search.best.map(|(_, rule)| rule)
    }

    fn method(&self, method: &[u8]) -> MethodId {
        let known = std::str::from_utf8(method).ok().and_then(|method| self.methods.get(method));
        known.copied().unwrap_or(OTHER_METHODS)
    }
}

struct Search<'t, 'p> {
    table: &'t RuleTable,
    method: MethodId,
    path: &'p str,
    folded: &'p str,
    best: Option<(Claim<'t>, RuleIndex)>,
}

impl Search<'_, '_> {
    fn consider_all(&mut self, strictness: Strictness, conditions: impl IntoIterator<Item = ConditionId>) {
        for condition in conditions {
            self.consider(strictness, Some(condition));
        }
    }

    fn consider(&mut self, strictness: Strictness, condition: Option<ConditionId>) {
        let key = RouterKey { strictness, method: self.method, condition };
        let path = if strictness == Strictness::Exact { self.path } else { self.folded };
        let Some(found) = self.table.routers.get(&key).and_then(|router| router.find(path)) else { return };
        let rule = RuleIndex(*found.0);
        let Some((rank, of_any_method)) = self.table.ranks.get(rule.0) else { return };
        let claim =
            Claim { rank, unconditional: condition.is_none(), of_any_method: *of_any_method, strictness };
        if self.best.as_ref().is_none_or(|(best, _)| claim < *best) {
            self.best = Some((claim, rule));
        }
    }
}

#[derive(Default)]
struct Build {
    table: RuleTable,
    /// Which rule speaks of what; those that name their methods apart from those that do not.
    taken: HashMap<(Topic, bool), RuleIndex>,
    routed: HashSet<(Topic, Strictness)>,
    conditions: usize,
}

/// What a rule speaks of.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Topic {
    method: MethodId,
    condition: Option<ConditionId>,
    template: String,
}

impl Build {
    fn insert(&mut self, at: RuleIndex, rule: &Rule, pattern: &Pattern) -> Result<(), RuleError> {
        for topic in self.topics(rule, pattern) {
            if let Some(earlier) = self.taken.insert((topic.clone(), rule.methods.is_empty()), at) {
                let problem = format!(
                    "no request can reach this rule: rules[{}] already speaks of the same requests; remove one of them",
                    earlier.0
                );
                return Err(RuleError { rule: at, field: "path", problem });
            }
            self.route(at, strictness(rule), topic, pattern);
        }
        Ok(())
    }

    fn insert_lenient(&mut self, at: RuleIndex, rule: &Rule, pattern: &Pattern) {
        if strictness(rule) == Strictness::Generous {
            for lenient in pattern.lenient() {
                for topic in self.topics(rule, &lenient) {
                    self.route(at, Strictness::Generous, topic, &lenient);
                }
            }
        }
    }

    /// Has requests for a topic led to a rule, unless they are already to a better one.
    fn route(&mut self, at: RuleIndex, strictness: Strictness, mut topic: Topic, pattern: &Pattern) {
        if strictness == Strictness::Generous {
            topic.template = pattern.folded().template();
        }
        let key = RouterKey { strictness, method: topic.method, condition: topic.condition };
        if !self.routed.contains(&(topic.clone(), strictness)) {
            let _ = self.table.routers.entry(key).or_default().insert(&topic.template, at.0);
            self.routed.insert((topic, strictness));
        }
    }

    fn topics(&mut self, rule: &Rule, pattern: &Pattern) -> Vec<Topic> {
        let condition = rule.header.as_ref().map(|header| self.condition(header));
        let topic = |method| Topic { method, condition, template: pattern.template() };
        self.methods(rule).into_iter().map(topic).collect()
    }

    fn methods(&self, rule: &Rule) -> Vec<MethodId> {
        if rule.methods.is_empty() {
            self.table.methods.values().copied().chain([OTHER_METHODS]).collect()
        } else {
            rule.methods.iter().filter_map(|method| self.table.methods.get(method).copied()).collect()
        }
    }

    fn condition(&mut self, header: &HeaderCondition) -> ConditionId {
        let values = self.table.headers.entry(header.name.clone()).or_default();
        let fresh = ConditionId(self.conditions);
        let id = match &header.value {
            None => *values.any.get_or_insert(fresh),
            Some(value) => *values.exact.entry(value.clone()).or_insert(fresh),
        };
        if id == fresh {
            self.conditions += 1;
            if let Some(value) = &header.value {
                values.folded.entry(value.trim().to_ascii_lowercase()).or_default().push(id);
            }
        }
        id
    }
}

impl fmt::Debug for RuleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleTable").field("rules", &self.ranks.len()).finish_non_exhaustive()
    }
}

fn strictness(rule: &Rule) -> Strictness {
    match (rule.effect, rule.action.unwrap_or_default()) {
        (Effect::Write, Action::Block) => Strictness::Generous,
        (Effect::Read, _) | (Effect::Write, Action::Allow) => Strictness::Exact,
    }
}

/// Checks what the types of a rule cannot; the error is the field and what is wrong with it.
fn check(rule: &Rule) -> Result<(), (&'static str, String)> {
    let is_method = |method: &String| {
        !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    };
    if let Some(method) = rule.methods.iter().find(|method| !is_method(method)) {
        return Err(("methods", format!("`{method}` is not a method; write it in upper case, such as POST")));
    }
    if rule.effect == Effect::Read && rule.action.is_some() {
        return Err(("action", "reads always pass; remove `action`, or say `effect: write`".to_owned()));
    }
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    match &rule.header {
        Some(header) if !is_name(&header.name) => {
            Err(("header.name", format!("`{}` is not a header's name; write it in lower case", header.name)))
        }
        _ => Ok(()),
    }
}
