//! Status pages: one maintenance for each window, whatever goes wrong on the way.

use quiesce::{notify::Step, windows::Phase};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elsewhere::{Elsewhere, Fault, KEY, statuses},
    kit::{config, instatus, later, secret, statuspage, steps},
};
use crate::{
    companion::{Companion, eventually},
    enforcer::Enforcer,
};

#[tokio::test]
async fn statuspage_shows_a_planned_window_from_its_announcement_to_its_end() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let companion = Companion::start_in(dir.path(), &config(&[statuspage(dir.path(), &elsewhere)])).await;
    let _enforcer = Enforcer::new(&companion.url, "edge-1", "1").run();
    let starts_at = later(2);
    let window = companion
        .create(
            json!({ "starts_at": starts_at, "duration_ms": 600_000, "reason": "reindex", "contact": "#ops" }),
        )
        .await;
    companion.until_told(&window, 1).await;
    let incident = elsewhere.incidents().remove(0);
    assert_eq!(incident["status"], "scheduled");
    assert_eq!(incident["name"], "Maintenance: reindex");
    assert_eq!(incident["scheduled_for"], json!(window.starts_at));
    assert_eq!(incident["scheduled_until"], json!(window.ends_at));
    for by_itself in [
        "scheduled_auto_in_progress",
        "scheduled_auto_completed",
        "auto_transition_to_maintenance_state",
        "auto_transition_to_operational_state",
        "scheduled_remind_prior",
    ] {
        assert_eq!(incident[by_itself], false, "{by_itself}");
    }
    assert_eq!(incident["metadata"], json!({ "quiesce": { "window": window.id } }));
    assert_eq!(
        (&incident["component_ids"], &incident["components"]["db1"]),
        (&json!(["db1"]), &json!("operational"))
    );
    let body = incident["body"].as_str().unwrap();
    assert!(
        body.contains("all data can be read but not changed") && body.contains("Questions: #ops"),
        "{body}"
    );

    companion.until_told(&window, 2).await;
    assert_eq!(elsewhere.incidents()[0]["components"]["db1"], "under_maintenance");
    let extend = format!("/v1/windows/{}/extend", window.id);
    let extended: quiesce::view::WindowView =
        companion.send(Method::POST, &extend, Some(&json!({ "by_ms": 60_000 }))).await.json().await.unwrap();
    let told = companion.until_told(&window, 3).await;
    assert_eq!(elsewhere.incidents()[0]["scheduled_until"], json!(extended.ends_at));
    companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    companion.thaw(&window).await;
    eventually("the maintenance is completed", async || {
        (elsewhere.incidents()[0]["status"] == "completed").then_some(())
    })
    .await;
    let incidents = elsewhere.incidents();
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    let states = statuses(&incidents[0]);
    assert_eq!(states[..3], ["scheduled", "in_progress", "in_progress"]);
    // Whether it was told that it is looked at depends on how soon it was over.
    assert!(states[3..] == ["verifying", "completed"] || states[3..] == ["completed"], "{states:?}");
    assert_eq!(incidents[0]["components"]["db1"], "operational");
    let delivered = [("announced", "delivered"), ("frozen", "delivered"), ("extended", "delivered")];
    assert_eq!(steps(&told), delivered);
    assert!(told.iter().all(|one| one.external_id.as_deref() == incidents[0]["id"].as_str()));
    assert_eq!(elsewhere.at("POST /v1/pages").len(), 1);
    companion.stop().await;
}

#[tokio::test]
async fn a_freeze_without_notice_is_in_progress_from_the_first() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifiers = [statuspage(dir.path(), &elsewhere), instatus(dir.path(), &elsewhere)];
    let companion = Companion::start_in(dir.path(), &config(&notifiers)).await;
    let window = companion.freeze().await;
    companion.until_told(&window, 2).await;
    assert_eq!(statuses(&elsewhere.incidents()[0]), ["in_progress"]);
    assert_eq!(statuses(&elsewhere.maintenances()[0]), ["INPROGRESS"]);
    companion.stop().await;
}

#[tokio::test]
async fn a_window_that_is_taken_back_is_completed_there_and_one_never_shown_is_not_made_up() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let companion = Companion::start_in(dir.path(), &config(&[statuspage(dir.path(), &elsewhere)])).await;
    let window = companion.create(json!({ "starts_at": later(3_600), "reason": "later" })).await;
    companion.until_told(&window, 1).await;
    companion.act(&window, "cancel").await;
    let told = companion.until_told(&window, 2).await;
    assert_eq!(steps(&told), [("announced", "delivered"), ("cancelled", "delivered")]);
    assert_eq!(statuses(&elsewhere.incidents()[0]), ["scheduled", "completed"]);
    assert!(elsewhere.incidents()[0]["body"].as_str().unwrap().contains("does not take place"));

    elsewhere.always(Some(Fault::Answers(503, None)));
    let window = companion.create(json!({ "starts_at": later(3_600), "reason": "never" })).await;
    companion.until_delivery("it was tried", |one| one.window == window.id && one.attempts > 1).await;
    companion.act(&window, "cancel").await;
    companion
        .until_delivery("the end was tried", |one| {
            one.step == Step::Cancelled && one.window == window.id && one.attempts > 0
        })
        .await;
    elsewhere.always(None);
    let told = companion.until_told(&window, 2).await;
    assert_eq!(steps(&told), [("announced", "cancelled"), ("cancelled", "cancelled")]);
    assert_eq!(told[1].note.as_deref(), Some("the page never showed it"));
    assert_eq!(elsewhere.incidents().len(), 1);
    companion.stop().await;
}

