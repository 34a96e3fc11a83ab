//! Plans: windows that recur, and how far each plan's occurrences are decided.

mod rule;

use std::{collections::BTreeSet, fmt};

use quiesce_policy::{snapshot::WindowId, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::rule::{Recurrence, RuleError};
use crate::view::NewWindow;

/// Plans there may be at once.
pub const MAX_PLANS: usize = 100;
/// Occurrences of one plan that wait for their start as windows.
pub const MAX_AHEAD: usize = 4;
/// Occurrences that may be taken out ahead of time.
pub const MAX_SKIPPED: usize = 100;
/// Occurrences shown.
const SHOWN: usize = 5;

/// Names a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct PlanId(String);

impl PlanId {
    /// A new one.
    pub fn generate() -> Self {
        Self(ulid::Ulid::generate().to_string().to_lowercase())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for PlanId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Asks for a plan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    /// When it recurs: an RRULE of RFC 5545.
    pub rule: String,
    /// From when on, as the clock of the place shows it: `2026-12-06T02:00`.
    pub starts_at: String,
    /// The place: an IANA name such as `Europe/Berlin`.
    pub zone: String,
    /// What each window is like, without its times.
    pub window: NewWindow,
}

/// Asks to take one occurrence out.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkipOccurrence {
    /// When it would begin.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
}

/// A plan as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRecord {
    /// Its name.
    pub id: PlanId,
    /// What was asked for.
    pub plan: NewPlan,
    /// When.
    pub issued_at: Timestamp,
    /// By whom.
    pub issued_by: String,
    /// The first occurrence that is not decided. It only moves forward, and in the transaction that decides: so no
    /// occurrence is ever issued twice.
    pub next: Option<Timestamp>,
    /// Occurrences from then on that an operator has taken out.
    pub skipped: BTreeSet<Timestamp>,
    /// Occurrences that were issued and begin later.
    pub ahead: Vec<Occurrence>,
}

/// An occurrence that has become a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Occurrence {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// The window.
    #[schema(value_type = String)]
    pub window: WindowId,
}

impl PlanRecord {
    /// When it recurs.
    pub fn recurrence(&self) -> Result<Recurrence, RuleError> {
        Recurrence::parse(&self.plan.rule, &self.plan.starts_at, &self.plan.zone)
    }

    /// Notes that everything up to this instant is decided.
    pub fn decide(&mut self, up_to: Timestamp, now: Timestamp) -> Result<(), RuleError> {
        self.next = self.recurrence()?.after(up_to).next();
        let next = self.next;
        self.skipped.retain(|at| next.is_some_and(|next| *at >= next));
        self.ahead.retain(|occurrence| occurrence.starts_at > now);
        Ok(())
    }

    /// The next occurrences that are not decided, so many at the most.
    pub fn upcoming(&self, most: usize) -> Vec<Timestamp> {
        let (Some(next), Ok(recurrence)) = (self.next, self.recurrence()) else { return Vec::new() };
        let from = Timestamp::from_unix_ms(next.unix_ms().saturating_sub(1));
        recurrence.after(from).filter(|at| !self.skipped.contains(at)).take(most).collect()
    }

    /// As people are shown it.
    pub fn view(&self) -> PlanView {
        let NewPlan { rule, starts_at, zone, window } = self.plan.clone();
        let upcoming = |recurrence: Recurrence| -> Vec<String> {
            self.upcoming(SHOWN).into_iter().map(|at| recurrence.show(at)).collect()
        };
        PlanView {
            id: self.id.clone(),
            rule,
            starts_at,
            zone,
            window,
            issued_at: self.issued_at,
            issued_by: self.issued_by.clone(),
            windows: self.ahead.clone(),
            upcoming: self.recurrence().map(upcoming).unwrap_or_default(),
            skipped: self.skipped.iter().copied().collect(),
        }
    }
}

/// A plan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// Its name.
    pub id: PlanId,
    /// When it recurs.
    pub rule: String,
    /// From when on, by the clock of the place.
    pub starts_at: String,
    /// The place.
    pub zone: String,
    /// What each window is like.
    pub window: NewWindow,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub issued_at: Timestamp,
    /// Who added it.
    pub issued_by: String,
    /// The windows it has issued that begin later.
    pub windows: Vec<Occurrence>,
    /// The next occurrences that are not issued yet, by the clock of the place, with its offset.
    pub upcoming: Vec<String>,
    /// Occurrences that were taken out.
    #[schema(value_type = Vec<String>)]
    pub skipped: Vec<Timestamp>,
}

/// Plans.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlanList {
    /// The plans, by when they were added.
    pub plans: Vec<PlanView>,
}
