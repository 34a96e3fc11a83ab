//! The companion's heart: windows are changed here, one change at a time, on disk before anybody
//! hears of it, and the snapshot that they make is published to all who wait.

mod backfill;
mod change;
mod control;
mod intents;
mod query;
mod registry;
mod surfaces;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicBool},
    time::Instant,
};

use axum::body::Bytes;
use quiesce_policy::snapshot::{Epoch, Mode, Snapshot, WindowId};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, watch};

pub use self::{
    control::control,
    intents::{Kept, Turned},
    registry::PollGuard,
};
use crate::{
    auth::Tokens,
    backfill::Backfill,
    barrier::{self, Barrier, Question},
    clock,
    config::Config,
    error::ServiceError,
    event::{COMPANION, Event, EventKind},
    fleet::Fleet,
    intents::{Intake, Ledger, Seals},
    metrics::Metrics,
    passes::PassSigner,
    rule_text::RuleTexts,
    seen::SeenRequests,
    store::{Change, Store},
    windows::OpenWindow,
};

/// The running companion.
pub struct Service {
    pub(crate) config: Config,
    /// What snapshots have whatever the windows are.
    configured: Snapshot,
    pub(crate) tokens: Tokens,
    pub(crate) metrics: Metrics,
    store: Arc<dyn Store>,
    pub(crate) ledger: Arc<dyn Ledger>,
    intake: Intake,
    pub(crate) backfill: Backfill,
    signer: PassSigner,
    observed_surfaces: Vec<String>,
    /// The rules of each surface, for people.
    rule_texts: Vec<RuleTexts>,
    /// The first snapshot that is known to have them.
    rules_since: OnceLock<Epoch>,
    /// What changes are made to. Held over the commit, so that changes come one after the other.
    desk: tokio::sync::Mutex<Desk>,
    /// A commit failed, and it is not known whether it took effect: what is on disk must be read again.
    desk_is_stale: AtomicBool,
    published: watch::Sender<Arc<Published>>,
    fleet: Mutex<Fleet>,
    seen: Mutex<SeenRequests>,
    /// Counts what a barrier looks at.
    stirred: watch::Sender<u64>,
    /// Wakes the task that saves the fleet.
    save_fleet: Notify,
    /// Up to which report the fleet is saved.
    fleet_saved: watch::Sender<u64>,
    shutdown: watch::Sender<bool>,
}

/// The windows that are not over.
#[derive(Debug, Default)]
struct Desk {
    windows: BTreeMap<WindowId, OpenWindow>,
}

/// A snapshot as enforcers get it, and the windows that made it.
#[derive(Debug)]
pub struct Published {
    /// Its version.
    pub epoch: Epoch,
    /// Its JSON, written once for all.
    pub body: Bytes,
    /// The windows that are not over.
    pub windows: BTreeMap<WindowId, OpenWindow>,
}

impl Service {
    /// Goes on where the last companion on this store stopped.
    pub async fn open(
        config: Config,
        tokens: Tokens,
        signer: PassSigner,
        store: Arc<dyn Store>,
        ledger: Arc<dyn Ledger>,
        seals: Seals,
    ) -> Result<Arc<Self>, ServiceError> {
        let loaded = store.load().await?;
        let windows: BTreeMap<_, _> = loaded
            .windows
            .into_iter()
            .map(OpenWindow::from_stored)
            .map(|window| (window.id().clone(), window))
            .collect();
        let observed_surfaces = config
            .surfaces
            .iter()
            .filter(|surface| surface.mode.unwrap_or(config.mode) == Mode::Observe)
            .map(|surface| surface.name.to_string())
            .collect();
        let (configured, catalogs) =
            config.snapshot().map_err(|error| ServiceError::invalid("config", error.to_string()))?;
        let rule_texts = config.surfaces.iter().map(|surface| RuleTexts::of(surface, &catalogs)).collect();
        let seen = SeenRequests::new(&config.surfaces, clock::now());
        let nothing = Published { epoch: Epoch(0), body: Bytes::new(), windows: BTreeMap::new() };
        let intake = Intake::new(&config, seals);
        let service = Arc::new(Self {
            config,
            configured,
            tokens,
            metrics: Metrics::default(),
            store,
            ledger,
            intake,
            backfill: Backfill::new(loaded.backfill),
            signer,
            observed_surfaces,
            rule_texts,
            rules_since: OnceLock::new(),
            desk: tokio::sync::Mutex::default(),
            desk_is_stale: AtomicBool::new(false),
            published: watch::Sender::new(Arc::new(nothing)),
            fleet: Mutex::new(Fleet::restore(loaded.fleet, Instant::now())),
            seen: Mutex::new(seen),
            stirred: watch::Sender::new(0),
            save_fleet: Notify::new(),
            fleet_saved: watch::Sender::new(0),
            shutdown: watch::Sender::new(false),
        });
        let mut desk = service.desk.lock().await;
        desk.windows = windows;
        let digest = service.config_digest()?;
        if digest == loaded.config_digest && loaded.version != Epoch(0) {
            service.publish(&desk, loaded.version)?;
        } else {
            let now = clock::now();
            let event = Event {
                seq: 0,
                at: now,
                who: COMPANION.to_owned(),
                kind: EventKind::Configured,
                window: None,
                evidence: serde_json::json!({ "digest": digest }),
            };
            let change = Change {
                events: vec![event],
                publish_at: Some(now),
                config_digest: Some(digest),
                ..Change::default()
            };
            let committed = service.store.commit(change).await?;
            service.publish(&desk, committed.version)?;
        }
        drop(desk);
        service.go_on_with_replays().await?;
        Ok(service)
    }

