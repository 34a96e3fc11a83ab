//! Windows that recur: plans are added and removed, and what is due of them is issued ahead of its time.

use std::{collections::BTreeMap, sync::Arc};

use quiesce_policy::time::Timestamp;
use serde_json::json;

use super::{
    Service,
    change::{Effect, detached, event},
    desk::{Desk, DeskGuard},
};
use crate::{
    auth::{Caller, Role},
    clock,
    error::ServiceError,
    event::{COMPANION, Event, EventKind},
    plans::{
        MAX_AHEAD, MAX_PLANS, MAX_SKIPPED, NewPlan, Occurrence, PlanId, PlanRecord, PlanView, RuleError,
    },
    store::Change,
    view::NewWindow,
    windows::WindowRecord,
};

/// Windows are issued this long before people are told of them, so that they are everywhere by then; milliseconds.
const LEAD_MS: u64 = 24 * 60 * 60 * 1000;
/// Occurrences that are looked at to see whether a plan gets in its own way.
const LOOKED_AT: usize = 500;
/// Of one plan so many occurrences are told of ahead: half a year of Sundays.
const PLANNED_PER_PLAN: usize = 26;
/// And of all plans together so many.
const PLANNED: usize = 200;

impl PlanRecord {
    /// In whose name its windows are issued.
    fn planner(&self) -> Caller {
        Caller { name: self.issued_by.clone(), role: Role::Operator }
    }
}

impl From<RuleError> for ServiceError {
    fn from(error: RuleError) -> Self {
        Self::invalid_with(error.place, error.message, error.hint)
    }
}

impl Service {
    /// Adds a plan.
    pub async fn add_plan(self: &Arc<Self>, caller: Caller, plan: NewPlan) -> Result<PlanView, ServiceError> {
        let service = Arc::clone(self);
        detached(async move {
            let desk = service.desk().await?;
            let now = clock::now();
            if desk.plans.len() >= MAX_PLANS {
                let message = format!("there are {MAX_PLANS} plans, and no more may be");
                return Err(ServiceError::invalid_with(
                    "rule",
                    message,
                    "remove one with `quiesce plan remove`",
                ));
            }
            let mut record = PlanRecord {
                id: PlanId::generate(),
                plan,
                issued_at: now,
                issued_by: caller.name.clone(),
                next: None,
                skipped: Default::default(),
                ahead: Vec::new(),
            };
            record.decide(now, now)?;
            service.check_plan(&record, &caller, now)?;
            let NewPlan { rule, starts_at, zone, .. } = &record.plan;
            let evidence = json!({ "plan": record.id, "rule": rule, "starts_at": starts_at, "zone": zone });
            let event = of_plan(EventKind::PlanAdded, &caller.name, now, evidence);
            let view = record.view();
            service.carry_out_plan(desk, record.id.clone(), Some(record), event).await?;
            Ok(view)
        })
        .await
    }

    /// Whether windows could be issued by it, if nothing else were planned.
    fn check_plan(&self, record: &PlanRecord, caller: &Caller, now: Timestamp) -> Result<(), ServiceError> {
        let times = [("starts_at", record.plan.window.starts_at), ("ends_at", record.plan.window.ends_at)];
        if let Some((name, _)) = times.into_iter().find(|(_, time)| time.is_some()) {
            let place = format!("window.{name}");
            return Err(ServiceError::invalid(
                place,
                "has no place in a plan: the rule says when, `duration_ms` how long",
            ));
        }
        let Some(next) = record.next else {
            let message = format!("`{}` has no occurrence after {now}", record.plan.rule);
            return Err(ServiceError::invalid("rule", message));
        };
        let window = NewWindow { starts_at: Some(next), ..record.plan.window.clone() };
        let open = self.check(&Desk::default(), caller, window, now).map_err(|error| match error {
            ServiceError::Invalid { place, message, hint } => {
                ServiceError::Invalid { place: format!("window.{place}"), message, hint }
            }
            other => other,
        })?;
        let lasts_ms = open.record.window.ends_at.map_or(0, |end| end.ms_since(next));
        let mut previous = next;
        for at in record.recurrence()?.after(next).take(LOOKED_AT) {
            if at.ms_since(previous) < lasts_ms {
                let message = format!("the window of {previous} would not be over when that of {at} begins");
                return Err(ServiceError::invalid_with(
                    "rule",
                    message,
                    "make the windows shorter, or the rule rarer",
                ));
            }
            previous = at;
        }
        Ok(())
    }

