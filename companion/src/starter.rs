//! A configuration to start from: the surfaces as they are, and a rule for each write that no rule knows.

use std::{borrow::Cow, collections::BTreeMap};

use quiesce_policy::{
    Policy,
    snapshot::{BodyProtocol, Effect, HeaderCondition, ReadOnly, Rule, Snapshot, Surface, SurfaceName},
};

use crate::{
    view::{SeenView, SurfaceView, SurfacesView},
    yaml::{Yaml, map, row, text},
};

/// What begins the call of an MCP tool.
const TOOL_CALL: &str = "tools/call ";

/// A configuration. It can be loaded, and the rules that it adds say `write`.
pub struct Starter {
    /// The configuration.
    pub yaml: Yaml,
    /// How many entries of writes that no rule knows it has no rule for, because there can be none.
    pub left_out: usize,
}

impl Starter {
    /// For one surface, or for all.
    pub fn new(view: &SurfacesView, only: Option<&str>) -> Self {
        let is_wanted = |surface: &SurfaceView| only.is_none_or(|name| surface.name == name);
        let mut drafts: Vec<_> = view.surfaces.iter().map(|surface| Draft::of(surface, view)).collect();
        drop_unloadable(&mut drafts);
        drafts.retain(|draft| {
            is_wanted(draft.view) && (draft.view.configured.is_some() || !draft.found.is_empty())
        });
        let seen =
            view.surfaces.iter().filter(|surface| is_wanted(surface)).flat_map(|surface| &surface.seen);
        let unknown = seen.filter(|seen| seen.is_unknown_write()).count();
        let known: usize = drafts.iter().flat_map(|draft| &draft.found).map(|found| found.entries).sum();
        let files = view.catalog_files.iter().map(|file| text(file.clone()));
        let catalogs = (!view.catalog_files.is_empty()).then(|| ("catalogs", row(files)));
        let surfaces = Yaml::List(drafts.iter().map(Draft::yaml).collect());
        let yaml = map(catalogs.into_iter().chain([("surfaces", surfaces)]));
        Self { yaml, left_out: unknown.saturating_sub(known) }
    }
}

/// A surface, with rules that it does not have yet.
struct Draft<'a> {
    view: &'a SurfaceView,
    surface: Surface,
    found: Vec<Found>,
}

/// A rule for requests that no rule knows.
struct Found {
    rule: Rule,
    /// How many entries it stands for,
    entries: usize,
    /// and how many requests.
    count: u64,
}

impl<'a> Draft<'a> {
    fn of(view: &'a SurfaceView, all: &SurfacesView) -> Self {
        let surface = view.configured.clone().unwrap_or_else(|| Surface::named(new_name(all)));
        let mut found: Vec<Found> = Vec::new();
        for seen in view.seen.iter().filter(|seen| seen.is_unknown_write()) {
            let path = seen.path.as_deref().and_then(|path| below(&surface.path_prefix, path));
            let Some(path) = path else { continue };
            let rule = Rule::new(&[&seen.method], &path, Effect::Write);
            match found.iter_mut().find(|found| found.rule == rule) {
                Some(found) => {
                    found.entries += 1;
                    found.count = found.count.saturating_add(seen.count);
                }
                None => found.push(Found { rule, entries: 1, count: seen.count }),
            }
        }
        Self { view, surface, found }
    }

    /// What could be compiled of it without its catalogs, to which nothing is added.
    fn surface(&self) -> Surface {
        let found = self.found.iter().map(|found| found.rule.clone());
        let rules = self.surface.rules.iter().cloned().chain(found).collect();
        Surface { rules, catalogs: Vec::new(), ..self.surface.clone() }
    }

    fn yaml(&self) -> Yaml {
        let Surface { name, hosts, path_prefix, mode, catalogs, rules, read_only } = &self.surface;
        let mut entries = vec![("name", text(name.to_string()))];
        if !hosts.is_empty() {
            entries.push(("hosts", row(hosts.iter().map(|host| text(host.clone())))));
        }
        entries.push(("path_prefix", text(path_prefix.clone())));
        entries.extend(mode.map(|mode| ("mode", text(mode.as_str()))));
        if !catalogs.is_empty() {
            entries.push(("catalogs", row(catalogs.iter().map(|name| text(name.to_string())))));
        }
        let found = self.found.iter().map(|Found { rule, count, .. }| {
            let remark = format!("{count} seen; say `read` if it only reads");
            rule_yaml(rule, Yaml::Noted(Box::new(text(rule.effect.as_str())), remark))
        });
        let known = rules.iter().map(|rule| rule_yaml(rule, text(rule.effect.as_str())));
        let rules: Vec<_> = known.chain(found).collect();
        if !rules.is_empty() {
            entries.push(("rules", Yaml::List(rules)));
        }
        entries.extend(read_only_yaml(read_only, &self.view.seen).map(|yaml| ("read_only", yaml)));
        map(entries)
    }
}

/// A name for the surface of what belongs to none.
fn new_name(all: &SurfacesView) -> SurfaceName {
    let mut name = "everything-else".to_owned();
    while all.surfaces.iter().any(|surface| surface.name == name) {
        name.push_str("-too");
    }
    name.into()
}

