//! Changes to windows: checked, committed, published.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde_json::json;

use super::{
    Service,
    desk::{Desk, DeskGuard},
    draft::no_overlap,
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
    windows::{EndedEvidence, Notice, OpenWindow, RosterEntry, StartedEvidence},
};

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

/// Runs a change to its end even if whoever asked for it hangs up: what is on disk and what is
/// published must not part.
pub(super) async fn detached<T: Send + 'static>(
    change: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::spawn(change).await?
}
