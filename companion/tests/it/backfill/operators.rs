//! What operators see, decide and stop, over the API.

use quiesce::{
    backfill::view::{BackfillView, ExportedIntent, IntentList, IntentView, IntentsChanged},
    event::EventKind,
    intents::IntentState,
};
use reqwest::Method;
use serde_json::json;

use super::{
    held::{fill, quick},
    origin::{Behaviour, Origin},
};
use crate::companion::{Companion, eventually};

async fn with_orders(yaml: &str, lines: &[&str], each: usize) -> (Companion, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), lines, each).await;
    (Companion::start_in(dir.path(), yaml).await, dir)
}

async fn decide(companion: &Companion, verb: &str, selection: serde_json::Value) -> u64 {
    let path = format!("/v1/intents/{verb}");
    let response = companion.send(Method::POST, &path, Some(&selection)).await;
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    response.json::<IntentsChanged>().await.unwrap().changed
}

async fn refusal(companion: &Companion, verb: &str, selection: serde_json::Value) -> (u16, String) {
    let response = companion.send(Method::POST, &format!("/v1/intents/{verb}"), Some(&selection)).await;
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn intents_are_listed_in_pages_and_narrowed() {
    let (companion, _dir) = with_orders("{}", &["/a", "/b"], 3).await;
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page: IntentList = companion.get(&format!("/v1/intents?limit=4&after={after}")).await;
        seen.extend(page.intents.iter().map(|intent| intent.path.clone()));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(seen, ["/a?n=0", "/b?n=0", "/a?n=1", "/b?n=1", "/a?n=2", "/b?n=2"]);
    let none: IntentList = companion.get("/v1/intents?state=failed").await;
    assert_eq!((none.intents.len(), none.next), (0, None));
    let none: IntentList = companion.get("/v1/intents?surface=other").await;
    assert_eq!(none.intents.len(), 0);
    let all: IntentList = companion.get("/v1/intents?surface=shop&state=held").await;
    let one: IntentView = companion.get(&format!("/v1/intents/{}", all.intents[0].id)).await;
    assert_eq!(one, all.intents[0]);
    let unknown = companion.send(Method::GET, "/v1/intents/nope", None).await;
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().await.unwrap().contains("unknown-intent"));
    let odd = companion.send(Method::GET, "/v1/intents?state=lost", None).await;
    assert_eq!(odd.status(), 400);
    companion.stop().await;
}

#[tokio::test]
async fn without_a_target_intents_stay_held_and_it_is_said_why() {
    let (companion, _dir) = with_orders("{}", &["/a"], 2).await;
    let view: BackfillView = companion.get("/v1/backfill").await;
    assert_eq!((view.phase.as_str(), view.held, view.replaying), ("unconfigured", 2, 0));
    assert_eq!(view.waits_for.unwrap(), "`backfill.to` in the companion's configuration");
    companion.stop().await;
}

#[tokio::test]
async fn an_empty_selection_is_a_mistake_unless_all_is_meant() {
    let (companion, _dir) = with_orders("{}", &["/a"], 2).await;
    let (status, text) = refusal(&companion, "discard", json!({})).await;
    assert!(status == 422 && text.contains("all: nothing is selected"), "{status} {text}");
    let (status, text) = refusal(&companion, "discard", json!({ "all": true, "surface": "shop" })).await;
    assert!(status == 422 && text.contains("stands beside"), "{status} {text}");
    let (status, text) = refusal(&companion, "discard", json!({ "ids": ["nope"] })).await;
    assert!(status == 404 && text.contains("unknown-intent"), "{status} {text}");
    assert_eq!(decide(&companion, "discard", json!({ "surface": "other" })).await, 0);
    assert_eq!(decide(&companion, "discard", json!({ "all": true })).await, 2);
    let all: IntentList = companion.get("/v1/intents").await;
    let note = all.intents[0].outcome.clone().unwrap().note.unwrap();
    assert_eq!((all.intents[0].state, note.as_str()), (IntentState::Discarded, "discarded by anonymous"));
    let events = companion.events().await;
    let discarded: Vec<_> = events.iter().filter(|it| it.kind == EventKind::IntentsDiscarded).collect();
    assert_eq!(discarded.len(), 1, "what changes nothing is no event");
    assert_eq!(discarded[0].evidence, json!({ "selection": { "all": true }, "changed": 2 }));
    companion.stop().await;
}

