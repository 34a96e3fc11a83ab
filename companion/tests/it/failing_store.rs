//! Commits that fail: nothing is said to be frozen that is not on disk, and what is on disk is in force.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use quiesce::{
    auth::{Caller, Role, Tokens},
    config::Config,
    error::ServiceError,
    event::Event,
    fleet::{EnforcerKey, FleetRecord},
    intents::{Offer, Seals, SqliteLedger},
    outbox::Outbox,
    passes::PassSigner,
    service::{Kept, Service, control},
    store::{Change, Committed, Loaded, Pending, SqliteStore, Store, StoreError, StoredWindow, Turn},
    view::NewWindow,
};
use quiesce_policy::{HeaderBlock, Refusal, intent, snapshot::WindowId};

use crate::companion::eventually;

const WORK: u8 = 0;
const FAIL_BEFORE: u8 = 1;
const FAIL_AFTER: u8 = 2;

/// A real store whose next commit fails: before it is on disk, or after that.
struct Failing {
    inner: SqliteStore,
    next: AtomicU8,
}

impl Store for Failing {
    fn load(&self) -> Pending<'_, Loaded> {
        self.inner.load()
    }

    fn turn(&self) -> Pending<'_, Turn> {
        self.inner.turn()
    }

    fn commit(&self, turn: Turn, change: Change) -> Pending<'_, Committed> {
        Box::pin(async move {
            let disk_full = || Err(StoreError::Database(sqlx::Error::Io(std::io::Error::other("disk full"))));
            match self.next.swap(WORK, Ordering::SeqCst) {
                FAIL_BEFORE => disk_full(),
                FAIL_AFTER => {
                    self.inner.commit(turn, change).await?;
                    disk_full()
                }
                _ => self.inner.commit(turn, change).await,
            }
        })
    }

    fn save_fleet(&self, changed: Vec<FleetRecord>, removed: Vec<EnforcerKey>) -> Pending<'_, ()> {
        self.inner.save_fleet(changed, removed)
    }

    fn window(&self, id: WindowId) -> Pending<'_, Option<StoredWindow>> {
        self.inner.window(id)
    }

    fn windows(&self, limit: u32) -> Pending<'_, Vec<StoredWindow>> {
        self.inner.windows(limit)
    }

    fn events(&self, after: u64, window: Option<WindowId>, limit: u32) -> Pending<'_, Vec<Event>> {
        self.inner.events(after, window, limit)
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        self.inner.outbox()
    }

    fn check(&self) -> Pending<'_, ()> {
        self.inner.check()
    }

    fn close(&self) -> Pending<'_, ()> {
        self.inner.close()
    }
}

async fn service(dir: &Path) -> (Arc<Service>, Arc<Failing>) {
    let config = Config::built_in().unwrap();
    let inner = SqliteStore::open(&dir.join("quiesce.db")).await.unwrap();
    let ledger = Arc::new(SqliteLedger::open(&inner).await.unwrap());
    let store = Arc::new(Failing { inner, next: AtomicU8::new(WORK) });
    let signer = PassSigner::open(&dir.join("key"), config.passes.max_lifetime).unwrap();
    let tokens = Tokens::load(&config).unwrap();
    let as_store: Arc<dyn Store> = store.clone();
    (Service::open(config, tokens, signer, as_store, ledger, Seals::default()).await.unwrap(), store)
}

fn ann() -> Caller {
    Caller { name: "ann".to_owned(), role: Role::Operator }
}

#[tokio::test]
async fn what_did_not_reach_the_disk_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let (service, store) = service(dir.path()).await;
    let controller = tokio::spawn(control(Arc::clone(&service)));
    let before = service.published().epoch;
    store.next.store(FAIL_BEFORE, Ordering::SeqCst);
    let failed = service.create(ann(), NewWindow::default()).await.unwrap_err();
    assert!(matches!(failed, ServiceError::Store(_)), "{failed}");
    assert_eq!((service.published().epoch, service.published().windows.len()), (before, 0));
    let window = service.create(ann(), NewWindow::default()).await.unwrap();
    assert!(service.published().epoch > before);

    store.next.store(FAIL_BEFORE, Ordering::SeqCst);
    service.thaw(ann(), window.id.clone()).await.unwrap_err();
    assert!(service.published().windows.contains_key(&window.id), "it is still in force");
    service.thaw(ann(), window.id).await.unwrap();
    service.begin_shutdown();
    controller.await.unwrap();
}

#[tokio::test]
async fn a_write_that_did_not_reach_the_disk_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (service, store) = service(dir.path()).await;
    let head = HeaderBlock::new(&[(b":method", b"POST"), (b":path", b"/orders"), (b":authority", b"shop")]);
    let bytes = intent::write(head.as_bytes(), b"tea");
    let offer = Offer { surface: "other", window: "w1", enforcer: "edge-1", bytes: &bytes };
    assert!(matches!(service.keep(offer).await.unwrap(), Kept::Queued(_)));
    store.close().await.unwrap();
    match service.keep(offer).await.unwrap() {
        Kept::Refused(turned) => {
            assert_eq!(turned.refusal, Refusal::IntentNotKept);
            assert!(turned.retry_after_s.is_some());
        }
        Kept::Queued(receipt) => panic!("{receipt:?}"),
    }
}

#[tokio::test]
async fn what_reached_the_disk_is_published_though_the_answer_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (service, store) = service(dir.path()).await;
    let controller = tokio::spawn(control(Arc::clone(&service)));
    let before = service.published().epoch;
    store.next.store(FAIL_AFTER, Ordering::SeqCst);
    service.create(ann(), NewWindow::default()).await.unwrap_err();
    let window = eventually("what is on disk is in force", async || {
        service.published().windows.keys().next().cloned()
    })
    .await;
    let on_disk = store.load().await.unwrap();
    assert!(service.published().epoch > before);
    assert_eq!(service.published().epoch, on_disk.version);
    assert_eq!(on_disk.windows[0].record.window.id, window);
    service.begin_shutdown();
    controller.await.unwrap();
}
