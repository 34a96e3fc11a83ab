//! Makes the deliveries of a change, purely: of its events, its windows and what is configured.

use quiesce_policy::time::Timestamp;
use serde::Deserialize;

use super::{Messages, Payload, Step, message::Message};
use crate::{
    config::{Config, Notifier},
    event::{Event, EventKind},
    outbox::{DeliveryId, NewDelivery},
    store::Change,
    windows::WindowRecord,
};

/// A step of a window, with all that can be said of it.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// What has happened.
    pub step: Step,
    /// When.
    pub at: Timestamp,
    /// The window as it is now.
    pub record: &'a WindowRecord,
    /// Before it was moved, the end was this.
    pub previous_end: Option<Timestamp>,
    /// What is done if the work fails.
    pub rollback: Option<&'a str>,
}

impl<'a> Occasion<'a> {
    /// What an event is for others, if it concerns them.
    fn of(event: &Event, record: &'a WindowRecord) -> Option<Self> {
        let step = Step::of(event.kind)?;
        let previous_end = (event.kind == EventKind::Extended)
            .then(|| event.evidence.pointer("/ends_at/from"))
            .flatten()
            .and_then(|from| Timestamp::deserialize(from).ok());
        Some(Self { step, at: event.at, record, previous_end, rollback: None })
    }
}

/// Makes deliveries.
pub struct Composer {
    notifiers: Vec<Notifier>,
    messages: Option<Messages>,
    fallback: Option<Messages>,
}

impl Composer {
    /// By this configuration, which was checked.
    pub fn new(config: &Config) -> Self {
        let zone = config.messages.time_zone().unwrap_or(jiff::tz::TimeZone::UTC);
        let messages = Messages::new(&config.messages.wording, zone, config.status_page.clone());
        Self { notifiers: config.notify.clone(), messages: messages.ok(), fallback: Messages::built_in() }
    }

    /// Adds to a change what has to be told of it; `known` says whether people have heard of its window before.
    pub fn complete(&self, change: Change, known: bool) -> Change {
        let deliveries = self.deliveries(&change, known);
        Change { deliveries, ..change }
    }

    fn deliveries(&self, change: &Change, known: bool) -> Vec<NewDelivery> {
        let mut deliveries = Vec::new();
        for (index, event) in change.events.iter().enumerate() {
            let Some(id) = &event.window else { continue };
            let Some((record, _)) = change.windows.get(id) else { continue };
            let Some(occasion) = Occasion::of(event, record) else { continue };
            let is_public = match event.kind {
                EventKind::Scheduled => false,
                EventKind::Extended | EventKind::Cancelled => known,
                _ => true,
            };
            let told = self.told(&occasion).into_iter();
            for (notifier, payload) in told.filter(|(one, _)| is_public || one.kind.is_cache()) {
                deliveries.push(NewDelivery {
                    id: DeliveryId::generate(),
                    event: index,
                    window: id.clone(),
                    notifier: notifier.name.clone(),
                    kind: notifier.kind,
                    step: occasion.step,
                    payload: serde_json::json!(payload).to_string(),
                    at: event.at,
                });
            }
        }
        deliveries
    }

    /// Who is told of a step, and what.
    pub fn told<'a>(&'a self, occasion: &Occasion<'_>) -> Vec<(&'a Notifier, Payload)> {
        let concerned: Vec<_> =
            self.notifiers.iter().filter(|one| one.steps().contains(&occasion.step)).collect();
        if concerned.is_empty() {
            return Vec::new();
        }
        let message = self.message(occasion);
        let payload = |notifier: &'a Notifier| (notifier, Payload::of(notifier.kind, occasion, &message));
        concerned.into_iter().map(payload).collect()
    }

    /// No words are a reason to hold a freeze up: if those configured fail, it is said in others.
    pub fn message(&self, occasion: &Occasion<'_>) -> Message {
        for messages in [&self.messages, &self.fallback].into_iter().flatten() {
            match messages.message(occasion) {
                Ok(message) => return message,
                Err(problem) => {
                    tracing::error!(place = problem.place, problem.message, "a template cannot be filled");
                }
            }
        }
        let reason = occasion.record.window.reason.clone();
        Message { name: reason.clone(), title: reason, text: occasion.step.as_str().to_owned() }
    }
}
