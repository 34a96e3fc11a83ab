//! Programs and chats: signed, repeated under one id, and in order.

use hyper::HeaderMap;
use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::{
    elsewhere::{Arrival, Elsewhere, Fault},
    kit::{WHSEC, config, later, secret, webhook},
};
use crate::{
    command::{command, run},
    companion::{Companion, eventually},
};

const SLACK_PATH: &str = "/services/T000/B000/nobody-logs-this";

/// Whoever receives it can verify it by the library that others have made for that.
fn verified(arrival: &Arrival) -> Value {
    let mut headers = HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, arrival.headers[name].clone());
    }
    Webhook::new(WHSEC).unwrap().verify(&arrival.body, &headers).expect("a signature that verifies");
    assert!(
        Webhook::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
            .unwrap()
            .verify(&arrival.body, &headers)
            .is_err()
    );
    arrival.json()
}

#[tokio::test]
async fn webhooks_are_signed_and_keep_their_id_however_often_they_are_sent() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let companion = Companion::start_in(dir.path(), &config(&[webhook(dir.path(), &elsewhere)])).await;
    elsewhere.once("POST /hook", Fault::Answers(500, None));
    elsewhere.once("POST /hook", Fault::TakenAndCut);
    elsewhere.once("POST /hook", Fault::Hangs);
    let window = companion.freeze().await;
    let told = eventually("the freeze is told", async || {
        let arrivals = elsewhere.at("POST /hook");
        (arrivals.len() >= 4).then_some(arrivals)
    })
    .await;
    for arrival in &told[..4] {
        let body = verified(arrival);
        assert_eq!(body["type"], "window.frozen");
        assert_eq!(body["data"]["window"]["id"], json!(window.id));
        assert_eq!(body["data"]["window"]["ends_at"], json!(window.ends_at));
        assert_eq!(arrival.header("webhook-id"), told[0].header("webhook-id"));
        assert_eq!(arrival.header("content-type"), "application/json");
    }
    companion.thaw(&window).await;
    eventually("the end is told", async || {
        let last = elsewhere.at("POST /hook").pop().unwrap();
        (verified(&last)["type"] == "window.closed").then_some(())
    })
    .await;
    let types: Vec<_> =
        elsewhere.at("POST /hook")[3..].iter().map(|one| one.json()["type"].clone()).collect();
    assert_eq!(types, ["window.frozen", "window.aborted", "window.closed"]);
    let frozen = companion.until_delivery("the freeze", |one| one.step.as_str() == "frozen").await;
    assert_eq!((frozen.attempts, frozen.state.as_str()), (4, "delivered"));
    companion.stop().await;
}

#[tokio::test]
async fn while_a_secret_is_changed_both_sign() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifier = webhook(dir.path(), &elsewhere);
    let new = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    secret(dir.path(), "hook-secret", &format!("{new}\n{WHSEC}\n"));
    let companion = Companion::start_in(dir.path(), &config(&[notifier])).await;
    let window = companion.freeze().await;
    companion.until_told(&window, 1).await;
    let arrival = elsewhere.at("POST /hook").remove(0);
    for secret in [new, WHSEC] {
        Webhook::new(secret).unwrap().verify(&arrival.body, &arrival.headers).expect("both verify");
    }
    companion.stop().await;
}

#[tokio::test]
async fn who_asks_for_time_gets_it_and_nobody_else_waits() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let second = webhook(dir.path(), &elsewhere).replace("pipeline", "other").replace("/hook\"", "/other\"");
    let companion =
        Companion::start_in(dir.path(), &config(&[webhook(dir.path(), &elsewhere), second])).await;
    elsewhere.once("POST /hook", Fault::Answers(429, Some("2")));
    let window = companion.freeze().await;
    companion
        .until_delivery("the other is told", |one| one.notifier == "other" && one.done_at.is_some())
        .await;
    let waits = companion
        .until_delivery("the first waits", |one| one.notifier == "pipeline" && one.attempts > 0)
        .await;
    assert_eq!((waits.state.as_str(), waits.last_status), ("pending", Some(429)));
    // What it is told later waits too: it is the one that is asked to be left alone.
    companion.thaw(&window).await;
    eventually("all is told", async || (elsewhere.at("POST /hook").len() >= 3).then_some(())).await;
    let arrivals = elsewhere.at("POST /hook");
    assert!(arrivals[1].at.duration_since(arrivals[0].at).as_millis() >= 2_000);
    let types: Vec<_> = arrivals.iter().take(3).map(|one| one.json()["type"].clone()).collect();
    assert_eq!(types, ["window.frozen", "window.frozen", "window.aborted"]);
    companion.stop().await;
}

