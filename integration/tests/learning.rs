//! Learning from answers which tools read, by the module that ships for it: who is heard, and who is not.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;

use common::{NOON, learning_module, plugin_json, shipped_module, snapshot, window};
use quiesce_integration::host::{Head, Module, Outcome, StreamId, Vm, Workers};
use quiesce_policy::snapshot::{BodyProtocol, Effect, Mode, ReadOnly, Rule, Snapshot, Surface, SurfaceName};

const JSON: (&str, &str) = ("content-type", "application/json");
const EVENTS: (&str, &str) = ("content-type", "text/event-stream");
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// Two surfaces with servers of MCP, both trusted or not.
fn servers(version: u64, learn_tools: bool) -> Snapshot {
    let surface = |name: &str, host: &str| Surface {
        hosts: vec![host.to_owned()],
        rules: vec![Rule { body: Some(BodyProtocol::Mcp), ..Rule::new(&["POST"], "/{at}", Effect::Write) }],
        read_only: ReadOnly { learn_tools, ..ReadOnly::default() },
        ..Surface::named(SurfaceName::from(name))
    };
    Snapshot {
        surfaces: vec![surface("notes", "api.example.com"), surface("files", "files.example.com")],
        ..snapshot(version, Vec::new())
    }
}

fn frozen(snapshot: Snapshot) -> Snapshot {
    Snapshot { windows: vec![window("w1", NOON)], ..snapshot }
}

fn workers(module: &Module, first: &Snapshot) -> Workers {
    let mut workers = Workers::start(module, 3, &plugin_json(), NOON).unwrap();
    publish(&mut workers, first);
    workers
}

fn publish(workers: &mut Workers, snapshot: &Snapshot) {
    workers.publish(snapshot).unwrap();
    workers.run(1000).unwrap();
    assert_eq!(workers.process.metric("quiesce.epoch"), snapshot.version.0);
}

/// A message on its way to the origin, which nobody waits for any more.
fn passed(vm: &mut Vm, head: &Head, body: &str) -> StreamId {
    let (stream, mut outcome) = vm.request(head, body.is_empty()).unwrap();
    if outcome == Outcome::Paused {
        outcome = vm.request_body(stream, body.as_bytes(), true).unwrap();
    }
    assert_eq!(outcome, Outcome::Passed, "{body}");
    stream
}

fn message(headers: &[(&str, &str)]) -> Head {
    headers.iter().fold(Head::new("POST", "/mcp"), |head, (name, value)| head.header(name, value))
}

/// An answer in parts of so many bytes.
fn answer(vm: &mut Vm, stream: StreamId, headers: &[(&str, &str)], text: &str, part_bytes: usize) {
    assert_eq!(vm.response_with(stream, 200, headers, false).unwrap(), Outcome::Passed);
    for part in text.as_bytes().chunks(part_bytes) {
        assert_eq!(vm.response_body(stream, part, false).unwrap(), Outcome::Passed, "nothing is held back");
    }
    vm.response_body(stream, b"", true).unwrap();
    vm.finish(stream).unwrap();
}

fn listed(tools: &[(&str, bool)]) -> String {
    let tool = |(name, reads): &(&str, bool)| {
        format!(r#"{{"name":"{name}","inputSchema":{{}},"annotations":{{"readOnlyHint":{reads}}}}}"#)
    };
    let tools: Vec<_> = tools.iter().map(tool).collect();
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{}]}}}}"#, tools.join(","))
}

