//! The Rust SDK of MCP.
#![expect(deprecated, reason = "servers and clients that speak older revisions will be there for years")]

use std::net::SocketAddr;

use rmcp::{
    ClientLifecycleMode, RoleClient, ServiceError,
    model::{
        CallToolRequestParams, GetPromptRequestParams, LoggingLevel, ProtocolVersion,
        ReadResourceRequestParams, SetLevelRequestParams, SubscribeRequestParams, UnsubscribeRequestParams,
    },
    service::{ClientServiceExt as _, RunningService},
    transport::StreamableHttpClientTransport,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::{BOUND, Client, Outcome, Step};

/// A client with its session, if it has one.
pub struct RustSdk {
    service: RunningService<RoleClient, ()>,
    url: String,
    lifecycle: ClientLifecycleMode,
    calls: Value,
}

impl RustSdk {
    /// Connects with a session, or by the newest revision that the server knows.
    pub async fn connect(server: SocketAddr, with_session: bool, calls: &Value) -> Self {
        // The one that the workspace has, and reqwest takes none by itself.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let lifecycle = match with_session {
            true => ClientLifecycleMode::Initialize,
            false => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: None,
            },
        };
        let url = format!("http://{server}/mcp");
        let service = connect(&url, &lifecycle).await.unwrap();
        Self { service, url, lifecycle, calls: calls.clone() }
    }

    async fn call(&self, tool: &Value) -> Result<Value, String> {
        let arguments = tool["arguments"].as_object().unwrap().clone();
        let tool = tool["name"].as_str().unwrap().to_owned();
        let called = self.service.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await;
        let result = called.map_err(|error| error.to_string())?;
        let content = json!(result.content);
        if result.is_error == Some(true) { Err(content.to_string()) } else { Ok(content) }
    }

    async fn read(&self) -> Vec<(&'static str, Result<Value, String>)> {
        let (service, calls) = (&self.service, &self.calls);
        let resource = ReadResourceRequestParams::new(calls["resource"].as_str().unwrap());
        let prompt = GetPromptRequestParams::new(calls["prompt"]["name"].as_str().unwrap())
            .with_arguments(calls["prompt"]["arguments"].as_object().unwrap().clone());
        let mut read = vec![
            ("tools/list", value(service.list_all_tools().await)),
            ("tools/call of a tool that reads", self.call(&calls["read"]).await),
            ("resources/list", value(service.list_all_resources().await)),
            ("resources/templates/list", value(service.list_all_resource_templates().await)),
            ("resources/read", value(service.read_resource(resource).await)),
            ("prompts/list", value(service.list_all_prompts().await)),
            ("prompts/get", value(service.get_prompt(prompt).await)),
            ("another session", self.another_session().await),
        ];
        if let Some(complete) = calls.get("complete") {
            read.extend(self.read_in_session(complete).await);
        }
        read
    }

    /// What only servers with sessions have.
    async fn read_in_session(&self, complete: &Value) -> Vec<(&'static str, Result<Value, String>)> {
        let (service, uri) = (&self.service, self.calls["resource"].as_str().unwrap());
        let asked = |member: &str| complete[member].as_str().unwrap();
        let completed =
            service.complete_prompt_simple(asked("prompt"), asked("argument"), asked("value")).await;
        let level = SetLevelRequestParams::new(LoggingLevel::Error);
        vec![
            ("completion/complete", value(completed)),
            ("logging/setLevel", value(service.set_level(level).await)),
            ("resources/subscribe", value(service.subscribe(SubscribeRequestParams::new(uri)).await)),
            ("resources/unsubscribe", value(service.unsubscribe(UnsubscribeRequestParams::new(uri)).await)),
        ]
    }

    async fn another_session(&self) -> Result<Value, String> {
        let another = connect(&self.url, &self.lifecycle).await?;
        let tools = value(another.list_all_tools().await);
        another.cancel().await.map_err(|error| error.to_string())?;
        tools
    }
}

async fn connect(
    url: &str,
    lifecycle: &ClientLifecycleMode,
) -> Result<RunningService<RoleClient, ()>, String> {
    let transport = StreamableHttpClientTransport::from_uri(url);
    ().serve_with_lifecycle(transport, lifecycle.clone()).await.map_err(|error| error.to_string())
}

fn value(result: Result<impl Serialize, ServiceError>) -> Result<Value, String> {
    result.map(|result| json!(result)).map_err(|error| error.to_string())
}

impl Client for RustSdk {
    async fn run(&mut self, step: Step) -> Vec<Outcome> {
        let tried = async {
            match step {
                Step::Read => self.read().await,
                Step::Write => vec![("tools/call", self.call(&self.calls["write"]).await)],
                Step::Ruin => Vec::new(),
            }
        };
        let outcomes =
            timeout(BOUND, tried).await.unwrap_or_else(|_| panic!("no end of {step:?} within {BOUND:?}"));
        let outcome = |(operation, result): (&str, _)| Outcome { operation: operation.to_owned(), result };
        outcomes.into_iter().map(outcome).collect()
    }
}
