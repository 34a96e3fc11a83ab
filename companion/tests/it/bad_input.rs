//! Bad input gets an error that names its place, and changes nothing.

use quiesce::view::ProblemView;
use reqwest::Method;
use serde_json::{Value, json};

use crate::companion::Companion;

#[tokio::test]
async fn windows_that_cannot_be_are_refused() {
    let (companion, _dir) = Companion::start("windows: { max_duration: 2h }").await;
    let now = quiesce::clock::now();
    let later = |ms: u64| json!(now.plus_ms(ms));
    let long = "x".repeat(501);
    let before = companion.status().await;
    for (body, code, place, says) in [
        (json!({"reasn": "x"}), "malformed-json", "reasn", "unknown field `reasn`"),
        (json!({"duration_ms": "1h"}), "malformed-json", "duration_ms", "invalid type: string"),
        (json!({"scope": {"label": {}}}), "malformed-json", "scope.label", "unknown field `label`"),
        (json!({"status": 404}), "malformed-json", "status", "423 or 503, not 404"),
        (json!({"starts_at": "2020-01-01T00:00:00Z"}), "invalid-field", "starts_at", "has passed"),
        (
            json!({"starts_at": later(7_200_000), "ends_at": later(3_600_000)}),
            "invalid-field",
            "ends_at",
            "not after it begins",
        ),
        (json!({"duration_ms": 0}), "invalid-field", "duration_ms", "not after it begins"),
        (json!({"duration_ms": 7_200_001}), "invalid-field", "duration_ms", "2h is the most"),
        (json!({"ends_at": later(9_000_000)}), "invalid-field", "ends_at", "2h is the most"),
        (
            json!({"ends_at": later(9_000), "duration_ms": 9_000}),
            "invalid-field",
            "duration_ms",
            "one of them",
        ),
        (json!({"reason": ""}), "invalid-field", "reason", "is empty"),
        (json!({"reason": long}), "invalid-field", "reason", "501 characters, 500 at most"),
        (json!({"reason": "a\r\nSet-Cookie: x"}), "invalid-field", "reason", "control character"),
        (json!({"contact": "a\nb"}), "invalid-field", "contact", "control character"),
        (json!({"scope": {"hosts": ["a.b", "http://x"]}}), "invalid-field", "scope.hosts[1]", "is no host"),
        (json!({"scope": {"labels": {"k": []}}}), "invalid-field", "scope.labels.k", "names no value"),
        (json!({"drain_timeout_ms": 7_200_001}), "invalid-field", "drain_timeout_ms", "longer than"),
    ] {
        let response = companion.send(Method::POST, "/v1/windows", Some(&body)).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let status = response.status().as_u16();
        let problem: ProblemView = response.json().await.unwrap();
        let found = (problem.code.as_str(), problem.place.as_deref(), problem.status);
        assert_eq!(found, (code, Some(place), status), "{body}: {}", problem.detail);
        assert!(problem.detail.starts_with(place) && problem.detail.contains(says), "{}", problem.detail);
    }
    let after = companion.status().await;
    assert_eq!((after.epoch, after.windows), (before.epoch, before.windows));
    assert_eq!(companion.events().await.len(), 1, "nothing happened");
    companion.stop().await;
}

#[tokio::test]
async fn overlapping_windows_name_each_other() {
    let (companion, _dir) = Companion::start("{}").await;
    let first = companion.create(json!({ "reason": "reindex", "scope": { "hosts": ["*.a.com"] } })).await;
    let conflict = async |body: Value| {
        let response = companion.send(Method::POST, "/v1/windows", Some(&body)).await;
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, problem) = conflict(json!({ "scope": { "hosts": ["x.a.com"] } })).await;
    assert_eq!(
        (status, &problem["code"], &problem["window"]),
        (409, &json!("window-overlaps"), &json!(first.id))
    );
    assert!(problem["detail"].as_str().unwrap().contains("(reindex)"));
    assert_eq!(conflict(json!({})).await.0, 409, "everything is everywhere");
    assert_eq!(conflict(json!({ "scope": { "hosts": ["b.com"] } })).await.0, 201);
    let after = first.ends_at.unwrap();
    let scope = json!({ "hosts": ["x.a.com"] });
    assert_eq!(conflict(json!({ "scope": scope, "starts_at": after })).await.0, 201);
    assert_eq!(conflict(json!({ "scope": scope, "starts_at": after })).await.0, 409);
    companion.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (companion, _dir) = Companion::start("{}").await;
    for (method, path, status, code) in [
        (Method::GET, "/v1/windows/nope", 404, "unknown-window"),
        (Method::GET, "/v1/windows/nope/barrier", 404, "unknown-window"),
        (Method::POST, "/v1/windows/nope/thaw", 404, "unknown-window"),
        (Method::POST, "/v1/windows/nope/cancel", 404, "unknown-window"),
        (Method::DELETE, "/v1/fleet/nope", 404, "unknown-enforcer"),
        (Method::GET, "/v2", 404, "unknown-path"),
        (Method::DELETE, "/v1/status", 405, "unknown-method"),
        (Method::GET, "/v1/windows?limt=3", 400, "malformed-query"),
        (Method::GET, "/v1/events?after=soon", 400, "malformed-query"),
    ] {
        let response = companion.send(method, path, None).await;
        assert_eq!(response.status(), status, "{path}");
        let problem: ProblemView = response.json().await.unwrap();
        assert_eq!(problem.code, code, "{path}");
        assert!(problem.hint.is_some(), "{path}");
    }
    let extension = json!({ "by_ms": 1 });
    let extend = companion.send(Method::POST, "/v1/windows/nope/extend", Some(&extension)).await;
    assert_eq!(extend.status(), 404);
    companion.stop().await;
}

#[tokio::test]
async fn no_more_windows_are_issued_than_enforcers_take() {
    let (companion, _dir) = Companion::start("{}").await;
    let numbered = |number: u32| json!({ "scope": { "hosts": [format!("h{number}.com")] } });
    for number in 0..64 {
        companion.create(numbered(number)).await;
    }
    let epoch = companion.status().await.epoch;
    let response = companion.send(Method::POST, "/v1/windows", Some(&numbered(64))).await;
    assert_eq!(response.status(), 422);
    assert!(response.text().await.unwrap().contains("at most 64"));
    assert_eq!(companion.status().await.epoch, epoch);
    companion.stop().await;
}
