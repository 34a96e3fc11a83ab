//! All surfaces of a snapshot, compiled: from host and path to the surface, from there to the rule.

use std::sync::Arc;

use rustc_hash::FxHashSet as HashSet;

use crate::{
    error::SnapshotError,
    host::{HostMap, check_pattern},
    pattern::{Pattern, check_prefix},
    request::Request,
    router::Router,
    rules::{RuleError, RuleIndex, RuleTable},
    snapshot::{
        Action, BodyProtocol, Catalog, CatalogName, Effect, Mode, ReadOnly, Rule, Snapshot, Surface,
        SurfaceName,
    },
};

/// More surfaces than this are refused.
const MAX_SURFACES: usize = 1000;

/// More rules than this, over all surfaces, are refused.
const MAX_RULES: usize = 50_000;

/// Longer names than this are refused; bytes.
const MAX_NAME_BYTES: usize = 64;

/// Which surface of its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SurfaceIndex(pub usize);

/// Surfaces, ready to be looked up.
#[derive(Default)]
pub struct Surfaces {
    surfaces: Vec<CompiledSurface>,
    by_host: HostMap<Prefixes>,
    stopped_methods: HashSet<String>,
    stops_all_methods: bool,
}

/// One surface, ready to be looked up.
pub struct CompiledSurface {
    /// Its name.
    pub name: SurfaceName,
    /// Whether verdicts on its requests are carried out, if it says so itself.
    pub mode: Option<Mode>,
    /// What its operator knows to read.
    pub read_only: ReadOnly,
    /// Its own rules.
    rules: RuleSet,
    /// Those of its catalogs; shared by surfaces with the same prefix.
    catalogs: Vec<Arc<RuleSet>>,
}

/// Rules, compiled, and what each of them says.
struct RuleSet {
    table: RuleTable,
    sayings: Vec<Saying>,
}

/// What a rule says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saying {
    /// What it would do.
    pub effect: Effect,
    /// What becomes of it, if it writes.
    pub action: Action,
    /// Whose bodies may tell otherwise.
    pub body: Option<BodyProtocol>,
}

/// Which rule of a surface: its own, or one of a catalog of its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// Which of the surface's catalogs, if it is none of its own rules.
    pub catalog: Option<usize>,
    /// Which rule there.
    pub rule: RuleIndex,
}

impl CompiledSurface {
    /// Which rule speaks for a request, and what it says; `folded` is the path in lower case.
    pub fn look_up(&self, request: &Request<'_>, path: &[u8], folded: &[u8]) -> Option<(RuleRef, Saying)> {
        if let Some((rule, saying)) = self.rules.look_up(request, path, folded) {
            return Some((RuleRef { catalog: None, rule }, saying));
        }
        let mut best = None;
        for (at, rules) in self.catalogs.iter().enumerate() {
            let Some((rule, saying)) = rules.look_up(request, path, folded) else { continue };
            let found = (RuleRef { catalog: Some(at), rule }, saying);
            if saying.stops() {
                return Some(found);
            }
            best.get_or_insert(found);
        }
        best
    }
}

impl Saying {
    fn of(rule: &Rule) -> Self {
        Self { effect: rule.effect, action: rule.action.unwrap_or_default(), body: rule.body }
    }

    fn stops(self) -> bool {
        self.effect == Effect::Write && self.action.stops()
    }
}

impl RuleSet {
    fn compile(prefix: &str, rules: &[Rule]) -> Result<Self, RuleError> {
        let table = RuleTable::compile(prefix, rules)?;
        Ok(Self { table, sayings: rules.iter().map(Saying::of).collect() })
    }

    fn look_up(&self, request: &Request<'_>, path: &[u8], folded: &[u8]) -> Option<(RuleIndex, Saying)> {
        let rule = self.table.look_up(request, path, folded)?;
        self.sayings.get(rule.0).map(|saying| (rule, *saying))
    }
}

