//! What enforcers have seen, as operators are shown it, and the configuration that is made from it.

use proptest::prelude::*;
use quiesce::{
    config::Config,
    starter::Starter,
    view::{SeenView, SurfaceView, SurfacesView},
};
use quiesce_policy::{
    snapshot::{BodyProtocol, Effect, Epoch, Mode, Surface},
    sync::{DecidedBy, Seen, SeenRule},
    time::Timestamp,
};
use reqwest::Method;
use serde_json::json;

use crate::{
    command::{Serve, command, run},
    companion::{Companion, http},
    enforcer::Enforcer,
};

const CONFIG: &str = "\
surfaces:
  - name: shop
    hosts: [shop.example.com]
    path_prefix: /api
    mode: observe
    rules:
      - { methods: [POST], path: '/search/{index}', effect: read }
      - { path: /telemetry, effect: write, action: allow }
      - { path: '/rpc', methods: [POST], header: { name: x-v, value: '2' }, query: { dry_run: '*' }, effect: write, body: json-rpc }
    read_only: { methods: [get_stock] }
  - name: vectors
    path_prefix: /vectors
    mode: observe
    catalogs: [qdrant]
  - name: tools
    path_prefix: /tools
    mode: observe
    catalogs: [mcp]
  - name: quiet
    path_prefix: /quiet
";

fn seen(surface: &str, method: &str, path: &str, count: u64) -> Seen {
    let effect = if method == "GET" { Effect::Read } else { Effect::Write };
    Seen {
        surface: surface.to_owned(),
        method: method.to_owned(),
        path: Some(path.to_owned()),
        call: None,
        effect,
        by: DecidedBy::Method,
        rule: None,
        count,
    }
}

fn ruled(surface: &str, method: &str, effect: Effect, rule: (Option<usize>, usize)) -> Seen {
    let (catalog, index) = rule;
    Seen {
        path: None,
        by: DecidedBy::Rule,
        effect,
        rule: Some(SeenRule { catalog, index }),
        ..seen(surface, method, "/", 5)
    }
}

fn called(surface: &str, call: &str, effect: Effect, rule: (Option<usize>, usize)) -> Seen {
    Seen { by: DecidedBy::Body, call: Some(call.to_owned()), ..ruled(surface, "POST", effect, rule) }
}

fn what_was_seen() -> Vec<Seen> {
    vec![
        seen("shop", "GET", "/api/orders/{id}", 4_000),
        seen("shop", "POST", "/api/orders/{id}/refund", 311),
        seen("shop", "POST", "/API/orders/{id}/refund", 1),
        seen("shop", "get it", "/api/orders", 1),
        ruled("shop", "POST", Effect::Read, (None, 0)),
        ruled("shop", "PUT", Effect::Write, (None, 1)),
        called("shop", "get_stock", Effect::Read, (None, 2)),
        called("shop", "set_stock", Effect::Write, (None, 2)),
        Seen { path: None, by: DecidedBy::Ambiguous, ..seen("shop", "POST", "/", 2) },
        ruled("vectors", "PUT", Effect::Write, (Some(0), 21)),
        seen("vectors", "POST", "/vectors", 1),
        called("tools", "tools/call get_weather", Effect::Write, (Some(0), 0)),
        called("tools", "tools/list", Effect::Read, (Some(0), 0)),
        seen("other", "DELETE", "/legacy/{id}", 3),
    ]
}

async fn serve_with(yaml: &str, seen: Vec<Seen>) -> (Serve, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), Some(yaml)).await;
    let mut enforcer = Enforcer::new(&serve.url, "edge-1", "1");
    enforcer.obey().await;
    enforcer.saw(seen).await;
    (serve, dir)
}