    /// Removes a plan. What it has issued stays.
    pub async fn remove_plan(self: &Arc<Self>, caller: Caller, id: PlanId) -> Result<PlanView, ServiceError> {
        let service = Arc::clone(self);
        detached(async move {
            let desk = service.desk().await?;
            let record = find(&desk, &id)?;
            let evidence = json!({ "plan": id, "rule": record.plan.rule });
            let event = of_plan(EventKind::PlanRemoved, &caller.name, clock::now(), evidence);
            let view = record.view();
            service.carry_out_plan(desk, id, None, event).await?;
            Ok(view)
        })
        .await
    }

    /// Takes out one occurrence that is not issued yet.
    pub async fn skip_occurrence(
        self: &Arc<Self>,
        caller: Caller,
        id: PlanId,
        starts_at: Timestamp,
    ) -> Result<PlanView, ServiceError> {
        let service = Arc::clone(self);
        detached(async move {
            let desk = service.desk().await?;
            let mut record = find(&desk, &id)?;
            if let Some(issued) = record.ahead.iter().find(|it| it.starts_at == starts_at) {
                let message =
                    format!("the occurrence of {starts_at} is issued, as window `{}`", issued.window);
                let hint = format!("take it back with `quiesce cancel {}`", issued.window);
                return Err(ServiceError::invalid_with("starts_at", message, hint));
            }
            let before = Timestamp::from_unix_ms(starts_at.unix_ms().saturating_sub(1));
            let is_one = record.recurrence()?.after(before).next() == Some(starts_at);
            if !is_one || record.next.is_none_or(|next| starts_at < next) {
                let message = format!("no occurrence that is to come begins at {starts_at}");
                return Err(ServiceError::invalid_with(
                    "starts_at",
                    message,
                    "`quiesce plan show` lists the next ones",
                ));
            }
            if record.skipped.len() >= MAX_SKIPPED {
                let message = format!("{MAX_SKIPPED} occurrences are skipped, and no more may be");
                return Err(ServiceError::invalid_with(
                    "starts_at",
                    message,
                    "remove the plan, and add it again later",
                ));
            }
            record.skipped.insert(starts_at);
            let evidence =
                json!({ "plan": id, "starts_at": starts_at, "because": "an operator took it out" });
            let event = of_plan(EventKind::OccurrenceSkipped, &caller.name, clock::now(), evidence);
            let view = record.view();
            service.carry_out_plan(desk, id, Some(record), event).await?;
            Ok(view)
        })
        .await
    }

    /// All plans.
    pub fn plans(&self) -> Vec<PlanView> {
        self.published().plans.values().map(PlanRecord::view).collect()
    }

    /// The windows that plans will issue, the next ones first: named after plan and start, until they are issued.
    pub fn planned(&self, now: Timestamp) -> Vec<WindowRecord> {
        let published = self.published();
        let of_plan = |plan: &PlanRecord| -> Vec<WindowRecord> {
            let drafts = plan.upcoming(PLANNED_PER_PLAN).into_iter().filter_map(|starts_at| {
                let new = NewWindow { starts_at: Some(starts_at), ..plan.plan.window.clone() };
                let mut record = self.draft(&plan.planner(), new, now).ok()?.record;
                record.window.id = format!("{}-{}", plan.id, starts_at.unix_ms() / 1000).into();
                record.issued_at = plan.issued_at;
                Some(record)
            });
            drafts.collect()
        };
        let mut planned: Vec<_> = published.plans.values().flat_map(of_plan).collect();
        planned.sort_by_key(|record| record.window.starts_at);
        planned.truncate(PLANNED);
        planned
    }

    /// One plan.
    pub fn plan(&self, id: &PlanId) -> Result<PlanView, ServiceError> {
        let published = self.published();
        published.plans.get(id).map(PlanRecord::view).ok_or_else(|| ServiceError::UnknownPlan(id.clone()))
    }

