//! Servers of the Model Context Protocol, by its Python, TypeScript and Rust SDKs.

use std::{net::SocketAddr, path::PathBuf};

use quiesce_integration::{artifacts, http::Request};
use serde_json::{Value, json};

use crate::{
    client::{Client as _, Outcome, Program, Step},
    front::Front,
    rust_sdk::RustSdk,
    server::{Server, node, or_skip, program, python},
    story::{TOLD, freeze_and_thaw},
};

/// What is there to run servers and clients with.
struct Kit {
    packages: PathBuf,
    project: PathBuf,
}

impl Kit {
    fn find() -> Option<Self> {
        let packages = or_skip("the Python SDK of MCP", artifacts::python())?;
        let project = or_skip("the TypeScript SDK of MCP", artifacts::node())?;
        Some(Self { packages, project })
    }

    /// A small server of the Python SDK, which knows the revisions with sessions and those without.
    async fn notes(&self) -> (Server, Value) {
        let server = Server::start("notes", |addr, _| {
            let mut command = python(&self.packages);
            command.arg(program("python/mcp_notes.py")).arg(addr.port().to_string());
            command
        })
        .await;
        let calls = json!({
            "read": { "name": "find_notes", "arguments": { "word": "tea" } },
            "write": { "name": "add_note", "arguments": { "text": "buy tea" } },
            "resource": "notes://all",
            "prompt": { "name": "review", "arguments": { "topic": "tea" } },
        });
        (server, calls)
    }

    /// The server with which clients are tested, of the TypeScript SDK.
    async fn everything(&self) -> (Server, Value) {
        let server = Server::start("everything", |addr, _| {
            let mut command = node(&self.project);
            command
                .arg("node_modules/@modelcontextprotocol/server-everything/dist/index.js")
                .arg("streamableHttp")
                .env("PORT", addr.port().to_string());
            command
        })
        .await;
        let calls = json!({
            "read": { "name": "get-sum", "arguments": { "a": 2, "b": 3 } },
            // Adds a resource to the session, which `resources/list` then has.
            "write": {
                "name": "gzip-file-as-resource",
                "arguments": { "name": "tea.gz", "data": "data:text/plain,tea" },
            },
            "resource": "demo://resource/static/document/features.md",
            "prompt": { "name": "args-prompt", "arguments": { "city": "Ghent" } },
            "complete": { "prompt": "completable-prompt", "argument": "department", "value": "E" },
        });
        (server, calls)
    }

    async fn python(&self, server: SocketAddr, mode: &str, calls: &Value) -> Program {
        let mut command = python(&self.packages);
        command.arg(program("python/mcp_client.py")).args([&url(server), mode, &calls.to_string()]);
        Program::start(command).await
    }

    async fn typescript(&self, server: SocketAddr, sdk: &str, calls: &Value) -> Program {
        let mut command = node(&self.project);
        command.arg(program("node/mcp_client.mjs")).args([&url(server), sdk, &calls.to_string()]);
        Program::start(command).await
    }

    /// Every client of every SDK is frozen and thawed, with refusals in this form.
    async fn every_sdk(&self, (server, calls): (Server, Value), form: &Form) {
        let tools = json!({ "tools": [calls["read"]["name"]] });
        let surface = json!([{ "name": "mcp", "catalogs": ["mcp"], "read_only": tools }]);
        let settings = form.setting.map(|form| format!("\nrefused_calls: {form}")).unwrap_or_default();
        let front = Front::start(server.addr(), &format!("surfaces: {surface}{settings}")).await;
        self.every_client((&server, &calls), &front, form).await;
    }

    /// The same where nobody lists the tool that reads: clients list tools before the freeze, and its server says of it
    /// that it reads.
    async fn every_sdk_where_tools_are_learned(&self, (server, calls): (Server, Value)) {
        let surface = json!([{ "name": "mcp", "catalogs": ["mcp"], "read_only": { "learn_tools": true } }]);
        let front = Front::learning(server.addr(), &format!("surfaces: {surface}")).await;
        // Of the tool that reads, too, as long as nobody has listed the tools.
        Form::error(None, 200).is_that_of(&front, &calls["read"]).await;
        self.every_client((&server, &calls), &front, &Form::error(None, 200)).await;
    }