/// What a rule says of a path, relative to its surface's prefix; nothing, if it is not below that.
fn below(prefix: &str, path: &str) -> Option<String> {
    let mut segments = path.split('/').skip(1);
    for wanted in prefix.split('/').filter(|segment| !segment.is_empty()) {
        match segments.next()? {
            "{*rest}" => return Some("/{*rest}".to_owned()),
            "{id}" => {}
            segment if segment.eq_ignore_ascii_case(wanted) => {}
            _ => return None,
        }
    }
    Some(format!("/{}", segments.collect::<Vec<_>>().join("/")))
}

/// Drops what the enforcers' compiler refuses: rules for methods that nobody has registered, for what another surface
/// takes by now, or beside a rule that says the same.
fn drop_unloadable(drafts: &mut Vec<Draft<'_>>) {
    loop {
        let surfaces = drafts.iter().map(Draft::surface).collect();
        let Err(error) = Policy::compile(&Snapshot { surfaces, ..Snapshot::default() }) else { return };
        let Some(at) = index(&error.place, "surfaces") else { return };
        let Some(draft) = drafts.get_mut(at) else { return };
        let found =
            index(&error.place, ".rules").and_then(|rule| rule.checked_sub(draft.surface.rules.len()));
        match found {
            Some(rule) if rule < draft.found.len() => drop(draft.found.remove(rule)),
            _ if draft.view.configured.is_none() => drop(drafts.remove(at)),
            _ => return,
        }
    }
}

/// The index that a place has behind a field: `surfaces[2].rules[7].path`.
fn index(place: &str, field: &str) -> Option<usize> {
    let (_, behind) = place.split_once(field)?;
    behind.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}

fn rule_yaml(rule: &Rule, effect_yaml: Yaml) -> Yaml {
    let Rule { methods, path, header, query, effect: _, action, body, kind } = rule;
    let mut entries = Vec::new();
    if !methods.is_empty() {
        entries.push(("methods", row(methods.iter().map(|method| text(method.clone())))));
    }
    entries.push(("path", text(path.clone())));
    if let Some(HeaderCondition { name, value }) = header {
        let value = value.iter().map(|value| ("value", text(value.clone())));
        let header = map([("name", text(name.clone()))].into_iter().chain(value));
        entries.push(("header", Yaml::Flow(Box::new(header))));
    }
    if !query.is_empty() {
        let wanted = query.iter().map(|(name, value)| (Cow::Owned(name.clone()), text(value.clone())));
        entries.push(("query", Yaml::Flow(Box::new(Yaml::Map(wanted.collect())))));
    }
    entries.push(("effect", effect_yaml));
    entries.extend(action.map(|action| ("action", text(action.as_str()))));
    entries.extend(body.map(|body| ("body", text(body.as_str()))));
    entries.extend(kind.map(|kind| ("kind", text(kind.as_str()))));
    map(entries)
}

/// The calls that are known to read, and, commented out, those that were seen and may read.
fn read_only_yaml(read_only: &ReadOnly, seen: &[SeenView]) -> Option<Yaml> {
    let ReadOnly { tools, methods, queries, learn_tools } = read_only;
    let calls = Calls::of(seen, read_only);
    let all = [("tools", tools, &calls.tools), ("methods", methods, &calls.methods)];
    let nothing_known = *read_only == ReadOnly::default();
    let mut entries = Vec::new();
    for (key, known, called) in all {
        let candidates = called.iter().map(|(name, count)| {
            Yaml::Noted(Box::new(text(name.clone())), format!("{count} seen; list it if it only reads"))
        });
        if known.is_empty() && !called.is_empty() {
            let candidates = Yaml::List(candidates.collect());
            entries.push((key, if nothing_known { candidates } else { Yaml::Off(Box::new(candidates)) }));
        } else if !known.is_empty() {
            let known = known.iter().map(|name| text(name.clone()));
            let candidates = candidates.map(|candidate| Yaml::Off(Box::new(candidate)));
            entries.push((key, Yaml::List(known.chain(candidates).collect())));
        }
    }
    if !queries.is_empty() {
        entries.push(("queries", row(queries.iter().map(|query| text(query.clone())))));
    }
    if *learn_tools {
        entries.push(("learn_tools", Yaml::Flag(true)));
    }
    if entries.is_empty() {
        return None;
    }
    Some(if nothing_known { Yaml::Off(Box::new(map(entries))) } else { map(entries) })
}

/// How often what was called that is not known to read.
#[derive(Default)]
struct Calls {
    tools: BTreeMap<String, u64>,
    methods: BTreeMap<String, u64>,
}

impl Calls {
    fn of(seen: &[SeenView], known: &ReadOnly) -> Self {
        let mut calls = Self::default();
        for seen in seen.iter().filter(|seen| seen.effect == Effect::Write) {
            let Some(call) = seen.call.as_deref() else { continue };
            let (called, name) = match seen.protocol {
                Some(BodyProtocol::Mcp) => match call.strip_prefix(TOOL_CALL) {
                    Some(tool) if !known.has_tool(tool) => (&mut calls.tools, tool),
                    _ => continue,
                },
                Some(BodyProtocol::JsonRpc) => {
                    let method = call.split_once(' ').map_or(call, |(method, _)| method);
                    // In the configuration it would stand for all that begin so.
                    if known.has_method(method) || method.ends_with('*') {
                        continue;
                    }
                    (&mut calls.methods, method)
                }
                Some(BodyProtocol::Graphql) | None => continue,
            };
            let count = called.entry(name.to_owned()).or_default();
            *count = count.saturating_add(seen.count);
        }
        calls
    }
}