    /// Issues what is due: one occurrence at a time, each decided in the transaction that issues or skips it.
    pub(super) async fn see_to_plans(&self, now: Timestamp) -> Result<(), ServiceError> {
        let published = self.published();
        let due = published.plans.values().filter(|record| self.is_due(record, now)).map(|it| it.id.clone());
        for id in due.collect::<Vec<_>>() {
            while self.controls() {
                let desk = self.desk().await?;
                // Looked at again under the lock: another companion may have decided it.
                let record = desk.plans.get(&id).filter(|record| self.is_due(record, now)).cloned();
                let Some(record) = record else { break };
                self.decide_occurrence(desk, record, now).await?;
            }
        }
        Ok(())
    }

    fn is_due(&self, record: &PlanRecord, now: Timestamp) -> bool {
        let lead_ms = self.config.windows.announce_before.ms().saturating_add(LEAD_MS);
        let waiting = record.ahead.iter().filter(|it| it.starts_at > now).count();
        record.next.is_some_and(|next| next <= now || (waiting < MAX_AHEAD && next <= now.plus_ms(lead_ms)))
    }

    async fn decide_occurrence(
        &self,
        desk: DeskGuard<'_>,
        mut record: PlanRecord,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let id = record.id.clone();
        let Some(starts_at) = record.next else { return Ok(()) };
        if starts_at <= now {
            // However many they are: one change, one event.
            record.decide(now, now)?;
            let because = "no companion was there to issue it in time";
            let evidence = json!({ "plan": id, "starts_at": starts_at, "up_to": now, "because": because });
            let event = of_plan(EventKind::OccurrenceSkipped, COMPANION, now, evidence);
            return self.carry_out_plan(desk, id, Some(record), event).await;
        }
        let taken_out = record.skipped.contains(&starts_at);
        record.decide(starts_at, now)?;
        if taken_out {
            // The log has it since an operator said so.
            return self.commit_plan(desk, id, Some(record), Vec::new()).await;
        }
        let planner = record.planner();
        let new = NewWindow { starts_at: Some(starts_at), ..record.plan.window.clone() };
        match self.check(&desk, &planner, new, now) {
            Ok(open) => {
                record.ahead.push(Occurrence { starts_at, window: open.id().clone() });
                let evidence = json!({ "plan": id });
                let event = event(&open, EventKind::Scheduled, COMPANION, now, evidence);
                let plans = BTreeMap::from([(id, Some(record))]);
                self.carry_out_with(desk, open, event, Effect::Published, plans).await
            }
            Err(error @ (ServiceError::Overlap { .. } | ServiceError::Invalid { .. })) => {
                let evidence = json!({ "plan": id, "starts_at": starts_at, "because": error.to_string() });
                let event = of_plan(EventKind::OccurrenceSkipped, COMPANION, now, evidence);
                self.carry_out_plan(desk, id, Some(record), event).await
            }
            Err(error) => Err(error),
        }
    }

    async fn carry_out_plan(
        &self,
        desk: DeskGuard<'_>,
        id: PlanId,
        record: Option<PlanRecord>,
        event: Event,
    ) -> Result<(), ServiceError> {
        tracing::info!(plan = %id, kind = event.kind.as_str(), who = event.who, "plan");
        self.commit_plan(desk, id, record, vec![event]).await?;
        // What it has due is issued at once.
        self.stir();
        Ok(())
    }

    async fn commit_plan(
        &self,
        guard: DeskGuard<'_>,
        id: PlanId,
        record: Option<PlanRecord>,
        events: Vec<Event>,
    ) -> Result<(), ServiceError> {
        let plans = BTreeMap::from([(id, record)]);
        let change = Change { plans: plans.clone(), events, ..Change::default() };
        let DeskGuard { mut desk, turn } = guard;
        let committed = match self.store.commit(turn, change).await {
            Ok(committed) => committed,
            Err(error) => return Err(self.doubt_desk(error)),
        };
        desk.put_plans(plans);
        desk.revision = committed.revision;
        self.publish(&desk, committed.version)
    }
}

fn find(desk: &Desk, id: &PlanId) -> Result<PlanRecord, ServiceError> {
    desk.plans.get(id).cloned().ok_or_else(|| ServiceError::UnknownPlan(id.clone()))
}

fn of_plan(kind: EventKind, who: &str, at: Timestamp, evidence: serde_json::Value) -> Event {
    Event { seq: 0, at, who: who.to_owned(), kind, window: None, evidence }
}
