//! `quiesce store copy`: from an embedded store to a PostgreSQL, and on from there.

use quiesce::{
    intents::{Accepted, Conclusion, Ledger as _, Page, PostgresLedger, Selection, SqliteLedger},
    store::{SqliteStore, Store as _},
    windows::Phase,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    command::{command, run},
    companion::{Companion, eventually},
    enforcer::Enforcer,
    ledger::contract::{AMPLE, START, answer, claim, in_line, intent, silence, store, take},
    postgres::{Database, PASSWORD},
};

#[tokio::test]
async fn all_of_a_store_is_copied_once_and_companions_go_on_from_there() {
    let Some(database) = Database::new().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quiesce.db");
    let copy = async |to: &str| {
        run(&mut command(&["store", "copy", "--from", file.to_str().unwrap(), "--to", to])).await
    };
    let missing = copy(&database.url).await;
    assert_eq!(missing.code, Some(3), "{}", missing.stderr);
    assert!(!file.exists());

    let companion = Companion::start_in(dir.path(), "{}").await;
    let _enforcer = Enforcer::new(&companion.url, "edge-1", "1").run();
    eventually("edge-1 is live", async || (companion.status().await.fleet.live == 1).then_some(())).await;
    let over = companion.freeze().await;
    companion.thaw(&over).await;
    let window = companion.freeze().await;
    companion.watch(&window, |window| window.phase == Phase::Quiesced).await;
    let recurs =
        json!({ "rule": "FREQ=YEARLY", "starts_at": "2999-01-01T02:00", "zone": "UTC", "window": {} });
    assert_eq!(companion.send(Method::POST, "/v1/plans", Some(&recurs)).await.status(), 201);
    let plans: Value = companion.get("/v1/plans").await;
    let in_use = copy(&database.url).await;
    assert_eq!(in_use.code, Some(5), "{}", in_use.stderr);
    let (events, before) = (companion.events().await, companion.status().await);
    companion.stop().await;

    let page = Page { after: 0, limit: 100 };
    let embedded = SqliteStore::open(&file).await.unwrap();
    let ledger = SqliteLedger::open(&embedded).await.unwrap();
    for new in [intent("done"), in_line("a1", "/a"), in_line("a2", "/a"), intent("failed"), intent("gone")] {
        store(&ledger, new).await;
    }
    let taken = ledger.claim(claim("one", START, 10)).await.unwrap();
    for record in taken {
        let conclusion = match record.id.as_str() {
            "id-done" | "id-gone" => Conclusion::Done(answer(201)),
            "id-failed" => Conclusion::GivenUp(silence()),
            _ => Conclusion::Later { at: START, outcome: answer(503) },
        };
        ledger.conclude(record.id, "one".to_owned(), conclusion, START).await.unwrap();
    }
    assert_eq!(ledger.purge(START.plus_ms(1), 1).await.unwrap(), 1);
    let kept = ledger.list(Selection::default(), page).await.unwrap();
    let mut totals = ledger.totals().await.unwrap();
    totals.sort_by_key(|total| (total.surface.clone(), total.state.as_str()));
    let last = kept.iter().map(|record| record.seq).max();
    drop(ledger);
    embedded.close().await.unwrap();

    let done = copy(&database.url).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(!done.stdout.contains(PASSWORD), "{}", done.stdout);
    let counted = format!("copied 2 windows, {} events, 1 enforcer, 4 intents", events.len());
    assert!(done.stdout.contains(&counted), "{}", done.stdout);
    let again = copy(&database.url).await;
    assert_eq!(again.code, Some(5), "{}", again.stderr);
    assert!(again.stderr.contains("is not empty") && !again.stderr.contains(PASSWORD), "{}", again.stderr);
    let to_file = copy("other.db").await;
    assert_eq!(to_file.code, Some(3), "{}", to_file.stderr);

    let shared = database.store().await;
    let ledger = PostgresLedger::open(&shared);
    assert_eq!(ledger.list(Selection::default(), page).await.unwrap(), kept);
    assert_eq!(ledger.totals().await.unwrap(), totals);
    let first = kept.first().unwrap();
    assert!(ledger.payload(first.id.clone()).await.unwrap().is_some());
    let repeated = ledger.accept(in_line("a1", "/a"), AMPLE).await.unwrap();
    assert!(matches!(repeated, Accepted::Repeated(_)), "{repeated:?}");
    assert!(last < Some(store(&ledger, intent("next")).await.seq), "no place is given twice");
    assert_eq!(take(&ledger, "one", START).await, ["a1", "next"], "lines go on where they were");
    shared.close().await.unwrap();

    let companion = Companion::start_in(dir.path(), &format!("store: '{}'", database.url)).await;
    let status = companion.status().await;
    assert!(status.epoch > before.epoch, "what is configured is written down anew");
    let phases: Vec<_> = status.windows.iter().map(|one| (one.id.clone(), one.phase)).collect();
    assert_eq!(phases, [(window.id.clone(), Phase::Quiesced), (over.id, Phase::Soaking)]);
    assert_eq!(companion.events().await[..events.len()], events, "in the same places");
    assert_eq!(companion.get::<Value>("/v1/plans").await, plans);
    assert_eq!(companion.thaw(&window).await.phase, Phase::Soaking);
    companion.stop().await;
}
