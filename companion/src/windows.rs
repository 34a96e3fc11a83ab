//! A window's life: what may be asked for, what became of it, and which phase that makes.

use std::time::Instant;

use quiesce_policy::{
    snapshot::{EnforcerId, InstanceId, Scope, Window, WindowId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    barrier::Barrier,
    event::{Event, EventKind},
    store::StoredWindow,
};

/// A window as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRecord {
    /// What enforcers are told.
    pub window: Window,
    /// When it was asked for.
    pub issued_at: Timestamp,
    /// Who asked.
    pub issued_by: String,
    /// The barrier does not hold with fewer live enforcers than this.
    pub expect: Option<u32>,
    /// What happens if the work fails, in words for the public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// Of a window whose writes are open again: until when enforcers tell people that it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// That a window is over, as long as people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// When writes were opened again.
    pub ended_at: Timestamp,
    /// Until when people are told.
    pub until: Timestamp,
}

impl WindowRecord {
    /// The window as enforcers tell people of it after its end.
    pub fn told_as_ended(&self) -> Option<Window> {
        let Notice { ended_at, until } = self.notice?;
        Some(Window { ends_at: Some(ended_at), expires_at: until, ..self.window.clone() })
    }
}

/// Where a window is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It begins later.
    Scheduled,
    /// Not every enforcer has acknowledged.
    Freezing,
    /// Every enforcer has acknowledged; admitted writes are still running.
    Draining,
    /// The barrier held: the work may begin.
    Quiesced,
    /// Writes are open again, and people watch them before anybody is told that it is over.
    Soaking,
    /// Its end is announced; writes that are held for it are replayed.
    Backfilling,
    /// Nothing more is held for it: the report is final.
    Closed,
    /// The same, and writes had been opened again before the barrier held, or because the work was given up.
    Aborted,
    /// It was taken back before it began.
    Cancelled,
}

impl Phase {
    /// All phases, in the order of a window's life.
    pub const ALL: [Self; 9] = [
        Self::Scheduled,
        Self::Freezing,
        Self::Draining,
        Self::Quiesced,
        Self::Soaking,
        Self::Backfilling,
        Self::Closed,
        Self::Aborted,
        Self::Cancelled,
    ];

    /// The phase as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Freezing => "freezing",
            Self::Draining => "draining",
            Self::Quiesced => "quiesced",
            Self::Soaking => "soaking",
            Self::Backfilling => "backfilling",
            Self::Closed => "closed",
            Self::Aborted => "aborted",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether writes are refused.
    pub fn is_frozen(self) -> bool {
        matches!(self, Self::Freezing | Self::Draining | Self::Quiesced)
    }

    /// Whether writes are open again, and the window is not over.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::Soaking | Self::Backfilling)
    }

    /// Whether nothing more will become of the window.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Aborted | Self::Cancelled)
    }
}

/// What the log says of one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// People were told of it ahead of its time.
    pub announced: Option<Timestamp>,
    /// It began.
    pub started: Option<Started>,
    /// The barrier held.
    pub quiesced: Option<Quiesced>,
    /// Writes were opened again, or it was taken back.
    pub ended: Option<Ended>,
    /// The soak passed.
    pub soaked: Option<Timestamp>,
    /// People were told that it is over.
    pub closure_announced: Option<Timestamp>,
    /// Nothing more is held for it.
    pub closed: Option<Timestamp>,
}

/// How a window began.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// When the companion saw it begin.
    pub at: Timestamp,
    /// The enforcers in scope that were live then.
    pub roster: Vec<RosterEntry>,
}

/// An enforcer that was live when a window began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry {
    /// The enforcer.
    pub id: EnforcerId,
    /// Its process.
    pub instance: InstanceId,
    /// How many writes it had cut by then.
    pub cut: u64,
}

/// The evidence of [`EventKind::Started`].
#[derive(Debug, Serialize, Deserialize)]
pub struct StartedEvidence {
    /// The enforcers in scope that were live.
    pub roster: Vec<RosterEntry>,
}

/// That and when the barrier held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Quiesced {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How long after the window began; milliseconds.
    pub elapsed_ms: u64,
    /// What the proof rests on.
    pub barrier: Barrier,
}

/// The evidence of [`EventKind::Quiesced`].
#[derive(Debug, Serialize, Deserialize)]
pub struct QuiescedEvidence {
    /// How long after the window began; milliseconds.
    pub elapsed_ms: u64,
    /// The barrier as it held.
    pub barrier: Barrier,
}

/// How a window ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who ended it.
    pub by: String,
    /// `thawed`, `aborted`, `cancelled` or `lapsed`.
    pub how: EventKind,
    /// Until when writes are watched before the closure is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub soak_until: Option<Timestamp>,
}