impl Surfaces {
    /// Checks and compiles the surfaces of a snapshot.
    pub fn compile(snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let Snapshot { surfaces, catalogs, .. } = snapshot;
        if surfaces.len() > MAX_SURFACES {
            return Err(SnapshotError::new(
                "surfaces",
                format!("{} surfaces; at most {MAX_SURFACES}", surfaces.len()),
            ));
        }
        let own: usize = surfaces.iter().map(|surface| surface.rules.len()).sum();
        let rules: usize = own + catalogs.values().map(|catalog| catalog.rules.len()).sum::<usize>();
        if rules > MAX_RULES {
            return Err(SnapshotError::new("surfaces", format!("{rules} rules in all; at most {MAX_RULES}")));
        }
        let mut compiled = Self::default();
        let mut names = HashSet::default();
        let mut shared = SharedCatalogs::default();
        let mut prefixes: HostMap<Vec<(String, SurfaceIndex)>> = HostMap::default();
        for (at, surface) in surfaces.iter().enumerate() {
            let place = |field: &str| format!("surfaces[{at}].{field}");
            check_name(&surface.name).map_err(|problem| SnapshotError::new(place("name"), problem))?;
            if !names.insert(&surface.name) {
                let problem =
                    format!("`{}` is the name of an earlier surface too; names are unique", surface.name);
                return Err(SnapshotError::new(place("name"), problem));
            }
            check_prefix(&surface.path_prefix)
                .map_err(|problem| SnapshotError::new(place("path_prefix"), problem))?;
            for (host_at, host) in host_patterns(surface).enumerate() {
                if let Some(host) = host {
                    check_pattern(host).map_err(|problem| {
                        SnapshotError::new(place(&format!("hosts[{host_at}]")), problem)
                    })?;
                }
                let taken = prefixes.entry(host);
                let folded = surface.path_prefix.to_ascii_lowercase();
                if let Some((_, other)) = taken.iter().find(|(prefix, _)| *prefix == folded) {
                    let other = surfaces.get(other.0).map(|other| other.name.as_str()).unwrap_or_default();
                    let host = host.unwrap_or("any host");
                    let problem =
                        format!("`{}` on {host} belongs to surface `{other}` already", surface.path_prefix);
                    return Err(SnapshotError::new(place("path_prefix"), problem));
                }
                taken.push((folded, SurfaceIndex(at)));
            }
            let rules = RuleSet::compile(prefix(surface), &surface.rules).map_err(|err| {
                SnapshotError::new(place(&format!("rules[{}].{}", err.rule.0, err.field)), err.problem)
            })?;
            compiled.note_stopped_methods(&surface.rules);
            let mut described = Vec::new();
            for (catalog_at, name) in surface.catalogs.iter().enumerate() {
                let Some(catalog) = catalogs.get(name) else {
                    let problem = format!("there is no catalog `{name}`");
                    return Err(SnapshotError::new(place(&format!("catalogs[{catalog_at}]")), problem));
                };
                compiled.note_stopped_methods(&catalog.rules);
                described.push(shared.get(name, prefix(surface), catalog)?);
            }
            compiled.surfaces.push(CompiledSurface {
                name: surface.name.clone(),
                mode: surface.mode,
                read_only: surface.read_only.clone(),
                rules,
                catalogs: described,
            });
        }
        compiled.by_host = prefixes.map(|prefixes| Prefixes::compile(&prefixes));
        for (at, surface) in surfaces.iter().enumerate() {
            compiled.check_reachable(SurfaceIndex(at), surface, surfaces)?;
        }
        Ok(compiled)
    }

    /// The surface that a host and path belong to: the narrowest host first, then the longest prefix.
    /// Both are in lower case.
    pub fn find(&self, host: &[u8], folded_path: &[u8]) -> Option<SurfaceIndex> {
        self.by_host.find_covering(host, |prefixes| prefixes.find(folded_path))
    }

    /// A surface by its index.
    pub fn get(&self, at: SurfaceIndex) -> Option<&CompiledSurface> {
        self.surfaces.get(at.0)
    }

    /// Whether a request with this method could be stopped by some rule, if only its path were read so.
    pub fn may_stop(&self, method: &str) -> bool {
        self.stops_all_methods || self.stopped_methods.contains(method)
    }