    /// Identifies all of the snapshot that does not come from windows.
    fn config_digest(&self) -> Result<String, ServiceError> {
        let snapshot = self.snapshot(&BTreeMap::new(), Epoch(0));
        let mut hash = Sha256::new();
        hash.update(env!("CARGO_PKG_VERSION"));
        hash.update(serde_json::to_vec(&snapshot)?);
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn snapshot(&self, windows: &BTreeMap<WindowId, OpenWindow>, version: Epoch) -> Snapshot {
        let mut snapshot = self.configured.clone();
        snapshot.version = version;
        snapshot.windows = windows.values().map(|open| open.record.window.clone()).collect();
        snapshot.exemptions.pass_keys = vec![self.signer.public()];
        snapshot
    }

    /// Tells everybody. Only what is on disk may be published.
    fn publish(&self, desk: &Desk, epoch: Epoch) -> Result<(), ServiceError> {
        let current = self.published.borrow().clone();
        let body = if current.epoch == epoch {
            current.body.clone()
        } else {
            serde_json::to_vec(&self.snapshot(&desk.windows, epoch))?.into()
        };
        self.rules_since.get_or_init(|| epoch);
        // Here, so that it is known of a window that is over before it can be seen that it is.
        for id in current.windows.keys().filter(|id| !desk.windows.contains_key(*id)) {
            self.backfill.ended(id.clone(), clock::now(), self.config.backfill.soak);
        }
        self.published.send_replace(Arc::new(Published { epoch, body, windows: desk.windows.clone() }));
        self.stir();
        Ok(())
    }

    /// What is published now.
    pub fn published(&self) -> Arc<Published> {
        self.published.borrow().clone()
    }

    /// Follows what is published.
    pub fn follow(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// Follows everything that a barrier looks at.
    pub fn follow_stirs(&self) -> watch::Receiver<u64> {
        self.stirred.subscribe()
    }

    pub(crate) fn stir(&self) {
        self.stirred.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether the companion is going down, to be followed.
    pub fn follow_shutdown(&self) -> watch::Receiver<bool> {
        self.shutdown.subscribe()
    }

    /// Answers everything that is held, and takes in nothing that would be held.
    pub fn begin_shutdown(&self) {
        self.shutdown.send_replace(true);
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The barrier of a window, as it stands.
    fn barrier(&self, window: &OpenWindow, published: Epoch) -> Barrier {
        let members = self.fleet().members(window, published, Instant::now());
        let started = window.history.started.as_ref();
        barrier::evaluate(&Question {
            started: started.is_some(),
            observe: self.config.mode == Mode::Observe,
            observed_surfaces: &self.observed_surfaces,
            expect: window.record.expect,
            roster: started.map(|started| started.roster.as_slice()).unwrap_or_default(),
            members: &members,
            replays: self.backfill.running.now(Instant::now()),
        })
    }
}
