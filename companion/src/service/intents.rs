//! Writes that are kept for later: taken in, shown in receipts, and forgotten in time.

use std::{sync::Arc, time::Duration};

use quiesce_policy::{
    Refusal,
    retry::RetryLedger,
    snapshot::{Window, WindowId},
};

use super::Service;
use crate::{
    clock,
    error::ServiceError,
    intents::{
        Accepted, Decision, Declined, IntentId, IntentRecord, IntentState, Offer, Receipt, Seals, Selection,
        Totals,
    },
    view::IntentsView,
};

/// How often what is old is looked for, at most.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// How often, at least.
const TIDY_AFTER: Duration = Duration::from_millis(100);
/// Intents forgotten in one transaction.
const PURGE_AT_ONCE: u32 = 500;
/// A key in use is free again after this; seconds.
const KEY_IN_USE_S: u64 = 1;

/// What becomes of a write that was offered.
#[derive(Debug)]
pub enum Kept {
    /// It is on disk.
    Queued(Box<Receipt>),
    /// It is not kept.
    Refused(Box<Turned>),
}

/// A refusal with all that its answer says.
#[derive(Debug)]
pub struct Turned {
    /// The reason.
    pub refusal: Refusal,
    /// The window that the write would have waited for.
    pub window: Option<Window>,
    /// The reason for people.
    pub detail: String,
    /// When to come back, if that may help; seconds.
    pub retry_after_s: Option<u64>,
}

impl Service {
    /// Keeps a write, or says why not. What it returns as queued is on disk.
    pub async fn keep(&self, offer: Offer<'_>) -> Result<Kept, ServiceError> {
        let window = WindowId::from(offer.window);
        let surface = self.intake.surface(offer.surface);
        let prepared = match self.intake.prepare(offer, clock::now()) {
            Ok(prepared) => prepared,
            Err(Declined::Malformed(message)) => return Err(ServiceError::invalid("body", message)),
            Err(Declined::Refused(refusal, detail)) => {
                return Ok(self.turn_away(surface, &window, refusal, detail));
            }
            Err(error @ Declined::Seal(_)) => {
                tracing::error!(%error, "a write could not be kept");
                return Ok(self.turn_away(surface, &window, Refusal::IntentNotKept, not_kept()));
            }
        };
        let accepted = self.ledger.accept(prepared.intent, prepared.limits).await;
        drop(prepared.in_use);
        Ok(match accepted {
            Ok(Accepted::Stored(record)) => {
                self.metrics.intent_offered(surface, "stored");
                Kept::Queued(Box::new(self.receipt_of(record)))
            }
            Ok(Accepted::Repeated(record)) => {
                self.metrics.intent_offered(surface, "repeated");
                Kept::Queued(Box::new(self.receipt_of(record)))
            }
            Ok(Accepted::KeyReused) => {
                let detail = "Another write was kept under this Idempotency-Key. Nothing was written.";
                self.turn_away(surface, &window, Refusal::KeyReused, detail.to_owned())
            }
            Ok(full @ (Accepted::FullByCount | Accepted::FullByBytes)) => {
                let limits = prepared.limits;
                let detail = if full == Accepted::FullByCount {
                    format!("{} writes are kept here, as many as may be. Nothing was written.", limits.count)
                } else {
                    format!(
                        "With this one, more than {} bytes would be kept here. Nothing was written.",
                        limits.bytes
                    )
                };
                self.turn_away(surface, &window, Refusal::IntentsFull, detail)
            }
            Err(error) => {
                tracing::error!(%error, "a write could not be kept");
                self.turn_away(surface, &window, Refusal::IntentNotKept, not_kept())
            }
        })
    }

    fn turn_away(&self, surface: &str, window: &WindowId, refusal: Refusal, detail: String) -> Kept {
        self.metrics.intent_offered(surface, refusal.code());
        let window = self.window_snapshot(window);
        let retry_after_s = match refusal {
            Refusal::KeyMissing | Refusal::KeyInvalid | Refusal::KeyReused => None,
            Refusal::KeyInUse => Some(KEY_IN_USE_S),
            // The disk may be well again long before the window's end.
            Refusal::IntentNotKept => Some(self.wait_s(None)),
            _ => Some(self.wait_s(window.as_ref())),
        };
        Kept::Refused(Box::new(Turned { refusal, window, detail, retry_after_s }))
    }

