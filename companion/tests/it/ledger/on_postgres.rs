//! The ledger in a PostgreSQL: the contract, the model with crashes, and two companions at once.

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::Config};
use quiesce::{
    intents::{Accepted, Conclusion, Ledger, NewIntent, Page, PostgresLedger, Selection},
    store::{PostgresStore, Store as _},
};

use super::{
    contract::{AMPLE, START, answer, claim, in_line, ledger_contract, store, take},
    model::{Crashing, follow, steps},
};
use crate::postgres::Database;

async fn open(database: &Database) -> (PostgresLedger, PostgresStore) {
    let store = database.store().await;
    (PostgresLedger::open(&store), store)
}

async fn empty() -> Option<(PostgresLedger, PostgresStore)> {
    Some(open(&Database::new().await?).await)
}

ledger_contract!(empty);

struct OnPostgres {
    database: Database,
    open: Option<(PostgresLedger, PostgresStore)>,
}

impl Crashing for OnPostgres {
    fn ledger(&self) -> &dyn Ledger {
        &self.open.as_ref().unwrap().0
    }

    async fn crash(&mut self) {
        let (_, store) = self.open.take().unwrap();
        store.close().await.unwrap();
        self.open = Some(open(&self.database).await);
    }
}

proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn the_ledger_does_as_the_model_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let Some(database) = Database::new().await else { return };
            let open = Some(open(&database).await);
            let mut subject = OnPostgres { database, open };
            follow(steps, &mut subject).await;
            subject.open.unwrap().1.close().await.unwrap();
        });
    }
}

#[tokio::test]
async fn of_two_companions_each_intent_has_one_at_a_time_and_lines_keep_their_order() {
    let Some(database) = Database::new().await else { return };
    let (one, _one) = open(&database).await;
    let (two, _two) = open(&database).await;
    let offers = (0..60).map(|n| {
        let ledger = if n % 2 == 0 { one.clone() } else { two.clone() };
        tokio::spawn(async move { store(&ledger, in_line(&format!("{n:02}"), &format!("/{}", n % 3))).await })
    });
    for offer in offers.collect::<Vec<_>>() {
        offer.await.unwrap();
    }
    let page = Page { after: 0, limit: 100 };
    let accepted = one.list(Selection::default(), page).await.unwrap();
    assert_eq!(accepted, two.list(Selection::default(), page).await.unwrap());

    let replay = |ledger: PostgresLedger, owner: &'static str| async move {
        let mut sent = Vec::new();
        while ledger.totals().await.unwrap().iter().any(|total| total.state.is_open()) {
            for record in ledger.claim(claim(owner, START, 2)).await.unwrap() {
                let done = Conclusion::Done(answer(200));
                assert!(ledger.conclude(record.id.clone(), owner.to_owned(), done, START).await.unwrap());
                sent.push(record);
            }
        }
        sent
    };
    let (first, second) =
        tokio::join!(tokio::spawn(replay(one.clone(), "one")), tokio::spawn(replay(two, "two")));
    let (first, second) = (first.unwrap(), second.unwrap());
    let ids: BTreeSet<_> = first.iter().chain(&second).map(|record| record.id.clone()).collect();
    assert_eq!((ids.len(), first.len() + second.len()), (60, 60), "each was sent once");
    for sent in [first, second] {
        for line in ["/0", "/1", "/2"] {
            let seqs: Vec<_> = sent.iter().filter(|it| it.line == line).map(|it| it.seq).collect();
            assert!(seqs.is_sorted(), "{line}: {seqs:?}");
        }
    }
}

#[tokio::test]
async fn texts_longer_than_an_index_takes_are_kept() {
    let Some((ledger, _store)) = empty().await else { return };
    let long = |name: &str| NewIntent {
        tenant: "t".repeat(9_000),
        path: format!("/{}", "p".repeat(60_000)),
        ..in_line(name, &format!("/{}", "x".repeat(60_000)))
    };
    let first = store(&ledger, long("a")).await;
    store(&ledger, long("b")).await;
    assert_eq!(ledger.accept(long("a"), AMPLE).await.unwrap(), Accepted::Repeated(first));
    assert_eq!(take(&ledger, "one", START).await, ["a"], "b waits in the same line");
}