    async fn every_client(&self, (server, calls): (&Server, &Value), front: &Front, form: &Form) {
        form.is_that_of(front, &calls["write"]).await;
        let mut around = self.python(server.addr(), "auto", calls).await;
        for mode in ["legacy", "auto"] {
            eprintln!("the Python SDK, {mode}");
            let mut client = self.python(front.addr(), mode, calls).await;
            freeze_and_thaw(front, &mut client, &mut around).await;
        }
        for sdk in ["v1", "v2"] {
            eprintln!("the TypeScript SDK, {sdk}");
            let mut client = self.typescript(front.addr(), sdk, calls).await;
            freeze_and_thaw(front, &mut client, &mut around).await;
        }
        for with_session in [true, false] {
            eprintln!("the Rust SDK, with a session: {with_session}");
            let mut client = RustSdk::connect(front.addr(), with_session, calls).await;
            freeze_and_thaw(front, &mut client, &mut around).await;
        }
    }
}

/// How a refused call is answered.
struct Form {
    /// `refused_calls`; none is the form by default.
    setting: Option<&'static str>,
    status: u16,
    /// Where in the answer it is said that the call has come to nothing, and what.
    says: (&'static str, Value),
}

impl Form {
    fn error(setting: Option<&'static str>, status: u16) -> Self {
        Self { setting, status, says: ("/error/code", json!(-32010)) }
    }

    /// Checks that refusals have it: clients may make one thing of several.
    async fn is_that_of(&self, front: &Front, call: &Value) {
        front.freeze().await;
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": call });
        let call = Request::post("/mcp", body.to_string()).header("content-type", "application/json");
        let refused = call.send(front.addr()).await.unwrap();
        let (place, value) = &self.says;
        let answer: Value = refused.json().unwrap();
        assert_eq!((refused.status, answer.pointer(place)), (self.status, Some(value)), "{answer}");
        front.thaw().await;
    }
}

fn url(server: SocketAddr) -> String {
    format!("http://{server}/mcp")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_python_sdk_reads_and_refuses() {
    let Some(kit) = Kit::find() else { return };
    kit.every_sdk(kit.notes().await, &Form::error(None, 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_everything_reads_and_refuses() {
    let Some(kit) = Kit::find() else { return };
    kit.every_sdk(kit.everything().await, &Form::error(None, 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_may_have_a_status_of_http() {
    let Some(kit) = Kit::find() else { return };
    kit.every_sdk(kit.notes().await, &Form::error(Some("status"), 423)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_may_be_the_result_of_a_tool() {
    let Some(kit) = Kit::find() else { return };
    let result = Form { setting: Some("tool-error"), status: 200, says: ("/result/isError", json!(true)) };
    kit.every_sdk(kit.notes().await, &result).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_a_server_of_the_python_sdk_are_learned() {
    let Some(kit) = Kit::find() else { return };
    kit.every_sdk_where_tools_are_learned(kit.notes().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_server_everything_are_learned() {
    let Some(kit) = Kit::find() else { return };
    kit.every_sdk_where_tools_are_learned(kit.everything().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_changes_its_mind_is_believed() {
    let Some(kit) = Kit::find() else { return };
    let (server, calls) = kit.notes().await;
    let surface = json!([{ "name": "mcp", "catalogs": ["mcp"], "read_only": { "learn_tools": true } }]);
    let front = Front::learning(server.addr(), &format!("surfaces: {surface}")).await;
    let doubting = json!({ "name": "doubt_find_notes", "arguments": {} });
    let doubting = json!({ "read": calls["read"], "write": doubting, "resource": calls["resource"], "prompt": calls["prompt"] });
    let mut client = kit.python(front.addr(), "legacy", &doubting).await;
    let of_the_tool = |outcomes: Vec<Outcome>| {
        let mut outcomes = outcomes.into_iter();
        let outcome = outcomes.find(|outcome| outcome.operation == "tools/call of a tool that reads");
        outcome.unwrap().result
    };
    of_the_tool(client.run(Step::Read).await).unwrap();
    front.freeze().await;
    of_the_tool(client.run(Step::Read).await).unwrap();
    front.thaw().await;
    // What the server says from now on; it is heard when a client next lists its tools.
    client.run(Step::Write).await.remove(0).result.unwrap();
    of_the_tool(client.run(Step::Read).await).unwrap();
    front.freeze().await;
    let refused = of_the_tool(client.run(Step::Read).await).unwrap_err();
    assert!(refused.contains(TOLD), "{refused}");
}
