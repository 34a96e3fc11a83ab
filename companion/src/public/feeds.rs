//! The feeds: what has happened as Atom (RFC 4287), and the windows as a calendar (RFC 5545).

use atom_syndication::{Content, Entry, Feed, FixedDateTime, Link, Person, Text};
use icalendar::{Calendar, Component as _, Event, EventStatus};
use quiesce_policy::time::Timestamp;

use super::{
    view::{PublicView, PublicWindow, Update, WindowState},
    words,
};

/// The feed has no more entries; the latest are kept.
const MAX_ENTRIES: usize = 50;

/// What has happened to all windows, the latest first. `page` is where people read it, if it is said.
pub fn atom(view: &PublicView, page: Option<&str>) -> String {
    let windows = view.windows.iter().chain(&view.history);
    let mut updates: Vec<(&PublicWindow, &Update)> =
        windows.flat_map(|window| window.updates.iter().map(move |update| (window, update))).collect();
    updates.sort_by_key(|(_, update)| std::cmp::Reverse(update.at));
    updates.truncate(MAX_ENTRIES);
    let links = |page: Option<&str>| -> Vec<Link> {
        let alternate =
            |page: &str| Link { href: page.to_owned(), rel: "alternate".to_owned(), ..Link::default() };
        page.map(alternate).into_iter().collect()
    };
    let entries = updates.iter().map(|(window, update)| Entry {
        title: Text::plain(format!("{}: {}", window.reason, title(update))),
        id: format!("urn:quiesce:update:{}:{}", window.id, update.number),
        updated: date(update.at),
        published: Some(date(update.at)),
        links: links(page),
        content: Some(Content {
            value: Some(told(window, update)),
            content_type: Some("text".to_owned()),
            ..Content::default()
        }),
        ..Entry::default()
    });
    let feed = Feed {
        title: Text::plain(view.title.clone()),
        id: page.unwrap_or("urn:quiesce:status").to_owned(),
        updated: date(updates.first().map_or(Timestamp::default(), |(_, update)| update.at)),
        authors: vec![Person { name: view.title.clone(), ..Person::default() }],
        links: links(page),
        entries: entries.collect(),
        lang: Some("en".to_owned()),
        ..Feed::default()
    };
    feed.to_string()
}

fn title(update: &Update) -> &'static str {
    match update.kind {
        "announced" => "announced",
        "started" => "writes are paused",
        "quiesced" => "the work is under way",
        "extended" => "the end was moved",
        "thawed" => "writes are open again",
        "aborted" => "called off",
        "closed" => "it is over",
        "cancelled" => "cancelled",
        _ => "update",
    }
}

fn told(window: &PublicWindow, update: &Update) -> String {
    let mut text = update.text.clone();
    let mut say = |what: &str, how: &str| text.push_str(&format!("\n{what}: {how}"));
    if let Some(until) = update.until {
        say("New end", &words::instant(until));
    }
    say("Begins", &words::instant(window.starts_at));
    if let Some(ends_at) = window.ends_at {
        say("Ends", &words::instant(ends_at));
    }
    for (what, how) in [("Contact", &window.contact), ("If the work fails", &window.rollback)] {
        if let Some(how) = how {
            say(what, how);
        }
    }
    text
}

fn date(at: Timestamp) -> FixedDateTime {
    // What RFC 3339 can spell, its reader reads.
    at.to_string().parse().unwrap_or_default()
}

/// All windows: those over, those to come, and, tentatively, those that recur and are not announced yet.
pub fn calendar(view: &PublicView, page: Option<&str>) -> String {
    let mut calendar = Calendar::empty();
    for (name, value) in [
        ("VERSION", "2.0"),
        ("PRODID", "-//Quiesce//Maintenance windows//EN"),
        ("CALSCALE", "GREGORIAN"),
        ("METHOD", "PUBLISH"),
        ("REFRESH-INTERVAL;VALUE=DURATION", "PT5M"),
        ("X-PUBLISHED-TTL", "PT5M"),
    ] {
        calendar.append_property((name, value));
    }
    calendar.name(&view.title);
    let mut windows: Vec<_> = view.windows.iter().chain(&view.history).collect();
    windows.sort_by_key(|window| (window.starts_at, window.id.clone()));
    for window in windows {
        calendar.push(event(window, page).done());
    }
    for window in &view.planned {
        calendar.push(event(window, page).status(EventStatus::Tentative).done());
    }
    calendar.to_string()
}

fn event(window: &PublicWindow, page: Option<&str>) -> Event {
    let changed = window.updates.first().map_or(window.starts_at, |update| update.at);
    let ended_at = window.ended_at.filter(|_| window.state != WindowState::Cancelled);
    let mut event = Event::new();
    event
        .uid(&format!("{}@quiesce", window.id))
        .sequence(window.sequence)
        .summary(&window.reason)
        .add_property("DTSTAMP", compact(changed))
        .add_property("LAST-MODIFIED", compact(changed))
        .add_property("DTSTART", compact(window.starts_at))
        // It takes nobody's time: whoever has it in their calendar is free.
        .add_property("TRANSP", "TRANSPARENT")
        .status(match window.state {
            WindowState::Cancelled => EventStatus::Cancelled,
            _ => EventStatus::Confirmed,
        });
    // An end is later than the start, in the seconds that a calendar has.
    let end = ended_at.or(window.ends_at).map(compact).filter(|end| *end > compact(window.starts_at));
    if let Some(end) = end {
        event.add_property("DTEND", end);
    }
    let mut lines = vec![format!("Paused: {}", window.paused), format!("Works: {}", window.works)];
    lines.extend(window.contact.as_ref().map(|contact| format!("Contact: {contact}")));
    lines.extend(window.rollback.as_ref().map(|rollback| format!("If the work fails: {rollback}")));
    event.description(&lines.join("\n"));
    if let Some(page) = page {
        event.url(page);
    }
    event
}

/// `20261123T120000Z`: RFC 5545, in UTC.
fn compact(at: Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    let digits: String = seconds.chars().filter(|char| !matches!(char, '-' | ':')).collect();
    format!("{digits}Z")
}
