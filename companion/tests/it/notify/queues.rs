//! Queues: what one notifier does delays no other, a restart loses nothing and repeats nothing, and what is given up is
//! seen.

use quiesce::outbox::DeliveryState;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elsewhere::{Elsewhere, Fault},
    kit::{config, later, secret, statuspage, steps, webhook},
};
use crate::{
    command::{Serve, command, run},
    companion::{Companion, eventually},
};

fn second(dir: &std::path::Path, elsewhere: &Elsewhere) -> String {
    webhook(dir, elsewhere).replace("pipeline", "other").replace("/hook\"", "/other\"")
}

#[tokio::test]
async fn a_notifier_that_hangs_delays_no_freeze_and_no_other() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifiers = [webhook(dir.path(), &elsewhere), second(dir.path(), &elsewhere)];
    let yaml = config(&notifiers).replace("timeout: 1s", "timeout: 10m");
    let companion = Companion::start_in(dir.path(), &yaml).await;
    elsewhere.once("POST /hook", Fault::Hangs);
    let mut windows = Vec::new();
    for _ in 0..3 {
        let window = companion.freeze().await;
        companion.thaw(&window).await;
        windows.push(window.id);
    }
    eventually("the other is told of all", async || (elsewhere.at("POST /other").len() >= 9).then_some(()))
        .await;
    let of_other = elsewhere.at("POST /other");
    for id in &windows {
        let of_window = of_other.iter().filter(|one| one.json()["data"]["window"]["id"] == json!(id));
        let types: Vec<_> = of_window.map(|one| one.json()["type"].clone()).collect();
        assert_eq!(types, ["window.frozen", "window.aborted", "window.closed"]);
    }
    assert_eq!(elsewhere.at("POST /hook").len(), 1, "it still hangs");
    // Nor does it keep the companion from going down.
    companion.stop().await;
}

#[tokio::test]
async fn what_was_not_delivered_when_the_companion_went_down_is_delivered_by_the_next_once() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let yaml = config(&[webhook(dir.path(), &elsewhere), statuspage(dir.path(), &elsewhere)]);
    elsewhere.always(Some(Fault::Cut));
    let serve = Serve::start(dir.path(), Some(&yaml)).await;
    let window: Value = serve.json(&["freeze", "--for", "10m"]).await;
    eventually("both were tried", async || {
        (!elsewhere.at("POST /hook").is_empty() && !elsewhere.at("GET /v1/pages").is_empty()).then_some(())
    })
    .await;
    serve.kill().await;
    elsewhere.always(None);
    let companion = Companion::start_in(dir.path(), &yaml).await;
    let told = eventually("both are told", async || {
        let all = companion.deliveries().await;
        all.iter().all(|one| one.state == DeliveryState::Delivered).then_some(all)
    })
    .await;
    assert_eq!(told.len(), 2);
    assert_eq!(elsewhere.incidents().len(), 1);
    assert_eq!(elsewhere.incidents()[0]["metadata"]["quiesce"]["window"], window["id"]);
    let (tried, before) = (elsewhere.arrivals().len(), companion.deliveries().await);
    companion.stop().await;
    let companion = Companion::start_in(dir.path(), &yaml).await;
    // A later event passes through the same queues, so that what was before it would be there by then.
    let next = companion.create(json!({ "starts_at": later(3_600), "reason": "next" })).await;
    companion.until_told(&next, 2).await;
    assert_eq!(companion.deliveries().await[..2], before[..], "nothing is told again");
    let of_next =
        |one: &&super::elsewhere::Arrival| String::from_utf8_lossy(&one.body).contains(next.id.as_str());
    let arrivals = elsewhere.arrivals();
    let later: Vec<_> = arrivals.iter().skip(tried).filter(|one| one.method != "GET").collect();
    assert!(later.iter().all(of_next), "{later:?}");
    companion.stop().await;
}

#[tokio::test]
async fn what_cannot_be_delivered_in_time_has_failed_and_can_be_sent_again_or_put_aside() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let yaml =
        config(&[webhook(dir.path(), &elsewhere)]).replace("timeout: 1s", "timeout: 200ms, deadline: 300ms");
    elsewhere.always(Some(Fault::Answers(502, None)));
    let serve = Serve::start(dir.path(), Some(&yaml)).await;
    serve.json(&["freeze", "--for", "10m"]).await;
    let failed = eventually("it is given up", async || {
        let list = serve.json(&["deliveries", "list", "--state", "failed"]).await;
        list["deliveries"].get(0).cloned()
    })
    .await;
    let note = failed["note"].as_str().unwrap();
    assert!(note.starts_with("not taken within deliveries.deadline, 300ms; the last time: 502"), "{note}");
    assert!(failed["attempts"].as_u64().unwrap() > 1);
    let status = serve.run(&["status"]).await.stdout;
    assert!(
        status.contains("1 message could not be delivered: `quiesce deliveries list --state failed`"),
        "{status}"
    );
    elsewhere.always(None);
    let id = failed["id"].as_str().unwrap();
    assert_eq!(serve.json(&["deliveries", "resend", id]).await, json!({ "changed": 1 }));
    let shown = eventually("it is delivered", async || {
        let shown = serve.json(&["deliveries", "show", id]).await;
        (shown["state"] == "delivered").then_some(shown)
    })
    .await;
    assert_eq!(shown["payload"]["json"]["type"], "window.frozen");
    let people = serve.run(&["deliveries", "show", id]).await.stdout;
    assert!(people.contains("delivered: frozen of window"), "{people}");
    assert!(!serve.run(&["status"]).await.stdout.contains("could not be delivered"));

    elsewhere.always(Some(Fault::Answers(404, None)));
    serve.json(&["thaw"]).await;
    eventually("it is refused", async || {
        let status: Value = serve.json(&["status"]).await;
        (status["deliveries"]["failed"].as_u64() >= Some(1)).then_some(())
    })
    .await;
    serve.json(&["deliveries", "cancel", "--state", "failed", "--notifier", "pipeline"]).await;
    let unknown = serve.run(&["deliveries", "resend", "nobody"]).await;
    assert!(unknown.stderr.contains("there is no delivery `nobody`"), "{}", unknown.stderr);
    let nothing = serve.run(&["deliveries", "cancel"]).await;
    assert!(nothing.stderr.contains("nothing is selected"), "{}", nothing.stderr);
}

