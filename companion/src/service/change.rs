//! Changes to windows: checked, committed, published.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use quiesce_policy::{
    Policy,
    snapshot::{Snapshot, Window, WindowId},
    time::Timestamp,
};
use serde_json::json;

use super::{
    Service,
    desk::{Desk, DeskGuard},
};
use crate::{
    auth::Caller,
    clock,
    config::Period,
    error::ServiceError,
    event::{Event, EventKind},
    limits,
    passes::PassError,
    plans::{PlanId, PlanRecord},
    store::{Change, Openness},
    view::{Extension, NewPass, NewUpdate, NewWindow, PassView, WindowView},
    windows::{EndedEvidence, Notice, OpenWindow, RosterEntry, StartedEvidence, WindowRecord},
};

/// How far in the past a start may lie and still mean "now"; milliseconds.
const PAST_TOLERANCE_MS: u64 = 5_000;

impl Service {
    /// Issues a window: one that begins now, or later.
    pub async fn create(
        self: &Arc<Self>,
        caller: Caller,
        new: NewWindow,
    ) -> Result<WindowView, ServiceError> {
        let service = Arc::clone(self);
        let began = Instant::now();
        detached(async move {
            let desk = service.desk().await?;
            let now = clock::now();
            let mut open = service.check(&desk, &caller, new, now)?;
            let immediate = open.record.window.starts_at <= now;
            let event = if immediate {
                open.record.window.started = true;
                open.began = Some(began);
                service.started(&open, &caller.name, now)
            } else {
                event(&open, EventKind::Scheduled, &caller.name, now, json!({}))
            };
            let id = open.id().clone();
            service.carry_out(desk, open, event, Effect::Published).await?;
            service.view_open(&id)
        })
        .await
    }

    /// Opens writes again; that aborts a window that was not quiesced yet.
    pub async fn thaw(self: &Arc<Self>, caller: Caller, id: WindowId) -> Result<WindowView, ServiceError> {
        self.reopen(caller, id, EventKind::Thawed).await
    }

    /// Opens writes again because the work is given up.
    pub async fn abort(self: &Arc<Self>, caller: Caller, id: WindowId) -> Result<WindowView, ServiceError> {
        self.reopen(caller, id, EventKind::Aborted).await
    }

    async fn reopen(
        self: &Arc<Self>,
        caller: Caller,
        id: WindowId,
        how: EventKind,
    ) -> Result<WindowView, ServiceError> {
        let service = Arc::clone(self);
        detached(async move {
            let desk = service.desk().await?;
            let open = service.find(&desk, &id).await?;
            if open.history.started.is_none() {
                return Err(ServiceError::NotBegun(id));
            }
            let quiesced = open.history.quiesced.is_some();
            let kind = if quiesced { how } else { EventKind::Aborted };
            let event = service.reopened(&open, kind, &caller.name, clock::now());
            service.carry_out(desk, open, event, Effect::Published).await?;
            service.window(id).await
        })
        .await
    }

    /// Takes back a window that has not begun.
    pub async fn cancel(self: &Arc<Self>, caller: Caller, id: WindowId) -> Result<WindowView, ServiceError> {
        let service = Arc::clone(self);
        detached(async move {
            let desk = service.desk().await?;
            let open = service.find(&desk, &id).await?;
            if open.history.started.is_some() {
                return Err(ServiceError::Begun(id));
            }
            let event = event(&open, EventKind::Cancelled, &caller.name, clock::now(), json!({}));
            service.carry_out(desk, open, event, Effect::Published).await?;
            service.window(id).await
        })
        .await
    }

