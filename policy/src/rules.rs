//! The rules of one surface, compiled so that looking one up does not depend on how many there are.
//!
//! A rule lets requests through (reads, and writes with action `allow`) or stops them. What lets
//! through must match exactly; what stops matches generously: in any case, with or without a slash
//! at the end. So the two live in separate routers, split further by method and by the header that
//! a rule asks for. A request is looked up once per router that can concern it, which its own
//! method and headers bound, and the most specific of the winners decides.

use std::{cmp::Reverse, collections::HashMap, fmt};

use wayfind::{Router, RouterBuilder};

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
    routers: HashMap<RouterKey, Router<RuleIndex>>,
    ranks: Vec<Rank>,
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
/// one that asks for a header, then the one that stops.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Claim<'t> {
    rank: &'t Rank,
    unconditional: bool,
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
        let mut prepared = Vec::with_capacity(rules.len());
        for (at, rule) in rules.iter().enumerate() {
            let at = RuleIndex(at);
            let fail = |(field, problem)| RuleError { rule: at, field, problem };
            check(rule).map_err(fail)?;
            let pattern = Pattern::parse(prefix, &rule.path).map_err(|problem| fail(("path", problem)))?;
            build.table.ranks.push(pattern.rank());
            prepared.push((at, rule, pattern));
        }
        // A rule that names its methods wins over one that speaks of all.
        prepared.sort_by_key(|(_, rule, _)| Reverse(!rule.methods.is_empty()));
        for (at, rule, pattern) in &prepared {
            build.insert(*at, rule, pattern)?;
        }
        // What a lenient origin takes for a stopped path is stopped too, unless a rule says otherwise of just that.
        for (at, rule, pattern) in &prepared {
            build.insert_lenient(*at, rule, pattern)?;
        }
        Ok(build.finish())
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
        let Some(found) = self.table.routers.get(&key).and_then(|router| router.search(path)) else { return };
        let rule = *found.data();
        let Some(rank) = self.table.ranks.get(rule.0) else { return };
        let claim = Claim { rank, unconditional: condition.is_none(), strictness };
        if self.best.as_ref().is_none_or(|(best, _)| claim < *best) {
            self.best = Some((claim, rule));
        }
    }
}

#[derive(Default)]
struct Build {
    table: RuleTable,
    builders: HashMap<RouterKey, RouterBuilder<RuleIndex>>,
    /// Who speaks of what, and whether by naming the method.
    taken: HashMap<(MethodId, Option<ConditionId>, String), (RuleIndex, bool)>,
    conditions: usize,
}

impl Build {
    fn insert(&mut self, at: RuleIndex, rule: &Rule, pattern: &Pattern) -> Result<(), RuleError> {
        let strictness = strictness(rule);
        let condition = rule.header.as_ref().map(|header| self.condition(header));
        for method in self.methods(rule) {
            let names_method = !rule.methods.is_empty();
            match self.taken.get(&(method, condition, pattern.template())) {
                Some((_, true)) if !names_method => continue,
                Some((earlier, _)) => {
                    let problem = format!(
                        "no request can reach this rule: rules[{}] already speaks of the same requests; remove one of them",
                        earlier.0
                    );
                    return Err(RuleError { rule: at, field: "path", problem });
                }
                None => self.route(at, strictness, method, condition, pattern, names_method)?,
            }
        }
        Ok(())
    }

    fn insert_lenient(&mut self, at: RuleIndex, rule: &Rule, pattern: &Pattern) -> Result<(), RuleError> {
        if strictness(rule) == Strictness::Exact {
            return Ok(());
        }
        let condition = rule.header.as_ref().map(|header| self.condition(header));
        for method in self.methods(rule) {
            for lenient in pattern.folded().lenient() {
                if !self.taken.contains_key(&(method, condition, lenient.template())) {
                    self.route(
                        at,
                        Strictness::Generous,
                        method,
                        condition,
                        &lenient,
                        !rule.methods.is_empty(),
                    )?;
                }
            }
        }
        Ok(())
    }

    fn route(
        &mut self,
        at: RuleIndex,
        strictness: Strictness,
        method: MethodId,
        condition: Option<ConditionId>,
        pattern: &Pattern,
        names_method: bool,
    ) -> Result<(), RuleError> {
        self.taken.insert((method, condition, pattern.template()), (at, names_method));
        let template =
            if strictness == Strictness::Exact { pattern.template() } else { pattern.folded().template() };
        let builder = self
            .builders
            .entry(RouterKey { strictness, method, condition })
            .or_insert_with(RouterBuilder::new);
        match builder.insert(&template, at) {
            // Two patterns that differ in case only: the first stops what the second would.
            Ok(()) | Err(wayfind::InsertError::Conflict { .. }) => Ok(()),
            Err(err) => Err(RuleError { rule: at, field: "path", problem: err.to_string() }),
        }
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

    fn finish(mut self) -> RuleTable {
        self.table.routers = self.builders.into_iter().map(|(key, builder)| (key, builder.build())).collect();
        self.table
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
