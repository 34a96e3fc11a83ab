//! What the backfill asks of the companion, and what operators ask of the backfill.

use std::{sync::Arc, time::Instant};

use axum::body::Bytes;
use base64ct::{Base64, Encoding as _};
use http_body_util::channel;
use hyper::body::Frame;
use quiesce_policy::{Headers, snapshot::WindowId, time::Timestamp};
use serde_json::json;

use super::{Service, query::MAX_PAGE};
use crate::{
    auth::Caller,
    backfill::{
        Pause, gate,
        view::{
            BackfillPhase, BackfillSummary, BackfillView, ExportedIntent, IntentList, IntentSelection,
            IntentTotals, IntentView, IntentsChanged, Soaking,
        },
    },
    clock,
    config::Period,
    error::ServiceError,
    event::{Event, EventKind},
    intents::{Decision, IntentId, IntentRecord, IntentState, Page, Selection},
    passes::{IssuedPass, PassError},
    store::{Change, StoreError},
    view::IntentsView,
};

/// Intents that an export reads at once: their bodies are in memory together.
const EXPORT_PAGE: u32 = 32;
/// Ids that an operator may name in one request.
const MAX_IDS: usize = 1_000;
/// Characters of the reason of a pause.
const MAX_REASON: usize = 500;

impl Service {
    /// Goes on where the last companion stopped, which may have been sending something.
    pub(super) async fn go_on_with_replays(&self) -> Result<(), ServiceError> {
        let totals = self.ledger.totals().await?;
        let replaying =
            totals.iter().filter(|it| it.state == IntentState::Replaying).map(|it| it.count).sum();
        let until = Instant::now() + self.config.backfill.timeout.duration();
        self.backfill.running.note_earlier(replaying, until);
        Ok(())
    }

    /// Why nothing may be replayed now, in words.
    pub fn holds_replays_back(&self, now: Timestamp) -> Option<String> {
        if let Some(pause) = self.backfill.pause() {
            return Some(format!("paused by {}: {}", pause.by, pause.reason));
        }
        if !self.controls() {
            return Some("another companion on this store sees to it".to_owned());
        }
        let published = self.published();
        gate::in_force(&published, now).map(|id| format!("window {id} is in force"))
    }

    /// Windows whose intents are not due: they are in force or will be, or it is not announced that they are over.
    pub fn windows_not_due(&self) -> Vec<WindowId> {
        let soaking = self.soaking().into_iter().map(|soaking| soaking.window);
        self.published().windows.keys().cloned().chain(soaking).collect()
    }

    /// Windows whose writes are open again, until it is announced that they are over.
    fn soaking(&self) -> Vec<Soaking> {
        let published = self.published();
        let soaking = published.ending.iter().filter_map(|(id, open)| {
            Some(Soaking { window: id.clone(), until: open.history.soaks_until()? })
        });
        soaking.collect()
    }

    /// Header block and body of an intent, as they were received.
    pub async fn unsealed(&self, id: &IntentId) -> Result<Option<(Vec<u8>, Vec<u8>)>, ServiceError> {
        let Some(payload) = self.ledger.payload(id.clone()).await? else { return Ok(None) };
        Ok(Some(self.seals().open(id, payload)?))
    }

    /// A pass for the companion's own writes. The log says when replays begin, not that each had a pass.
    pub fn issue_own_pass(
        &self,
        subject: &str,
        lifetime: Period,
        now: Timestamp,
    ) -> Result<IssuedPass, PassError> {
        self.signer.issue(subject, lifetime, None, now)
    }

    /// Appends to the log what concerns no window.
    pub async fn log(
        &self,
        who: &str,
        kind: EventKind,
        evidence: serde_json::Value,
    ) -> Result<Event, ServiceError> {
        let event = Event { seq: 0, at: clock::now(), who: who.to_owned(), kind, window: None, evidence };
        let change = Change { events: vec![event.clone()], ..Change::default() };
        let committed = self.store.commit(self.store.turn().await?, change).await?;
        Ok(committed.events.into_iter().next().unwrap_or(event))
    }

    /// Puts on disk that the backfill is paused.
    pub async fn log_pause(&self, who: &str, reason: &str) -> Result<Event, ServiceError> {
        self.log(who, EventKind::BackfillPaused, json!({ "reason": reason })).await
    }