#[tokio::test]
async fn who_is_not_told_of_a_step_is_not_and_who_is_not_configured_any_more_neither() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifier = webhook(dir.path(), &elsewhere).replace("kind:", "steps: [aborted], kind:");
    let yaml = config(&[notifier]);
    let companion = Companion::start_in(dir.path(), &yaml).await;
    let window = companion.freeze().await;
    companion.thaw(&window).await;
    assert_eq!(steps(&companion.until_told(&window, 1).await), [("aborted", "delivered")]);
    elsewhere.always(Some(Fault::Cut));
    let window = companion.freeze().await;
    companion.thaw(&window).await;
    companion.until_delivery("it is tried", |one| one.window == window.id && one.attempts > 0).await;
    companion.stop().await;
    let companion = Companion::start_in(dir.path(), "{}").await;
    let told = companion.until_told(&window, 1).await;
    assert_eq!(told[0].note.as_deref(), Some("no notifier of this name is configured any more"));
    companion.stop().await;
}

#[tokio::test]
async fn a_wrong_configuration_is_told_by_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quiesce.yaml");
    let yaml = r#"
notify:
  - { name: Status, kind: statuspage, page_id: "a/b" }
  - { name: chat, kind: slack, webhook_url: { env: X }, keys: [a] }
  - { name: chat, kind: webhook, url: "ftp://x", secret: { file: /x }, steps: [] }
  - { name: flare, kind: cloudflare, zone_id: z, api_key: { env: X }, tags: [a], prefixes: [b] }
messages:
  zone: Mars/Olympus
deliveries: { backoff: { first: 1h } }
"#;
    let check = async |yaml: &str| {
        std::fs::write(&file, yaml).unwrap();
        let said = run(&mut command(&["config", "check", file.to_str().unwrap()])).await;
        assert_eq!(said.code, Some(3), "{}", said.stderr);
        said.stderr
    };
    let said = check(yaml).await;
    for expected in [
        ":3:13: notify[0].name: `Status` is no name",
        ":3:48: notify[0].page_id: `a/b` is no identifier",
        "notify[0].api_key: is missing; a statuspage needs it",
        "notify[1].keys: means nothing to a slack",
        "notify[2].name: `chat` is the name of another notifier",
        "notify[2].url: `ftp://x` is no absolute URL",
        "notify[2].steps: is empty",
        "notify[3].tags: give one of `tags`, `prefixes` and `urls`",
        ":8:9: messages.zone: `Mars/Olympus` is no time zone",
        "deliveries.backoff.first: 1h is longer than deliveries.backoff.cap, 5m",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    let wording = "messages: { wording: { steps: { frozen: { text: 'Ask {{ contat }}' }, closed: { title: '{% if %}' } } } }";
    let said = check(wording).await;
    assert!(said.contains("messages.wording.steps.closed.title: "), "{said}");
    let said = check(&wording.replace("{% if %}", "over")).await;
    assert!(said.contains("messages.wording.steps.frozen.text: ") && said.contains("undefined"), "{said}");
    for wrong in ["notify: [{ name: a, kind: pager }]", "notify: [{ name: a, kind: slack, color: red }]"] {
        let said = check(wrong).await;
        assert!(said.contains(":1:"), "{said}");
    }

    let missing = config(&[format!(
        "  - {{ name: chat, kind: slack, webhook_url: {} }}\n",
        secret(dir.path(), "gone", "x")
    )]);
    std::fs::remove_file(dir.path().join("gone")).unwrap();
    let refused = Companion::try_start_in(dir.path(), &missing).await;
    let error = refused.err().expect("without its secret nobody can be told").to_string();
    assert!(error.contains("notify[0].webhook_url: cannot read"), "{error}");
}

#[tokio::test]
async fn a_selection_has_to_say_something() {
    let dir = tempfile::tempdir().unwrap();
    let companion = Companion::start_in(dir.path(), "{}").await;
    for (body, place) in [(json!({}), "ids"), (json!({ "ids": vec!["x"; 1_001] }), "ids")] {
        let refused = companion.send(Method::POST, "/v1/deliveries/resend", Some(&body)).await;
        assert_eq!(refused.status(), 422);
        assert_eq!(refused.json::<Value>().await.unwrap()["place"], place);
    }
    assert_eq!(companion.send(Method::GET, "/v1/deliveries/x", None).await.status(), 404);
    companion.stop().await;
}
