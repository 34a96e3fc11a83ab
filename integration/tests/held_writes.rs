//! Writes that a rule queues, held in the module that ships, at moments that only a host of our own can choose.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;
#[path = "common/vms.rs"]
mod vms;

use std::sync::{Arc, Mutex};

use common::{NOON, window};
use quiesce_integration::host::{Answer, Head, HttpCall, LocalResponse, Outcome, StreamId, Vm, Workers};
use quiesce_policy::{
    Headers, intent,
    snapshot::{Action, Effect, Epoch, IntentPolicy, Rule, Snapshot, Surface, SurfaceName, Window},
};
use serde_json::Value;
use vms::{TICK_MS, other_than, workers};

const MAX_BYTES: usize = 1000;

/// Everything below `/orders/` is queued.
fn queueing(version: u64, windows: Vec<Window>) -> Snapshot {
    let queue = Rule { action: Some(Action::Queue), ..Rule::new(&[], "/orders/{*rest}", Effect::Write) };
    let surface = Surface { rules: vec![queue], ..Surface::named(SurfaceName::from("shop")) };
    let headers = ["content-type", "idempotency-key"].map(str::to_owned).to_vec();
    let intents = IntentPolicy { max_bytes: MAX_BYTES, headers };
    Snapshot { version: Epoch(version), windows, surfaces: vec![surface], intents, ..Snapshot::default() }
}

fn frozen(version: u64) -> Snapshot {
    queueing(version, vec![window("w", NOON)])
}

fn order() -> Head {
    Head::new("POST", "/orders/7")
}

/// What the VM has asked the companion for its streams.
fn asked(vm: &Vm) -> Vec<HttpCall> {
    let is_asked = |call: &HttpCall| matches!(call.header(":path"), Some(path) if path != b"/v1/sync" && path != b"/v1/seen");
    vm.http_calls().into_iter().filter(is_asked).collect()
}

fn in_flight(workers: &Workers) -> u64 {
    workers.process.metric("quiesce.in_flight.0") + workers.process.metric("quiesce.in_flight.1")
}

/// A write whose body is still to come.
fn held(vm: &mut Vm) -> StreamId {
    let (stream, outcome) = vm.request(&order(), false).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    stream
}

/// A write that is offered to the companion.
fn offered(vm: &mut Vm) -> (StreamId, u32) {
    let stream = held(vm);
    assert_eq!(vm.request_body(stream, b"{}", true).unwrap(), Outcome::Paused);
    (stream, asked(vm).last().unwrap().token)
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer::Response { status, headers, body: body.as_bytes().to_vec() }
}

fn code(response: &LocalResponse) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_offer_is_the_write_byte_for_byte_with_the_headers_listed() {
    let mut workers = workers(1, &frozen(1));
    let head = order()
        .header("content-type", "application/json")
        .header("cookie", "session=1")
        .header("authorization", "Bearer secret")
        .header("idempotency-key", "\"k1\"");
    let (stream, outcome) = workers.vm(0).request(&head, false).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    let body: Vec<u8> = (0..MAX_BYTES).map(|at| at.to_le_bytes()[0]).collect();
    for (part, end) in [(&body[..400], false), (&body[400..], true)] {
        assert!(asked(workers.vm(0)).is_empty(), "it is offered as a whole");
        assert_eq!(workers.vm(0).request_body(stream, part, end).unwrap(), Outcome::Paused);
    }
    assert_eq!(in_flight(&workers), 0, "what is held was not passed");

    let calls = asked(workers.vm(0));
    let [offer] = &calls[..] else { panic!("{calls:?}") };
    for (name, value) in [
        (":method", "POST"),
        (":path", "/v1/intents"),
        ("quiesce-surface", "shop"),
        ("quiesce-window", "w"),
        ("quiesce-enforcer", "envoy-1"),
    ] {
        assert_eq!(offer.header(name), Some(value.as_bytes()), "{name}");
    }
    assert!(offer.header("authorization").unwrap().starts_with(b"Bearer "));
    let (block, kept) = intent::read(&offer.body).unwrap();
    assert_eq!(kept, body);
    let mut pairs = Headers::read(block).pairs();
    let kept: Vec<_> = pairs.by_ref().map(|(name, _)| str::from_utf8(name).unwrap()).collect();
    assert!(pairs.were_all());
    assert_eq!(kept, [":authority", ":path", ":method", ":scheme", "content-type", "idempotency-key"]);

    let kept = [("quiesce-outcome", "queued"), ("location", "/r/1"), ("retry-after", "9"), ("server", "x")];
    workers.vm(0).answer(offer.token, answer(202, &kept, "{}")).unwrap();
    let outcome = workers.vm(0).outcome(stream);
    let response = outcome.answered().unwrap();
    assert_eq!((response.status, &response.body[..]), (202, &b"{}"[..]));
    assert_eq!(
        response.headers,
        [("location", "/r/1"), ("retry-after", "9")].map(|(n, v)| (n.into(), v.into()))
    );
}

