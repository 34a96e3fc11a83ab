//! Makes the words of a message: templates, filled with what is known of a window.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use minijinja::{Environment, UndefinedBehavior};
use quiesce_policy::{snapshot::Scope, time::Timestamp};
use serde::Serialize;

use super::{
    Occasion, Step,
    wording::{self, Wording},
};
use crate::windows::WindowRecord;

const NAME: &str = "name";
/// Hosts that are named one by one in a sentence.
const MANY_HOSTS: usize = 5;
/// Characters of a title, at most: what Statuspage takes.
const MAX_TITLE: usize = 255;
/// Characters of a text, at most.
const MAX_TEXT: usize = 4_000;

/// What is said of one step of one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What the maintenance is called.
    pub name: String,
    /// One line.
    pub title: String,
    /// All that there is to say.
    pub text: String,
}

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateProblem {
    /// `name`, or like `frozen.text`.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
}

/// Makes messages.
pub struct Messages {
    templates: Environment<'static>,
    zone: TimeZone,
    status_page: Option<String>,
}

/// What templates can say; all of it is always there, so that a name that is not is a mistake.
#[derive(Serialize)]
struct Facts<'a> {
    window: &'a str,
    step: Step,
    reason: &'a str,
    contact: Option<&'a str>,
    rollback: Option<&'a str>,
    status_page: Option<&'a str>,
    what: String,
    starts: String,
    ends: String,
    previous_ends: Option<String>,
    at: String,
}