    /// Replays nothing from now on.
    pub async fn pause_backfill(&self, caller: Caller, reason: String) -> Result<BackfillView, ServiceError> {
        crate::limits::text(&reason, MAX_REASON)
            .map_err(|message| ServiceError::invalid("reason", message))?;
        let event = self.log_pause(&caller.name, &reason).await?;
        self.backfill.take_note(&event);
        self.backfill_view().await
    }

    /// Replays again.
    pub async fn resume_backfill(&self, caller: Caller) -> Result<BackfillView, ServiceError> {
        let before = self.backfill.pause();
        let evidence = json!({ "paused": before });
        let event = self.log(&caller.name, EventKind::BackfillResumed, evidence).await?;
        self.backfill.take_note(&event);
        self.backfill_view().await
    }

    /// How the backfill stands, in a line; nothing if there is nothing to do.
    pub fn backfill_summary(&self, intents: Option<&IntentsView>) -> Option<BackfillSummary> {
        let paused = self.backfill.pause();
        let (open, failed) = intents.map(|it| (it.held + it.replaying, it.failed)).unwrap_or_default();
        let runs = self.backfill.run().is_some();
        let (phase, waits_for) = self.phase(open, failed, paused.as_ref(), runs, clock::now());
        (phase != BackfillPhase::Idle).then_some(BackfillSummary { phase, waits_for })
    }

    /// How the backfill stands.
    pub async fn backfill_view(&self) -> Result<BackfillView, ServiceError> {
        let now = clock::now();
        let totals = self.ledger.totals().await?;
        let count = |state| totals.iter().filter(|it| it.state == state).map(|it| it.count).sum();
        let [held, replaying, failed]: [u64; 3] =
            [IntentState::Held, IntentState::Replaying, IntentState::Failed].map(count);
        let oldest = totals.iter().filter(|it| it.state.is_open()).filter_map(|it| it.oldest).min();
        let (paused, run) = (self.backfill.pause(), self.backfill.run());
        let to = self.config.backfill.to.clone();
        let (phase, waits_for) = self.phase(held + replaying, failed, paused.as_ref(), run.is_some(), now);
        Ok(BackfillView {
            phase,
            waits_for,
            to,
            paused,
            soaking: self.soaking(),
            in_flight: self.backfill.running.now(Instant::now()).running,
            run,
            held,
            replaying,
            failed,
            oldest,
            intents: totals.into_iter().map(IntentTotals::from).collect(),
        })
    }

    fn phase(
        &self,
        open: u64,
        failed: u64,
        paused: Option<&Pause>,
        runs: bool,
        now: Timestamp,
    ) -> (BackfillPhase, Option<String>) {
        let waits_for = |what: &str| Some(what.to_owned());
        if let Some(pause) = paused {
            let why = format!("`quiesce backfill resume`; paused by {}: {}", pause.by, pause.reason);
            return (BackfillPhase::Paused, Some(why));
        }
        if open == 0 {
            return (BackfillPhase::Idle, None);
        }
        if self.config.backfill.to.is_none() {
            return (
                BackfillPhase::Unconfigured,
                waits_for("`backfill.to` in the companion's configuration"),
            );
        }
        if let Some(why) = self.holds_replays_back(now) {
            return (BackfillPhase::Waiting, Some(format!("the end of what holds writes back: {why}")));
        }
        if runs {
            return (BackfillPhase::Running, None);
        }
        if let Some(Soaking { window, until }) = self.soaking().into_iter().max_by_key(|it| it.until) {
            return (BackfillPhase::Waiting, Some(format!("window {window} to soak until {until}")));
        }
        if failed == 0 {
            return (BackfillPhase::Waiting, waits_for("the next look at the ledger"));
        }
        (BackfillPhase::Stopped, waits_for("`quiesce intents retry` or `discard` of what has failed"))
    }

