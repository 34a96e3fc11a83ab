//! Writes handed over to be kept, over HTTP: receipts, refusals, limits, what is on disk and what is forgotten.

use std::path::Path;

use quiesce::{
    intents::{Ledger as _, Seals, Selection, SqliteLedger},
    store::{SqliteStore, Store as _},
    view::WindowView,
};
use quiesce_policy::{HeaderBlock, intent};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::companion::{Companion, eventually};

/// The least that makes an offer, and what is beside it.
struct Write<'a> {
    surface: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
}

const ORDER: Write<'_> =
    Write { surface: "shop", path: "/orders", headers: &[], body: b"{\"item\":\"tea\"}" };
const KEY: (&str, &str) = ("idempotency-key", "\"k1\"");
const SHOP: &str = "surfaces: [{ name: shop }]\n";

async fn offer(companion: &Companion, window: &str, write: &Write<'_>) -> Response {
    let mut pairs: Vec<(&[u8], &[u8])> =
        vec![(b":method", b"POST"), (b":path", write.path.as_bytes()), (b":authority", b"shop.example.com")];
    pairs.extend(write.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    crate::companion::http()
        .post(format!("{}{}", companion.url, intent::INTENTS_PATH))
        .header(intent::SURFACE_HEADER, write.surface)
        .header(intent::WINDOW_HEADER, window)
        .header(intent::ENFORCER_HEADER, "edge-1")
        .body(intent::write(HeaderBlock::new(&pairs).as_bytes(), write.body))
        .send()
        .await
        .unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn queued(companion: &Companion, window: &str, write: &Write<'_>) -> Value {
    let response = offer(companion, window, write).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(header(&response, intent::OUTCOME_HEADER), Some(intent::QUEUED));
    response.json().await.unwrap()
}

/// A refusal's status, code and `Retry-After`, which the body repeats.
async fn refused(companion: &Companion, window: &str, write: &Write<'_>) -> (u16, String, Option<u64>) {
    let response = offer(companion, window, write).await;
    let status = response.status().as_u16();
    let outcome = header(&response, intent::OUTCOME_HEADER).expect("it is for the client").to_owned();
    assert_eq!(header(&response, "content-type"), Some("application/problem+json"));
    let retry_after_s = header(&response, "retry-after").map(|wait| wait.parse().unwrap());
    let problem: Value = response.json().await.unwrap();
    assert_eq!(
        (problem["code"].as_str(), problem["status"].as_u64()),
        (Some(&*outcome), Some(status.into()))
    );
    assert_eq!(problem["retry_after_s"].as_u64(), retry_after_s);
    (status, outcome, retry_after_s)
}

async fn frozen(yaml: &str) -> (Companion, tempfile::TempDir, WindowView) {
    let (companion, dir) = Companion::start(yaml).await;
    let window = companion.freeze().await;
    (companion, dir, window)
}

#[tokio::test]
async fn a_receipt_is_the_same_for_the_same_write() {
    let (companion, _dir, window) = frozen(SHOP).await;
    let keyed = Write { headers: &[KEY, ("content-type", "application/json")], ..ORDER };
    let response = offer(&companion, window.id.as_str(), &keyed).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    let location = header(&response, "location").unwrap().to_owned();
    let wait_s: u64 = header(&response, "retry-after").unwrap().parse().unwrap();
    assert!((590..=610).contains(&wait_s), "{wait_s}: when the window ends");
    let first: Value = response.json().await.unwrap();
    let id = first["id"].as_str().unwrap();
    assert_eq!(location, format!("/.well-known/maintenance/intents/{id}"));
    assert_eq!(first["receipt"], location.as_str());
    assert_eq!((&first["state"], &first["idempotency_key"]), (&"held".into(), &"k1".into()));
    assert_eq!(first["window"], window.id.as_str());
    let expiry = first["idempotency_key_expiry"].as_str().unwrap();
    assert!(expiry.contains("done or discarded, and for 168h"), "{expiry}");
    assert!(first.get("headers").is_none() && !first.to_string().contains("tea"));

    let again = queued(&companion, window.id.as_str(), &keyed).await;
    let path = format!("{}{id}", intent::RECEIPTS_PATH);
    let shown = companion.send(Method::GET, &path, None).await;
    assert_eq!(header(&shown, intent::OUTCOME_HEADER), Some(intent::QUEUED));
    assert_eq!(header(&shown, "cache-control"), Some("no-store"));
    let shown: Value = shown.json().await.unwrap();
    for other in [&again, &shown] {
        for field in ["id", "received_at", "state", "receipt", "updated_at"] {
            assert_eq!(other[field], first[field], "{field}");
        }
    }
    let unkeyed = queued(&companion, window.id.as_str(), &ORDER).await;
    assert_eq!(unkeyed["idempotency_key"], unkeyed["id"]);
    companion.stop().await;
}

#[tokio::test]
async fn what_cannot_be_kept_says_why() {
    let yaml = "\
surfaces: [{ name: shop }, { name: docs, path_prefix: /docs }, { name: tiny, path_prefix: /tiny }]
intents:
  max_bytes: 100
  surfaces: { docs: { key: required }, tiny: { max_count: 1 } }
";
    let (companion, _dir, window) = frozen(yaml).await;
    let window = window.id.as_str();
    let keyed = Write { headers: &[KEY], ..ORDER };
    queued(&companion, window, &keyed).await;
    let other_body = Write { body: b"another", ..keyed };
    assert_eq!(
        refused(&companion, window, &other_body).await,
        (422, "idempotency-key-reused".to_owned(), None)
    );
    let docs = Write { surface: "docs", ..ORDER };
    assert_eq!(refused(&companion, window, &docs).await, (400, "idempotency-key-missing".to_owned(), None));
    let invalid = Write { headers: &[("idempotency-key", "\"open")], ..ORDER };
    assert_eq!(
        refused(&companion, window, &invalid).await,
        (400, "idempotency-key-invalid".to_owned(), None)
    );
    let (status, code, wait_s) = refused(&companion, window, &Write { body: &[b'x'; 101], ..ORDER }).await;
    assert_eq!((status, code.as_str()), (423, "intent-too-large"), "as the window says");
    assert!(wait_s.unwrap() > 500);
    let tiny = Write { surface: "tiny", ..keyed };
    queued(&companion, window, &tiny).await;
    let (status, code, wait_s) = refused(&companion, window, &Write { headers: &[], ..tiny }).await;
    assert_eq!((status, code.as_str()), (503, "intents-full"));
    assert!(wait_s.unwrap() > 500);
    queued(&companion, window, &tiny).await;

    // A receipt that never was.
    let path = format!("{}01m8492tc1sh7xwp93mf81xqfr", intent::RECEIPTS_PATH);
    let unknown = companion.send(Method::GET, &path, None).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&unknown, intent::OUTCOME_HEADER), Some("receipt-unknown"));
    // What no enforcer sends is no answer for a client.
    let no_offer = crate::companion::http().post(format!("{}{}", companion.url, intent::INTENTS_PATH));
    let no_offer = no_offer.body("nothing").send().await.unwrap();
    assert_eq!(
        (no_offer.status(), header(&no_offer, intent::OUTCOME_HEADER)),
        (StatusCode::UNPROCESSABLE_ENTITY, None)
    );
    companion.stop().await;
}

