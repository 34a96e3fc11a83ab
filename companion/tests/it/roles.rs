//! Who may do what, checked on every route that the OpenAPI document lists.

use std::collections::BTreeMap;

use quiesce::auth::Digest;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    companion::{Companion, http},
    enforcer::Enforcer,
};

const ROLES: [&str; 3] = ["viewer", "operator", "sync"];

fn tokens() -> String {
    let token = |role: &str| {
        format!("  - {{ name: {role}-1, role: {role}, sha256: {} }}\n", Digest::of(role).to_hex())
    };
    format!("tokens:\n{}", ROLES.map(token).concat())
}

/// Every operation of the document with the role that it says it needs.
fn operations(document: &Value) -> BTreeMap<(String, String), Option<String>> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let role = operation["security"][0]["token"][0].as_str().map(str::to_owned);
            found.insert((method.to_uppercase(), path.clone()), role);
        }
    }
    found
}

#[tokio::test]
async fn every_route_is_documented_and_guarded() {
    let (companion, _dir) = Companion::start(&tokens()).await;
    let http = http();
    let url = |path: &str| format!("{}{path}", companion.url);
    let document = http.get(url("/v1/openapi.json")).bearer_auth("viewer").send().await.unwrap();
    let operations = operations(&document.json().await.unwrap());
    let listed: Vec<_> = operations
        .iter()
        .map(|((method, path), role)| format!("{method} {path} {}", role.as_deref().unwrap_or("anybody")))
        .collect();
    insta::assert_snapshot!(listed.join("\n"), @r#"
DELETE /v1/fleet/{id} operator
DELETE /v1/plans/{id} operator
GET /banner.js anybody
GET /healthz anybody
GET /metrics viewer
GET /readyz anybody
GET /status anybody
GET /status.atom anybody
GET /status.css anybody
GET /status.ics anybody
GET /status.js anybody
GET /status.json anybody
GET /v1/backfill viewer
GET /v1/deliveries viewer
GET /v1/deliveries/{id} viewer
GET /v1/events viewer
GET /v1/fleet viewer
GET /v1/history viewer
GET /v1/intents viewer
GET /v1/intents/export operator
GET /v1/intents/{id} viewer
GET /v1/live viewer
GET /v1/openapi.json viewer
GET /v1/plans viewer
GET /v1/plans/{id} viewer
GET /v1/receipts/{id} sync
GET /v1/status viewer
GET /v1/surfaces viewer
GET /v1/whoami viewer
GET /v1/windows viewer
GET /v1/windows/{id} viewer
GET /v1/windows/{id}/barrier viewer
POST /ofrep/v1/evaluate/flags viewer
POST /ofrep/v1/evaluate/flags/{key} viewer
POST /v1/backfill/pause operator
POST /v1/backfill/resume operator
POST /v1/deliveries/cancel operator
POST /v1/deliveries/preview viewer
POST /v1/deliveries/resend operator
POST /v1/explain viewer
POST /v1/intents sync
POST /v1/intents/discard operator
POST /v1/intents/retry operator
POST /v1/passes operator
POST /v1/plans operator
POST /v1/plans/{id}/skip operator
POST /v1/seen sync
POST /v1/sync sync
POST /v1/windows operator
POST /v1/windows/{id}/abort operator
POST /v1/windows/{id}/cancel operator
POST /v1/windows/{id}/extend operator
POST /v1/windows/{id}/thaw operator
POST /v1/windows/{id}/updates operator
"#);

    for ((method, path), needed) in &operations {
        let path = path.replace("{id}", "nope");
        let ask = async |token: Option<&str>| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = http.request(method.clone(), url(&path));
            if method == Method::POST {
                request = request.json(&json!({ "no such": "field" }));
            }
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            request.send().await.unwrap()
        };
        let closed = needed.is_some();
        for (token, refusal) in [(None, "token-missing"), (Some("guess"), "token-unknown")] {
            let response = ask(token).await;
            assert_eq!(response.status() == StatusCode::UNAUTHORIZED, closed, "{method} {path} {token:?}");
            if closed {
                assert_eq!(response.headers()["www-authenticate"], "Bearer");
                assert!(response.text().await.unwrap().contains(refusal));
            }
        }
        for role in ROLES {
            let enough = match needed.as_deref() {
                None => true,
                Some("viewer") => role != "sync",
                Some(needed) => role == needed,
            };
            let status = ask(Some(role)).await.status();
            assert_eq!(status != StatusCode::FORBIDDEN, enough, "{method} {path} as {role}: {status}");
            assert_ne!(status, StatusCode::UNAUTHORIZED);
        }
    }
    companion.stop().await;
}

#[tokio::test]
async fn web_pages_are_not_answered() {
    let (companion, _dir) = Companion::start("{}").await;
    let window = companion.freeze().await;
    let thaw = http().post(format!("{}/v1/windows/{}/thaw", companion.url, window.id));
    let response = thaw.header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(companion.status().await.windows.len(), 1);
    companion.stop().await;
}

#[tokio::test]
async fn events_name_the_token_that_was_used() {
    let (companion, _dir) = Companion::start(&tokens()).await;
    let create = http().post(format!("{}/v1/windows", companion.url)).bearer_auth("operator");
    let window: Value = create.json(&json!({})).send().await.unwrap().json().await.unwrap();
    assert_eq!(window["issued_by"], "operator-1");
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    assert_eq!(enforcer.report().await.status, 401);
    enforcer.token = Some("sync".to_owned());
    assert!(enforcer.report().await.snapshot.is_some());
    companion.stop().await;
}