#[test]
fn an_answer_that_is_none_is_a_refusal_that_says_so() {
    let mut workers = workers(1, &frozen(1));
    let queued = ("quiesce-outcome", "queued");
    for none in [
        Answer::Failure,
        answer(202, &[], r#"{"state":"held"}"#),
        answer(401, &[], ""),
        answer(502, &[("content-type", "text/html")], "<html>"),
        answer(202, &[queued, queued], ""),
    ] {
        let (stream, token) = offered(workers.vm(0));
        workers.vm(0).answer(token, none.clone()).unwrap();
        let outcome = workers.vm(0).outcome(stream);
        let response = outcome.answered().unwrap();
        assert_eq!((response.status, code(response).as_str()), (503, "intent-not-kept"), "{none:?}");
        assert!(response.header("retry-after").unwrap().parse::<u64>().unwrap() >= 10);
        assert!(String::from_utf8_lossy(&response.body).contains("not known"), "{response:?}");
        workers.vm(0).finish(stream).unwrap();
    }
    let (stream, token) = offered(workers.vm(0));
    let full = [("quiesce-outcome", "intents-full"), ("content-type", "application/problem+json")];
    workers.vm(0).answer(token, answer(503, &full, r#"{"code":"intents-full"}"#)).unwrap();
    assert_eq!(code(workers.vm(0).outcome(stream).answered().unwrap()), "intents-full");
    workers.vm(0).finish(stream).unwrap();

    workers.run(2 * TICK_MS).unwrap();
    let count = |outcome: &str| workers.process.metric(&format!("quiesce.surface.shop.{outcome}"));
    assert_eq!((count("refused.intent-not-kept"), count("refused.intents-full")), (5, 1));
}

#[test]
fn without_a_cluster_to_ask_it_is_refused_at_once() {
    let mut workers = workers(1, &frozen(1));
    let configuration = r#"{"companion_cluster":"nowhere","sync_token":"t"}"#;
    let mut lost = workers.process.start_vm(configuration).unwrap();
    let (stream, outcome) = lost.request(&Head::new("DELETE", "/orders/7"), true).unwrap();
    assert_eq!(code(outcome.answered().unwrap()), "intent-not-kept");
    lost.finish(stream).unwrap();
    let outcome = lost.exchange(&Head::new("GET", "/.well-known/maintenance/intents/abc")).unwrap();
    assert_eq!(code(outcome.answered().unwrap()), "receipt-unavailable");
    workers.run(TICK_MS).unwrap();
}

#[test]
fn what_is_longer_than_may_be_kept_is_refused_as_soon_as_that_is_known() {
    let mut workers = workers(1, &frozen(1));
    let vm = workers.vm(0);
    let announced = order().header("content-length", (MAX_BYTES + 1).to_string());
    let (stream, outcome) = vm.request(&announced, false).unwrap();
    assert_eq!(code(outcome.answered().unwrap()), "intent-too-large", "by its head");
    vm.finish(stream).unwrap();

    let stream = held(vm);
    assert_eq!(vm.request_body(stream, &[b'a'; MAX_BYTES], false).unwrap(), Outcome::Paused);
    let outcome = vm.request_body(stream, b"a", false).unwrap();
    let response = outcome.answered().unwrap();
    assert_eq!((response.status, code(response).as_str()), (423, "intent-too-large"), "by its body");
    vm.finish(stream).unwrap();
    assert!(asked(vm).is_empty());
}

#[test]
fn a_write_held_when_the_window_ends_passes_and_is_counted() {
    for end in ["whole", "too long"] {
        let mut workers = workers(2, &frozen(1));
        let vm = other_than(&workers, workers.leader().unwrap());
        let stream = held(workers.vm(vm));
        assert_eq!(in_flight(&workers), 0);
        workers.publish(&queueing(2, vec![])).unwrap();
        let rest = if end == "whole" { vec![b'a'] } else { vec![b'a'; MAX_BYTES + 1] };
        assert_eq!(workers.vm(vm).request_body(stream, &rest, end == "whole").unwrap(), Outcome::Passed);
        assert!(asked(workers.vm(vm)).is_empty(), "it is not kept as well");
        assert_eq!(in_flight(&workers), 1, "it is a write as any other");
        workers.publish(&frozen(3)).unwrap();
        assert_eq!(workers.last_report().unwrap().in_flight, 1, "and the next window waits for it");
        workers.vm(vm).finish(stream).unwrap();
        workers.run(TICK_MS).unwrap();
        assert_eq!((in_flight(&workers), workers.last_report().unwrap().in_flight), (0, 0));
    }
}

#[test]
fn a_write_is_kept_for_the_window_that_is_in_force_when_it_is_whole() {
    let mut workers = workers(2, &frozen(1));
    let vm = other_than(&workers, workers.leader().unwrap());
    let stream = held(workers.vm(vm));
    workers.publish(&queueing(2, vec![])).unwrap();
    workers.publish(&queueing(3, vec![window("next", NOON)])).unwrap();
    assert_eq!(workers.last_report().unwrap().in_flight, 0, "what is held holds no barrier up");
    assert_eq!(workers.vm(vm).request_body(stream, b"{}", true).unwrap(), Outcome::Paused);
    let calls = asked(workers.vm(vm));
    assert_eq!(calls[0].header("quiesce-window"), Some(&b"next"[..]));

    // One that was on its way before is in flight, and not kept.
    workers.publish(&queueing(4, vec![])).unwrap();
    let (stream, outcome) = workers.vm(vm).request(&order(), false).unwrap();
    assert_eq!(outcome, Outcome::Passed);
    workers.publish(&frozen(5)).unwrap();
    assert_eq!(workers.vm(vm).request_body(stream, b"{}", true).unwrap(), Outcome::Passed);
    assert_eq!(workers.last_report().unwrap().in_flight, 1);
    assert_eq!(asked(workers.vm(vm)).len(), 1);
}

#[test]
fn streams_that_end_while_they_wait_are_forgotten() {
    let mut workers = workers(1, &frozen(1));
    let vm = workers.vm(0);
    let stream = held(vm);
    vm.finish(stream).unwrap();
    let (gone, token) = offered(vm);
    vm.finish(gone).unwrap();
    let (waits, other) = offered(vm);
    // The host fails the test if the module acts on a stream that is gone.
    vm.answer(token, answer(202, &[("quiesce-outcome", "queued")], "{}")).unwrap();
    assert_eq!(vm.outcome(waits), Outcome::Paused, "another's answer is not its own");
    vm.answer(other, answer(202, &[("quiesce-outcome", "queued")], "{}")).unwrap();
    assert_eq!(vm.outcome(waits).answered().unwrap().status, 202);
    vm.finish(waits).unwrap();
    let before = vm.memory_bytes();
    for _ in 0..2000 {
        let (stream, token) = offered(vm);
        vm.finish(stream).unwrap();
        vm.answer(token, Answer::Failure).unwrap();
    }
    assert!(vm.memory_bytes() <= before + 1_000_000, "{before} bytes, then {}", vm.memory_bytes());
}

#[test]
fn receipts_come_from_the_companion() {
    let mut workers = workers(1, &frozen(1));
    let vm = workers.vm(0);
    let receipt =
        |method: &str, id: &str| Head::new(method, &format!("/.well-known/maintenance/intents/{id}"));
    for (method, target) in [("GET", "01abc"), ("HEAD", "01abc"), ("GET", "01abc?x=/y")] {
        let (stream, outcome) = vm.request(&receipt(method, target), true).unwrap();
        assert_eq!(outcome, Outcome::Paused);
        let calls = asked(vm);
        let [call] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!(
            (call.header(":method"), call.header(":path")),
            (Some(&b"GET"[..]), Some(&b"/v1/receipts/01abc"[..]))
        );
        vm.answer(call.token, answer(200, &[("quiesce-outcome", "queued")], r#"{"state":"done"}"#)).unwrap();
        assert_eq!(vm.outcome(stream).answered().unwrap().body, br#"{"state":"done"}"#);
        vm.finish(stream).unwrap();
    }
    let (stream, _) = vm.request(&receipt("GET", "01abc"), true).unwrap();
    let token = asked(vm)[0].token;
    vm.answer(token, Answer::Failure).unwrap();
    let outcome = vm.outcome(stream);
    let response = outcome.answered().unwrap();
    assert_eq!((response.status, code(response).as_str()), (503, "receipt-unavailable"));
    assert!(response.header("retry-after").is_some());
    // What is no receipt's URL is the origin's business.
    for (method, target) in [("GET", ""), ("GET", "a/b"), ("GET", "a-b"), ("OPTIONS", "01abc")] {
        assert_eq!(vm.exchange(&receipt(method, target)).unwrap(), Outcome::Passed, "{method} {target}");
    }
}

/// As in `interleavings.rs`, for a write that was held: the window has ended, and another begins between any
/// two host calls of its second admission.
#[test]
fn a_freeze_between_any_two_host_calls_of_a_held_write_lets_none_escape() {
    let (mut passed, mut kept) = (0, 0);
    for at in 1.. {
        let workers = Arc::new(Mutex::new(workers(2, &frozen(1))));
        let leader = workers.lock().unwrap().leader().unwrap();
        let vm = other_than(&workers.lock().unwrap(), leader);
        let mut worker = workers.lock().unwrap().vms.remove(&vm).unwrap();
        let stream = held(&mut worker);
        workers.lock().unwrap().publish(&queueing(2, vec![])).unwrap();
        let process = workers.lock().unwrap().process.clone();
        let calls = Arc::new(Mutex::new((0, None)));
        let (others, seen) = (Arc::clone(&workers), Arc::clone(&calls));
        process.on_host_call(move |number, _| {
            let mut seen = seen.lock().unwrap();
            if number != vm {
                return;
            }
            seen.0 += 1;
            if seen.0 == at {
                let mut others = others.lock().unwrap();
                others.publish(&frozen(3)).unwrap();
                seen.1 = Some(others.last_report().unwrap().clone());
            }
        });
        let outcome = worker.request_body(stream, b"{}", true).unwrap();
        process.clear_hook();
        let Some(report) = calls.lock().unwrap().1.take() else { break };
        let offers = asked(&worker).len();
        assert_eq!(offers, usize::from(outcome == Outcome::Paused), "kept at host call {at}: {outcome:?}");
        if outcome == Outcome::Passed {
            assert_eq!(report.in_flight, 1, "proven at host call {at}, and the write passed");
            passed += 1;
        } else {
            kept += 1;
        }
        worker.finish(stream).unwrap();
        let mut workers = workers.lock().unwrap();
        workers.vms.insert(vm, worker);
        workers.run(2 * TICK_MS).unwrap();
        assert_eq!(workers.last_report().unwrap().in_flight, 0, "in the end it is proven");
    }
    assert!(passed >= 1 && kept >= 3, "{passed} passed, {kept} kept");
}
