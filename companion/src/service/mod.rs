//! The companion's heart: windows are changed here, one change at a time, on disk before anybody
//! hears of it, and the snapshot that they make is published to all who wait.

mod backfill;
mod change;
mod control;
mod deliveries;
mod desk;
mod draft;
mod intents;
mod plans;
mod query;
mod registry;
mod shared;
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

use self::desk::{Desk, Stored};
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
    console::Live,
    error::ServiceError,
    event::{COMPANION, Event, EventKind},
    fleet::Fleet,
    intents::{Intake, Ledger, Seals},
    metrics::Metrics,
    notify::Composer,
    outbox::Outbox,
    passes::PassSigner,
    plans::{PlanId, PlanRecord},
    public::Pages,
    rule_text::RuleTexts,
    seen::SeenRequests,
    store::{Change, Configured, Others, Store},
    windows::OpenWindow,
};

/// The running companion.
pub struct Service {
    pub(crate) config: Config,
    /// Names what snapshots have whatever the windows are, by this companion's own configuration.
    own_digest: String,
    /// What they have by the one in force: another companion on the same store may have been started later.
    configured: Mutex<Arc<Configuration>>,
    pub(crate) tokens: Tokens,
    pub(crate) metrics: Metrics,
    store: Arc<dyn Store>,
    /// What others do who share the store.
    others: Option<Others>,
    pub(crate) ledger: Arc<dyn Ledger>,
    intake: Intake,
    pub(crate) outbox: Arc<dyn Outbox>,
    composer: Composer,
    /// Wakes those who deliver.
    pub(crate) deliveries_wake: Notify,
    pub(crate) backfill: Backfill,
    signer: PassSigner,
    /// The rules of each surface, for people.
    rule_texts: Vec<RuleTexts>,
    /// The first snapshot that is known to have them.
    rules_since: OnceLock<Epoch>,
    /// What changes are made to. Held over the commit, so that changes come one after the other.
    desk: tokio::sync::Mutex<Desk>,
    /// A commit failed, and it is not known whether it took effect: what is on disk must be read again.
    desk_is_stale: AtomicBool,
    published: watch::Sender<Arc<Published>>,
    /// What the public sees, once it is written.
    pub(crate) pages: watch::Sender<Option<Arc<Pages>>>,
    fleet: Mutex<Fleet>,
    /// Held while the fleet is loaded or saved, so that what is loaded is never older than what was saved.
    fleet_on_disk: tokio::sync::Mutex<()>,
    seen: Mutex<SeenRequests>,
    /// Counts what a barrier looks at.
    stirred: watch::Sender<u64>,
    /// Wakes the task that saves the fleet.
    save_fleet: Notify,
    /// Up to which report the fleet is saved.
    fleet_saved: watch::Sender<u64>,
    shutdown: watch::Sender<bool>,
    /// What consoles are told.
    pub(crate) live: Live,
}

/// The configured part of the snapshot in force.
struct Configuration {
    digest: String,
    snapshot: Snapshot,
    /// Surfaces whose writes pass because they are in observe mode.
    observed_surfaces: Vec<String>,
}

impl Configuration {
    fn new(digest: String, snapshot: Snapshot) -> Self {
        let observed = |mode: Option<Mode>| mode.unwrap_or(snapshot.mode) == Mode::Observe;
        let surfaces = snapshot.surfaces.iter().filter(|surface| observed(surface.mode));
        let observed_surfaces = surfaces.map(|surface| surface.name.to_string()).collect();
        Self { digest, snapshot, observed_surfaces }
    }
}

