//! The public view: a pure function of what is told of windows, of what is configured, and of the time.

use quiesce_policy::{
    snapshot::{Scope, Surface, WindowId},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::told::Told;
use crate::{
    config::{Config, Public},
    windows::hosts_meet,
};

/// Everything that the public sees, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PublicView {
    /// What the page is called.
    pub title: String,
    /// How things stand.
    pub state: PublicState,
    /// The same in words.
    pub summary: String,
    /// The windows in force, then those to come, then those just over.
    pub windows: Vec<PublicWindow>,
    /// Windows over for longer, the latest first.
    pub history: Vec<PublicWindow>,
    /// Windows that recur, and are not announced yet: for calendars.
    #[serde(skip)]
    pub planned: Vec<PublicWindow>,
    /// When this becomes another view by itself.
    #[serde(skip)]
    pub changes_at: Option<Timestamp>,
}

/// How things stand, in the order of what matters more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PublicState {
    /// Everything works.
    Operational,
    /// A window is just over.
    Ended,
    /// A window is to come.
    Announced,
    /// Writes are open again, and watched.
    Reopening,
    /// Some writes are paused, or all.
    ReadOnly,
}

impl PublicState {
    /// The state as it is shown to programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Ended => "ended",
            Self::Announced => "announced",
            Self::Reopening => "reopening",
            Self::ReadOnly => "read-only",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Operational => "Everything works",
            Self::Ended => "Maintenance is over",
            Self::Announced => "Everything works; maintenance is planned",
            Self::Reopening => "Writes are open again",
            Self::ReadOnly => "Writes are paused",
        }
    }
}

/// Where a window is in its life, as far as the public is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WindowState {
    /// It begins later.
    Upcoming,
    /// Writes are paused.
    Active,
    /// Writes are open again, and watched.
    Reopening,
    /// It is over.
    Ended,
    /// It was taken back before it began.
    Cancelled,
}

impl WindowState {
    /// The state as it is shown to programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upcoming => "upcoming",
            Self::Active => "active",
            Self::Reopening => "reopening",
            Self::Ended => "ended",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a window pauses the writes of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PublicScope {
    /// Whether it is all there is.
    pub everything: bool,
    /// The names of the parts concerned, as far as they have names.
    pub names: Vec<String>,
}

/// One window.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PublicWindow {
    /// Identifies it.
    #[schema(value_type = String)]
    pub id: WindowId,
    /// Where it is in its life.
    pub state: WindowState,
    /// Why it is.
    pub reason: String,
    /// When it begins, or began.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// When it is to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// When writes were opened again, or when it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Whether it takes longer than was told.
    pub overdue: bool,
    /// What it concerns.
    pub scope: PublicScope,
    /// What goes on working.
    pub works: String,
    /// What does not.
    pub paused: String,
    /// Whom to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// What happens if the work fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// What has happened, the latest first.
    pub updates: Vec<Update>,
    /// How often what is told of it was changed.
    #[serde(skip)]
    pub sequence: u32,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Update {
    /// Its place among those of its window.
    #[serde(skip)]
    pub number: u32,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What: `announced`, `started`, `quiesced`, `extended`, `thawed`, `aborted`, `closed`, `cancelled`, or `update` for
    /// an operator's own words.
    pub kind: &'static str,
    /// The same in words.
    pub text: String,
    /// The new end, if it was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// What of the configuration decides over the view.
#[derive(Clone, Debug)]
pub struct Naming {
    public: Public,
    /// The hosts of the surfaces that have a title.
    titles: Vec<(Vec<String>, String)>,
}

impl Naming {
    /// What this configuration says.
    pub fn of(config: &Config) -> Self {
        let titled = |surface: &Surface| {
            let title = config.public.titles.get(&surface.name)?;
            Some((surface.hosts.clone(), title.clone()))
        };
        Self { public: config.public.clone(), titles: config.surfaces.iter().filter_map(titled).collect() }
    }

    /// What people call the hosts of a scope: surfaces' titles, and hosts that belong to no surface with one.
    fn scope(&self, scope: &Scope) -> PublicScope {
        let mut names: Vec<String> = Vec::new();
        for host in &scope.hosts {
            let titles = self
                .titles
                .iter()
                .filter(|(hosts, _)| hosts.is_empty() || hosts.iter().any(|one| hosts_meet(one, host)));
            let mut found: Vec<String> = titles.map(|(_, title)| title.clone()).collect();
            if found.is_empty() {
                found.push(host.clone());
            }
            found.retain(|name| !names.contains(name));
            names.extend(found);
        }
        PublicScope { everything: scope.is_everything(), names }
    }
}

impl PublicView {
    /// What the public sees at this moment.
    pub fn of<'a>(told: impl IntoIterator<Item = &'a Told>, naming: &Naming, now: Timestamp) -> Self {
        let ended_for_ms = naming.public.ended_for.ms();
        let mut state = PublicState::Operational;
        let mut changes: Vec<Timestamp> = Vec::new();
        let (mut windows, mut history) = (Vec::new(), Vec::new());
        for one in told {
            if !one.is_announced(now) {
                changes.extend(one.told_at(now));
                continue;
            }
            let window = window(one, naming, now);
            let over = matches!(window.state, WindowState::Ended | WindowState::Cancelled);
            let over_at = window.ended_at.filter(|_| over).map(|at| at.max(one.since));
            let told_until = over_at.map(|at| at.plus_ms(ended_for_ms));
            changes.extend(
                [Some(one.starts_at), one.ends_at, Some(one.expires_at), told_until].into_iter().flatten(),
            );
            if told_until.is_some_and(|until| until <= now) {
                history.push(window);
                continue;
            }
            state = state.max(match window.state {
                WindowState::Upcoming => PublicState::Announced,
                WindowState::Active => PublicState::ReadOnly,
                WindowState::Reopening => PublicState::Reopening,
                WindowState::Ended => PublicState::Ended,
                WindowState::Cancelled => PublicState::Operational,
            });
            windows.push(window);
        }
        windows.sort_by_key(|window| (rank(window.state), window.starts_at));
        history.sort_by_key(|window| std::cmp::Reverse(window.starts_at));
        history.truncate(naming.public.history);
        let overdue = windows.iter().any(|window| window.overdue);
        let mut summary = state.summary().to_owned();
        let mut active = windows.iter().filter(|window| window.state == WindowState::Active);
        if state == PublicState::ReadOnly && active.all(|window| !window.scope.everything) {
            "Some writes are paused".clone_into(&mut summary);
        }
        if state == PublicState::ReadOnly && overdue {
            summary.push_str(", for longer than planned");
        }
        Self {
            title: naming.public.title.clone(),
            state,
            summary,
            windows,
            history,
            planned: Vec::new(),
            changes_at: changes.into_iter().filter(|at| *at > now).min(),
        }
    }

    /// The same, with the windows that recur.
    pub fn with_planned<'a>(
        self,
        planned: impl IntoIterator<Item = &'a Told>,
        naming: &Naming,
        now: Timestamp,
    ) -> Self {
        let not_announced = planned.into_iter().filter(|told| told.is_planned(now));
        Self { planned: not_announced.map(|told| window(told, naming, now)).collect(), ..self }
    }
}

