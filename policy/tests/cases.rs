//! The table of cases, natively and on wasm32 in Node: the same data runs through the shipped module
//! and through Envoy in `integration`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is missing here fails its test")]

use std::collections::BTreeMap;

use quiesce_policy::{
    Circumstances, HeaderBlock, Latches, Policy, Refusal, Request, Stop, Timestamp, Verdict,
    banner::{self, BANNER_PATH},
    reply::{self, RefusalReply, Reply},
    retry::RetryLedger,
    snapshot::{Action, Effect, Snapshot},
    wire::Dialect,
};
use serde::Deserialize;
use serde_json::Value;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "about")]
    _about: String,
    snapshots: BTreeMap<String, Snapshot>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    snapshot: String,
    clock: Timestamp,
    request: CaseRequest,
    expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseRequest {
    method: String,
    path: String,
    host: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
    peer_identity: Option<String>,
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
fn every_case_is_judged_as_the_table_says() {
    let table: Table = serde_json::from_str(include_str!("../cases/http.json")).unwrap();
    assert!(table.cases.len() >= 80);
    for case in &table.cases {
        let seen = run(case, &table.snapshots[&case.snapshot]);
        for (member, expected) in case.expect.as_object().unwrap() {
            let met = match (member.as_str(), expected) {
                ("retry_after_s", Value::Array(range)) => {
                    let within = |s: u64| range[0].as_u64().unwrap() <= s && s <= range[1].as_u64().unwrap();
                    seen["retry_after_s"].as_u64().is_some_and(within)
                }
                ("body", Value::Object(members)) => {
                    members.iter().all(|(name, value)| seen["body"][name] == *value)
                }
                _ => seen[member] == *expected,
            };
            assert!(met, "{}: `{member}` should be {expected}, but is as in {seen}", case.name);
        }
    }
}

/// What becomes of the request, in the words of the table.
fn run(case: &Case, snapshot: &Snapshot) -> Value {
    let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let policy = Policy::compile(snapshot).unwrap().scoped_to(&labels);
    let CaseRequest { method, path, host, headers, body, peer_identity } = &case.request;
    let host = host.as_deref().unwrap_or("shop.example.com");
    let mut pairs: Vec<(&[u8], &[u8])> =
        vec![(b":method", method.as_bytes()), (b":path", path.as_bytes()), (b":authority", host.as_bytes())];
    pairs.extend(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let block = HeaderBlock::new(&pairs);
    let request = Request::read(block.headers());
    let latches = Latches::new();
    if request.target.starts_with(BANNER_PATH) && method == "GET" {
        return answered("answer", &banner::answer(&policy, &request, case.clock, &latches));
    }
    let mut classified = policy.classify(&request);
    let body = body.as_deref().unwrap_or_default().as_bytes();
    if classified.awaits_body {
        classified = policy.inspect(&request, classified, body);
    }
    if classified.effect == Effect::Read || classified.action == Action::Allow {
        return serde_json::json!({ "verdict": "pass", "effect": classified.effect });
    }
    let mut identity = || peer_identity.as_ref().map(|identity| identity.clone().into_bytes());
    let circumstances = Circumstances { now: case.clock, latches: &latches, peer_identity: &mut identity };
    match policy.judge(&request, &classified, circumstances) {
        Verdict::Open => serde_json::json!({ "verdict": "pass", "effect": "write" }),
        Verdict::Exempt => serde_json::json!({ "verdict": "pass", "effect": "write", "exempt": true }),
        Verdict::Observed(stop) => {
            serde_json::json!({ "verdict": "pass", "effect": "write", "observed": stop.code() })
        }
        Verdict::Stopped(Stop::Queued, window) if body.len() <= policy.intents().max_bytes => {
            serde_json::json!({ "verdict": "queue", "window": window.id })
        }
        Verdict::Stopped(Stop::Dropped, window) => answered("drop", &reply::dropped(window)),
        Verdict::Stopped(stop, window) => {
            let refusal = if let Stop::Refused(refusal) = stop { refusal } else { Refusal::IntentTooLarge };
            let wait = RetryLedger::default().refuse(1, policy.retry(), case.clock, window.ends_at, 7);
            let reply = RefusalReply::new(refusal, Some(window), policy.status_page());
            let dialect = Dialect::of(&request, classified.protocol, body);
            answered("refuse", &reply.to(dialect, policy.refused_calls(), wait.retry_after_s))
        }
    }
}

fn answered(verdict: &str, reply: &Reply) -> Value {
    // Only who has an answer already is sent none.
    let body: Value =
        if reply.status == 304 { Value::Null } else { serde_json::from_slice(&reply.body).unwrap() };
    let retry_after_s = reply.headers.headers().single(b"retry-after");
    // The same problem is in what JSON-RPC and GraphQL know as errors.
    let dressed = [&body["error"]["data"], &body["errors"][0]["extensions"]];
    let problem = dressed.into_iter().find(|data| data.is_object()).unwrap_or(&body);
    serde_json::json!({
        "verdict": verdict,
        "status": reply.status,
        "code": problem["code"],
        "window": problem["window"],
        "retry_after_s": retry_after_s.map(|value| str::from_utf8(value).unwrap().parse::<u64>().unwrap()),
        "body": body,
    })
}