    /// The receipt of a write that was kept.
    pub async fn receipt(&self, id: IntentId) -> Result<Option<Receipt>, ServiceError> {
        Ok(self.ledger.intent(id).await?.map(|record| self.receipt_of(record)))
    }

    fn receipt_of(&self, record: IntentRecord) -> Receipt {
        let wait_s = self.wait_s(self.window_snapshot(&record.window).as_ref());
        Receipt::of(record, self.config.intents.retention, wait_s)
    }

    fn window_snapshot(&self, id: &WindowId) -> Option<Window> {
        self.published().windows.get(id).map(|open| open.record.window.clone())
    }

    /// How long a client is told to wait for a window's end; seconds.
    fn wait_s(&self, window: Option<&Window>) -> u64 {
        let entropy = getrandom::u64().unwrap_or_default();
        let ends_at = window.and_then(|window| window.ends_at);
        RetryLedger::single().refuse(0, &self.config.retry, clock::now(), ends_at, entropy).retry_after_s
    }

    /// The keys that intents are sealed with.
    pub fn seals(&self) -> &Seals {
        self.intake.seals()
    }

    /// What the ledger holds.
    pub async fn intent_totals(&self) -> Result<Vec<Totals>, ServiceError> {
        Ok(self.ledger.totals().await?)
    }

    /// What the ledger holds, in one look; nothing if it is empty or cannot be asked: what is in force must
    /// be told in any case.
    pub async fn intents_view(&self) -> Option<IntentsView> {
        match self.intent_totals().await {
            Ok(totals) => IntentsView::of(&totals),
            Err(error) => {
                tracing::error!(%error, "the intents could not be counted");
                None
            }
        }
    }

    /// Discards what was held for too long and forgets what has been over for long, until the companion
    /// goes down.
    pub async fn tidy_intents(self: Arc<Self>) {
        let mut shutdown = self.follow_shutdown();
        let config = &self.config.intents;
        let shortest = config.retention.min(config.max_age).duration();
        let every = (shortest / 10).clamp(TIDY_AFTER, TIDY_EVERY);
        while !*shutdown.borrow_and_update() {
            if let Err(error) = self.tidy().await {
                tracing::error!(%error, "old intents could not be seen to");
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = shutdown.changed() => {}
            }
        }
    }

    async fn tidy(&self) -> Result<(), ServiceError> {
        let config = &self.config.intents;
        let now = clock::now();
        let too_old =
            quiesce_policy::Timestamp::from_unix_ms(now.unix_ms().saturating_sub(config.max_age.ms()));
        let waits_too_long = |total: &Totals| {
            total.state == IntentState::Held && total.oldest.is_some_and(|oldest| oldest < too_old)
        };
        // Only if the oldest is too old: else all would be looked at each time.
        if self.intent_totals().await?.iter().any(waits_too_long) {
            let selection = Selection {
                state: Some(IntentState::Held),
                received_before: Some(too_old),
                ..Selection::default()
            };
            let note = format!("held for longer than intents.max_age, {}", config.max_age);
            let discarded = self.ledger.decide(selection, Decision::Discard, note, now).await?;
            if discarded > 0 {
                tracing::warn!(discarded, max_age = %config.max_age, "writes were held for too long and are discarded");
                self.metrics.intents_expired(discarded);
            }
        }
        let forgotten =
            quiesce_policy::Timestamp::from_unix_ms(now.unix_ms().saturating_sub(config.retention.ms()));
        loop {
            let purged = self.ledger.purge(forgotten, PURGE_AT_ONCE).await?;
            self.metrics.intents_purged(purged);
            if purged < u64::from(PURGE_AT_ONCE) || *self.shutdown.borrow() {
                return Ok(());
            }
        }
    }
}

fn not_kept() -> String {
    "The write may not have been kept; send it again, with the same Idempotency-Key.".to_owned()
}
