//! What happens by itself: windows begin, barriers hold, leases run out.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde_json::json;

use super::{
    Service,
    change::{Effect, event},
};
use crate::{
    barrier::{Barrier, Verdict},
    clock,
    error::ServiceError,
    event::{COMPANION, EventKind},
    windows::{OpenWindow, QuiescedEvidence},
};

/// Silence and clocks being set are noticed this late at most.
const TICK: Duration = Duration::from_secs(1);
/// After a failure the next try waits this long.
const PAUSE: Duration = Duration::from_secs(1);
/// In a large fleet, barriers are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LARGE_FLEET: usize = 200;

/// Sees to what happens by itself, until the companion goes down.
pub async fn control(service: Arc<Service>) {
    let mut stirs = service.follow_stirs();
    let mut shutdown = service.follow_shutdown();
    let mut controls = false;
    while !*shutdown.borrow_and_update() {
        stirs.borrow_and_update();
        let now = clock::now();
        let seen_to = match service.take_over(&mut controls).await {
            Ok(()) if controls => service.see_to(now).await,
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

enum Due {
    Lapse,
    Start,
    Prove(Barrier),
}

impl Service {
    /// How long until a window begins or its lease runs out.
    fn next_due(&self, now: Timestamp) -> Duration {
        let published = self.published();
        let due = published.windows.values().map(|open| {
            let window = &open.record.window;
            let next = if open.history.started.is_some() { window.expires_at } else { window.starts_at };
            next.ms_since(now)
        });
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
        if now >= window.expires_at {
            return Some(Due::Lapse);
        }
        if open.history.started.is_none() {
            return (now >= window.starts_at).then_some(Due::Start);
        }
        if open.history.quiesced.is_some() {
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
    async fn see_to(&self, now: Timestamp) -> Result<(), ServiceError> {
        let published = self.published();
        let due: Vec<WindowId> = published
            .windows
            .values()
            .filter(|open| self.controls() && self.due(open, now).is_some())
            .map(|open| open.id().clone())
            .collect();
        if due.is_empty() && self.desk_is_stale.load(Ordering::Acquire) {
            drop(self.desk().await?);
        }
        for id in due {
            let desk = self.desk().await?;
            // Looked at again under the lock: somebody may have thawed it since.
            let Some(mut open) = desk.windows.get(&id).cloned() else { continue };
            match self.due(&open, now) {
                None => {}
                Some(Due::Lapse) => {
                    let event = event(&open, EventKind::Lapsed, COMPANION, now, json!({}));
                    self.carry_out(desk, open, event, Effect::Ended).await?;
                }
                Some(Due::Start) => {
                    open.record.window.started = true;
                    open.began = Some(Instant::now());
                    let event = self.started(&open, COMPANION, now);
                    self.carry_out(desk, open, event, Effect::Published).await?;
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
        Ok(())
    }
}