    fn note_stopped_methods(&mut self, rules: &[Rule]) {
        for rule in rules.iter().filter(|rule| rule.stops()) {
            self.stops_all_methods |= rule.methods.is_empty();
            self.stopped_methods.extend(rule.methods.iter().cloned());
        }
    }

    /// A rule inside the prefix of another surface would never be asked.
    fn check_reachable(
        &self,
        at: SurfaceIndex,
        surface: &Surface,
        all: &[Surface],
    ) -> Result<(), SnapshotError> {
        for (rule_at, rule) in surface.rules.iter().enumerate() {
            let Ok(pattern) = Pattern::parse(prefix(surface), &rule.path) else { continue };
            let path = pattern.folded().example();
            for host in host_patterns(surface) {
                let host = host.map_or_else(|| "any.invalid".to_owned(), |host| host.replacen('*', "any", 1));
                let owner = self
                    .find(host.as_bytes(), path.as_bytes())
                    .filter(|owner| *owner != at)
                    .and_then(|owner| all.get(owner.0));
                if let Some(owner) = owner {
                    let problem = format!(
                        "no request can reach this rule: `{path}` belongs to surface `{}`; move the rule there",
                        owner.name
                    );
                    return Err(SnapshotError::new(
                        format!("surfaces[{}].rules[{rule_at}].path", at.0),
                        problem,
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Catalogs compiled for a prefix, each once.
#[derive(Default)]
struct SharedCatalogs(Vec<(CatalogName, String, Arc<RuleSet>)>);

impl SharedCatalogs {
    fn get(
        &mut self,
        name: &CatalogName,
        prefix: &str,
        catalog: &Catalog,
    ) -> Result<Arc<RuleSet>, SnapshotError> {
        let known = self.0.iter().find(|(other, at, _)| other == name && at == prefix);
        if let Some((.., rules)) = known {
            return Ok(Arc::clone(rules));
        }
        let rules = RuleSet::compile(prefix, &catalog.rules).map_err(|err| {
            let place = format!("catalogs.{name}.rules[{}].{}", err.rule.0, err.field);
            SnapshotError::new(place, err.problem)
        })?;
        let rules = Arc::new(rules);
        self.0.push((name.clone(), prefix.to_owned(), Arc::clone(&rules)));
        Ok(rules)
    }
}

/// The surface's prefix as rules continue it: without a slash at the end.
fn prefix(surface: &Surface) -> &str {
    surface.path_prefix.trim_end_matches('/')
}

fn host_patterns(surface: &Surface) -> impl Iterator<Item = Option<&str>> {
    let any = surface.hosts.is_empty().then_some(None);
    surface.hosts.iter().map(|host| Some(host.as_str())).chain(any)
}

/// The surfaces of one host by their path prefix.
#[derive(Default)]
struct Prefixes {
    /// The surface of all paths that no longer prefix claims.
    root: Option<SurfaceIndex>,
    below: Option<Router>,
}

impl Prefixes {
    fn compile(prefixes: &[(String, SurfaceIndex)]) -> Self {
        let mut compiled = Self::default();
        for (prefix, at) in prefixes {
            if prefix == "/" {
                compiled.root = Some(*at);
                continue;
            }
            let Ok(below) = Pattern::parse(prefix, "/{*rest}") else { continue };
            let router = compiled.below.get_or_insert_default();
            for pattern in below.lenient().iter().chain([&below]) {
                router.insert(pattern, at.0);
            }
        }
        compiled
    }

    fn find(&self, folded_path: &[u8]) -> Option<SurfaceIndex> {
        let below = self.below.as_ref().and_then(|router| router.find(folded_path));
        below.map(SurfaceIndex).or(self.root)
    }
}

fn check_name(name: &SurfaceName) -> Result<(), String> {
    let text = name.as_str();
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(sound) {
        return Err(format!("`{text}` is not a name; use at most {MAX_NAME_BYTES} of a-z, 0-9, `-` and `_`"));
    }
    if text == crate::OTHER_SURFACE {
        return Err(format!("`{text}` stands for requests that belong to no surface; choose another name"));
    }
    Ok(())
}