fn rank(state: WindowState) -> u8 {
    match state {
        WindowState::Active => 0,
        WindowState::Reopening => 1,
        WindowState::Upcoming => 2,
        WindowState::Ended | WindowState::Cancelled => 3,
    }
}

fn window(told: &Told, naming: &Naming, now: Timestamp) -> PublicWindow {
    // As enforcers do: a window begins by the clock and ends with its lease, whether anybody says so or not.
    let (state, ended_at) = match told.state {
        WindowState::Upcoming | WindowState::Active if now >= told.expires_at => {
            (WindowState::Ended, Some(told.expires_at))
        }
        WindowState::Upcoming if now >= told.starts_at => (WindowState::Active, None),
        WindowState::Ended => (WindowState::Ended, told.reopened_at.or(Some(told.since))),
        WindowState::Cancelled => (WindowState::Cancelled, Some(told.since)),
        state => (state, told.reopened_at),
    };
    let scope = naming.scope(&told.scope);
    let (works, paused) = words(state, &scope);
    PublicWindow {
        id: told.id.clone(),
        state,
        reason: told.reason.clone(),
        starts_at: told.starts_at,
        ends_at: told.ends_at,
        ended_at,
        overdue: state == WindowState::Active && told.ends_at.is_some_and(|end| end <= now),
        scope,
        works,
        paused,
        contact: told.contact.clone(),
        rollback: told.rollback.clone(),
        updates: told.updates.iter().rev().cloned().collect(),
        sequence: told.count.saturating_sub(1),
    }
}

/// What works and what does not, in words.
fn words(state: WindowState, scope: &PublicScope) -> (String, String) {
    let whose = if scope.everything {
        "All changes".to_owned()
    } else if scope.names.is_empty() {
        "Changes in some places".to_owned()
    } else {
        format!("Changes to {}", listed(&scope.names))
    };
    let all = "Reading, searching and browsing, as usual".to_owned();
    match state {
        WindowState::Upcoming => (all, format!("{whose}, for as long as it lasts")),
        WindowState::Active => (all, whose),
        WindowState::Reopening | WindowState::Ended | WindowState::Cancelled => {
            ("Everything".to_owned(), "Nothing".to_owned())
        }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [firsts @ .., last] => format!("{} and {last}", firsts.join(", ")),
    }
}

#[cfg(test)]
mod tests;
