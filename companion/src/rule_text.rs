//! Rules as people read them, by surface: what `quiesce explain` and `quiesce surfaces` say decided.

use quiesce_policy::snapshot::{Action, BodyProtocol, Rule, Surface, WriteKind};

use crate::catalog::Catalogs;

/// What is said where no rule speaks of a request.
pub const BY_METHOD: &str = "the method";
/// What is said of a path or host that no rule can be held against.
pub const BY_DOUBT: &str = "doubt: origins may read this path or host differently";

/// The rules of one surface.
#[derive(Clone, Debug)]
pub struct RuleTexts {
    own: Vec<RuleText>,
    catalogs: Vec<Vec<RuleText>>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct RuleText {
    /// Where it stands and what it speaks of.
    pub text: String,
    /// Its path, with the surface's prefix.
    pub path: String,
    /// What becomes of the writes it speaks of.
    pub action: Action,
    /// What kind of write it speaks of.
    pub kind: Option<WriteKind>,
    /// The protocol of the bodies that decide.
    pub body: Option<BodyProtocol>,
}

impl RuleTexts {
    /// The rules of a surface, its own and those of its catalogs.
    pub fn of(surface: &Surface, catalogs: &Catalogs) -> Self {
        let prefix = surface.path_prefix.trim_end_matches('/');
        let own = surface.rules.iter().enumerate().map(|(at, rule)| {
            let methods = if rule.methods.is_empty() { "*".to_owned() } else { rule.methods.join("|") };
            let text = format!("surface {}: rules[{at}] {methods} {}", surface.name, rule.path);
            RuleText::new(text, prefix, rule)
        });
        let named = surface.catalogs.iter().filter_map(|name| catalogs.get(name.as_str()));
        let catalogs = named.map(|catalog| {
            let rules = catalog.catalog().rules;
            let lines = catalog.rules.iter().zip(&rules).enumerate();
            let text = |(at, (line, rule))| {
                let text = format!("catalog {} {}: rules[{at}] {line}", catalog.name, catalog.version);
                RuleText::new(text, prefix, rule)
            };
            lines.map(text).collect()
        });
        Self { own: own.collect(), catalogs: catalogs.collect() }
    }

    /// A rule of one of the surface's catalogs, or one of its own.
    pub fn get(&self, catalog: Option<usize>, index: usize) -> Option<&RuleText> {
        let rules = match catalog {
            None => Some(&self.own),
            Some(at) => self.catalogs.get(at),
        };
        rules.and_then(|rules| rules.get(index))
    }
}

impl RuleText {
    fn new(text: String, prefix: &str, rule: &Rule) -> Self {
        let path = format!("{prefix}{}", rule.path);
        Self { text, path, action: rule.action.unwrap_or_default(), kind: rule.kind, body: rule.body }
    }
}