/// The evidence of the events that open writes again: what was planned then holds, whatever is configured later.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndedEvidence {
    /// Until when writes are watched before the closure is announced.
    pub soak_until: Timestamp,
}

impl History {
    /// Takes one more event into account.
    pub fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Announced => self.announced = Some(event.at),
            EventKind::Soaked => self.soaked = Some(event.at),
            EventKind::ClosureAnnounced => self.closure_announced = Some(event.at),
            EventKind::Closed => self.closed = Some(event.at),
            EventKind::Started => {
                let roster = StartedEvidence::deserialize(&event.evidence).map(|it| it.roster);
                self.started = Some(Started { at: event.at, roster: roster.unwrap_or_default() });
            }
            EventKind::Quiesced => {
                if let Ok(evidence) = QuiescedEvidence::deserialize(&event.evidence) {
                    let QuiescedEvidence { elapsed_ms, barrier } = evidence;
                    self.quiesced = Some(Quiesced { at: event.at, elapsed_ms, barrier });
                }
            }
            EventKind::Thawed | EventKind::Aborted | EventKind::Cancelled | EventKind::Lapsed => {
                let evidence = EndedEvidence::deserialize(&event.evidence).ok();
                self.ended = Some(Ended {
                    at: event.at,
                    by: event.who.clone(),
                    how: event.kind,
                    soak_until: evidence.map(|it| it.soak_until),
                });
            }
            EventKind::Configured
            | EventKind::Scheduled
            | EventKind::Extended
            | EventKind::PassIssued
            | EventKind::EnforcerForgotten
            | EventKind::BackfillStarted
            | EventKind::BackfillFinished
            | EventKind::BackfillPaused
            | EventKind::BackfillResumed
            | EventKind::IntentsRetried
            | EventKind::IntentsDiscarded
            | EventKind::IntentsExported
            | EventKind::UpdatePosted
            | EventKind::PlanAdded
            | EventKind::PlanRemoved
            | EventKind::OccurrenceSkipped
            | EventKind::CachePurged
            | EventKind::DeliveryFailed
            | EventKind::DeliveriesResent
            | EventKind::DeliveriesCancelled => {}
        }
    }

    /// Whether nothing more will become of the window.
    pub fn is_over(&self) -> bool {
        self.closed.is_some() || self.ended.as_ref().is_some_and(|it| it.how == EventKind::Cancelled)
    }

    /// Until when the window soaks, if it does.
    pub fn soaks_until(&self) -> Option<Timestamp> {
        let ended = self.ended.as_ref().filter(|_| !self.is_over() && self.closure_announced.is_none())?;
        Some(ended.soak_until.unwrap_or(ended.at))
    }

    /// The phase that these events make, with the barrier as it stands for a window that is in force.
    pub fn phase(&self, barrier: Option<&Barrier>) -> Phase {
        match (&self.ended, &self.started, &self.quiesced) {
            (Some(ended), _, _) if self.is_over() => match ended.how {
                EventKind::Cancelled => Phase::Cancelled,
                EventKind::Aborted => Phase::Aborted,
                _ => Phase::Closed,
            },
            (Some(_), _, _) if self.closure_announced.is_some() => Phase::Backfilling,
            (Some(_), _, _) => Phase::Soaking,
            (None, None, _) => Phase::Scheduled,
            (None, Some(_), Some(_)) => Phase::Quiesced,
            (None, Some(_), None) => match barrier {
                Some(barrier) if barrier.is_in_force() => Phase::Draining,
                _ => Phase::Freezing,
            },
        }
    }
}

/// A window that has not ended, with its history.
#[derive(Clone, Debug)]
pub struct OpenWindow {
    /// The window.
    pub record: WindowRecord,
    /// What became of it.
    pub history: History,
    /// When it began, if this process saw it: immune to the clock being set.
    pub began: Option<Instant>,
}

impl OpenWindow {
    /// A window as the store knows it.
    pub fn from_stored(stored: StoredWindow) -> Self {
        let mut history = History::default();
        stored.events.iter().for_each(|event| history.apply(event));
        Self { record: stored.record, history, began: None }
    }

    /// Its id.
    pub fn id(&self) -> &WindowId {
        &self.record.window.id
    }

    /// How long ago it began; milliseconds.
    pub fn elapsed_ms(&self, now: Timestamp) -> u64 {
        match (self.began, &self.history.started) {
            (Some(began), _) => u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            (None, Some(started)) => now.ms_since(started.at),
            (None, None) => 0,
        }
    }