impl Messages {
    /// With words of one's own, or those built in; times are of this zone.
    pub fn new(
        wording: &Wording,
        zone: TimeZone,
        status_page: Option<String>,
    ) -> Result<Self, Vec<TemplateProblem>> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut problems = Vec::new();
        let mut add = |place: String, source: &str| {
            if let Err(error) = templates.add_template_owned(place.clone(), source.to_owned()) {
                problems.push(TemplateProblem { place, message: describe(&error) });
            }
        };
        add(NAME.to_owned(), wording.name.as_deref().unwrap_or(wording::NAME));
        for step in Step::ALL {
            let (title, text) = wording::built_in(step);
            let own = wording.steps.get(&step);
            add(place(step, "title"), own.and_then(|own| own.title.as_deref()).unwrap_or(title));
            add(place(step, "text"), own.and_then(|own| own.text.as_deref()).unwrap_or(text));
        }
        let messages = Self { templates, zone, status_page };
        if problems.is_empty() {
            problems = messages.try_out();
        }
        if problems.is_empty() { Ok(messages) } else { Err(problems) }
    }

    /// Those built in, of which no template can be wrong.
    pub fn built_in() -> Option<Self> {
        Self::new(&Wording::default(), TimeZone::UTC, None).ok()
    }

    /// Fills every template with everything there is, and with as little as there may be.
    fn try_out(&self) -> Vec<TemplateProblem> {
        let mut problems = Vec::new();
        for full in [true, false] {
            let text = |text| full.then_some(text);
            let places = Step::ALL.into_iter().flat_map(|step| {
                [(step, place(step, "title")), (step, place(step, "text")), (step, NAME.to_owned())]
            });
            for (step, place) in places {
                let facts = Facts {
                    window: "01k",
                    step,
                    reason: "reindex",
                    contact: text("#ops"),
                    rollback: text("the old index is kept"),
                    status_page: text("https://status.example.com/"),
                    what: "all data".to_owned(),
                    starts: self.spell(Timestamp::default()),
                    ends: self.spell(Timestamp::default()),
                    previous_ends: full.then(|| self.spell(Timestamp::default())),
                    at: self.spell(Timestamp::default()),
                };
                let filled = self.fill(&place, &facts);
                let message = match filled {
                    Ok(filled) if filled.trim().is_empty() => "says nothing".to_owned(),
                    Ok(_) => continue,
                    Err(error) => describe(&error),
                };
                let problem = TemplateProblem { place, message };
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        problems
    }

    /// What is said of a window.
    pub fn message(&self, occasion: &Occasion<'_>) -> Result<Message, TemplateProblem> {
        let WindowRecord { window, .. } = occasion.record;
        let step = occasion.step;
        let facts = Facts {
            window: window.id.as_str(),
            step,
            reason: &window.reason,
            contact: window.contact.as_deref(),
            rollback: occasion.rollback,
            status_page: self.status_page.as_deref(),
            what: what(&window.scope),
            starts: self.spell(window.starts_at),
            ends: self.spell(window.ends_at.unwrap_or(window.expires_at)),
            previous_ends: occasion.previous_end.map(|end| self.spell(end)),
            at: self.spell(occasion.at),
        };
        let fill = |place: &str, most| {
            let filled = self
                .fill(place, &facts)
                .map_err(|error| TemplateProblem { place: place.to_owned(), message: describe(&error) })?;
            Ok(shortened(filled.trim(), most))
        };
        Ok(Message {
            name: one_line(&fill(NAME, MAX_TITLE)?),
            title: one_line(&fill(&place(step, "title"), MAX_TITLE)?),
            text: fill(&place(step, "text"), MAX_TEXT)?,
        })
    }

    fn fill(&self, place: &str, facts: &Facts<'_>) -> Result<String, minijinja::Error> {
        self.templates.get_template(place)?.render(minijinja::value::Serde(facts))
    }

    /// An instant for people and, exactly, for whoever has to be sure.
    fn spell(&self, at: Timestamp) -> String {
        let ms = i64::try_from(at.unix_ms()).unwrap_or(i64::MAX);
        let Ok(instant) = jiff::Timestamp::from_millisecond(ms) else { return at.to_string() };
        let zoned = instant.to_zoned(self.zone.clone());
        let mut spelt = String::new();
        // Writing to a string fails only if the format is wrong, which the tests would show.
        let _ = write!(
            spelt,
            "{} ({})",
            zoned.strftime("%a %-d %b %Y, %H:%M %Z"),
            zoned.strftime("%Y-%m-%dT%H:%M:%S%:z")
        );
        spelt
    }
}

fn place(step: Step, part: &str) -> String {
    format!("steps.{}.{part}", step.as_str())
}

fn describe(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    match error.detail() {
        Some(detail) => format!("{line}{}: {detail}", error.kind()),
        None => format!("{line}{}", error.kind()),
    }
}

/// What is frozen, in words for the public: nobody outside knows the labels of enforcers.
fn what(scope: &Scope) -> String {
    let hosts = match scope.hosts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        [first @ .., last] if scope.hosts.len() <= MANY_HOSTS => {
            Some(format!("{} and {last}", first.join(", ")))
        }
        many => Some(format!("{} hosts", many.len())),
    };
    match hosts {
        Some(hosts) => format!("the data at {hosts}"),
        None if scope.labels.is_empty() => "all data".to_owned(),
        None => "a part of the data".to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quiesce_policy::snapshot::{RefusalStatus, Window};

    use super::*;
    use crate::notify::Template;

    fn record() -> WindowRecord {
        let window = Window {
            id: "w1".into(),
            scope: Scope::default(),
            starts_at: Timestamp::from_unix_ms(1_795_435_200_000),
            announce_at: None,
            started: true,
            ends_at: Some(Timestamp::from_unix_ms(1_795_438_800_000)),
            expires_at: Timestamp::from_unix_ms(1_795_442_400_000),
            reason: "reindex".to_owned(),
            contact: Some("#ops".to_owned()),
            status: RefusalStatus::default(),
            drain_timeout_ms: 1,
        };
        serde_json::from_value(serde_json::json!({
            "window": window, "issued_at": window.starts_at, "issued_by": "ann", "expect": null,
        }))
        .unwrap()
    }

    fn occasion(step: Step, record: &WindowRecord) -> Occasion<'_> {
        Occasion { step, at: record.window.starts_at, record, previous_end: None, rollback: None }
    }

    #[test]
    fn built_in_words_say_when_what_and_whom_to_ask() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let messages = Messages::new(&Wording::default(), zone, None).unwrap();
        let mut record = record();
        let message = messages.message(&occasion(Step::Announced, &record)).unwrap();
        assert_eq!(message.name, "Maintenance: reindex");
        assert_eq!(message.title, "Maintenance planned: reindex");
        assert_eq!(
            message.text,
            "From Mon 23 Nov 2026, 13:00 CET (2026-11-23T13:00:00+01:00) until Mon 23 Nov 2026, 14:00 CET \
             (2026-11-23T14:00:00+01:00), all data can be read but not changed.\n\
             Changes sent during that time are refused, with the time at which to try again.\n\
             Questions: #ops"
        );
        record.window.contact = None;
        record.window.scope.hosts = vec!["a.example.com".to_owned(), "b.example.com".to_owned()];
        let rollback = Some("the old index is kept");
        let frozen = Occasion { rollback, ..occasion(Step::Frozen, &record) };
        let text = messages.message(&frozen).unwrap().text;
        assert!(text.contains("the data at a.example.com and b.example.com can be read"), "{text}");
        assert!(text.ends_with("If the work fails: the old index is kept"), "{text}");
        let previous_end = Some(record.window.starts_at);
        let extended = Occasion { previous_end, ..occasion(Step::Extended, &record) };
        let text = messages.message(&extended).unwrap().text;
        assert!(text.contains("14:00:00+01:00), not at Mon 23 Nov 2026, 13:00 CET"), "{text}");
    }

    #[test]
    fn a_reason_is_data_and_no_template_and_lengths_are_bounded() {
        let messages = Messages::built_in().unwrap();
        let mut record = record();
        record.window.reason = "{{ contact }}".to_owned();
        let message = messages.message(&occasion(Step::Frozen, &record)).unwrap();
        assert_eq!(message.title, "Maintenance has begun: {{ contact }}");
        record.window.reason = "ä".repeat(500);
        let message = messages.message(&occasion(Step::Frozen, &record)).unwrap();
        assert_eq!((message.name.chars().count(), message.name.ends_with('…')), (255, true));
    }

    #[test]
    fn what_may_be_missing_has_to_be_asked_for() {
        let own = |text: &str| {
            let template = Template { title: None, text: Some(text.to_owned()) };
            let wording = Wording { name: None, steps: BTreeMap::from([(Step::Closed, template)]) };
            Messages::new(&wording, TimeZone::UTC, None).err().unwrap_or_default()
        };
        assert_eq!(own("{% if contact %}{{ contact }}{% else %}nobody{% endif %}"), []);
        for wrong in ["{{ nothing }}", "{{ reason", "{% if contact %}x{% endif %}", "  "] {
            let problems = own(wrong);
            assert_eq!(problems.len(), 1, "{wrong}: {problems:?}");
            assert_eq!(problems[0].place, "steps.closed.text");
        }
    }
}
