//! Delivers what lies in the outbox: a queue for each notifier, so that one that is down delays nobody else, and in each
//! the deliveries of a window one after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};

use super::{
    clients::{self, Told},
    http::{Failure, Http},
};
use crate::{
    backfill::pace::full_jitter,
    clock,
    config::{Notifier, Target},
    event::EventKind,
    outbox::{Conclusion, Delivery, DeliveryState, Selection, Total, Verdict},
    service::Service,
    store::StoreError,
};

/// What nobody was told of is noticed this late at most.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// After a failure of the store the next try waits this long.
const PAUSE: Duration = Duration::from_secs(1);
/// A delivery under way has this long to end when the companion goes down.
const GRACE: Duration = Duration::from_secs(3);
/// A cache that forgets before the enforcers know of the change would only fetch the old again.
const ENFORCERS_LIMIT: Duration = Duration::from_millis(1_000);
/// How often what is old is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Deliveries forgotten in one transaction.
const PURGE_AT_ONCE: u32 = 500;

/// Delivers until the companion goes down.
pub async fn tell_others(service: Arc<Service>) {
    let http = match Http::new(service.config.deliveries.timeout) {
        Ok(http) => http,
        Err(error) => return tracing::error!(%error, "nobody can be told of windows"),
    };
    let mut queues = JoinSet::new();
    queues.spawn(forsake(Arc::clone(&service)));
    for notifier in service.config.notify.clone() {
        // The configuration was checked.
        let Ok(target) = notifier.target() else { continue };
        let queue =
            Queue { service: Arc::clone(&service), http: http.clone(), notifier, target, not_before: None };
        queues.spawn(queue.run());
    }
    queues.spawn(tidy(service));
    while let Some(ended) = queues.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a queue of deliveries failed");
        }
    }
}

/// Cancels what is to be told to those who are not configured any more.
async fn forsake(service: Arc<Service>) {
    let known = |total: &Total| service.config.notify.iter().any(|notifier| notifier.name == total.notifier);
    let orphans = match service.outbox.totals().await {
        Ok(totals) => totals.into_iter().filter(|it| it.state == DeliveryState::Pending && !known(it)),
        Err(error) => return tracing::error!(%error, "the deliveries could not be counted"),
    };
    for Total { notifier, .. } in orphans {
        let state = Some(DeliveryState::Pending);
        let selection = Selection { notifier: Some(notifier), state, ..Selection::default() };
        let note = "no notifier of this name is configured any more".to_owned();
        if let Err(error) = service.outbox.decide(selection, Verdict::Cancel, note, clock::now()).await {
            tracing::error!(%error, "deliveries to nobody could not be cancelled");
        }
    }
}

