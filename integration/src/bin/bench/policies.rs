//! One policy in the forms that the variants take it (snapshot, Lua, RBAC), and one of all catalogs.
//!
//! Safe methods read, but for what is below `/admin/`; a search is a POST that reads; all else writes.

use anyhow::Result;
use quiesce_integration::catalogs;
use quiesce_policy::{
    snapshot::{
        BodyProtocol, Effect, Epoch, RefusedCalls, Rule, Snapshot, Surface, SurfaceName, Window, WindowId,
    },
    time::Timestamp,
};
use serde_json::{Value, json};

/// How long the window is said to last.
const FROZEN_FOR_MS: u64 = 3_600_000;

/// The host that the load asks for.
pub const HOST: &str = "api.example.com";

/// The catalog of that host.
const CATALOG: &str = "elasticsearch";

/// A tool that reads.
const TOOL: &str = "search_orders";

/// As a snapshot, frozen from `since` if it is frozen.
pub fn snapshot(version: u64, frozen_since: Option<Timestamp>) -> Snapshot {
    let surface = surface(vec![
        Rule::new(&["POST"], "/items/search", Effect::Read),
        Rule::new(&["GET"], "/admin/{*rest}", Effect::Write),
    ]);
    Snapshot {
        version: Epoch(version),
        windows: frozen_since.map(window).into_iter().collect(),
        surfaces: vec![surface],
        ..Snapshot::default()
    }
}

/// As a snapshot in which calls of MCP read, in one place by their body and in the other by a rule; frozen.
pub fn snapshot_of_calls(version: u64, since: Timestamp) -> Snapshot {
    let inspected =
        Rule { body: Some(BodyProtocol::Mcp), ..Rule::new(&["POST"], "/inspected/mcp", Effect::Write) };
    let mut surface = surface(vec![inspected, Rule::new(&["POST"], "/plain/mcp", Effect::Read)]);
    surface.read_only.tools = vec![TOOL.to_owned()];
    Snapshot {
        version: Epoch(version),
        windows: vec![window(since)],
        surfaces: vec![surface],
        refused_calls: RefusedCalls::Status,
        ..Snapshot::default()
    }
}

/// As a snapshot whose one surface has so many rules, and is not frozen.
pub fn snapshot_with_rules(version: u64, rules: usize) -> Snapshot {
    let rule = |number: usize| {
        Rule::new(&["POST"], &format!("/collections/c{number}/points/{{any}}/search"), Effect::Read)
    };
    let rules = (0..rules).map(rule).collect();
    Snapshot { version: Epoch(version), surfaces: vec![surface(rules)], ..Snapshot::default() }
}

/// As a companion's surfaces (YAML, top level): each catalog on a host of its own, all of them on one surface below
/// `/all`, and calls of MCP that read, in one place by their body and in the other by a rule.
pub fn surfaces() -> Result<String> {
    let names = catalogs::names()?;
    let own = |name: &String| {
        let host = if name == CATALOG { HOST.to_owned() } else { format!("{name}.example.com") };
        json!({ "name": name, "hosts": [host], "catalogs": [name] })
    };
    let mut surfaces: Vec<_> = names.iter().map(own).collect();
    surfaces.extend([
        json!({ "name": "all", "hosts": [HOST], "path_prefix": "/all", "catalogs": names }),
        json!({
            "name": "inspected",
            "hosts": [HOST],
            "path_prefix": "/inspected",
            "catalogs": ["mcp"],
            "read_only": { "tools": [TOOL] },
        }),
        json!({
            "name": "plain",
            "hosts": [HOST],
            "path_prefix": "/plain",
            "rules": [{ "methods": ["POST"], "path": "/mcp", "effect": "read" }],
        }),
    ]);
    // Otherwise a call that is refused has the status of one that is not.
    Ok(format!("refused_calls: status\nsurfaces: {}", Value::from(surfaces)))
}

/// What a client of MCP sends with a call beside its body.
pub const CALL_HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", "2025-11-25"),
];

/// A call of a tool that reads, of 4 KB: a text to search for, and conditions.
pub fn call_of_a_tool() -> String {
    const BYTES: usize = 4096;
    let condition =
        |at: usize| json!({ "field": "order.id", "not": at, "weight": 0.25, "exact": at.is_multiple_of(2) });
    let call = |query: &str| {
        let conditions: Vec<_> = (100..145).map(condition).collect();
        let arguments = json!({ "query": query, "limit": 20, "conditions": conditions });
        let params = json!({ "name": TOOL, "arguments": arguments });
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string()
    };
    let text = "orders of \"green tea\"\nthat came late ";
    let mut query = String::new();
    while call(&format!("{query}{text}")).len() <= BYTES {
        query.push_str(text);
    }
    query.extend(std::iter::repeat_n('x', BYTES.saturating_sub(call(&query).len())));
    call(&query)
}

