//! What only SQLite shows: a disk that is full, and the work that changes are with many intents.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quiesce_policy::snapshot::WindowId;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::*;
use crate::{intents::Outcome, store::Store as _};

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);
const AMPLE: LedgerLimits = LedgerLimits { count: 1_000_000, bytes: 1 << 40 };

async fn open(dir: &Path) -> (SqliteLedger, SqliteStore) {
    let store = SqliteStore::open(&dir.join("quiesce.db")).await.unwrap();
    (SqliteLedger::open(&store).await.unwrap(), store)
}

fn intent(name: &str, body_bytes: usize) -> NewIntent {
    NewIntent {
        id: IntentId::from(name.to_owned()),
        received_at: NOW,
        surface: "shop".to_owned(),
        window: WindowId::from("w1"),
        enforcer: "edge-1".to_owned(),
        tenant: String::new(),
        key: name.to_owned(),
        fingerprint: [7; 32],
        line: format!("/{name}"),
        method: "POST".to_owned(),
        path: format!("/{name}"),
        payload: Payload { head: b"head".to_vec(), body: vec![7; body_bytes], sealed_by: None },
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_is_got_over() {
    let dir = tempfile::tempdir().unwrap();
    // Beyond so many pages, SQLite finds the disk full.
    let limited = SqliteConnectOptions::new().pragma("max_page_count", "200");
    let store = SqliteStore::open_with(&dir.path().join("quiesce.db"), limited).await.unwrap();
    let ledger = SqliteLedger::open(&store).await.unwrap();
    // Some that fit and some that do not, in one batch: who is told that it is stored is stored.
    let names: Vec<_> = (0..8).map(|number| format!("large-{number}")).collect();
    let offers: Vec<_> = names
        .iter()
        .map(|name| {
            let (ledger, offered) = (ledger.clone(), intent(name, 200_000));
            tokio::spawn(async move { ledger.accept(offered, AMPLE).await })
        })
        .collect();
    let mut stored = Vec::new();
    for (name, offer) in names.iter().zip(offers) {
        match offer.await.unwrap() {
            Ok(Accepted::Stored(_)) => stored.push(name.clone()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(error.to_string().contains("full"), "{error}"),
        }
    }
    assert!((1..8).contains(&stored.len()), "{stored:?}");
    // What is not accepted has left nothing behind, and small ones still fit.
    assert!(matches!(ledger.accept(intent("small", 10), AMPLE).await.unwrap(), Accepted::Stored(_)));
    stored.push("small".to_owned());
    let totals = ledger.totals().await.unwrap();
    assert_eq!(totals[0].count, stored.len() as u64);
    store.close().await.unwrap();
    drop((ledger, store));
    let (ledger, _store) = open(dir.path()).await;
    let listed = ledger.list(Selection::default(), Page { after: 0, limit: 100 }).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.id.to_string()).collect::<Vec<_>>(), stored);
    assert_eq!(ledger.totals().await.unwrap(), totals);
}

#[tokio::test]
async fn one_that_cannot_be_stored_spares_the_others_of_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _store) = open(dir.path()).await;
    ledger.accept(intent("a", 1), AMPLE).await.unwrap();
    // An id that is there already, under another key.
    let twin = NewIntent { key: "another".to_owned(), ..intent("a", 1) };
    let (b, failed, c) = tokio::join!(
        ledger.accept(intent("b", 1), AMPLE),
        ledger.accept(twin, AMPLE),
        ledger.accept(intent("c", 1), AMPLE),
    );
    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    for accepted in [b, c] {
        assert!(matches!(accepted, Ok(Accepted::Stored(_))), "{accepted:?}");
    }
    assert_eq!(ledger.totals().await.unwrap()[0].count, 3);
}