    /// Moves a window's end, and that of its lease.
    pub async fn extend(
        self: &Arc<Self>,
        caller: Caller,
        id: WindowId,
        extension: Extension,
    ) -> Result<WindowView, ServiceError> {
        let service = Arc::clone(self);
        detached(async move {
            let desk = service.desk().await?;
            let now = clock::now();
            let mut open = service.find(&desk, &id).await?;
            if extension.by_ms == 0 {
                return Err(ServiceError::invalid("by_ms", "is 0, which extends nothing"));
            }
            let window = &open.record.window;
            let told = window.ends_at.unwrap_or(window.expires_at);
            // A window that has outlived its end is extended from now on.
            let ends_at = told.max(now).plus_ms(extension.by_ms);
            let expires_at = ends_at.plus_ms(service.config.windows.grace.ms()).max(window.expires_at);
            service.check_length("by_ms", window.starts_at, ends_at)?;
            let others = desk.windows.values().filter(|other| *other.id() != id);
            no_overlap(others, &open.record.window, ends_at, now)?;
            let evidence = json!({
                "by_ms": extension.by_ms,
                "ends_at": { "from": told, "to": ends_at },
                "expires_at": { "from": window.expires_at, "to": expires_at },
            });
            open.record.window.ends_at = Some(ends_at);
            open.record.window.expires_at = expires_at;
            let event = event(&open, EventKind::Extended, &caller.name, now, evidence);
            service.carry_out(desk, open, event, Effect::Published).await?;
            service.view_open(&id)
        })
        .await
    }

    /// Tells the public something about a window, in the operator's own words.
    pub async fn post_update(
        self: &Arc<Self>,
        caller: Caller,
        id: WindowId,
        update: NewUpdate,
    ) -> Result<WindowView, ServiceError> {
        limits::text(&update.text, limits::MAX_WORDS)
            .map_err(|message| ServiceError::invalid("text", message))?;
        let service = Arc::clone(self);
        detached(async move {
            let desk = service.desk().await?;
            let open = service.find(&desk, &id).await?;
            let evidence = json!({ "text": update.text });
            let event = event(&open, EventKind::UpdatePosted, &caller.name, clock::now(), evidence);
            service.carry_out(desk, open, event, Effect::Recorded).await?;
            service.view_open(&id)
        })
        .await
    }

    /// Issues a pass. It is not kept; that it was issued is.
    pub async fn issue_pass(
        self: &Arc<Self>,
        caller: Caller,
        new: NewPass,
    ) -> Result<PassView, ServiceError> {
        let service = Arc::clone(self);
        detached(async move {
            let desk = service.desk().await?;
            if let Some(id) = &new.window {
                service.find(&desk, id).await?;
            }
            let lifetime = Period::from_ms(new.duration_ms);
            let now = clock::now();
            if !service.configured().snapshot.exemptions.pass_keys.contains(&service.signer.public()) {
                return Err(PassError::ForeignKey.into());
            }
            let pass = service.signer.issue(&new.subject, lifetime, new.window.as_ref(), now)?;
            let event = Event {
                seq: 0,
                at: now,
                who: caller.name,
                kind: EventKind::PassIssued,
                window: new.window,
                evidence: json!({ "jti": pass.jti, "subject": new.subject, "expires_at": pass.expires_at }),
            };
            let change = Change { events: vec![event], ..Change::default() };
            service.store.commit(desk.turn, change).await?;
            Ok(PassView { pass: pass.token, id: pass.jti, subject: new.subject, expires_at: pass.expires_at })
        })
        .await
    }

    /// What the log says of a window that begins: who has to acknowledge it.
    pub(super) fn started(&self, open: &OpenWindow, who: &str, now: Timestamp) -> Event {
        let roster: Vec<RosterEntry> = self.fleet().roster(open, Instant::now());
        let evidence = serde_json::to_value(StartedEvidence { roster }).unwrap_or_default();
        event(open, EventKind::Started, who, now, evidence)
    }

    /// What the log says of a window that lets writes pass again.
    pub(super) fn reopened(&self, open: &OpenWindow, kind: EventKind, who: &str, now: Timestamp) -> Event {
        let evidence = EndedEvidence { soak_until: now.plus_ms(self.config.backfill.soak.ms()) };
        event(open, kind, who, now, serde_json::to_value(evidence).unwrap_or_default())
    }

    /// Puts a window as it now is and what happened to it on disk, and then where all can see it.
    pub(super) async fn carry_out(
        &self,
        guard: DeskGuard<'_>,
        open: OpenWindow,
        event: Event,
        effect: Effect,
    ) -> Result<(), ServiceError> {
        self.carry_out_with(guard, open, event, effect, BTreeMap::new()).await
    }

