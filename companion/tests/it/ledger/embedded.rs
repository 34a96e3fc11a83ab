//! The ledger in the embedded store: the contract, and the model with crashes.

use std::path::Path;

use proptest::{prelude::*, test_runner::Config};
use quiesce::{
    intents::{Ledger, SqliteLedger},
    store::SqliteStore,
};
use tempfile::TempDir;

use super::{
    contract::ledger_contract,
    model::{Crashing, follow, steps},
};

async fn open(dir: &Path) -> (SqliteLedger, SqliteStore) {
    let store = SqliteStore::open(&dir.join("quiesce.db")).await.unwrap();
    (SqliteLedger::open(&store).await.unwrap(), store)
}

async fn empty() -> Option<(SqliteLedger, (SqliteStore, TempDir))> {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, store) = open(dir.path()).await;
    Some((ledger, (store, dir)))
}

ledger_contract!(empty);

struct Embedded {
    dir: TempDir,
    open: Option<(SqliteLedger, SqliteStore)>,
}

impl Crashing for Embedded {
    const ENDS_LEASES: bool = true;

    fn ledger(&self) -> &dyn Ledger {
        &self.open.as_ref().unwrap().0
    }

    async fn crash(&mut self) {
        self.open = None;
        self.open = Some(open(self.dir.path()).await);
    }
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn the_ledger_does_as_the_model_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let open = Some(open(dir.path()).await);
            follow(steps, &mut Embedded { dir, open }).await;
        });
    }
}