/// Forgets what has been over for long.
async fn tidy(service: Arc<Service>) {
    let mut shutdown = service.follow_shutdown();
    while !*shutdown.borrow_and_update() {
        if service.controls() {
            let now = clock::now().unix_ms();
            let before = now.saturating_sub(service.config.deliveries.retention.ms());
            let before = quiesce_policy::time::Timestamp::from_unix_ms(before);
            if let Err(error) = service.outbox.purge(before, PURGE_AT_ONCE).await {
                tracing::error!(%error, "old deliveries could not be forgotten");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TIDY_EVERY) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// What one notifier is to be told.
struct Queue {
    service: Arc<Service>,
    http: Http,
    notifier: Notifier,
    target: Target,
    /// It has asked not to be called before this.
    not_before: Option<Instant>,
}

impl Queue {
    async fn run(mut self) {
        let service = Arc::clone(&self.service);
        let mut published = service.follow();
        let mut shutdown = service.follow_shutdown();
        while !*shutdown.borrow_and_update() {
            published.borrow_and_update();
            // Before the look: who wakes meanwhile is not missed.
            let woken = service.deliveries_wake.notified();
            let pause = if service.controls() {
                let going_down = service.follow_shutdown();
                tokio::select! {
                    delivered = self.deliver_due() => delivered,
                    () = after(going_down) => return,
                }
            } else {
                Ok(LOOK_ANYWAY)
            };
            let pause = pause.unwrap_or_else(|error| {
                tracing::error!(%error, notifier = self.notifier.name, "deliveries cannot be kept track of");
                PAUSE
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = woken => {}
                () = service.controls_changed() => {}
                _ = published.changed() => {}
                _ = shutdown.changed() => {}
            }
        }
    }

    /// Sends what is due, and says how long there will be nothing to do.
    async fn deliver_due(&mut self) -> Result<Duration, StoreError> {
        loop {
            let mut pause = LOOK_ANYWAY;
            let heads = self.service.outbox.heads(self.notifier.name.clone()).await?;
            let mut sent = false;
            for head in heads {
                if self.service.follow_shutdown().borrow().to_owned() {
                    return Ok(PAUSE);
                }
                if let Some(wait) = self.not_before.and_then(|at| at.checked_duration_since(Instant::now())) {
                    pause = pause.min(wait.max(Duration::from_millis(1)));
                    break;
                }
                let wait_ms = head.next_at.ms_since(clock::now());
                if wait_ms > 0 {
                    pause = pause.min(Duration::from_millis(wait_ms));
                    continue;
                }
                self.deliver(head).await?;
                sent = true;
            }
            // Behind each that was sent there may be the next of its window.
            if !sent {
                return Ok(pause);
            }
        }
    }

    async fn deliver(&mut self, head: Delivery) -> Result<(), StoreError> {
        let Some(delivery) = self.latest(head).await? else { return Ok(()) };
        let outbox = Arc::clone(&self.service.outbox);
        if self.notifier.kind.is_cache() {
            self.until_enforcers_know().await;
        }
        if !outbox.begin(delivery.id.clone(), delivery.attempts).await? {
            return Ok(());
        }
        let result = clients::send(&self.http, &self.target, &delivery, &*outbox).await;
        let conclusion = self.conclude(&delivery, result);
        outbox.conclude(delivery.id.clone(), conclusion.clone()).await?;
        self.tell(&delivery, &conclusion).await;
        Ok(())
    }

    /// The delivery that says all that is to be said of a window now; those before it are not sent any more.
    async fn latest(&self, head: Delivery) -> Result<Option<Delivery>, StoreError> {
        if !self.notifier.kind.later_replaces_earlier() {
            return Ok(Some(head));
        }
        let outbox = &self.service.outbox;
        let mut all = outbox.of_window(self.notifier.name.clone(), head.window.clone()).await?;
        let newest = all.iter().rposition(|one| match one.state {
            DeliveryState::Pending => true,
            // One that an operator has resent would show again what is past.
            DeliveryState::Delivered => self.notifier.kind.is_status_page(),
            DeliveryState::Failed | DeliveryState::Cancelled => false,
        });
        let Some(newest) = newest else { return Ok(None) };
        let latest = all.remove(newest);
        for earlier in all.into_iter().take(newest).filter(|one| one.state == DeliveryState::Pending) {
            let note = format!("{} says more: {}", latest.id, latest.step.as_str());
            let conclusion = Conclusion {
                state: DeliveryState::Cancelled,
                at: clock::now(),
                status: earlier.last_status,
                note: Some(note),
            };
            outbox.conclude(earlier.id, conclusion).await?;
        }
        let due = latest.state == DeliveryState::Pending && latest.next_at <= clock::now();
        Ok(due.then_some(latest))
    }

    /// Waits until every live enforcer has the snapshot that is published, for a moment at most.
    async fn until_enforcers_know(&self) {
        let mut stirs = self.service.follow_stirs();
        let known = async {
            loop {
                stirs.borrow_and_update();
                let counts = self.service.fleet_counts();
                if counts.up_to_date >= counts.live || stirs.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whoever is later than this is seen to by the short life of what caches keep.
        let _ = timeout(ENFORCERS_LIMIT, known).await;
    }

    fn conclude(&mut self, delivery: &Delivery, result: Result<Told, Failure>) -> Conclusion {
        let config = &self.service.config.deliveries;
        let now = clock::now();
        let (status, why, after_ms) = match result {
            Ok(Told::Delivered { status, note }) => {
                return Conclusion { state: DeliveryState::Delivered, at: now, status: Some(status), note };
            }
            Ok(Told::Nothing(note)) => {
                return Conclusion {
                    state: DeliveryState::Cancelled,
                    at: now,
                    status: None,
                    note: Some(note),
                };
            }
            Err(Failure::Refused { status, why }) => {
                return Conclusion { state: DeliveryState::Failed, at: now, status, note: Some(why) };
            }
            Err(Failure::Later { status, why, after_ms }) => (status, why, after_ms),
        };
        if let Some(ms) = after_ms {
            self.not_before = Instant::now().checked_add(Duration::from_millis(ms));
        }
        let random = getrandom::u64().unwrap_or(u64::MAX);
        let wait_ms = full_jitter(&config.backoff, delivery.attempts.saturating_add(1), random);
        let at = now.plus_ms(wait_ms.max(1).saturating_add(after_ms.unwrap_or_default()));
        if at.ms_since(delivery.since) < config.deadline.ms() {
            return Conclusion { state: DeliveryState::Pending, at, status, note: Some(why) };
        }
        let note = format!("not taken within deliveries.deadline, {}; the last time: {why}", config.deadline);
        Conclusion { state: DeliveryState::Failed, at: now, status, note: Some(note) }
    }

    /// Says in the logs what became of a delivery, and in the log of events what operators have to know.
    async fn tell(&self, delivery: &Delivery, conclusion: &Conclusion) {
        let Delivery { id, window, step, notifier, .. } = delivery;
        let Conclusion { state, status, note, .. } = conclusion;
        self.service.metrics.delivery_tried(notifier, *state);
        let note = note.as_deref().unwrap_or_default();
        let (step, state) = (step.as_str(), state.as_str());
        if conclusion.state == DeliveryState::Delivered {
            tracing::info!(%id, %window, notifier, step, status, "delivered");
        } else {
            tracing::warn!(%id, %window, notifier, step, state, status, note, "not delivered");
        }
        let kind = match conclusion.state {
            DeliveryState::Delivered if self.notifier.kind.is_cache() => EventKind::CachePurged,
            DeliveryState::Failed => EventKind::DeliveryFailed,
            _ => return,
        };
        if let Err(error) = self.service.log_delivery(delivery, conclusion, kind).await {
            tracing::error!(%error, %id, "what became of a delivery could not be logged");
        }
    }
}

/// Ends some time after the companion began to go down.
async fn after(mut shutdown: tokio::sync::watch::Receiver<bool>) {
    // An error means that the service is gone.
    let _ = shutdown.wait_for(|down| *down).await;
    tokio::time::sleep(GRACE).await;
}