    /// Whether some request could fall under both this window and one of these times and this scope.
    /// A window in force that has outlived its end lasts until now at least.
    pub fn overlaps(&self, scope: &Scope, from: Timestamp, until: Timestamp, now: Timestamp) -> bool {
        let window = &self.record.window;
        let told_end = window.ends_at.unwrap_or(window.expires_at);
        let end = if self.history.started.is_some() { told_end.max(now.plus_ms(1)) } else { told_end };
        window.starts_at < until && from < end && scopes_meet(&window.scope, scope)
    }
}

/// Whether some request can fall under both scopes.
pub fn scopes_meet(one: &Scope, other: &Scope) -> bool {
    let labels = one.labels.iter().all(|(key, wanted)| {
        other.labels.get(key).is_none_or(|also| wanted.iter().any(|value| also.contains(value)))
    });
    let hosts = one.hosts.is_empty()
        || other.hosts.is_empty()
        || one.hosts.iter().any(|host| other.hosts.iter().any(|also| hosts_meet(host, also)));
    labels && hosts
}

/// Whether some host fits both patterns.
pub(crate) fn hosts_meet(one: &str, other: &str) -> bool {
    let below = |pattern: &str, host: &str| {
        pattern.strip_prefix('*').is_some_and(|suffix| host.len() > suffix.len() && host.ends_with(suffix))
    };
    one == other || below(one, other) || below(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(labels: &[(&str, &[&str])], hosts: &[&str]) -> Scope {
        Scope {
            labels: labels
                .iter()
                .map(|(key, values)| ((*key).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
                .collect(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        }
    }

    #[test]
    fn scopes_meet_unless_a_label_or_all_hosts_keep_them_apart() {
        let all = Scope::default();
        let eu = scope(&[("region", &["eu"])], &[]);
        let eu_us = scope(&[("region", &["us", "eu"])], &[]);
        let us = scope(&[("region", &["us"])], &[]);
        let tier = scope(&[("tier", &["edge"])], &[]);
        assert!(scopes_meet(&all, &eu));
        assert!(scopes_meet(&eu, &eu_us));
        assert!(!scopes_meet(&eu, &us));
        assert!(scopes_meet(&eu, &tier), "one enforcer can carry both labels");

        let api = scope(&[], &["api.example.com"]);
        let below = scope(&[], &["*.example.com"]);
        let deeper = scope(&[], &["*.eu.example.com"]);
        let other = scope(&[], &["example.com"]);
        assert!(scopes_meet(&api, &below));
        assert!(scopes_meet(&deeper, &below));
        assert!(!scopes_meet(&api, &deeper));
        assert!(!scopes_meet(&other, &below), "`*.` means below, not itself");
        assert!(scopes_meet(&all, &api));
    }

    #[test]
    fn phases_derive_from_events() {
        let event = |kind, evidence| Event {
            seq: 0,
            at: Timestamp::from_unix_ms(5),
            who: "ann".to_owned(),
            kind,
            window: None,
            evidence,
        };
        let mut history = History::default();
        history.apply(&event(EventKind::Scheduled, serde_json::Value::Null));
        assert_eq!(history.phase(None), Phase::Scheduled);
        let mut cancelled = history.clone();
        cancelled.apply(&event(EventKind::Cancelled, serde_json::Value::Null));
        assert_eq!(cancelled.phase(None), Phase::Cancelled, "at once: there is nothing to watch");
        history.apply(&event(EventKind::Announced, serde_json::Value::Null));
        assert_eq!(history.phase(None), Phase::Scheduled);
        history.apply(&event(EventKind::Started, serde_json::json!({"roster": []})));
        assert_eq!(history.phase(None), Phase::Freezing);
        let mut aborted = history.clone();
        history
            .apply(&event(EventKind::Lapsed, serde_json::json!({"soak_until": "1970-01-01T00:00:00.009Z"})));
        assert_eq!(
            (history.phase(None), history.soaks_until()),
            (Phase::Soaking, Some(Timestamp::from_unix_ms(9)))
        );
        assert_eq!(history.ended.as_ref().unwrap().how, EventKind::Lapsed);
        aborted.apply(&event(EventKind::Aborted, serde_json::Value::Null));
        assert_eq!(aborted.phase(None), Phase::Soaking);
        for (history, end) in [(&mut history, Phase::Closed), (&mut aborted, Phase::Aborted)] {
            history.apply(&event(EventKind::Soaked, serde_json::Value::Null));
            assert_eq!(history.phase(None), Phase::Soaking, "nothing is replayed before people are told");
            history.apply(&event(EventKind::ClosureAnnounced, serde_json::Value::Null));
            assert_eq!((history.phase(None), history.soaks_until()), (Phase::Backfilling, None));
            history.apply(&event(EventKind::Closed, serde_json::Value::Null));
            assert_eq!((history.phase(None), history.is_over()), (end, true));
        }
    }
}
