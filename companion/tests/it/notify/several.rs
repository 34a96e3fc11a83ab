//! Several companions on one database: the one that controls delivers, whoever was asked; and when it goes, the next.

use std::path::Path;

use serde_json::Value;

use super::{
    elsewhere::{Elsewhere, Fault},
    kit::{config, statuspage, steps, webhook},
};
use crate::{
    command::{Serve, command, run},
    companion::{Companion, eventually},
    postgres::Database,
};

fn yaml(database: &Database, dir: &Path, notifiers: &[String]) -> String {
    let key = dir.join("pass.key");
    format!("store: '{}'\npasses: {{ key_file: {} }}\n{}", database.url, key.display(), config(notifiers))
}

#[tokio::test]
async fn each_event_is_told_once_whichever_companion_was_asked() {
    let Some(database) = Database::new().await else { return };
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let yaml = yaml(&database, dir.path(), &[webhook(dir.path(), &elsewhere)]);
    let one = Companion::start_in(dir.path(), &yaml).await;
    let other = Companion::start_in(dir.path(), &yaml).await;
    for (here, there) in [(&one, &other), (&other, &one)] {
        let window = here.freeze().await;
        there.thaw(&window).await;
        let told = here.until_told(&window, 3).await;
        assert_eq!(steps(&told), ["frozen", "aborted", "closed"].map(|step| (step, "delivered")));
        assert!(told.iter().all(|one| one.attempts == 1), "{told:#?}");
    }
    assert_eq!(elsewhere.arrivals().len(), 6);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn when_the_one_that_delivers_is_killed_another_goes_on() {
    let Some(database) = Database::new().await else { return };
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    std::fs::create_dir_all(&first).unwrap();
    std::fs::create_dir_all(&second).unwrap();
    let yaml = yaml(&database, dir.path(), &[statuspage(dir.path(), &elsewhere)]);
    let controls = Serve::start(&first, Some(&yaml)).await;
    // It alone is there, so that it is the one that delivers.
    let window: Value = controls.json(&["freeze", "--for", "10m"]).await;
    eventually("it delivers", async || (!elsewhere.incidents().is_empty()).then_some(())).await;
    elsewhere.once("PATCH /v1/pages", Fault::TakenAndCut);
    elsewhere.always(Some(Fault::Hangs));
    let next = Serve::start(&second, Some(&yaml)).await;
    controls.json(&["extend", window["id"].as_str().unwrap(), "--by", "5m"]).await;
    eventually("its page was told", async || (!elsewhere.at("PATCH /v1/pages").is_empty()).then_some(()))
        .await;
    controls.kill().await;
    elsewhere.always(None);
    eventually("the next has it delivered", async || {
        let list = next.json(&["deliveries", "list"]).await;
        let all = list["deliveries"].as_array().unwrap();
        (all.len() == 2 && all.iter().all(|one| one["state"] == "delivered")).then_some(())
    })
    .await;
    let incidents = elsewhere.incidents();
    assert_eq!(incidents.len(), 1);
    assert_eq!(super::elsewhere::statuses(&incidents[0]), ["in_progress", "in_progress"]);
}

#[tokio::test]
async fn what_is_to_be_told_goes_with_a_store_that_is_copied() {
    let Some(database) = Database::new().await else { return };
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifiers = [webhook(dir.path(), &elsewhere)];
    let soaks = |yaml: String| yaml.replace("soak: 1ms", "soak: 1h");
    let companion = Companion::start_in(dir.path(), &soaks(config(&notifiers))).await;
    let window = companion.freeze().await;
    companion.until_told(&window, 1).await;
    elsewhere.always(Some(Fault::Answers(503, None)));
    companion.thaw(&window).await;
    companion
        .until_delivery("the end was tried", |one| one.step.as_str() == "aborted" && one.attempts > 0)
        .await;
    companion.stop().await;
    let file = dir.path().join("quiesce.db");
    let copy = ["store", "copy", "--from", file.to_str().unwrap(), "--to", &database.url];
    let copied = run(&mut command(&copy)).await;
    assert!(copied.stdout.contains("2 deliveries"), "{}{}", copied.stdout, copied.stderr);
    elsewhere.always(None);
    let tried = elsewhere.arrivals().len();
    let companion = Companion::start_in(dir.path(), &soaks(yaml(&database, dir.path(), &notifiers))).await;
    let told = companion.until_told(&window, 2).await;
    assert_eq!(steps(&told), [("frozen", "delivered"), ("aborted", "delivered")]);
    let types: Vec<_> = elsewhere.arrivals()[tried..].iter().map(|one| one.json()["type"].clone()).collect();
    assert_eq!(types, ["window.aborted"]);
    companion.stop().await;
}
