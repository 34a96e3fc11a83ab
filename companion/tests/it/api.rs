//! The rest of the API: passes, metrics, health, the OpenAPI document.

use quiesce::{
    event::EventKind,
    view::{NewPass, PassView},
};
use quiesce_policy::{
    pass::{PASS_HEADER, PassKeys},
    snapshot::{RetryPolicy, WindowId},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{companion::Companion, enforcer::Enforcer};

#[tokio::test]
async fn a_pass_is_honoured_by_enforcers_and_kept_nowhere() {
    let (companion, dir) = Companion::start("{}").await;
    let window = companion.freeze().await;
    let body = json!(NewPass {
        subject: "migrate".to_owned(),
        duration_ms: 1_800_000,
        window: Some(window.id.clone())
    });
    let response = companion.send(Method::POST, "/v1/passes", Some(&body)).await;
    assert_eq!(response.status(), 201);
    let issued: PassView = response.json().await.unwrap();

    let snapshot = Enforcer::new(&companion.url, "edge-1", "1").report().await.snapshot.unwrap();
    let keys = PassKeys::read(&snapshot.exemptions.pass_keys).unwrap();
    let now = quiesce::clock::now();
    let claims = keys.verify(issued.pass.as_bytes(), &window.id, now).unwrap();
    assert_eq!((claims.sub.as_str(), &claims.jti), ("migrate", &issued.id));
    assert!(keys.verify(issued.pass.as_bytes(), &WindowId::from("other"), now).is_err());
    assert!(keys.verify(issued.pass.as_bytes(), &window.id, issued.expires_at).is_err());
    assert_eq!(PASS_HEADER, b"quiesce-pass");

    let events = companion.events().await;
    let event = events.iter().find(|event| event.kind == EventKind::PassIssued).unwrap();
    assert_eq!(event.evidence["subject"], "migrate");
    companion.stop().await;
    let signature = issued.pass.rsplit('.').next().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(signature.len()).any(|window| window == signature.as_bytes()));
    }
}

#[tokio::test]
async fn passes_that_live_too_long_are_refused() {
    let (companion, _dir) = Companion::start("passes: { max_lifetime: 10m }").await;
    for (body, status, says) in [
        (json!({"subject": "x", "duration_ms": 600_001}), 422, "10m at most"),
        (json!({"subject": "", "duration_ms": 60_000}), 422, "subject: is empty"),
        (json!({"subject": "x", "duration_ms": 60_000, "window": "nope"}), 404, "no window `nope`"),
    ] {
        let response = companion.send(Method::POST, "/v1/passes", Some(&body)).await;
        assert_eq!(response.status(), status);
        let text = response.text().await.unwrap();
        assert!(text.contains(says), "{text}");
    }
    companion.stop().await;
}

#[tokio::test]
async fn metrics_say_what_the_fleet_did() {
    let (companion, _dir) = Companion::start("{}").await;
    let enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    let mut enforcer = enforcer.counted("search", "refused.frozen", 3).counted("search", "read", 8);
    enforcer.request.in_flight = 2;
    enforcer.obey().await;
    companion.freeze().await;
    let metrics = companion.send(Method::GET, "/metrics", None).await;
    let kind = metrics.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"));
    let text = metrics.text().await.unwrap();
    for line in [
        r#"quiesce_windows{phase="freezing"} 1"#,
        r#"quiesce_windows{phase="quiesced"} 0"#,
        r#"quiesce_enforcers{state="live"} 1"#,
        r#"quiesce_enforcers{state="lost"} 0"#,
        "quiesce_writes_in_flight 2",
        r#"quiesce_requests_total{surface="search",outcome="refused.frozen"} 3"#,
        r#"quiesce_requests_total{surface="search",outcome="read"} 8"#,
        "quiesce_report_seconds_count 2",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    companion.stop().await;
}

#[tokio::test]
async fn health_needs_nothing() {
    let (companion, _dir) = Companion::start("{}").await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(companion.send(Method::GET, path, None).await.status(), 200);
    }
    companion.stop().await;
}

#[tokio::test]
async fn the_document_describes_bodies_without_dangling_references() {
    let (companion, _dir) = Companion::start("{}").await;
    let document: Value = companion.get("/v1/openapi.json").await;
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "no schema {name}");
    }
    assert!(document["components"]["schemas"]["NewWindow"]["properties"]["drain_timeout_ms"].is_object());
    companion.stop().await;
}

#[tokio::test]
async fn enforcers_get_all_that_is_configured() {
    let yaml = "\
mode: observe
status_page: https://status.example.com/
retry: { spread_s: 3 }
exemptions: { identities: ['spiffe://x/migrate'] }
surfaces:
  - name: search
    rules: [{ methods: [POST], path: /search, effect: read }]
";
    let (companion, _dir) = Companion::start(yaml).await;
    let snapshot = Enforcer::new(&companion.url, "edge-1", "1").report().await.snapshot.unwrap();
    assert_eq!(snapshot.surfaces[0].rules[0].path, "/search");
    assert_eq!(snapshot.exemptions.identities, ["spiffe://x/migrate"]);
    assert_eq!(snapshot.retry, RetryPolicy { spread_s: 3, ..RetryPolicy::default() });
    assert_eq!(snapshot.status_page.as_deref(), Some("https://status.example.com/"));
    let barrier = companion.freeze().await.barrier.unwrap();
    assert!(barrier.problems[0].message.contains("observe mode"));
    companion.stop().await;
}
