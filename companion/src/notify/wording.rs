//! The words that others are told, step by step: templates, with the ones that hold where nothing else is configured.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Step;

/// Words of one's own, in place of those built in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wording {
    /// What a maintenance is called on status pages, from its announcement to its end.
    pub name: Option<String>,
    /// For each step.
    pub steps: BTreeMap<Step, Template>,
}

/// Words of one's own for one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Template {
    /// One line.
    pub title: Option<String>,
    /// All that there is to say.
    pub text: Option<String>,
}

/// What a maintenance is called.
pub const NAME: &str = "Maintenance: {{ reason }}";

/// Title and text of a step.
pub const fn built_in(step: Step) -> (&'static str, &'static str) {
    match step {
        Step::Announced => (
            "Maintenance planned: {{ reason }}",
            "From {{ starts }} until {{ ends }}, {{ what }} can be read but not changed.\n\
             Changes sent during that time are refused, with the time at which to try again.\n\
             {% if rollback %}If the work fails: {{ rollback }}\n{% endif %}\
             {% if contact %}Questions: {{ contact }}\n{% endif %}\
             {% if status_page %}Status: {{ status_page }}{% endif %}",
        ),
        Step::Frozen => (
            "Maintenance has begun: {{ reason }}",
            "Until {{ ends }}, {{ what }} can be read but not changed.\n\
             Changes are refused, with the time at which to try again. Reading works as before.\n\
             {% if rollback %}If the work fails: {{ rollback }}\n{% endif %}\
             {% if contact %}Questions: {{ contact }}\n{% endif %}\
             {% if status_page %}Status: {{ status_page }}{% endif %}",
        ),
        Step::Quiesced => (
            "No changes are under way: {{ reason }}",
            "Changes that were under way when the maintenance began are over, and the work goes on.\n\
             Until {{ ends }}, {{ what }} can be read but not changed.",
        ),
        Step::Extended => (
            "Maintenance takes longer: {{ reason }}",
            "The maintenance is now planned to end at {{ ends }}\
             {% if previous_ends %}, not at {{ previous_ends }}{% endif %}.\n\
             Until then {{ what }} can be read but not changed.\n\
             {% if contact %}Questions: {{ contact }}{% endif %}",
        ),
        Step::Reopened => (
            "Changes are possible again: {{ reason }}",
            "Since {{ at }}, {{ what }} can be read and changed as before. We are watching how it goes.",
        ),
        Step::Aborted => (
            "Maintenance broken off: {{ reason }}",
            "The work did not begin. Since {{ at }}, {{ what }} can be read and changed as before.\n\
             {% if contact %}Questions: {{ contact }}{% endif %}",
        ),
        Step::Closed => (
            "Maintenance is over: {{ reason }}",
            "The maintenance is over. Everything works as before: {{ what }} can be read and changed.\n\
             {% if contact %}Questions: {{ contact }}{% endif %}",
        ),
        Step::Cancelled => (
            "Maintenance cancelled: {{ reason }}",
            "The maintenance that was planned to begin at {{ starts }} does not take place.\n\
             {% if contact %}Questions: {{ contact }}{% endif %}",
        ),
    }
}