#[tokio::test]
async fn a_stopped_line_goes_on_when_an_operator_says_so() {
    let origin = Origin::with(|_, _| Behaviour::answers(500)).await;
    let (companion, _dir) = with_orders(&quick(&origin.url, "attempts: 2"), &["/a"], 3).await;
    let stopped = eventually("the line stops", async || {
        let page: IntentList = companion.get("/v1/intents?state=failed").await;
        page.intents.into_iter().next()
    })
    .await;
    assert!(stopped.stops_line);
    eventually("nothing goes on by itself", async || {
        let view: BackfillView = companion.get("/v1/backfill").await;
        (view.phase.as_str() == "stopped").then_some(())
    })
    .await;
    origin.now_does(|_, _| Behaviour::takes());
    assert_eq!(decide(&companion, "retry", json!({ "ids": [stopped.id] })).await, 1);
    eventually("the line is done", async || (origin.line("/a") == ["0", "1", "2"]).then_some(())).await;
    assert!(companion.events().await.iter().any(|event| event.kind == EventKind::IntentsRetried));

    // Or without the one that failed.
    let again: IntentView = companion.get(&format!("/v1/intents/{}", stopped.id)).await;
    assert_eq!(again.state, IntentState::Done);
    assert_eq!(decide(&companion, "retry", json!({ "ids": [stopped.id] })).await, 0, "done is done");
    companion.stop().await;
}

#[tokio::test]
async fn a_discarded_one_lets_its_line_go_on() {
    let origin = Origin::with(|arrival, _| match arrival.body.as_ref() {
        b"0" => Behaviour::answers(500),
        _ => Behaviour::takes(),
    })
    .await;
    let (companion, _dir) = with_orders(&quick(&origin.url, "attempts: 2"), &["/a"], 3).await;
    eventually("the line stops", async || {
        let page: IntentList = companion.get("/v1/intents?state=failed").await;
        (!page.intents.is_empty()).then_some(())
    })
    .await;
    assert_eq!(decide(&companion, "discard", json!({ "state": "failed" })).await, 1);
    eventually("the rest is done", async || (origin.line("/a") == ["1", "2"]).then_some(())).await;
    companion.stop().await;
}

#[tokio::test]
async fn an_export_has_all_that_is_kept_and_is_in_the_log() {
    let (companion, _dir) = with_orders("{}", &["/a"], 70).await;
    let response = companion.send(Method::GET, "/v1/intents/export?state=held", None).await;
    assert_eq!(response.headers()["content-type"], "application/jsonl");
    let text = response.text().await.unwrap();
    let lines: Vec<ExportedIntent> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 70);
    let one = &lines[69];
    assert_eq!((one.intent.path.as_str(), one.body_base64.as_deref()), ("/a?n=69", Some("Njk=")));
    let headers = one.headers.as_ref().unwrap();
    assert!(headers.contains(&("content-type".to_owned(), "text/plain".to_owned())), "{headers:?}");
    assert!(companion.events().await.iter().any(|event| event.kind == EventKind::IntentsExported));
    companion.stop().await;
}

#[tokio::test]
async fn a_pause_outlives_a_restart() {
    let origin = Origin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let yaml = quick(&origin.url, "");
    let companion = Companion::start_in(dir.path(), &yaml).await;
    let (status, text) = {
        let empty = json!({ "reason": " " });
        let response = companion.send(Method::POST, "/v1/backfill/pause", Some(&empty)).await;
        (response.status(), response.text().await.unwrap())
    };
    assert!(status == 422 && text.contains("reason: is empty"), "{text}");
    let pause = companion.send(Method::POST, "/v1/backfill/pause", Some(&json!({ "reason": "disk" }))).await;
    let view: BackfillView = pause.json().await.unwrap();
    assert_eq!(view.phase.as_str(), "paused");
    companion.stop().await;

    fill(dir.path(), &["/a"], 2).await;
    let companion = Companion::start_in(dir.path(), &yaml).await;
    let view: BackfillView = companion.get("/v1/backfill").await;
    let pause = view.paused.unwrap();
    assert_eq!((pause.by.as_str(), pause.reason.as_str(), view.held), ("anonymous", "disk", 2));
    let metrics = companion.send(Method::GET, "/metrics", None).await.text().await.unwrap();
    assert!(metrics.contains("quiesce_backfill_paused 1\n"), "{metrics}");
    companion.send(Method::POST, "/v1/backfill/resume", None).await;
    eventually("all is replayed", async || (origin.effects() == 2).then_some(())).await;
    let metrics = companion.send(Method::GET, "/metrics", None).await.text().await.unwrap();
    assert!(metrics.contains("quiesce_backfill_paused 0\n"), "{metrics}");
    assert!(metrics.contains("quiesce_replays_total{surface=\"shop\",ending=\"done\"} 2\n"), "{metrics}");
    companion.stop().await;

    let companion = Companion::start_in(dir.path(), &yaml).await;
    assert_eq!(companion.get::<BackfillView>("/v1/backfill").await.phase.as_str(), "idle");
    companion.stop().await;
}