#[tokio::test]
async fn slack_is_told_and_its_url_is_shown_nowhere() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let url = secret(dir.path(), "slack", &format!("{}{SLACK_PATH}", elsewhere.url));
    let notifier = format!("  - {{ name: chat, kind: slack, webhook_url: {url} }}\n");
    let companion = Companion::start_in(dir.path(), &config(&[notifier])).await;
    elsewhere.once("POST /services", Fault::Cut);
    let window = companion.create(json!({ "duration_ms": 60_000, "reason": "<reindex> & more" })).await;
    let told = companion.until_told(&window, 1).await.remove(0);
    assert_eq!(told.attempts, 2);
    let body = elsewhere.at("POST /services").pop().unwrap().json();
    assert_eq!(body["text"], "Maintenance has begun: &lt;reindex&gt; &amp; more");
    let text = body["blocks"][0]["text"]["text"].as_str().unwrap();
    assert!(text.starts_with("*Maintenance has begun: &lt;reindex&gt; &amp; more*\nUntil "), "{text}");

    let everything = companion.send(Method::GET, &format!("/v1/deliveries/{}", told.id), None).await;
    let mut shown = everything.text().await.unwrap();
    shown += &companion.send(Method::GET, "/v1/events?limit=1000", None).await.text().await.unwrap();
    companion.stop().await;
    for file in ["quiesce.db", "quiesce.db-wal"] {
        shown += &String::from_utf8_lossy(&std::fs::read(dir.path().join(file)).unwrap_or_default());
    }
    assert!(!shown.contains("nobody-logs-this"));
}

#[tokio::test]
async fn a_dry_run_shows_every_word_and_sends_none() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let wording = "messages:\n  zone: Europe/Berlin\n  wording: { steps: { frozen: { title: 'Read-only: {{ reason }}' } } }\n";
    let yaml = format!("{wording}{}", config(&[webhook(dir.path(), &elsewhere)]));
    let companion = Companion::start_in(dir.path(), &yaml).await;
    let announce = async |args: &[&str]| {
        let args = [&["--url", &companion.url, "announce", "--dry-run"], args].concat();
        run(&mut command(&args)).await
    };
    let said = announce(&["--from", "2099-07-01T10:00:00Z", "--for", "30m", "--reason", "reindex"]).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for expected in [
        "announced: Maintenance planned: reindex",
        "From Wed 1 Jul 2099, 12:00 CEST (2099-07-01T12:00:00+02:00)",
        "frozen: Read-only: reindex",
        "Wed 1 Jul 2099, 13:00 CEST (2099-07-01T13:00:00+02:00)",
        "pipeline (webhook), to http",
        "window.cancelled",
    ] {
        assert!(said.stdout.contains(expected), "{expected}\n{}", said.stdout);
    }
    let window = companion.create(json!({ "starts_at": later(3_600), "reason": "of its own" })).await;
    companion.until_told(&window, 1).await;
    let said = announce(&[window.id.as_str()]).await;
    assert!(said.stdout.contains("closed: Maintenance is over: of its own"), "{}", said.stdout);
    let both = announce(&[window.id.as_str(), "--for", "1h"]).await;
    assert_eq!(both.code, Some(2), "{}", both.stdout);
    assert_eq!(companion.deliveries().await.len(), 1);
    assert_eq!(elsewhere.arrivals().len(), 1);
    companion.stop().await;
}
