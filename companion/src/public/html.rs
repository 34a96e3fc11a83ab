//! The status page: the public view in HTML, complete without a script.

use askama::Template;
use quiesce_policy::time::Timestamp;

use super::{
    view::{PublicState, PublicView, PublicWindow, Update, WindowState},
    words,
};

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'v> {
    view: &'v PublicView,
    cards: Vec<Card<'v>>,
    past: Vec<Past<'v>>,
}

/// An instant for programs and for people.
struct At {
    exact: Timestamp,
    words: String,
    short: String,
}

impl At {
    fn of(at: Timestamp) -> Self {
        Self { exact: at, words: words::instant(at), short: words::short(at) }
    }
}

/// A window that is in force, to come, or just over.
struct Card<'v> {
    window: &'v PublicWindow,
    label: &'static str,
    starts: At,
    ends: Option<At>,
    ended: Option<At>,
    updates: Vec<Said<'v>>,
}

struct Said<'v> {
    update: &'v Update,
    at: At,
    until: Option<At>,
}

/// A window that has been over for longer.
struct Past<'v> {
    window: &'v PublicWindow,
    label: &'static str,
    starts: At,
    span: String,
}

fn label(window: &PublicWindow) -> &'static str {
    match window.state {
        WindowState::Active if window.overdue => "Takes longer",
        WindowState::Active => "In progress",
        WindowState::Upcoming => "Planned",
        WindowState::Reopening => "Reopening",
        WindowState::Ended => "Completed",
        WindowState::Cancelled => "Cancelled",
    }
}

fn card(window: &PublicWindow) -> Card<'_> {
    let said = |update| {
        let Update { at, until, .. }: &Update = update;
        Said { update, at: At::of(*at), until: until.map(At::of) }
    };
    Card {
        window,
        label: label(window),
        starts: At::of(window.starts_at),
        ends: window.ends_at.map(At::of),
        ended: window.ended_at.map(At::of),
        updates: window.updates.iter().map(said).collect(),
    }
}

fn past(window: &PublicWindow) -> Past<'_> {
    let span = match (window.state, window.ended_at) {
        (WindowState::Ended, Some(end)) => words::span(window.starts_at, end),
        _ => String::new(),
    };
    Past { window, label: label(window), starts: At::of(window.starts_at), span }
}

impl Page<'_> {
    /// What stands below the headline.
    fn lead(&self) -> &'static str {
        match self.view.state {
            PublicState::Operational => "Reading and writing work as usual. No maintenance is planned.",
            PublicState::Ended => "Reading and writing work as usual again.",
            PublicState::Announced => "Reading and writing work as usual until it begins.",
            PublicState::Reopening => "Reading and writing work again, and we are watching closely.",
            PublicState::ReadOnly => "Reading works as usual. Changes are refused until this is over.",
        }
    }
}

/// The page.
pub fn status(view: &PublicView) -> Result<String, askama::Error> {
    let cards = view.windows.iter().map(card).collect();
    Page { view, cards, past: view.history.iter().map(past).collect() }.render()
}
