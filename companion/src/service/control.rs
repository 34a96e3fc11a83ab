//! What happens by itself: windows are announced and begin, barriers hold, leases run out, and what ends closes.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde_json::json;

use super::{
    Service,
    change::{Effect, event},
    desk::DeskGuard,
};
use crate::{
    barrier::{Barrier, Verdict},
    clock,
    error::ServiceError,
    event::{COMPANION, EventKind},
    windows::{History, OpenWindow, QuiescedEvidence},
};

/// Silence and clocks being set are noticed this late at most.
const TICK: Duration = Duration::from_secs(1);
/// After a failure the next try waits this long.
const PAUSE: Duration = Duration::from_secs(1);
/// In a large fleet, barriers are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LARGE_FLEET: usize = 200;
/// Whether a window still holds something is asked this often.
const LOOK_AT_LEDGER_EVERY: Duration = Duration::from_millis(500);

/// Sees to what happens by itself, until the companion goes down.
pub async fn control(service: Arc<Service>) {
    let mut stirs = service.follow_stirs();
    let mut shutdown = service.follow_shutdown();
    let mut controls = false;
    let mut looks = Looks::new();
    while !*shutdown.borrow_and_update() {
        stirs.borrow_and_update();
        let now = clock::now();
        let seen_to = match service.take_over(&mut controls).await {
            Ok(()) if controls => match service.see_to(now, &mut looks).await {
                Ok(()) => service.see_to_plans(now).await,
                failed => failed,
            },
            others => others,
        };
        let pause = match seen_to {
            Ok(()) => service.next_due(now).min(TICK),
            Err(error) => {
                tracing::error!(%error, "windows could not be seen to");
                PAUSE
            }
        };
        if service.fleet().len() > LARGE_FLEET {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tokio::select! {
            _ = stirs.changed() => {}
            () = tokio::time::sleep(pause) => service.notice_silence(),
            () = service.controls_changed() => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// When the ledger was last asked what it holds for a window.
type Looks = BTreeMap<WindowId, Instant>;

/// The ledger is asked at once, and then now and again, however often this companion is stirred.
fn is_time_to_look(looks: &mut Looks, id: &WindowId) -> bool {
    let now = Instant::now();
    let due = looks.get(id).is_none_or(|last| now.duration_since(*last) >= LOOK_AT_LEDGER_EVERY);
    if due {
        looks.insert(id.clone(), now);
    }
    due
}

enum Due {
    Announce,
    Lapse,
    Start,
    Prove(Barrier),
    Soaked,
    AnnounceClosure,
    /// If nothing more is held for it.
    Close,
}

impl Service {
    /// How long until a window begins or its lease runs out.
    fn next_due(&self, now: Timestamp) -> Duration {
        let published = self.published();
        let due = published.windows.values().map(|open| {
            let window = &open.record.window;
            if open.history.started.is_some() {
                window.expires_at
            } else if open.history.announced.is_none() {
                window.announce_at.unwrap_or(window.starts_at)
            } else {
                window.starts_at
            }
        });
        let ends = published.ending.values().filter_map(|open| open.history.soaks_until());
        let due = due.chain(ends).map(|at| at.ms_since(now));
        due.min().map_or(TICK, |ms| Duration::from_millis(ms.max(1)))
    }

    /// Time passed, and with it perhaps somebody's live period.
    fn notice_silence(&self) {
        let published = self.published();
        if self.others.is_none() {
            self.fleet().prune(published.windows.values(), clock::now(), Instant::now());
        }
        if !published.windows.is_empty() {
            self.stir_quietly();
        }
    }

    /// Wakes who watches a barrier; the controller itself looks anyway.
    fn stir_quietly(&self) {
        self.stirred.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn due(&self, open: &OpenWindow, now: Timestamp) -> Option<Due> {
        let window = &open.record.window;
        if open.history.ended.is_some() {
            return due_at_the_end(&open.history, now);
        }
        if now >= window.expires_at {
            return Some(Due::Lapse);
        }
        if open.history.started.is_none() {
            if now >= window.starts_at {
                // What begins is announced by that.
                return Some(Due::Start);
            }
            let announce = open.history.announced.is_none() && window.announce_at.is_none_or(|at| now >= at);
            return announce.then_some(Due::Announce);
        }
        if open.history.quiesced.is_some() {
            return None;
        }
        // Most looks end here: with thousands on their way, the whole barrier is weighed once all have come.
        if self.fleet().awaits(open, Instant::now()) {
            return None;
        }
        let barrier = self.barrier(open, self.published().epoch);
        (barrier.verdict == Verdict::Proven).then_some(Due::Prove(barrier))
    }

    /// Whoever takes over counts as running what another companion may have been sending.
    async fn take_over(&self, controls: &mut bool) -> Result<(), ServiceError> {
        let now = self.controls();
        if now && !*controls {
            self.go_on_with_replays().await?;
        }
        *controls = now;
        Ok(())
    }

    /// Begins, proves and ends windows whose time has come.
    async fn see_to(&self, now: Timestamp, looks: &mut Looks) -> Result<(), ServiceError> {
        let published = self.published();
        looks.retain(|id, _| published.ending.contains_key(id));
        let mut closing = Vec::new();
        let due: Vec<WindowId> = published
            .windows
            .values()
            .chain(published.ending.values())
            .filter(|open| match self.due(open, now) {
                Some(Due::Close) => is_time_to_look(looks, open.id()),
                due => due.is_some(),
            })
            .filter(|_| self.controls())
            .map(|open| open.id().clone())
            .collect();
        if due.is_empty() && self.desk_is_stale.load(Ordering::Acquire) {
            drop(self.desk().await?);
        }
        for id in due {
            let desk = self.desk().await?;
            // Looked at again under the lock: somebody may have thawed it since.
            let Some(mut open) = desk.get(&id).cloned() else { continue };
            match self.due(&open, now) {
                None => {}
                Some(Due::Lapse) => {
                    let event = self.reopened(&open, EventKind::Lapsed, COMPANION, now);
                    self.carry_out(desk, open, event, Effect::Published).await?;
                }
                Some(Due::Start) => {
                    open.record.window.started = true;
                    open.began = Some(Instant::now());
                    let event = self.started(&open, COMPANION, now);
                    self.carry_out(desk, open, event, Effect::Published).await?;
                }
                Some(Due::Announce) => self.record(desk, open, EventKind::Announced, now).await?,
                Some(Due::Soaked) => self.record(desk, open, EventKind::Soaked, now).await?,
                Some(Due::AnnounceClosure) => {
                    self.record(desk, open, EventKind::ClosureAnnounced, now).await?;
                }
                Some(Due::Close) => {
                    // Not with the turn in hand: with many intents this may take a while.
                    drop(desk);
                    if !self.ledger.holds_for(id.clone()).await? {
                        closing.push(id);
                    }
                }
                Some(Due::Prove(barrier)) => {
                    let at = clock::now();
                    let evidence = QuiescedEvidence { elapsed_ms: open.elapsed_ms(at), barrier };
                    let evidence = serde_json::to_value(evidence)?;
                    let event = event(&open, EventKind::Quiesced, COMPANION, at, evidence);
                    self.carry_out(desk, open, event, Effect::Recorded).await?;
                }
            }
        }
        for id in closing {
            let desk = self.desk().await?;
            if let Some(open) = desk.ending.get(&id).cloned() {
                self.record(desk, open, EventKind::Closed, now).await?;
            }
        }
        Ok(())
    }

    /// Writes down what became of a window without a change of what enforcers are told.
    async fn record(
        &self,
        desk: DeskGuard<'_>,
        open: OpenWindow,
        kind: EventKind,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let event = event(&open, kind, COMPANION, now, json!({}));
        self.carry_out(desk, open, event, Effect::Recorded).await?;
        // The next step is due at once.
        self.stir();
        Ok(())
    }
}

/// The order at the end: writes are open, they were watched, people are told, what is held is sent.
fn due_at_the_end(history: &History, now: Timestamp) -> Option<Due> {
    if history.is_over() {
        return None;
    }
    if history.closure_announced.is_some() {
        return Some(Due::Close);
    }
    if history.soaked.is_some() {
        return Some(Due::AnnounceClosure);
    }
    history.soaks_until().is_some_and(|until| now >= until).then_some(Due::Soaked)
}