    /// The same, with what becomes of plans by it.
    pub(super) async fn carry_out_with(
        &self,
        guard: DeskGuard<'_>,
        mut open: OpenWindow,
        event: Event,
        effect: Effect,
        plans: BTreeMap<PlanId, Option<PlanRecord>>,
    ) -> Result<(), ServiceError> {
        let mut after = open.history.clone();
        after.apply(&event);
        if after.ended.is_none() {
            open.record.notice = None;
        } else if open.history.ended.is_none() && open.history.started.is_some() {
            let until = event.at.plus_ms(self.config.public.ended_for.ms());
            open.record.notice = Some(Notice { ended_at: event.at, until });
        }
        let openness = if after.is_over() { Openness::Ended } else { Openness::Open };
        let publish_at = (effect == Effect::Published).then_some(event.at);
        let change = Change {
            windows: [(open.id().clone(), (open.record.clone(), openness))].into(),
            plans: plans.clone(),
            events: vec![event],
            publish_at,
            ..Change::default()
        };
        let known = open.history.announced.is_some() || open.history.started.is_some();
        let change = self.composer.complete(change, known);
        let DeskGuard { mut desk, turn } = guard;
        let committed = match self.store.commit(turn, change).await {
            Ok(committed) => committed,
            Err(error) => return Err(self.doubt_desk(error)),
        };
        for event in &committed.events {
            tracing::info!(
                window = %open.id(), kind = event.kind.as_str(), who = event.who,
                epoch = committed.version.0, "window"
            );
            open.history.apply(event);
        }
        desk.put(open);
        desk.put_plans(plans);
        desk.revision = committed.revision;
        self.publish(&desk, committed.version)
    }

    async fn find(&self, desk: &Desk, id: &WindowId) -> Result<OpenWindow, ServiceError> {
        if let Some(open) = desk.windows.get(id) {
            return Ok(open.clone());
        }
        let stored = self.store.window(id.clone()).await?;
        match stored.and_then(|stored| OpenWindow::from_stored(stored).history.ended) {
            Some(ended) => {
                Err(ServiceError::Over { id: id.clone(), how: ended.how, by: ended.by, at: ended.at })
            }
            None => Err(ServiceError::UnknownWindow(id.clone())),
        }
    }

