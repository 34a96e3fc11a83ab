//! Writes JSON objects: what serde derives for them is several times the size, and ships in the module.

use crate::time::Timestamp;

/// An object, member by member.
#[derive(Default)]
pub(crate) struct Object(String);

impl Object {
    /// A member that is a text.
    #[inline(never)]
    pub fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    /// A member that is a text, if there is one.
    #[inline(never)]
    pub fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A member that is an instant, if there is one.
    #[inline(never)]
    pub fn instant(&mut self, name: &str, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.text(name, &at.to_string());
        }
    }

    /// A member whose value is JSON already.
    #[inline(never)]
    pub fn raw(&mut self, name: &str, json: &str) {
        for part in [if self.0.is_empty() { "{\"" } else { ",\"" }, name, "\":", json] {
            self.0.push_str(part);
        }
    }

    /// All of it but the end.
    pub fn unfinished(self) -> String {
        self.0
    }

    /// All of it.
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