/// A request that the middle one of so many rules speaks of.
pub fn path_of_middle_rule(rules: usize) -> String {
    format!("/collections/c{}/points/7/search", rules / 2)
}

fn surface(rules: Vec<Rule>) -> Surface {
    Surface {
        name: SurfaceName::from("items"),
        hosts: vec![HOST.to_owned()],
        path_prefix: "/".to_owned(),
        mode: None,
        catalogs: vec![],
        rules,
        read_only: Default::default(),
    }
}

fn window(since: Timestamp) -> Window {
    Window {
        id: WindowId::from("bench"),
        scope: Default::default(),
        starts_at: since,
        announce_at: None,
        started: true,
        ends_at: Some(since.plus_ms(FROZEN_FOR_MS)),
        expires_at: since.plus_ms(7_200_000),
        reason: "a benchmark".to_owned(),
        contact: Some("ops@example.com".to_owned()),
        status: Default::default(),
        drain_timeout_ms: 30_000,
    }
}

/// As Lua for Envoy's filter, frozen from `since`: what an expert would write to get the same decisions
/// and answers.
pub fn lua(since: Timestamp) -> String {
    let ends_at = since.plus_ms(FROZEN_FOR_MS);
    include_str!("policy.lua")
        .replace("@ENDS_AT_S@", &ends_at.unix_ms().div_ceil(1000).to_string())
        .replace("@ENDS_AT@", &ends_at.to_string())
        .replace("@STARTS_AT@", &since.to_string())
}

/// A request on which Quiesce and Lua have to agree, frozen: method, target, a header, and whether it writes.
pub type Agreed = (&'static str, &'static str, Option<(&'static str, &'static str)>, bool);

/// All of them.
pub const AGREED: [Agreed; 22] = [
    ("GET", "/items/1", None, false),
    ("HEAD", "/items/1", None, false),
    ("OPTIONS", "/items", None, false),
    ("POST", "/items", None, true),
    ("DELETE", "/items/1", None, true),
    ("PROPFIND", "/items/1", None, true),
    ("POST", "/items/search", None, false),
    ("POST", "/items/search?limit=3", None, false),
    ("POST", "/items/se%61rch", None, false),
    ("POST", "/items/Search", None, true),
    ("POST", "/items//search", None, true),
    ("POST", "/items/x/../search", None, true),
    ("GET", "/admin/flush", None, true),
    ("GET", "/ADMIN/flush", None, true),
    ("GET", "/admin", None, true),
    ("GET", "/items/..%2fadmin/flush", None, true),
    ("GET", "/items;x=1", None, true),
    ("GET", "/items?_method=DELETE", None, true),
    ("GET", "/items?%5fmethod=DELETE", None, true),
    ("GET", "/items/1", Some(("x-http-method-override", "DELETE")), true),
    ("GET", "/items/1", Some(("x-http-method", "PUT")), true),
    ("GET", "/items/1", Some(("host", "API.example.com:80")), false),
];

/// As RBAC: it refuses the same requests, with a plain 403.
pub fn rbac() -> Value {
    let method = |name: &str| json!({ "header": { "name": ":method", "string_match": { "exact": name } } });
    let any = |rules: Vec<Value>| json!({ "or_rules": { "rules": rules } });
    let path = |matcher: Value| json!({ "url_path": { "path": matcher } });
    let present = |name: &str| json!({ "header": { "name": name, "present_match": true } });
    let safe = any(["GET", "HEAD", "OPTIONS", "TRACE"].map(method).to_vec());
    let search =
        json!({ "and_rules": { "rules": [method("POST"), path(json!({ "exact": "/items/search" }))] } });
    let admin = json!({ "and_rules": { "rules": [method("GET"), path(json!({ "prefix": "/admin/" }))] } });
    let odd = ["x-http-method-override", "x-http-method", "x-method-override", "upgrade"].map(present);
    let writes = json!({ "not_rule": any(vec![safe, search]) });
    let refused = any([vec![writes, admin], odd.to_vec()].concat());
    json!({
        "action": "DENY",
        "policies": { "writes": { "permissions": [refused], "principals": [{ "any": true }] } },
    })
}

/// As RBAC with the very conditions by which a lean filter skips requests: it passes those, and no others.
pub fn rbac_as_lean(lean: &Value) -> Value {
    let action = |action: &str| {
        let typed = json!({ "@type": "type.googleapis.com/envoy.config.rbac.v3.Action", "name": action, "action": action });
        json!({ "action": { "name": action, "typed_config": typed } })
    };
    let mut matcher = lean["typed_config"]["xds_matcher"].clone();
    matcher["matcher_list"]["matchers"][0]["on_match"] = action("ALLOW");
    matcher["on_no_match"] = action("DENY");
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "matcher": matcher,
        },
    })
}
