//! One policy in the forms that the variants take it: snapshot, Lua, RBAC.
//!
//! Safe methods read, but for what is below `/admin/`; a search is a POST that reads; all else writes.

use quiesce_policy::{
    snapshot::{Action, Effect, Epoch, Rule, Snapshot, Surface, SurfaceName, Window, WindowId},
    time::Timestamp,
};
use serde_json::{Value, json};

/// The host that the load asks for.
pub const HOST: &str = "api.example.com";

/// As a snapshot, frozen from `since` if it is frozen.
pub fn snapshot(version: u64, frozen_since: Option<Timestamp>) -> Snapshot {
    let rule = |method: &str, path: &str, effect| Rule {
        methods: vec![method.to_owned()],
        path: path.to_owned(),
        header: None,
        effect,
        action: None::<Action>,
    };
    let surface = surface(vec![
        rule("POST", "/items/search", Effect::Read),
        rule("GET", "/admin/{*rest}", Effect::Write),
    ]);
    Snapshot {
        version: Epoch(version),
        windows: frozen_since.map(window).into_iter().collect(),
        surfaces: vec![surface],
        ..Snapshot::default()
    }
}

/// As a snapshot whose one surface has so many rules, and is not frozen.
pub fn snapshot_with_rules(version: u64, rules: usize) -> Snapshot {
    let rule = |number: usize| Rule {
        methods: vec!["POST".to_owned()],
        path: format!("/collections/c{number}/points/{{any}}/search"),
        header: None,
        effect: Effect::Read,
        action: None,
    };
    let rules = (0..rules).map(rule).collect();
    Snapshot { version: Epoch(version), surfaces: vec![surface(rules)], ..Snapshot::default() }
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
        rules,
    }
}

fn window(since: Timestamp) -> Window {
    Window {
        id: WindowId::from("bench"),
        scope: Default::default(),
        starts_at: since,
        started: true,
        ends_at: Some(since.plus_ms(3_600_000)),
        expires_at: since.plus_ms(7_200_000),
        reason: "a benchmark".to_owned(),
        contact: Some("ops@example.com".to_owned()),
        status: Default::default(),
        drain_timeout_ms: 30_000,
    }
}

/// As Lua, as somebody would write it who wants the same without Quiesce. It cannot be switched
/// without new configuration, says nothing of what is in flight, and takes paths as they come.
pub const LUA: &str = r#"
local frozen = true
local safe = { GET = true, HEAD = true, OPTIONS = true, TRACE = true }

local function writes(headers)
  local method = headers:get(":method")
  if headers:get("x-http-method-override") or headers:get("x-http-method")
      or headers:get("x-method-override") or headers:get("upgrade") then
    return true
  end
  if headers:get(":authority") == "api.example.com" then
    local path = headers:get(":path")
    if method == "POST" and (path == "/items/search" or path:sub(1, 14) == "/items/search?") then
      return false
    end
    if method == "GET" and path:sub(1, 7) == "/admin/" then
      return true
    end
  end
  return not safe[method]
end

function envoy_on_request(handle)
  if frozen and writes(handle:headers()) then
    handle:respond({
      [":status"] = "423",
      ["content-type"] = "application/problem+json",
      ["cache-control"] = "no-store",
      ["retry-after"] = tostring(3600 + math.random(0, 10)),
    }, '{"type":"about:blank","title":"Read-only: writes are paused","status":423,"code":"read-only",'
      .. '"detail":"a benchmark","window":"bench","starts_at":"2026-11-23T12:00:00.000Z",'
      .. '"ends_at":"2026-11-23T13:00:00.000Z","contact":"ops@example.com"}')
  end
end
"#;

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