    /// Intents in the order of their acceptance.
    pub async fn intents(
        &self,
        selection: Selection,
        after: u64,
        limit: u32,
    ) -> Result<IntentList, ServiceError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let records = self.ledger.list(selection, Page { after, limit }).await?;
        let full = records.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let next = records.last().filter(|_| full).map(|last| last.seq);
        Ok(IntentList { intents: records.into_iter().map(IntentView::from).collect(), next })
    }

    /// One intent.
    pub async fn intent(&self, id: IntentId) -> Result<IntentView, ServiceError> {
        let record = self.ledger.intent(id.clone()).await?;
        record.map(IntentView::from).ok_or(ServiceError::UnknownIntent(id))
    }

    /// Carries out an operator's decision about intents.
    pub async fn decide(
        &self,
        caller: Caller,
        selection: IntentSelection,
        decision: Decision,
    ) -> Result<IntentsChanged, ServiceError> {
        self.check_selection(&selection).await?;
        let (kind, verb) = match decision {
            Decision::Retry => (EventKind::IntentsRetried, "tried again"),
            Decision::Discard => (EventKind::IntentsDiscarded, "discarded"),
        };
        let evidence = json!({ "selection": &selection });
        let note = format!("{verb} by {}", caller.name);
        let changed = self.ledger.decide(selection.into(), decision, note, clock::now()).await?;
        self.backfill.wake.notify_one();
        if changed > 0 {
            let mut evidence = evidence;
            if let Some(fields) = evidence.as_object_mut() {
                fields.insert("changed".to_owned(), changed.into());
            }
            self.log(&caller.name, kind, evidence).await?;
        }
        Ok(IntentsChanged { changed })
    }

    async fn check_selection(&self, selection: &IntentSelection) -> Result<(), ServiceError> {
        if selection.is_everything() && !selection.all {
            return Err(ServiceError::invalid_with(
                "all",
                "nothing is selected",
                "name ids, a surface, a state or a time; or say `all`, for everything",
            ));
        }
        if selection.all && !selection.is_everything() {
            return Err(ServiceError::invalid("all", "stands beside what narrows it; leave one of them out"));
        }
        if selection.ids.len() > MAX_IDS {
            let message = format!("names {}, {MAX_IDS} at most", selection.ids.len());
            return Err(ServiceError::invalid("ids", message));
        }
        for id in &selection.ids {
            if self.ledger.intent(id.clone()).await?.is_none() {
                return Err(ServiceError::UnknownIntent(id.clone()));
            }
        }
        Ok(())
    }

    /// Hands out intents with all that they hold, as JSON lines; that it did is in the log first.
    pub async fn export(
        self: &Arc<Self>,
        caller: Caller,
        selection: Selection,
    ) -> Result<channel::Channel<Bytes, ServiceError>, ServiceError> {
        let evidence = json!({ "surface": selection.surface, "state": selection.state });
        self.log(&caller.name, EventKind::IntentsExported, evidence).await?;
        let (mut sender, body) = channel::Channel::new(1);
        let service = Arc::clone(self);
        tokio::spawn(async move {
            let mut after = 0;
            loop {
                let page = match service.exported(&selection, after).await {
                    Ok(Some((page, last))) => {
                        after = last;
                        page
                    }
                    Ok(None) => return,
                    Err(error) => {
                        tracing::error!(%error, "an export was cut off");
                        return sender.abort(error);
                    }
                };
                if sender.send(Frame::data(page)).await.is_err() {
                    return;
                }
            }
        });
        Ok(body)
    }

    /// A page of an export and where it ends, unless there is nothing more.
    async fn exported(
        &self,
        selection: &Selection,
        after: u64,
    ) -> Result<Option<(Bytes, u64)>, ServiceError> {
        let records = self.ledger.list(selection.clone(), Page { after, limit: EXPORT_PAGE }).await?;
        let Some(last) = records.last().map(|record| record.seq) else { return Ok(None) };
        let mut page = Vec::new();
        for record in records {
            serde_json::to_writer(&mut page, &self.exported_intent(record).await?)?;
            page.push(b'\n');
        }
        Ok(Some((page.into(), last)))
    }

    async fn exported_intent(&self, record: IntentRecord) -> Result<ExportedIntent, ServiceError> {
        let unsealed = self.unsealed(&record.id).await;
        let mut exported =
            ExportedIntent { intent: record.into(), headers: None, body_base64: None, unreadable: None };
        match unsealed {
            Ok(Some((head, body))) => {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let pairs = Headers::read(&head).pairs();
                exported.headers = Some(pairs.map(|(name, value)| (text(name), text(value))).collect());
                exported.body_base64 = Some(Base64::encode_string(&body));
            }
            Ok(None) => exported.unreadable = Some("what it holds is gone".to_owned()),
            // The rest may be readable, and an export is what is left when nothing else helps.
            Err(error @ ServiceError::Store(StoreError::Database(_))) => return Err(error),
            Err(error) => exported.unreadable = Some(error.to_string()),
        }
        Ok(exported)
    }
}