#[tokio::test]
async fn what_is_kept_is_counted_and_outlives_a_restart() {
    let (companion, dir, window) = frozen(SHOP).await;
    assert!(companion.status().await.intents.is_none());
    let keyed = Write { headers: &[KEY], ..ORDER };
    let receipt = queued(&companion, window.id.as_str(), &keyed).await;
    queued(&companion, window.id.as_str(), &keyed).await;
    refused(&companion, window.id.as_str(), &Write { body: b"other", ..keyed }).await;
    companion.stop().await;
    let companion = Companion::start_in(dir.path(), SHOP).await;
    let again = queued(&companion, window.id.as_str(), &keyed).await;
    assert_eq!(again["id"], receipt["id"]);
    let intents = companion.status().await.intents.unwrap();
    assert_eq!((intents.held, intents.replaying, intents.failed), (1, 0, 0));
    assert_eq!(intents.oldest.unwrap().to_string(), receipt["received_at"].as_str().unwrap());
    let metrics = companion.send(Method::GET, "/metrics", None).await.text().await.unwrap();
    for line in [
        r#"quiesce_intents{surface="shop",state="held"} 1"#,
        &format!(r#"quiesce_intents_bytes{{surface="shop",state="held"}} {}"#, intents.bytes),
        r#"quiesce_intents_offered_total{surface="shop",outcome="repeated"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "no `{line}` in\n{metrics}");
    }
    assert!(metrics.contains(r#"quiesce_intents_oldest_age_seconds{surface="shop",state="held"}"#));
    companion.stop().await;
}

#[tokio::test]
async fn what_was_held_for_too_long_is_discarded_and_then_forgotten() {
    let yaml = format!("{SHOP}intents: {{ max_age: 300ms, retention: 1s }}");
    let (companion, _dir, window) = frozen(&yaml).await;
    let receipt = queued(&companion, window.id.as_str(), &ORDER).await;
    let path = format!("{}{}", intent::RECEIPTS_PATH, receipt["id"].as_str().unwrap());
    let discarded: Value = eventually("it is discarded", async || {
        let shown: Value = companion.send(Method::GET, &path, None).await.json().await.unwrap();
        (shown["state"] == "discarded").then_some(shown)
    })
    .await;
    assert_eq!(discarded["note"], "held for longer than intents.max_age, 300ms");
    assert!(discarded["key_expires_at"].is_string() && discarded.get("retry_after_s").is_none());
    eventually("it is forgotten", async || {
        let status = companion.send(Method::GET, &path, None).await.status();
        (status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    let metrics = companion.send(Method::GET, "/metrics", None).await.text().await.unwrap();
    for line in ["quiesce_intents_expired_total 1", "quiesce_intents_purged_total 1"] {
        assert!(metrics.lines().any(|found| found == line), "no `{line}` in\n{metrics}");
    }
    companion.stop().await;
}

#[tokio::test]
async fn enforcers_are_told_what_to_keep() {
    let yaml = format!(
        "{SHOP}intents: {{ max_bytes: 1000, headers: [content-type], tenant_header: x-tenant, \
         surfaces: {{ shop: {{ order_by: {{ header: x-account }} }} }} }}"
    );
    let (companion, _dir) = Companion::start(&yaml).await;
    let snapshot =
        crate::enforcer::Enforcer::new(&companion.url, "edge-1", "1").report().await.snapshot.unwrap();
    assert_eq!(snapshot.intents.max_bytes, 1000);
    assert_eq!(snapshot.intents.headers, ["content-type", "x-tenant", "x-account", "idempotency-key"]);
    companion.stop().await;
}

async fn on_disk(dir: &Path) -> (SqliteStore, SqliteLedger) {
    let store = SqliteStore::open(&dir.join("quiesce.db")).await.unwrap();
    let ledger = SqliteLedger::open(&store).await.unwrap();
    (store, ledger)
}

#[tokio::test]
async fn with_a_key_nothing_that_was_sent_is_readable_on_disk() {
    let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let secret =
        Write { headers: &[("content-type", "text/x-secret-head")], body: b"a secret body", ..ORDER };
    for sealed in [true, false] {
        let seals = Seals::read(if sealed { key } else { "" }).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let companion = Companion::start_sealed(dir.path(), SHOP, seals.clone()).await;
        queued(&companion, "w1", &secret).await;
        companion.stop().await;
        let readable = std::fs::read_dir(dir.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            ["secret-head", "secret body"]
                .iter()
                .any(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        });
        assert_eq!(readable, !sealed);
        let (store, ledger) = on_disk(dir.path()).await;
        let record = ledger
            .list(Selection::default(), quiesce::intents::Page { after: 0, limit: 10 })
            .await
            .unwrap()
            .pop()
            .unwrap();
        let payload = ledger.payload(record.id.clone()).await.unwrap().unwrap();
        assert_eq!(payload.sealed_by.as_deref(), seals.names().next());
        let (head, body) = seals.open(&record.id, payload).unwrap();
        assert_eq!(body, secret.body);
        let head = HeaderBlock::from_host(head);
        assert_eq!(head.headers().single(b"content-type"), Some(&b"text/x-secret-head"[..]));
        store.close().await.unwrap();
    }
}