/// Where requests are taken and their answers are lost, nothing is shown twice and nothing is said twice.
#[tokio::test]
async fn lost_answers_make_no_second_maintenance_and_no_second_update() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifiers = [statuspage(dir.path(), &elsewhere), instatus(dir.path(), &elsewhere)];
    let companion = Companion::start_in(dir.path(), &config(&notifiers)).await;
    for line in
        ["POST /v1/pages", "PATCH /v1/pages", "POST /v1/site1/maintenances", "POST /v1/site1/maintenances/"]
    {
        elsewhere.once(line, Fault::TakenAndCut);
    }
    let window = companion.freeze().await;
    companion.until_told(&window, 2).await;
    let extend = format!("/v1/windows/{}/extend", window.id);
    companion.send(Method::POST, &extend, Some(&json!({ "by_ms": 60_000 }))).await;
    let told = companion.until_told(&window, 4).await;
    assert!(told.iter().all(|one| one.attempts == 2), "{told:#?}");
    let shown: Vec<Value> = elsewhere.incidents().into_iter().chain(elsewhere.maintenances()).collect();
    assert_eq!(shown.len(), 2, "{shown:#?}");
    assert_eq!(statuses(&shown[0]), ["in_progress", "in_progress"]);
    assert_eq!(statuses(&shown[1]), ["INPROGRESS", "INPROGRESS"]);
    assert_eq!(shown[1]["duration"], 11);
    companion.stop().await;
}

#[tokio::test]
async fn a_page_that_was_down_is_told_the_latest_and_from_the_beginning() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifiers = [statuspage(dir.path(), &elsewhere), instatus(dir.path(), &elsewhere)];
    let yaml = format!("windows: {{}}\n{}", config(&notifiers));
    let companion = Companion::start_in(dir.path(), &yaml).await;
    elsewhere.always(Some(Fault::Cut));
    let window = companion.freeze().await;
    for name in ["status", "instatus"] {
        companion.until_delivery("it was tried", |one| one.notifier == name && one.attempts > 0).await;
    }
    companion.thaw(&window).await;
    for name in ["status", "instatus"] {
        companion
            .until_delivery("the end was tried", |one| {
                one.notifier == name && one.step == Step::Closed && one.attempts > 0
            })
            .await;
    }
    elsewhere.always(None);
    eventually("both pages show it", async || {
        let shown: Vec<_> = elsewhere.incidents().into_iter().chain(elsewhere.maintenances()).collect();
        (shown.len() == 2 && shown.iter().all(|one| statuses(one).len() > 1)).then_some(())
    })
    .await;
    assert_eq!(statuses(&elsewhere.incidents()[0])[..2], ["in_progress", "completed"]);
    assert_eq!(statuses(&elsewhere.maintenances()[0])[..2], ["INPROGRESS", "COMPLETED"]);
    let frozen = companion.until_delivery("what came first", |one| one.step == Step::Frozen).await;
    assert_eq!(frozen.state.as_str(), "cancelled");
    assert!(frozen.note.unwrap().contains("says more"));
    companion.stop().await;
}

#[tokio::test]
async fn a_wrong_key_fails_at_once_and_is_told_to_operators_until_it_is_mended() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifier = statuspage(dir.path(), &elsewhere);
    secret(dir.path(), "statuspage-key", "another-key");
    let companion = Companion::start_in(dir.path(), &config(&[notifier])).await;
    let window = companion.freeze().await;
    let failed = companion.until_told(&window, 1).await.remove(0);
    assert_eq!((failed.state.as_str(), failed.last_status, failed.attempts), ("failed", Some(401), 1));
    assert!(failed.note.unwrap().contains("Could not authenticate"));
    let summary = companion.status().await.deliveries.unwrap();
    assert_eq!((summary.pending, summary.failed), (0, 1));
    let metrics = companion.send(Method::GET, "/metrics", None).await.text().await.unwrap();
    assert!(metrics.contains(r#"quiesce_deliveries{notifier="status",state="failed"} 1"#), "{metrics}");
    let kinds: Vec<_> = companion.events().await.iter().map(|event| event.kind.as_str()).collect();
    assert!(kinds.contains(&"delivery-failed"), "{kinds:?}");

    // The key is read when it is used: no restart.
    secret(dir.path(), "statuspage-key", KEY);
    let resend =
        companion.send(Method::POST, "/v1/deliveries/resend", Some(&json!({ "state": "failed" }))).await;
    assert_eq!(resend.json::<Value>().await.unwrap(), json!({ "changed": 1 }));
    let told = companion.until_told(&window, 1).await;
    assert_eq!(steps(&told), [("frozen", "delivered")]);
    assert_eq!(companion.status().await.deliveries, None);
    companion.stop().await;
}