    pub(super) fn check(
        &self,
        desk: &Desk,
        caller: &Caller,
        new: NewWindow,
        now: Timestamp,
    ) -> Result<OpenWindow, ServiceError> {
        let defaults = &self.config.windows;
        let starts_at = match new.starts_at {
            None => now,
            Some(at) if at >= now => at,
            Some(at) if now.ms_since(at) <= PAST_TOLERANCE_MS => now,
            Some(at) => {
                let message = format!("{at} has passed; it is {now}");
                return Err(ServiceError::invalid_with("starts_at", message, "leave it out to begin now"));
            }
        };
        let ends_at = match (new.ends_at, new.duration_ms) {
            (Some(_), Some(_)) => {
                return Err(ServiceError::invalid(
                    "duration_ms",
                    "stands beside `ends_at`; give one of them",
                ));
            }
            (Some(at), None) => at,
            (None, Some(ms)) => starts_at.plus_ms(ms),
            (None, None) => starts_at.plus_ms(defaults.default_duration.ms()),
        };
        let end_field = if new.duration_ms.is_some() { "duration_ms" } else { "ends_at" };
        if ends_at <= starts_at {
            let message = format!("the window would end at {ends_at}, not after it begins at {starts_at}");
            return Err(ServiceError::invalid(end_field, message));
        }
        self.check_length(end_field, starts_at, ends_at)?;
        let check = |place: &str, text: &str, most| {
            limits::text(text, most).map_err(|message| ServiceError::invalid(place, message))
        };
        let reason = new.reason.unwrap_or_else(|| "maintenance".to_owned());
        check("reason", &reason, limits::MAX_REASON)?;
        let contact = new.contact.or_else(|| defaults.contact.clone());
        if let Some(contact) = &contact {
            check("contact", contact, limits::MAX_CONTACT)?;
        }
        if let Some(rollback) = &new.rollback {
            check("rollback", rollback, limits::MAX_WORDS)?;
        }
        limits::scope(&new.scope).map_err(|(place, message)| ServiceError::invalid(place, message))?;
        let drain_timeout_ms = new.drain_timeout_ms.unwrap_or(defaults.drain_timeout.ms());
        if drain_timeout_ms > defaults.max_duration.ms() {
            let message = format!(
                "{} is longer than a window may last, {}",
                Period::from_ms(drain_timeout_ms),
                defaults.max_duration
            );
            return Err(ServiceError::invalid("drain_timeout_ms", message));
        }
        let window = Window {
            id: ulid::Ulid::generate().to_string().to_lowercase().into(),
            scope: new.scope,
            starts_at,
            announce_at: announce_at(starts_at, defaults.announce_before, now),
            started: false,
            ends_at: Some(ends_at),
            expires_at: ends_at.plus_ms(defaults.grace.ms()),
            reason,
            contact,
            status: new.status.unwrap_or(defaults.status),
            drain_timeout_ms,
        };
        no_overlap(desk.windows.values(), &window, ends_at, now)?;
        let windows = desk.windows.values().map(|open| open.record.window.clone()).chain([window.clone()]);
        // Whatever enforcers would not take is not issued.
        Policy::compile(&Snapshot { windows: windows.collect(), ..Snapshot::default() })
            .map_err(|error| ServiceError::invalid(error.place, error.problem))?;
        let record = WindowRecord {
            window,
            issued_at: now,
            issued_by: caller.name.clone(),
            expect: new.expect,
            rollback: new.rollback,
            notice: None,
        };
        Ok(OpenWindow { record, history: Default::default(), began: None })
    }

    fn check_length(
        &self,
        place: &str,
        starts_at: Timestamp,
        ends_at: Timestamp,
    ) -> Result<(), ServiceError> {
        let longest = self.config.windows.max_duration;
        let length_ms = ends_at.ms_since(starts_at);
        if length_ms <= longest.ms() {
            return Ok(());
        }
        Err(ServiceError::invalid_with(
            place,
            format!("the window would last {}; {longest} is the most", Period::from_ms(length_ms)),
            "`windows.max_duration` in the companion's configuration is the limit",
        ))
    }
}

/// What a change does to the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The window comes into it, changes, or leaves it.
    Published,
    /// Nothing: something about the window became known.
    Recorded,
}

pub(super) fn event(
    open: &OpenWindow,
    kind: EventKind,
    who: &str,
    at: Timestamp,
    evidence: serde_json::Value,
) -> Event {
    Event { seq: 0, at, who: who.to_owned(), kind, window: Some(open.id().clone()), evidence }
}

/// When people are told of a window, if that is later than now.
fn announce_at(starts_at: Timestamp, lead: Period, now: Timestamp) -> Option<Timestamp> {
    let at = Timestamp::from_unix_ms(starts_at.unix_ms().saturating_sub(lead.ms()));
    (at > now).then_some(at)
}

fn no_overlap<'a>(
    mut others: impl Iterator<Item = &'a OpenWindow>,
    window: &Window,
    ends_at: Timestamp,
    now: Timestamp,
) -> Result<(), ServiceError> {
    match others.find(|other| other.overlaps(&window.scope, window.starts_at, ends_at, now)) {
        None => Ok(()),
        Some(other) => {
            let other = &other.record.window;
            Err(ServiceError::Overlap {
                id: other.id.clone(),
                reason: other.reason.clone(),
                starts_at: other.starts_at,
                ends_at: other.ends_at.unwrap_or(other.expires_at),
                begun: other.started,
            })
        }
    }
}

/// Runs a change to its end even if whoever asked for it hangs up: what is on disk and what is
/// published must not part.
pub(super) async fn detached<T: Send + 'static>(
    change: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::spawn(change).await?
}
