//! The ledger in the embedded store.

use std::path::Path;

use quiesce::{intents::SqliteLedger, store::SqliteStore};
use tempfile::TempDir;

use super::contract::ledger_contract;

async fn open(dir: &Path) -> (SqliteLedger, SqliteStore) {
    let store = SqliteStore::open(&dir.join("quiesce.db")).await.unwrap();
    (SqliteLedger::open(&store).await.unwrap(), store)
}

async fn empty() -> (SqliteLedger, (SqliteStore, TempDir)) {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, store) = open(dir.path()).await;
    (ledger, (store, dir))
}

ledger_contract!(empty);
