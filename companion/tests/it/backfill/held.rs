//! A companion with intents in its ledger, and the engine that replays them, inside the test's process.

use std::{path::Path, sync::Arc};

use quiesce::{
    auth::{Caller, Role, Tokens},
    backfill::{replay, view::BackfillView},
    config::Config,
    event::EventKind,
    intents::{
        Accepted, IntentId, IntentRecord, IntentState, Ledger, LedgerLimits, NewIntent, Page, Payload, Seals,
        Selection, SqliteLedger,
    },
    passes::PassSigner,
    service::{Service, control},
    store::{SqliteStore, Store},
};
use quiesce_policy::HeaderBlock;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::companion::{LIMIT, eventually};

const AMPLE: LedgerLimits = LedgerLimits { count: 1_000_000, bytes: 1 << 40 };

/// An order in a line of its own path, with its number as its body, and waiting for `window`.
pub fn order(line: &str, number: usize, window: &str) -> NewIntent {
    let path = format!("{line}?n={number}");
    let head = HeaderBlock::new(&[
        (b":method", b"POST"),
        (b":path", path.as_bytes()),
        (b":authority", b"shop.example.com"),
        (b":scheme", b"http"),
        (b"content-type", b"text/plain"),
    ]);
    let body = number.to_string().into_bytes();
    NewIntent {
        id: ulid::Ulid::generate().to_string().to_lowercase().into(),
        received_at: quiesce::clock::now(),
        surface: "shop".to_owned(),
        window: window.into(),
        enforcer: "edge-1".to_owned(),
        tenant: String::new(),
        key: format!("{line}-{number}"),
        fingerprint: [1; 32],
        line: line.to_owned(),
        method: "POST".to_owned(),
        path,
        payload: Payload { head: head.as_bytes().to_vec(), body, sealed_by: None },
    }
}

/// Puts an order into a ledger, as if an enforcer had sent it.
pub async fn accept(ledger: &dyn Ledger, intent: NewIntent) -> IntentRecord {
    match ledger.accept(intent, AMPLE).await.unwrap() {
        Accepted::Stored(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Puts `each` orders into each of `lines`, of a window that nobody knows any more, into the store of a
/// companion that does not run.
pub async fn fill(dir: &Path, lines: &[&str], each: usize) {
    let store = SqliteStore::open(&dir.join("quiesce.db")).await.unwrap();
    let ledger = SqliteLedger::open(&store).await.unwrap();
    for number in 0..each {
        for line in lines {
            accept(&ledger, order(line, number, "gone")).await;
        }
    }
    store.close().await.unwrap();
}

/// Carries out a statement on the store in this directory, whoever else has it open.
pub async fn tamper(dir: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(dir.join("quiesce.db")).busy_timeout(LIMIT);
    let mut connection = options.connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A configuration that is quick, and sends to `to`.
pub fn quick(to: &str, more: &str) -> String {
    format!(
        "backfill: {{ to: \"{to}\", soak: 1ms, timeout: 5s, backoff: {{ first: 1ms, cap: 20ms }}{}{more} }}",
        if more.is_empty() { "" } else { ", " }
    )
}

/// A companion without an API.
pub struct Held {
    pub service: Arc<Service>,
    pub ledger: SqliteLedger,
    tasks: Vec<JoinHandle<()>>,
    store: Arc<SqliteStore>,
    dir: TempDir,
}

impl Held {
    pub async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[], 0).await
    }

    /// One that finds orders in its ledger when it starts.
    pub async fn start_with(yaml: &str, lines: &[&str], each: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), lines, each).await;
        Self::start_in(dir, yaml).await
    }

    /// One that finds its store there.
    pub async fn start_in(dir: TempDir, yaml: &str) -> Self {
        let config = Config::from_yaml(yaml, "test.yaml").unwrap();
        let store = Arc::new(SqliteStore::open(&dir.path().join("quiesce.db")).await.unwrap());
        let ledger = SqliteLedger::open(&store).await.unwrap();
        let signer = PassSigner::open(&dir.path().join("key"), config.passes.max_lifetime).unwrap();
        let tokens = Tokens::load(&config).unwrap();
        let (as_store, as_ledger): (Arc<dyn Store>, Arc<dyn Ledger>) =
            (store.clone(), Arc::new(ledger.clone()));
        let service =
            Service::open(config, tokens, signer, as_store, as_ledger, Seals::default()).await.unwrap();
        let tasks =
            vec![tokio::spawn(control(Arc::clone(&service))), tokio::spawn(replay(Arc::clone(&service)))];
        Self { service, ledger, tasks, store, dir }
    }

    pub async fn accept(&self, line: &str, number: usize, window: &str) -> IntentId {
        accept(&self.ledger, order(line, number, window)).await.id
    }

    pub async fn view(&self) -> BackfillView {
        self.service.backfill_view().await.unwrap()
    }

    /// All intents, in the order of their acceptance.
    pub async fn intents(&self) -> Vec<IntentRecord> {
        let page = Page { after: 0, limit: 1_000_000 };
        self.ledger.list(Selection::default(), page).await.unwrap()
    }

    pub async fn intent(&self, id: &IntentId) -> IntentRecord {
        self.ledger.intent(id.clone()).await.unwrap().unwrap()
    }

    pub async fn until_state(&self, id: &IntentId, state: IntentState) -> IntentRecord {
        eventually(&format!("{id} is {state:?}"), async || {
            Some(self.intent(id).await).filter(|record| record.state == state)
        })
        .await
    }

    /// Waits until nothing is open any more.
    pub async fn until_empty(&self) {
        eventually("all is replayed", async || {
            let view = self.view().await;
            (view.held + view.replaying == 0).then_some(())
        })
        .await;
    }

    pub async fn until_event(&self, kind: EventKind) -> quiesce::event::Event {
        eventually(&format!("{kind:?}"), async || {
            let events = self.service.events(0, None, 1_000).await.unwrap();
            events.into_iter().rev().find(|event| event.kind == kind)
        })
        .await
    }

    /// Carries out a statement on its store.
    pub async fn tamper(&self, statement: &'static str) {
        tamper(self.dir.path(), statement).await;
    }

    pub async fn stop(self) {
        self.service.begin_shutdown();
        for task in self.tasks {
            tokio::time::timeout(LIMIT, task).await.expect("going down takes too long").unwrap();
        }
        self.store.close().await.unwrap();
    }
}

pub fn ann() -> Caller {
    Caller { name: "ann".to_owned(), role: Role::Operator }
}