#[tokio::test]
async fn what_is_stored_together_is_as_if_it_came_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, store) = open(dir.path()).await;
    ledger.accept(NewIntent { line: "/line-0".to_owned(), ..intent("early", 1) }, AMPLE).await.unwrap();
    let limits = LedgerLimits { count: 101, ..AMPLE };
    // 100 in four lines, each key twice and `early` once more: the second is another payload, or a repetition.
    let mut offers: Vec<_> = (0..100)
        .flat_map(|number| {
            let one = NewIntent { line: format!("/line-{}", number % 4), ..intent(&format!("n{number}"), 1) };
            let fingerprint = if number % 2 == 0 { [8; 32] } else { one.fingerprint };
            let id = IntentId::from(format!("again-{number}"));
            [one.clone(), NewIntent { id, fingerprint, ..one }]
        })
        .collect();
    offers.push(NewIntent { id: IntentId::from("early-again".to_owned()), ..intent("early", 1) });
    offers.push(intent("too-many", 1));
    // All of them wait before the writer has its first turn.
    let offered: Vec<_> = offers
        .into_iter()
        .map(|offer| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.accept(offer, limits).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for offer in offered {
        answers.push(offer.await.unwrap());
    }
    for (number, pair) in answers.chunks_exact(2).take(100).enumerate() {
        assert!(
            matches!(&pair[0], Accepted::Stored(one) if one.seq == number as u64 + 2),
            "{number}: {:?}",
            pair[0]
        );
        match &pair[1] {
            Accepted::KeyReused => assert_eq!(number % 2, 0),
            Accepted::Repeated(one) => assert_eq!((one.seq, number % 2), (number as u64 + 2, 1)),
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(matches!(&answers[200], Accepted::Repeated(one) if one.seq == 1), "{:?}", answers[200]);
    assert_eq!(answers[201], Accepted::FullByCount);
    assert_eq!(ledger.totals().await.unwrap()[0].count, 101);
    // The first of each line has the turn, and nobody else.
    let claim = Claim {
        owner: "one".to_owned(),
        now: NOW,
        lease_until: NOW.plus_ms(1_000),
        but_of_windows: Vec::new(),
        limit: 100,
    };
    let claimed: Vec<_> =
        ledger.claim(claim).await.unwrap().iter().map(|record| record.key.clone()).collect();
    assert_eq!(claimed, ["early", "n1", "n2", "n3"]);
    let kept: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM intents JOIN intent_payloads USING (seq) WHERE body = x'07'",
    )
    .fetch_one(store.readers())
    .await
    .unwrap();
    assert_eq!(kept, 101);
}

/// A ledger that holds so many, all in one line or each in its own, and a count of the instructions that
/// SQLite carries out.
async fn crowded(count: i64, one_line: bool) -> (SqliteLedger, SqliteStore, Arc<AtomicU64>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, store) = open(dir.path()).await;
    sqlx::query(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO intents (id, surface, window_id, enforcer, tenant, key, fingerprint, line, method, path,
             size_bytes, received_at, state, stops_line, open, attempts, next_attempt_at, due, updated_at)
         SELECT 'crowd-' || i, 'shop', 'w' || (i % 3), 'edge-1', '', 'crowd-' || i, zeroblob(32),
             CASE WHEN ?2 THEN '/one' ELSE '/' || i END, 'POST', '/', 5, ?3, 'held', 0, 1, 0, ?3,
             CASE WHEN ?2 AND i > 1 THEN NULL ELSE ?3 END, ?3
         FROM n",
    )
    .bind(count)
    .bind(one_line)
    .bind(signed(NOW.unix_ms()))
    .execute(store.writer())
    .await
    .unwrap();
    drop(ledger);
    let ledger = SqliteLedger::open(&store).await.unwrap();
    let steps = Arc::new(AtomicU64::new(0));
    let mut writer = store.writer().acquire().await.unwrap();
    let counter = Arc::clone(&steps);
    writer.lock_handle().await.unwrap().set_progress_handler(1, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        true
    });
    drop(writer);
    (ledger, store, steps, dir)
}

/// The instructions that taking, concluding, accepting and purging need.
async fn steps(count: i64, one_line: bool) -> u64 {
    let (ledger, _store, steps, _dir) = crowded(count, one_line).await;
    let claim = |but: &str| Claim {
        owner: "one".to_owned(),
        now: NOW,
        lease_until: NOW.plus_ms(1_000),
        but_of_windows: vec![WindowId::from(but)],
        limit: 4,
    };
    steps.store(0, Ordering::Relaxed);
    let before = ledger.claim(claim("nothing")).await.unwrap();
    for (number, record) in before.iter().enumerate() {
        let outcome = Outcome { status: Some(200), ..Outcome::default() };
        let conclusion = match number % 2 {
            0 => Conclusion::Done(outcome),
            _ => Conclusion::Later { at: NOW.plus_ms(1), outcome },
        };
        assert!(ledger.conclude(record.id.clone(), "one".to_owned(), conclusion, NOW).await.unwrap());
    }
    ledger.claim(claim("w0")).await.unwrap();
    ledger.accept(intent("new", 5), AMPLE).await.unwrap();
    let selection = Selection { ids: vec![IntentId::from("new".to_owned())], ..Selection::default() };
    assert_eq!(ledger.decide(selection, Decision::Discard, "enough".to_owned(), NOW).await.unwrap(), 1);
    assert!(ledger.purge(NOW.plus_ms(1), 10).await.unwrap() > 0);
    steps.load(Ordering::Relaxed)
}

#[tokio::test]
async fn the_work_does_not_grow_with_what_is_held() {
    for one_line in [false, true] {
        let (few, many) = (steps(100, one_line).await, steps(100_000, one_line).await);
        assert!(few > 100, "the instructions are counted: {few}");
        assert!(many <= few + few / 10, "{few} instructions with 100 held, {many} with 100,000");
    }
}
