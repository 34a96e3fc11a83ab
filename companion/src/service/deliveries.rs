//! What others are told: shown, resent, tried out.

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde_json::json;

use super::{Service, desk::Desk, query::MAX_PAGE};
use crate::{
    auth::Caller,
    clock,
    config::{Config, Target},
    error::ServiceError,
    event::{COMPANION, Event, EventKind},
    notify::{Occasion, Step, secret::Secret},
    outbox::{
        Conclusion, Delivery, DeliveryId, Selection, Verdict,
        view::{
            DeliveriesChanged, DeliveriesSummary, DeliveryList, DeliverySelection, DeliveryView,
            PreviewDelivery, PreviewRequest, PreviewStep, PreviewView,
        },
    },
    store::Change,
    windows::WindowRecord,
};

/// Ids that an operator may name in one request.
const MAX_IDS: usize = 1_000;
/// A preview moves the end by this.
const EXAMPLE_EXTENSION_MS: u64 = 30 * 60 * 1000;

/// Whether every secret that notifiers need can be read: at the start, and not when something has to be said.
pub(super) fn check_secrets(config: &Config) -> Result<(), ServiceError> {
    for (index, notifier) in config.notify.iter().enumerate() {
        let target = notifier.target().map_err(|problems| {
            let (field, message) = problems.into_iter().next().unwrap_or_default();
            ServiceError::invalid(format!("notify[{index}].{field}"), message)
        })?;
        let (field, secret): (&str, &Secret) = match &target {
            Target::Page(page) => ("api_key", &page.api_key),
            Target::Slack(secret) => ("webhook_url", secret),
            Target::Webhook { secret, .. } => ("secret", secret),
            Target::Cdn { api_key, .. } => ("api_key", api_key),
            Target::Varnish { .. } => continue,
        };
        if let Err(error) = secret.read() {
            return Err(ServiceError::invalid(format!("notify[{index}].{field}"), error.to_string()));
        }
    }
    Ok(())
}

impl Service {
    /// Deliveries, the newest first.
    pub async fn deliveries(
        &self,
        selection: Selection,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<DeliveryList, ServiceError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let found = self.outbox.list(selection, before, limit).await?;
        let full = found.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let next = found.last().filter(|_| full).map(|last| last.id.clone());
        Ok(DeliveryList { deliveries: found.into_iter().map(DeliveryView::from).collect(), next })
    }

    /// One delivery, with what it says.
    pub async fn delivery(&self, id: DeliveryId) -> Result<DeliveryView, ServiceError> {
        let found = self.outbox.delivery(id.clone()).await?;
        found.map(DeliveryView::whole).ok_or(ServiceError::UnknownDelivery(id))
    }

    /// Deliveries that are not made, counted; nothing, if all are.
    pub async fn deliveries_summary(&self) -> Result<Option<DeliveriesSummary>, ServiceError> {
        Ok(DeliveriesSummary::of(&self.outbox.totals().await?))
    }

    /// Carries out an operator's word on deliveries.
    pub async fn decide_deliveries(
        &self,
        caller: Caller,
        selection: DeliverySelection,
        verdict: Verdict,
    ) -> Result<DeliveriesChanged, ServiceError> {
        let DeliverySelection { ids, window, notifier, state } = &selection;
        if ids.is_empty() && window.is_none() && notifier.is_none() && state.is_none() {
            return Err(ServiceError::invalid_with(
                "ids",
                "nothing is selected",
                "name ids, a window, a notifier or a state",
            ));
        }
        if ids.len() > MAX_IDS {
            return Err(ServiceError::invalid("ids", format!("names {}, {MAX_IDS} at most", ids.len())));
        }
        for id in ids {
            if self.outbox.delivery(id.clone()).await?.is_none() {
                return Err(ServiceError::UnknownDelivery(id.clone()));
            }
        }
        let (kind, verb) = match verdict {
            Verdict::Resend => (EventKind::DeliveriesResent, "sent again"),
            Verdict::Cancel => (EventKind::DeliveriesCancelled, "cancelled"),
        };
        let evidence = json!({ "selection": &selection });
        let note = format!("{verb} by {}", caller.name);
        let changed = self.outbox.decide(selection.into(), verdict, note, clock::now()).await?;
        self.deliveries_wake.notify_waiters();
        if changed > 0 {
            self.log(&caller.name, kind, evidence).await?;
        }
        Ok(DeliveriesChanged { changed })
    }

    /// Puts into the log what became of a delivery.
    pub(crate) async fn log_delivery(
        &self,
        delivery: &Delivery,
        conclusion: &Conclusion,
        kind: EventKind,
    ) -> Result<(), ServiceError> {
        let evidence = json!({
            "delivery": delivery.id,
            "notifier": delivery.notifier,
            "step": delivery.step,
            "status": conclusion.status,
            "note": conclusion.note,
        });
        let window = Some(delivery.window.clone());
        let event = Event { seq: 0, at: clock::now(), who: COMPANION.to_owned(), kind, window, evidence };
        let change = Change { events: vec![event], ..Change::default() };
        self.store.commit(self.store.turn().await?, change).await?;
        Ok(())
    }

    /// What would be said of a window, and to whom. Nothing is written, and nothing is sent.
    pub async fn preview(&self, caller: Caller, asked: PreviewRequest) -> Result<PreviewView, ServiceError> {
        let now = clock::now();
        let record = match (asked.window, asked.new) {
            (Some(id), None) => self.stored_record(id).await?,
            (None, new) => self.check(&Desk::default(), &caller, new.unwrap_or_default(), now)?.record,
            (Some(_), Some(_)) => {
                return Err(ServiceError::invalid("new", "stands beside `window`; give one of them"));
            }
        };
        Ok(PreviewView { steps: Step::ALL.map(|step| self.preview_step(step, &record, now)).into() })
    }

    async fn stored_record(&self, id: WindowId) -> Result<WindowRecord, ServiceError> {
        let stored = self.store.window(id.clone()).await?;
        stored.map(|stored| stored.record).ok_or(ServiceError::UnknownWindow(id))
    }

    fn preview_step(&self, step: Step, record: &WindowRecord, now: Timestamp) -> PreviewStep {
        let mut record = record.clone();
        let begun = !matches!(step, Step::Announced | Step::Cancelled);
        record.window.started = begun;
        let told_end = record.window.ends_at.unwrap_or(record.window.expires_at);
        let at = match step {
            Step::Announced | Step::Cancelled => now,
            Step::Reopened | Step::Closed => told_end,
            _ => record.window.starts_at,
        };
        let previous_end = (step == Step::Extended).then_some(told_end);
        if step == Step::Extended {
            record.window.ends_at = Some(told_end.plus_ms(EXAMPLE_EXTENSION_MS));
        }
        let occasion = Occasion { step, at, record: &record, previous_end, rollback: None };
        let message = self.composer.message(&occasion);
        let deliveries =
            self.composer.told(&occasion).into_iter().map(|(notifier, payload)| PreviewDelivery {
                notifier: notifier.name.clone(),
                kind: notifier.kind,
                to: notifier.target().map(|target| target.shown()).unwrap_or_default(),
                payload: json!(payload),
            });
        PreviewStep { step, title: message.title, text: message.text, deliveries: deliveries.collect() }
    }
}
