//! The rules of one surface, compiled so that looking one up does not depend on how many there are.
//!
//! A rule lets requests through (reads, and writes with action `allow`) or stops them. What lets
//! through must match exactly; what stops matches generously: in any case, with or without a slash
//! at the end. So the two live in separate routers, split further by method and by the header that
//! a rule asks for. A request is looked up once per router that can concern it, which its own
//! method and headers bound, and the most specific of the winners decides.

use std::{borrow::Cow, fmt};

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use crate::{
    bytes::same,
    conditions::{ConditionId, Conditions},
    pattern::{Pattern, Rank},
    request::Request,
    router::Router,
    snapshot::{Action, Effect, Rule},
};

/// Which rule of its surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub usize);

/// Rules of one surface, ready to be looked up.
#[derive(Default)]
pub struct RuleTable {
    /// By method: the rules that ask for no header.
    unconditional: Vec<Routers>,
    conditional: HashMap<(MethodId, ConditionId), Routers>,
    /// By rule: how specific its path is, and whether it speaks of any method.
    ranks: Vec<(Rank, bool)>,
    /// The methods that rules name, few enough to be looked through.
    methods: Vec<Box<[u8]>>,
    conditions: Conditions,
}

/// A method that some rule names, or [`OTHER_METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct MethodId(usize);

const OTHER_METHODS: MethodId = MethodId(0);

/// More methods than this in the rules of one surface are refused; HTTP has registered about 40.
const MAX_METHODS: usize = 64;

/// From paths to rules, by their index.
#[derive(Default)]
struct Routers {
    generous: Option<Router>,
    exact: Option<Router>,
}

/// How a rule's path and header are compared; what stops comes first where claims are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strictness {
    /// In any case, with or without a slash at the end, any of repeated headers.
    Generous,
    /// To the byte.
    Exact,
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
        for (at, rule) in rules.iter().enumerate() {
            for method in &rule.methods {
                if build.table.method(method.as_bytes()) == OTHER_METHODS {
                    build.table.methods.push(Box::from(method.as_bytes()));
                }
            }
            if build.table.methods.len() > MAX_METHODS {
                let problem = format!("more than {MAX_METHODS} different methods in one surface");
                return Err(RuleError { rule: RuleIndex(at), field: "methods", problem });
            }
        }
        build.table.unconditional.resize_with(build.table.methods.len() + 1, Routers::default);
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
    pub fn look_up(&self, request: &Request<'_>, path: &[u8], folded: &[u8]) -> Option<RuleIndex> {
        let mut search =
            Search { table: self, method: self.method(request.method), path, folded, best: None };
        search.consider(Strictness::Generous, None);
        search.consider(Strictness::Exact, None);
        self.conditions.met_by(request, |strictness, condition| search.consider(strictness, Some(condition)));
        search.best.map(|(_, rule)| rule)
    }

    fn method(&self, method: &[u8]) -> MethodId {
        let at = self.methods.iter().position(|named| same(named, method));
        at.map_or(OTHER_METHODS, |at| MethodId(at + 1))
    }
}

struct Search<'t, 'p> {
    table: &'t RuleTable,
    method: MethodId,
    path: &'p [u8],
    folded: &'p [u8],
    best: Option<(Claim<'t>, RuleIndex)>,
}

impl Search<'_, '_> {
    fn consider(&mut self, strictness: Strictness, condition: Option<ConditionId>) {
        let routers = match condition {
            None => self.table.unconditional.get(self.method.0),
            Some(condition) => self.table.conditional.get(&(self.method, condition)),
        };
        let Some(routers) = routers else { return };
        let (router, path) = match strictness {
            Strictness::Generous => (&routers.generous, self.folded),
            Strictness::Exact => (&routers.exact, self.path),
        };
        let Some(found) = router.as_ref().and_then(|router| router.find(path)) else { return };
        let rule = RuleIndex(found);
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
        let routed = match strictness {
            Strictness::Generous => Cow::Owned(pattern.folded()),
            Strictness::Exact => Cow::Borrowed(pattern),
        };
        topic.template = routed.template();
        if self.routed.contains(&(topic.clone(), strictness)) {
            return;
        }
        let routers = match topic.condition {
            None => self.table.unconditional.get_mut(topic.method.0),
            Some(condition) => Some(self.table.conditional.entry((topic.method, condition)).or_default()),
        };
        let Some(routers) = routers else { return };
        let router = match strictness {
            Strictness::Generous => &mut routers.generous,
            Strictness::Exact => &mut routers.exact,
        };
        router.get_or_insert_default().insert(&routed, at.0);
        self.routed.insert((topic, strictness));
    }

    fn topics(&mut self, rule: &Rule, pattern: &Pattern) -> Vec<Topic> {
        let condition = self.table.conditions.id_of(rule);
        let topic = |method| Topic { method, condition, template: pattern.template() };
        self.methods(rule).into_iter().map(topic).collect()
    }

    fn methods(&self, rule: &Rule) -> Vec<MethodId> {
        if rule.methods.is_empty() {
            (0..=self.table.methods.len()).map(MethodId).collect()
        } else {
            rule.methods.iter().map(|method| self.table.method(method.as_bytes())).collect()
        }
    }
}

impl fmt::Debug for RuleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleTable").field("rules", &self.ranks.len()).finish_non_exhaustive()
    }
}

fn strictness(rule: &Rule) -> Strictness {
    if rule.stops() { Strictness::Generous } else { Strictness::Exact }
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
    if rule.body.is_some() && (rule.effect, rule.action.unwrap_or_default()) != (Effect::Write, Action::Block)
    {
        let problem = "its body may only show that a write is none; say `effect: write`, and no `action`";
        return Err(("body", problem.to_owned()));
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