/// A snapshot as enforcers get it, and the windows that made it.
#[derive(Debug)]
pub struct Published {
    /// Its version.
    pub epoch: Epoch,
    /// Its JSON, written once for all.
    pub body: Bytes,
    /// The revision of the store that it is of.
    pub revision: u64,
    /// The windows that are in force or will be.
    pub windows: BTreeMap<WindowId, OpenWindow>,
    /// The windows whose writes are open again, and that are not over.
    pub ending: BTreeMap<WindowId, OpenWindow>,
    /// What recurs.
    pub plans: BTreeMap<PlanId, PlanRecord>,
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
        deliveries::check_secrets(&config)?;
        let (mut snapshot, catalogs) =
            config.snapshot().map_err(|error| ServiceError::invalid("config", error.to_string()))?;
        let rule_texts = config.surfaces.iter().map(|surface| RuleTexts::of(surface, &catalogs)).collect();
        let seen = SeenRequests::new(&config.surfaces, clock::now());
        let nothing = Published {
            epoch: Epoch(0),
            body: Bytes::new(),
            revision: 0,
            windows: BTreeMap::new(),
            ending: BTreeMap::new(),
            plans: BTreeMap::new(),
        };
        snapshot.exemptions.pass_keys = vec![signer.public()];
        let digest = digest_of(&snapshot)?;
        let turn = store.turn().await?;
        let loaded = store.load().await?;
        let others = store.others();
        let fleet = if others.is_some() {
            let mut fleet = Fleet::shared();
            fleet.join(loaded.fleet, clock::now(), Instant::now());
            fleet
        } else {
            Fleet::restore(loaded.fleet, Instant::now())
        };
        let configured = serde_json::to_string(&snapshot)?;
        let intake = Intake::new(&config, seals);
        let (outbox, composer) = (store.outbox(), Composer::new(&config));
        let service = Arc::new(Self {
            config,
            own_digest: digest.clone(),
            configured: Mutex::new(Arc::new(Configuration::new(digest.clone(), snapshot))),
            tokens,
            metrics: Metrics::default(),
            store,
            others,
            ledger,
            intake,
            outbox,
            composer,
            deliveries_wake: Notify::new(),
            backfill: Backfill::new(loaded.backfill),
            signer,
            rule_texts,
            rules_since: OnceLock::new(),
            desk: tokio::sync::Mutex::default(),
            desk_is_stale: AtomicBool::new(false),
            published: watch::Sender::new(Arc::new(nothing)),
            pages: watch::Sender::new(None),
            fleet: Mutex::new(fleet),
            fleet_on_disk: tokio::sync::Mutex::default(),
            seen: Mutex::new(seen),
            stirred: watch::Sender::new(0),
            save_fleet: Notify::new(),
            fleet_saved: watch::Sender::new(0),
            shutdown: watch::Sender::new(false),
            live: Live::default(),
        });
        let mut desk = service.desk.lock().await;
        desk.take_in(Stored {
            windows: loaded.windows,
            ended: loaded.ended,
            plans: loaded.plans,
            revision: loaded.revision,
        });
        if digest == loaded.configured.digest && loaded.version != Epoch(0) {
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
                configured: Some(Configured { digest, snapshot: configured }),
                ..Change::default()
            };
            let committed = service.store.commit(turn, change).await?;
            desk.revision = committed.revision;
            service.publish(&desk, committed.version)?;
        }
        drop(desk);
        service.go_on_with_replays().await?;
        Ok(service)
    }

    fn snapshot(&self, desk: &Desk, version: Epoch) -> Snapshot {
        let mut snapshot = self.configured().snapshot.clone();
        snapshot.version = version;
        snapshot.windows = desk.windows.values().map(|open| open.record.window.clone()).collect();
        snapshot.ended = desk.told_as_ended(version);
        snapshot
    }

    fn configured(&self) -> Arc<Configuration> {
        Arc::clone(&self.configured.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells everybody. Only what is on disk may be published.
    fn publish(&self, desk: &Desk, epoch: Epoch) -> Result<(), ServiceError> {
        let current = self.published.borrow().clone();
        // What was read before another change was published is no news any more.
        if desk.revision < current.revision {
            return Ok(());
        }
        let body = if current.epoch == epoch {
            current.body.clone()
        } else {
            serde_json::to_vec(&self.snapshot(desk, epoch))?.into()
        };
        if self.configured().digest == self.own_digest {
            self.rules_since.get_or_init(|| epoch);
        }
        let (windows, ending, plans) = (desk.windows.clone(), desk.ending.clone(), desk.plans.clone());
        let published = Published { epoch, body, revision: desk.revision, windows, ending, plans };
        self.published.send_replace(Arc::new(published));
        self.stir();
        Ok(())
    }

    /// What is published now.
    pub fn published(&self) -> Arc<Published> {
        self.published.borrow().clone()
    }

    /// What the public sees, once it is written.
    pub(crate) fn pages(&self) -> Option<Arc<Pages>> {
        self.pages.borrow().clone()
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
        let configured = self.configured();
        barrier::evaluate(&Question {
            started: started.is_some(),
            observe: configured.snapshot.mode == Mode::Observe,
            observed_surfaces: &configured.observed_surfaces,
            expect: window.record.expect,
            roster: started.map(|started| started.roster.as_slice()).unwrap_or_default(),
            members: &members,
            replays: self.backfill.running.now(Instant::now()),
        })
    }
}

/// Names the contents of the configured part of a snapshot.
fn digest_of(snapshot: &Snapshot) -> Result<String, ServiceError> {
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(serde_json::to_vec(snapshot)?);
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
