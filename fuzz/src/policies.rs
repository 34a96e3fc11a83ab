//! The policies that requests are tried on.

use std::{collections::BTreeMap, sync::LazyLock};

use quiesce_policy::{
    Policy,
    snapshot::{
        Action, BodyProtocol, Catalog, Effect, HeaderCondition, Rule, Snapshot, Surface, SurfaceName,
    },
};
use serde::Deserialize;

/// The surfaces of the attempts in `policy/cases/attacks.jsonl`.
const ATTACKED: &str = include_str!("../../policy/cases/attacks.yaml");

macro_rules! catalogs {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../policy/catalog/", $name, ".yaml")))),*]
    };
}

/// Catalogs of all kinds: paths alone, parameters, headers, gRPC, bodies.
const CATALOGS: [(&str, &str); 9] = catalogs! {
    "dynamodb" "elasticsearch" "etcd" "graphql" "kubernetes" "mcp" "s3" "vault" "weaviate"
};

/// Tools of MCP that read, as the attempts have it.
pub const READ_ONLY_TOOL: &str = "search";

/// Methods of JSON-RPC that read; all that begin so.
pub const READ_ONLY_METHODS: &str = "get_";

/// The surfaces of the attempts, and one for JSON-RPC and for every catalog: `NAME.example.com`.
pub static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let Attacked { mut surfaces } = serde_saphyr::from_str(ATTACKED).expect("surfaces");
    for (name, _) in CATALOGS {
        if !surfaces.iter().any(|surface| surface.name.as_str() == name) {
            surfaces.push(Surface { catalogs: vec![name.into()], ..on_its_host(name) });
        }
    }
    let mut rpc = on_its_host("rpc");
    rpc.rules =
        vec![Rule { body: Some(BodyProtocol::JsonRpc), ..Rule::new(&["POST"], "/rpc", Effect::Write) }];
    rpc.read_only.methods = vec![format!("{READ_ONLY_METHODS}*")];
    surfaces.push(rpc);
    let catalogs = CATALOGS.iter().map(|(name, yaml)| ((*name).into(), read_catalog(yaml))).collect();
    Snapshot { surfaces, catalogs, ..Snapshot::default() }
});

/// The same, compiled.
pub static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::compile(&SNAPSHOT).expect("sound surfaces"));

/// A policy of rules that are written one a line, as `read POST /search/{index}`; nothing if there is a
/// line that is none, or a rule that policy refuses. Effects are `read`, `write`, `allow`, `queue` and `drop`, and `*` is any
/// method.
pub fn of_lines(lines: &[u8]) -> Option<Policy> {
    let rule = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (effect, method, path) = (words.next()?, words.next()?, words.next()?);
        let methods: &[&str] = if method == "*" { &[] } else { &[method] };
        let acted = |action| Rule { action: Some(action), ..Rule::new(methods, path, Effect::Write) };
        match effect {
            "read" => Some(Rule::new(methods, path, Effect::Read)),
            "write" => Some(Rule::new(methods, path, Effect::Write)),
            "allow" => Some(acted(Action::Allow)),
            "queue" => Some(acted(Action::Queue)),
            "drop" => Some(acted(Action::Drop)),
            _ => None,
        }
    };
    let rules = std::str::from_utf8(lines).ok()?.lines().map(rule).collect::<Option<Vec<_>>>()?;
    let surface = Surface { rules, ..Surface::named(SurfaceName::from("any")) };
    Policy::compile(&Snapshot { surfaces: vec![surface], ..Snapshot::default() }).ok()
}

fn on_its_host(name: &str) -> Surface {
    Surface { hosts: vec![format!("{name}.example.com")], ..Surface::named(SurfaceName::from(name)) }
}

#[derive(Deserialize)]
struct Attacked {
    surfaces: Vec<Surface>,
}

/// A catalog's file, as far as it makes rules.
#[derive(Deserialize)]
struct CatalogFile {
    version: String,
    rules: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    request: Option<String>,
    grpc: Option<String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default)]
    header: BTreeMap<String, String>,
    effect: Option<Effect>,
    body: Option<BodyProtocol>,
}

fn read_catalog(yaml: &str) -> Catalog {
    let CatalogFile { version, rules } = serde_saphyr::from_str(yaml).expect("a catalog");
    let rule = |line: Line| {
        let (methods, path) = match (line.request, line.grpc) {
            (Some(request), _) => {
                let (methods, path) = request.split_once(' ').expect("methods and a path");
                (methods.to_owned(), path.to_owned())
            }
            (None, grpc) => {
                let method = grpc.expect("a method of gRPC").replace("/*", "/{method}");
                ("POST".to_owned(), format!("/{method}"))
            }
        };
        let methods: Vec<_> = methods.split('|').filter(|method| *method != "*").collect();
        let condition = |(name, value): (String, String)| HeaderCondition {
            name,
            value: Some(value).filter(|value| value != "*"),
        };
        Rule {
            header: line.header.into_iter().next().map(condition),
            query: line.query,
            body: line.body,
            ..Rule::new(&methods, &path, line.effect.unwrap_or(Effect::Write))
        }
    };
    Catalog { version, rules: rules.into_iter().map(rule).collect() }
}