/// The whole of a listing, answered as JSON.
fn list(vm: &mut Vm, tools: &[(&str, bool)]) {
    let stream = passed(vm, &message(&[JSON]), LIST);
    answer(vm, stream, &[JSON], &listed(tools), 50);
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

/// Whether a call of a tool is passed.
fn passes(vm: &mut Vm, head: &Head, tool: &str) -> bool {
    match vm.exchange_with_body(head, call(tool).as_bytes()).unwrap() {
        Outcome::Passed => true,
        Outcome::Answered(_) => false,
        other => panic!("{other:?}"),
    }
}

fn reads(vm: &mut Vm, tool: &str) -> bool {
    passes(vm, &message(&[JSON]), tool)
}

#[test]
fn what_one_worker_hears_all_of_them_know() {
    let mut workers = workers(&learning_module(), &servers(1, true));
    list(workers.vm(0), &[("find", true), ("add", false)]);
    publish(&mut workers, &frozen(servers(2, true)));
    for number in [0, 1, 2] {
        let vm = workers.vm(number);
        assert!(reads(vm, "find") && !reads(vm, "add") && !reads(vm, "look"), "VM {number}");
    }
    // Pages, and a server that changes its mind; while frozen too.
    list(workers.vm(1), &[("look", true)]);
    assert!(reads(workers.vm(2), "find") && reads(workers.vm(2), "look"));
    list(workers.vm(1), &[("find", false)]);
    assert!(!reads(workers.vm(2), "find") && reads(workers.vm(2), "look"));
    let batch = format!("[{},{}]", call("look"), call("find"));
    assert!(matches!(
        workers.vm(0).exchange_with_body(&message(&[JSON]), batch.as_bytes()).unwrap(),
        Outcome::Answered(_)
    ));
}

#[test]
fn the_module_for_everybody_learns_nothing_and_is_not_entered_for_answers() {
    for (module, learns) in [(shipped_module(), false), (learning_module(), true)] {
        let mut workers = workers(&module, &servers(1, true));
        list(workers.vm(0), &[("find", true)]);
        workers.vm(0).take_usage();
        let stream = passed(workers.vm(0), &Head::new("GET", "/other"), "");
        answer(workers.vm(0), stream, &[JSON], "{}", 50);
        // The request and its end; or the answer's head and the two parts of its body besides.
        assert_eq!(workers.vm(0).take_usage().entries, if learns { 5 } else { 2 });
        publish(&mut workers, &frozen(servers(2, true)));
        assert_eq!(reads(workers.vm(1), "find"), learns);
    }
}

#[test]
fn only_a_surface_that_trusts_its_servers_is_listened_to() {
    let mut workers = workers(&learning_module(), &servers(1, false));
    list(workers.vm(0), &[("find", true)]);
    publish(&mut workers, &frozen(servers(2, true)));
    assert!(!reads(workers.vm(0), "find"), "heard before it was trusted");
    list(workers.vm(0), &[("find", true)]);
    assert!(reads(workers.vm(0), "find"));
    publish(&mut workers, &frozen(servers(3, false)));
    assert!(!reads(workers.vm(0), "find"), "not trusted any more");
}

#[test]
fn a_server_speaks_for_its_own_url_alone() {
    let mut workers = workers(&learning_module(), &servers(1, true));
    list(workers.vm(0), &[("find", true)]);
    publish(&mut workers, &frozen(servers(2, true)));
    let vm = workers.vm(0);
    assert!(reads(vm, "find"));
    for (name, value) in [
        (":authority", "files.example.com"),
        (":authority", "api.example.com:8080"),
        (":path", "/other"),
        (":path", "/mcp?server=2"),
    ] {
        assert!(!passes(vm, &message(&[JSON, (name, value)]), "find"), "{name}: {value}");
    }
}

#[test]
fn answers_come_as_events_and_in_any_parts() {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let text =
        format!("id: 1\ndata: \n\ndata: {note}\n\nevent: message\ndata: {}\n\n", listed(&[("find", true)]));
    for part_bytes in [1, 7, 1000] {
        let mut workers = workers(&learning_module(), &frozen(servers(1, true)));
        let stream = passed(workers.vm(0), &message(&[JSON]), LIST);
        workers.vm(0).response_with(stream, 200, &[EVENTS], false).unwrap();
        for part in text.as_bytes().chunks(part_bytes) {
            assert!(!reads(workers.vm(1), "find"), "before all of it has come");
            workers.vm(0).response_body(stream, part, false).unwrap();
        }
        assert!(reads(workers.vm(1), "find"), "though the stream goes on");
        workers.vm(0).finish(stream).unwrap();
    }
}

#[test]
fn an_answer_with_trailers_is_whole_too_and_one_that_is_cut_is_not() {
    let mut workers = workers(&learning_module(), &frozen(servers(1, true)));
    let vm = workers.vm(0);
    let text = listed(&[("find", true)]);
    for (length, learned) in [(text.len() - 1, false), (text.len(), true), (text.len() - 1, true)] {
        let stream = passed(vm, &message(&[JSON]), LIST);
        vm.response_with(stream, 200, &[JSON], false).unwrap();
        vm.response_body(stream, &text.as_bytes()[..length], false).unwrap();
        vm.finish(stream).unwrap();
        assert_eq!(reads(vm, "find"), learned, "a client that goes away takes nothing back");
    }
}

#[test]
fn only_a_listing_is_asked_for_in_plain_text() {
    let mut workers = workers(&learning_module(), &servers(1, true));
    let vm = workers.vm(0);
    let encoding = ("accept-encoding", "gzip");
    for (body, kept) in [(LIST, None), (&*call("find"), Some(&b"gzip"[..]))] {
        let stream = passed(vm, &message(&[JSON, encoding]), body);
        assert_eq!(vm.request_header(stream, "accept-encoding"), kept, "{body}");
        assert_eq!(vm.request_header(stream, "content-type"), Some(&b"application/json"[..]));
        vm.finish(stream).unwrap();
    }
    let elsewhere = Head::new("POST", "/a/b").header(JSON.0, JSON.1).header(encoding.0, encoding.1);
    let (stream, outcome) = vm.request(&elsewhere, false).unwrap();
    assert_eq!(outcome, Outcome::Passed, "no body is waited for that is none of a server's");
    assert_eq!(vm.request_header(stream, "accept-encoding"), Some(&b"gzip"[..]));
}

#[test]
fn a_client_cannot_teach() {
    let echoed = listed(&[("find", true)]);
    let batch = format!("[{LIST}]");
    let twice = LIST.replace(r#""id":1"#, r#""id":1,"method":"tools/call""#);
    for (headers, body) in [
        (&[JSON][..], &*call("echo").replace(r#""id":5"#, r#""id":1"#)),
        (&[JSON], &LIST.replace("tools/list", "resources/read")),
        (&[JSON], &LIST.replace(r#""id":1"#, r#""id":2"#)),
        (&[JSON], &batch),
        (&[JSON], &twice),
        (&[("content-type", "text/plain")], LIST),
        (&[JSON, ("content-encoding", "identity")], LIST),
        (&[JSON, ("mcp-method", "tools/call"), ("mcp-protocol-version", "2026-07-28")], LIST),
    ] {
        let mut workers = workers(&learning_module(), &servers(1, true));
        let stream = passed(workers.vm(0), &message(headers), body);
        answer(workers.vm(0), stream, &[JSON], &echoed, 1000);
        publish(&mut workers, &frozen(servers(2, true)));
        assert!(!reads(workers.vm(0), "find"), "{headers:?} {body}");
    }
    // The stream of events that a client opens.
    let mut workers = workers(&learning_module(), &frozen(servers(1, true)));
    let stream = passed(workers.vm(0), &Head::new("GET", "/mcp"), "");
    answer(workers.vm(0), stream, &[EVENTS], &format!("data: {echoed}\n\n"), 1000);
    assert!(!reads(workers.vm(0), "find"));
}

#[test]
fn what_cannot_be_read_is_taken_for_its_worst() {
    let listed = listed(&[("find", true)]);
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"later"}}"#;
    for (status, headers, text, known) in [
        (200, &[JSON][..], listed.replace("true", "true,\"readOnlyHint\":true"), false),
        (200, &[JSON], format!("{}{listed}", " ".repeat(1 << 20)), false),
        (200, &[JSON, ("content-encoding", "gzip")], listed.clone(), false),
        (200, &[EVENTS], format!("data: [{listed}]\n\n"), false),
        // These do not say that it is otherwise.
        (200, &[JSON], error.to_owned(), true),
        (200, &[("content-type", "text/html")], "<html>".to_owned(), true),
        (503, &[JSON], "{}".to_owned(), true),
    ] {
        let mut workers = workers(&learning_module(), &frozen(servers(1, true)));
        let vm = workers.vm(0);
        list(vm, &[("find", true)]);
        let stream = passed(vm, &message(&[JSON]), LIST);
        vm.response_with(stream, status, headers, false).unwrap();
        for part in text.as_bytes().chunks(100_000) {
            vm.response_body(stream, part, false).unwrap();
        }
        vm.response_body(stream, b"", true).unwrap();
        assert_eq!(reads(vm, "find"), known, "{status} {headers:?}");
    }
}

#[test]
fn headers_call_tools_since_2026_07_28() {
    let mut workers = workers(&learning_module(), &servers(1, true));
    let version = ("mcp-protocol-version", "2026-07-28");
    let asks = message(&[JSON, version, ("mcp-method", "tools/list"), ("accept-encoding", "br")]);
    let stream = passed(workers.vm(0), &asks, LIST);
    assert_eq!(workers.vm(0).request_header(stream, "accept-encoding"), None);
    answer(workers.vm(0), stream, &[EVENTS], &format!("data: {}\n\n", listed(&[("find", true)])), 9);
    publish(&mut workers, &frozen(servers(2, true)));
    let calls = |tool| message(&[JSON, version, ("mcp-method", "tools/call"), ("mcp-name", tool)]);
    let (_, outcome) = workers.vm(1).request(&calls("find"), false).unwrap();
    assert_eq!(outcome, Outcome::Passed, "its body need not be seen");
    assert!(passes(workers.vm(1), &calls("=?base64?ZmluZA==?="), "find"));
    assert!(!passes(workers.vm(1), &calls("add"), "add") && !passes(workers.vm(1), &calls("add"), "find"));
}

#[test]
fn many_listings_at_once_are_heard_within_bounds() {
    let mut workers = workers(&learning_module(), &frozen(servers(1, true)));
    let vm = workers.vm(0);
    let streams: Vec<_> = (0..40).map(|_| passed(vm, &message(&[JSON]), LIST)).collect();
    for (number, stream) in streams.into_iter().enumerate() {
        let tool = format!("find-{number}");
        answer(vm, stream, &[JSON], &listed(&[(&tool, true)]), 1000);
        assert_eq!(reads(vm, &tool), number >= 24, "{tool}: the last sixteen that were asked for");
    }
}

#[test]
fn an_operator_sees_what_was_learned() {
    let mut observed = servers(1, true);
    observed.mode = Mode::Observe;
    let mut workers = workers(&learning_module(), &observed);
    list(workers.vm(0), &[("find", true)]);
    assert!(reads(workers.vm(0), "find") && reads(workers.vm(0), "add"), "nothing is refused");
    workers.run(5000).unwrap();
    let seen = workers.seen().iter().flat_map(|report| &report.seen);
    let mut told: Vec<_> = seen
        .filter_map(|seen| {
            Some(format!("{} {} {}", seen.call.as_deref()?, seen.effect.as_str(), seen.by.as_str()))
        })
        .collect();
    told.sort();
    assert_eq!(told, ["tools/call add write body", "tools/call find read learned", "tools/list read body"]);
}
