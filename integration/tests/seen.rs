//! What the filter tells of observed surfaces, by the module that ships.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;

use common::{NOON, plugin_json, shipped_module, snapshot};
use quiesce_integration::{
    assert_eventually,
    host::{Head, Outcome, Vm, Workers},
    http::Request,
    stack::{Stack, StackOptions},
};
use quiesce_policy::{
    snapshot::{BodyProtocol, Effect, Mode, Rule, Snapshot, Surface, SurfaceName},
    sync::Seen,
};
use serde_json::Value;

/// A surface that is observed and has calls of tools, and one that is not.
fn observing() -> Snapshot {
    let surface = |name: &str, host: &str, mode| Surface {
        hosts: vec![host.to_owned()],
        mode,
        rules: vec![
            Rule::new(&["POST"], "/search", Effect::Read),
            Rule { body: Some(BodyProtocol::Mcp), ..Rule::new(&["POST"], "/mcp", Effect::Write) },
        ],
        ..Surface::named(SurfaceName::from(name))
    };
    Snapshot {
        surfaces: vec![
            surface("shop", "shop.example.com", Some(Mode::Observe)),
            surface("bank", "bank.example.com", None),
        ],
        ..snapshot(1, Vec::new())
    }
}

fn workers() -> Workers {
    let mut workers = Workers::start(&shipped_module(), 2, &plugin_json(), NOON).unwrap();
    workers.publish(&observing()).unwrap();
    workers.run(3000).unwrap();
    workers
}

fn send(vm: &mut Vm, host: &str, method: &str, path: &str, body: &[u8]) {
    let head = Head::new(method, path).header(":authority", host).header("content-type", "application/json");
    if body.is_empty() {
        assert_eq!(vm.exchange(&head).unwrap(), Outcome::Passed);
        return;
    }
    let (stream, mut outcome) = vm.request(&head, false).unwrap();
    if outcome == Outcome::Paused {
        outcome = vm.request_body(stream, body, true).unwrap();
    }
    assert_eq!(outcome, Outcome::Passed);
    vm.response(stream, 200, true).unwrap();
    vm.finish(stream).unwrap();
}

/// Everything told so far, a line each.
fn told(workers: &Workers) -> Vec<String> {
    let line = |seen: &Seen| {
        let Seen { surface, method, path, call, effect, by, rule, count } = seen;
        let rule = rule.map_or_else(String::new, |rule| format!(" {}", rule.index));
        format!(
            "{surface} {method} {} {} {} {}{rule} {count}",
            path.as_deref().unwrap_or("-"),
            call.as_deref().unwrap_or("-"),
            effect.as_str(),
            by.as_str()
        )
    };
    let mut lines: Vec<_> = workers.seen().iter().flat_map(|report| &report.seen).map(line).collect();
    lines.sort();
    lines
}

#[test]
fn requests_of_an_observed_surface_are_told_and_no_others() {
    let mut workers = workers();
    for number in 0..20 {
        let vm = workers.vm(number % 2);
        send(vm, "shop.example.com", "POST", &format!("/orders/{number}"), b"");
        send(vm, "shop.example.com", "POST", "/search", b"");
        send(vm, "bank.example.com", "POST", "/orders/1", b"");
    }
    let vm = workers.vm(1);
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}"#;
    send(vm, "shop.example.com", "POST", "/mcp", call);
    send(vm, "shop.example.com", "GET", "/a%2fb", b"");
    assert_eq!(told(&workers), [""; 0]);
    workers.run(5000).unwrap();
    let both_vms = ["shop POST - - read rule 0 10"; 2]
        .into_iter()
        .chain(["shop POST /orders/{id} - write method 10"; 2]);
    let mut expected: Vec<_> = both_vms.chain(["shop POST - tools/call delete write body 1 1"]).collect();
    expected.sort_unstable();
    assert_eq!(told(&workers), expected, "and a path that origins may differ about belongs to no surface");
    let report = &workers.seen()[0];
    assert_eq!((report.enforcer.as_str(), report.epoch.0, report.unlisted), ("envoy-1", 1, 0));
}

#[test]
fn nothing_seen_is_lost_while_the_companion_is_away() {
    let mut workers = workers();
    workers.set_companion_sees_nothing(true);
    send(workers.vm(1), "shop.example.com", "POST", "/orders", b"");
    workers.run(5000).unwrap();
    workers.set_companion_down(true).unwrap();
    send(workers.vm(1), "shop.example.com", "POST", "/orders", b"");
    workers.run(20_000).unwrap();
    assert_eq!(told(&workers), [""; 0]);
    workers.set_companion_sees_nothing(false);
    workers.set_companion_down(false).unwrap();
    workers.run(20_000).unwrap();
    assert_eq!(told(&workers), ["shop POST /orders - write method 2"]);
}

#[test]
fn however_many_paths_there_are_memory_does_not_grow() {
    let mut workers = workers();
    let mut fill = |round: u32| {
        for number in 0..2000_usize {
            let path = format!("/{}", "abcdefghij".repeat(2).split_at(1 + number % 19).0);
            send(workers.vm(1), "shop.example.com", "POST", &format!("{path}/{round}x{number:x}y"), b"");
        }
        workers.vm(1).memory_bytes()
    };
    let early = (0..3).map(&mut fill).max().unwrap();
    let late = (3..8).map(&mut fill).max().unwrap();
    assert_eq!(early, late);
    workers.run(5000).unwrap();
    let report = &workers.seen()[0];
    let listed: u64 = report.seen.iter().map(|seen| seen.count).sum();
    assert_eq!(listed + report.unlisted, 8 * 2000);
    assert!(report.seen.len() <= 256 && report.unlisted > 0, "{}", report.seen.len());
}

const OBSERVED: &str = "\
surfaces:
  - name: shop
    path_prefix: /shop
    mode: observe
    catalogs: [mcp]
    rules: [{ methods: [POST], path: /search, effect: read }]
";

/// The way of an operator: from Envoy to the command line, and back as a configuration.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_passes_through_envoy() {
    let stack = Stack::start(StackOptions { companion: OBSERVED.to_owned(), ..StackOptions::default() });
    let stack = stack.await.unwrap();
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}"#;
    for number in 0..10 {
        for (path, body) in [
            (format!("/shop/orders/{number}/refund"), "{}"),
            ("/shop/search".to_owned(), "{}"),
            ("/shop/mcp".to_owned(), list),
            ("/shop/mcp".to_owned(), call),
        ] {
            let request = Request::post(&path, body).header("content-type", "application/json");
            assert_eq!(stack.send(&request).await.unwrap().status, 200, "observed, and no window");
        }
    }
    let seen = async || -> Vec<String> {
        let shown: Value = stack.companion.json(&["surfaces", "--surface", "shop"]).await.unwrap();
        let line = |seen: &Value| {
            let text = |field: &str| seen[field].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {}",
                text("method"),
                text("path"),
                text("call"),
                text("effect"),
                seen["count"]
            )
        };
        shown["surfaces"][0]["seen"].as_array().unwrap().iter().map(line).collect()
    };
    let expected = [
        "POST /shop/orders/{id}/refund - write 10",
        "POST /shop/mcp tools/call delete write 10",
        "POST /shop/mcp tools/list read 10",
        "POST /shop/search - read 10",
    ];
    assert_eventually!(seen().await == expected, "what was seen: {:?}", seen().await);
    let rules = stack.companion.run(&["surfaces", "--as-rules"]).await.unwrap();
    assert!(
        rules.contains("/orders/{id}/refund")
            && rules.contains("tools/call delete") | rules.contains("delete")
    );
}