#[tokio::test]
async fn people_see_what_no_rule_knows_first() {
    let (serve, _dir) = serve_with(CONFIG, what_was_seen()).await;
    insta::assert_snapshot!(serve.run(&["surfaces"]).await.redacted(), @r#"
since TIME, when the companion started
shop:
  REQUESTS  EFFECT          LAST SEEN             REQUEST                       BECAUSE OF
  311       write           TIME  POST /api/orders/{id}/refund  no rule knows it
  1         write           TIME  POST /API/orders/{id}/refund  no rule knows it
  1         write           TIME  get it /api/orders            no rule knows it
  5         write           TIME  POST /api/rpc  set_stock      surface shop: rules[2] POST /rpc
  5         write, allowed  TIME  PUT /api/telemetry            surface shop: rules[1] * /telemetry
  2         write           TIME  POST *                        doubt: origins may read this path or host differently
  4000      read            TIME  GET /api/orders/{id}          the method
  5         read            TIME  POST /api/rpc  get_stock      surface shop: rules[2] POST /rpc
  5         read            TIME  POST /api/search/{index}      surface shop: rules[0] POST /search/{index}
vectors:
  REQUESTS  EFFECT                 LAST SEEN             REQUEST                                       BECAUSE OF
  1         write                  TIME  POST /vectors                                 no rule knows it
  5         write (vector-upsert)  TIME  PUT /vectors/collections/{collection}/points  catalog qdrant 1.19.0: rules[21] PUT /collections/{collection}/points
tools:
  REQUESTS  EFFECT  LAST SEEN             REQUEST                                  BECAUSE OF
  5         write   TIME  POST /tools/mcp  tools/call get_weather  catalog mcp 2026-07-28: rules[0] POST /mcp
  5         read    TIME  POST /tools/mcp  tools/list              catalog mcp 2026-07-28: rules[0] POST /mcp
quiet: not observed
other:
  REQUESTS  EFFECT  LAST SEEN             REQUEST              BECAUSE OF
  3         write   TIME  DELETE /legacy/{id}  no rule knows it
hint: `quiesce surfaces --as-rules` prints rules for what no rule knows
--- exit code 0
"#);
    insta::assert_snapshot!(serve.run(&["surfaces", "--surface", "shop", "--writes"]).await.redacted(), @r#"
since TIME, when the companion started
shop:
  REQUESTS  EFFECT          LAST SEEN             REQUEST                       BECAUSE OF
  311       write           TIME  POST /api/orders/{id}/refund  no rule knows it
  1         write           TIME  POST /API/orders/{id}/refund  no rule knows it
  1         write           TIME  get it /api/orders            no rule knows it
  5         write           TIME  POST /api/rpc  set_stock      surface shop: rules[2] POST /rpc
  5         write, allowed  TIME  PUT /api/telemetry            surface shop: rules[1] * /telemetry
  2         write           TIME  POST *                        doubt: origins may read this path or host differently
hint: `quiesce surfaces --as-rules` prints rules for what no rule knows
--- exit code 0
"#);
    insta::assert_snapshot!(serve.run(&["surfaces", "--surface", "nope"]).await.redacted(), @r#"
--- stderr
error: there is no surface `nope`
hint: there are: shop, vectors, tools, quiet, other
--- exit code 4
"#);
}

#[tokio::test]
async fn rules_to_start_from_can_be_loaded_and_know_what_was_unknown() {
    let (serve, dir) = serve_with(CONFIG, what_was_seen()).await;
    let printed = serve.run(&["surfaces", "--as-rules"]).await;
    insta::assert_snapshot!(printed.redacted(), @r#"
# From what was seen since TIME, to take the place of `surfaces` in the companion's
# configuration. Rules with a remark are new: say of each whether it reads or writes. They come
# before what catalogs say.
# Left out, because no rule can speak of them: 1 of the requests that no rule knows.
surfaces:
  - name: shop
    hosts: [shop.example.com]
    path_prefix: /api
    mode: observe
    rules:
      - methods: [POST]
        path: '/search/{index}'
        effect: read
      - path: /telemetry
        effect: write
        action: allow
      - methods: [POST]
        path: /rpc
        header: { name: x-v, value: '2' }
        query: { dry_run: '*' }
        effect: write
        body: json-rpc
      - methods: [POST]
        path: '/orders/{id}/refund'
        effect: write   # 312 seen; say `read` if it only reads
    read_only:
      methods:
        - get_stock
        # - set_stock   # 5 seen; list it if it only reads
  - name: vectors
    path_prefix: /vectors
    mode: observe
    catalogs: [qdrant]
    rules:
      - methods: [POST]
        path: /
        effect: write   # 1 seen; say `read` if it only reads
  - name: tools
    path_prefix: /tools
    mode: observe
    catalogs: [mcp]
    # read_only:
    #   tools:
    #     - get_weather   # 5 seen; list it if it only reads
  - name: quiet
    path_prefix: /quiet
  - name: everything-else
    path_prefix: /
    rules:
      - methods: [DELETE]
        path: '/legacy/{id}'
        effect: write   # 3 seen; say `read` if it only reads
--- exit code 0
"#);
    let file = dir.path().join("started.yaml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let checked = run(&mut command(&["config", "check", file.to_str().unwrap()])).await;
    insta::assert_snapshot!(checked.stdout.split_once(": ").unwrap().1, @r#"
5 surfaces, 6 rules, 0 tokens, mode enforce, listening on 127.0.0.1:7423
"#);
    for (request, host, decides) in [
        ("POST /api/orders/7/refund", "shop.example.com", "surface shop: rules[3] POST /orders/{id}/refund"),
        ("DELETE /legacy/7", "a.example.com", "surface everything-else: rules[0] DELETE /legacy/{id}"),
        ("POST /vectors", "a.example.com", "surface vectors: rules[0] POST /"),
    ] {
        let host = format!("host: {host}");
        let explain = ["explain", "--config", file.to_str().unwrap(), "-H", &host, request];
        let explained = run(&mut command(&explain)).await.stdout;
        assert!(explained.contains(&format!("because of  {decides}\n")), "{request}: {explained}");
    }
    let one = serve.json(&["surfaces", "--as-rules", "--surface", "tools"]).await;
    assert_eq!(
        one,
        json!({ "surfaces": [{ "name": "tools", "path_prefix": "/tools", "mode": "observe", "catalogs": ["mcp"] }] })
    );
}

#[tokio::test]
async fn where_nothing_is_observed_there_is_a_hint() {
    let (serve, _dir) = serve_with("surfaces: [{ name: shop }]", vec![]).await;
    insta::assert_snapshot!(serve.run(&["surfaces"]).await.redacted(), @r#"
since TIME, when the companion started
shop: not observed
other: not observed
hint: requests are seen in observe mode only: say `mode: observe` in the companion's configuration, at the top or for one surface, and restart it
--- exit code 0
"#);
    insta::assert_snapshot!(serve.run(&["surfaces", "--as-rules"]).await.redacted(), @r#"
# From what was seen since TIME, to take the place of `surfaces` in the companion's
# configuration. Rules with a remark are new: say of each whether it reads or writes. They come
# before what catalogs say.
surfaces:
  - name: shop
    path_prefix: /
--- exit code 0
"#);
}

#[tokio::test]
async fn reports_of_all_enforcers_are_added_up_and_old_ones_name_no_rule() {
    let (companion, _dir) = Companion::start(CONFIG).await;
    let mut first = Enforcer::new(&companion.url, "edge-1", "1");
    first.obey().await;
    let mut second = Enforcer::new(&companion.url, "edge-2", "1");
    second.obey().await;
    let one = ruled("vectors", "PUT", Effect::Write, (Some(0), 21));
    first.saw(vec![one.clone()]).await;
    second.saw(vec![one.clone(), one.clone()]).await;
    // A window changes the snapshot and not its rules.
    companion.freeze().await;
    second.obey().await;
    second.saw(vec![one.clone()]).await;
    for epoch in [first.request.applied.0 - 1, second.request.applied.0 + 1] {
        second.request.applied = Epoch(epoch);
        second.saw(vec![one.clone()]).await;
    }
    let view: SurfacesView = companion.get("/v1/surfaces").await;
    let vectors = view.surfaces.iter().find(|surface| surface.name == "vectors").unwrap();
    let found: Vec<_> =
        vectors.seen.iter().map(|seen| (seen.count, seen.rule.as_str(), seen.path.as_deref())).collect();
    insta::assert_debug_snapshot!(found, @r#"
[
    (
        20,
        "catalog qdrant 1.19.0: rules[21] PUT /collections/{collection}/points",
        Some(
            "/vectors/collections/{collection}/points",
        ),
    ),
    (
        10,
        "a rule of another configuration",
        None,
    ),
]
"#);
    companion.stop().await;
}

#[tokio::test]
async fn reports_that_are_too_large_or_do_not_parse_are_refused_with_their_place() {
    let (companion, _dir) = Companion::start("mode: observe").await;
    let long = "x".repeat(2_000);
    let entry = json!({ "surface": "other", "method": "POST", "path": "/x", "effect": "write", "by": "method", "count": 1 });
    for (pointer, value, says) in [
        ("/seen/0/method", json!(long), "seen[0].method: is too long"),
        ("/seen/0/path", json!(long), "seen[0].path: is too long"),
        ("/seen/0/by", json!("luck"), "seen[0].by: unknown variant `luck`"),
        ("/seen/0/count", json!(-1), "seen[0].count: invalid value"),
        ("/seen", json!(vec![entry.clone(); 5_000]), "seen: has 5000 entries; at most 4096"),
        ("/unlisted", json!("many"), "unlisted: invalid type"),
    ] {
        let mut report = json!({ "enforcer": "edge-1", "epoch": 1, "seen": [entry], "unlisted": 0 });
        *report.pointer_mut(pointer).unwrap() = value;
        let response = companion.send(Method::POST, "/v1/seen", Some(&report)).await;
        assert!(response.status().is_client_error());
        let text = response.text().await.unwrap();
        assert!(text.contains(says), "{pointer}: {text}");
    }
    let huge = http().post(format!("{}/v1/seen", companion.url)).body(" ".repeat(2 << 20));
    assert_eq!(huge.send().await.unwrap().status(), 413);
    let view: SurfacesView = companion.get("/v1/surfaces").await;
    assert!(view.surfaces.iter().all(|surface| surface.seen.is_empty()));
    companion.stop().await;
}

fn view(surfaces: &[Surface], seen: Vec<(usize, SeenView)>) -> SurfacesView {
    let names = surfaces.iter().map(|surface| (surface.name.to_string(), Some(surface.clone())));
    let mut view = SurfacesView {
        since: Timestamp::default(),
        catalog_files: Vec::new(),
        surfaces: names
            .chain([("other".to_owned(), None)])
            .map(|(name, configured)| SurfaceView { name, mode: Mode::Observe, configured, seen: Vec::new() })
            .collect(),
        unlisted: 0,
    };
    for (at, seen) in seen {
        view.surfaces[at].seen.push(seen);
    }
    view
}

fn any_seen() -> impl Strategy<Value = SeenView> {
    let method = prop_oneof![4 => Just("POST"), 2 => Just("DELETE"), 1 => Just("GET"), 1 => Just("post"), 1 => Just("")];
    let segment = prop::sample::select(vec!["{id}", "api", "API", "x", "vectors", "a", "b:c", ""]);
    let path = (prop::collection::vec(segment, 1..4), any::<bool>()).prop_map(|(segments, rest)| {
        format!("/{}{}", segments.join("/"), if rest { "/{*rest}" } else { "" })
    });
    let call = prop_oneof![
        4 => Just(None),
        2 => Just(Some("tools/call a # b".to_owned())),
        1 => Just(Some("set: {x} y".to_owned())),
        1 => Just(Some("é\u{fffd}'\"\\*".to_owned())),
    ];
    let protocol = prop::sample::select(vec![None, Some(BodyProtocol::Mcp), Some(BodyProtocol::JsonRpc)]);
    (method, prop::option::weighted(0.9, path), call, protocol).prop_map(|(method, path, call, protocol)| {
        SeenView {
            method: method.to_owned(),
            path,
            by: if call.is_some() { DecidedBy::Body } else { DecidedBy::Method },
            call,
            effect: if method == "GET" { Effect::Read } else { Effect::Write },
            action: "block".to_owned(),
            rule: "a rule".to_owned(),
            kind: None,
            protocol,
            count: 1,
            first_seen: Timestamp::default(),
            last_seen: Timestamp::default(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_seen_rules_to_start_from_can_be_loaded(
        everywhere in any::<bool>(),
        seen in prop::collection::vec((0..6_usize, any_seen()), 0..40),
    ) {
        let takes_x = "  - { name: x, path_prefix: /x }\n";
        let takes_all = if everywhere { "  - { name: everything-else }\n" } else { "  - { name: root, hosts: [r.example] }\n" };
        let config = Config::from_yaml(&format!("{CONFIG}{takes_x}{takes_all}"), "test.yaml").unwrap();
        let view = view(&config.surfaces, seen);
        let yaml = Starter::new(&view, None).yaml.document();
        let started = Config::from_yaml(&yaml, "started.yaml");
        prop_assert!(started.is_ok(), "{}\n{yaml}", started.unwrap_err());
        for (before, after) in config.surfaces.iter().zip(started.unwrap().surfaces) {
            prop_assert!(after.rules.starts_with(&before.rules));
            prop_assert_eq!(before, &Surface { rules: before.rules.clone(), ..after });
        }
    }
}
