//! What the methods of the Model Context Protocol do.
//!
//! All revisions from 2024-11-05 to 2026-07-28, from `ClientRequest` and `ClientNotification` in their
//! `schema.ts` (<https://github.com/modelcontextprotocol/modelcontextprotocol>).

use std::borrow::Cow;

use base64ct::{Base64, Encoding as _};

/// What a method does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodEffect {
    /// It changes nothing that others can see.
    Read,
    /// The tool that it names decides.
    Tool,
    /// It changes something, or is not known here.
    Write,
}

/// What a client's call of `method` does. A method is the same letter by letter or another.
pub fn effect(method: &str) -> MethodEffect {
    match method {
        "tools/call" => MethodEffect::Tool,
        "completion/complete"
        | "initialize"
        | "ping"
        | "prompts/get"
        | "prompts/list"
        | "resources/list"
        | "resources/read"
        | "resources/templates/list"
        | "server/discover"
        | "tools/list"
        // Those of a task answer with what a call made before has come to. `tasks/cancel`, and
        // `tasks/update` of SEP-2663, change that and are writes.
        | "tasks/get"
        | "tasks/list"
        | "tasks/result"
        // What these set lasts as long as the client's own session or stream.
        | "logging/setLevel"
        | "resources/subscribe"
        | "resources/unsubscribe"
        | "subscriptions/listen"
        // Those that a client sends; a server that gets another one is none of the protocol's.
        | "notifications/cancelled"
        | "notifications/initialized"
        | "notifications/progress"
        | "notifications/roots/list_changed"
        | "notifications/tasks/status" => MethodEffect::Read,
        _ => MethodEffect::Write,
    }
}

/// What the value of `Mcp-Name` says: printable ASCII, or `=?base64?...?=` around the Base64 of UTF-8
/// (SEP-2243; "Value Encoding" in the Streamable HTTP transport of 2026-07-28). `Mcp-Method` is read in
/// the same way, though no method needs the encoding.
///
/// A value that only starts like an encoded one would be literal; since others may decode that, it says
/// nothing here.
pub fn header_value(value: &[u8]) -> Option<Cow<'_, str>> {
    if value.starts_with(b"=?") {
        let encoded = value.strip_prefix(b"=?base64?")?.strip_suffix(b"?=")?;
        let decoded = String::from_utf8(Base64::decode_vec(std::str::from_utf8(encoded).ok()?).ok()?).ok()?;
        return (!decoded.is_empty() && !decoded.contains('\0')).then_some(Cow::Owned(decoded));
    }
    // Spaces around a value get lost on the way, so that such a value is sent encoded.
    let is_plain = value.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && !matches!(value, [] | [b' ', ..] | [.., b' ']);
    if is_plain { std::str::from_utf8(value).ok().map(Cow::Borrowed) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_every_revision_has_its_effect() {
        let reads = "initialize ping server/discover tools/list resources/list resources/read \
            resources/templates/list resources/subscribe resources/unsubscribe subscriptions/listen \
            prompts/list prompts/get completion/complete logging/setLevel tasks/get tasks/list tasks/result \
            notifications/cancelled notifications/initialized notifications/progress \
            notifications/roots/list_changed notifications/tasks/status";
        for method in reads.split_whitespace() {
            assert_eq!(effect(method), MethodEffect::Read, "{method}");
            // What a lenient server may take for another method, or may not.
            for other in
                [method.to_uppercase(), format!("{method} "), format!("/{method}"), method.replace('/', ".")]
            {
                assert!(other == method || effect(&other) == MethodEffect::Write, "{other}");
            }
        }
        assert_eq!(effect("tools/call"), MethodEffect::Tool);
        let writes = "tasks/cancel tasks/update Tools/Call tools/call/ notifications/ \
            notifications/tools/call sampling/createMessage elicitation/create roots/list acme/doIt";
        for method in writes.split_whitespace().chain([""]) {
            assert_eq!(effect(method), MethodEffect::Write, "{method}");
        }
    }

    #[test]
    fn a_header_says_what_it_says_plainly_or_in_base64() {
        // The values of SEP-2243 that are to be accepted.
        for (value, said) in [
            ("us-west1", "us-west1"),
            ("file:///projects/my app/config.json", "file:///projects/my app/config.json"),
            ("SGVsbG8=", "SGVsbG8="),
            ("=?base64?SGVsbG8=?=", "Hello"),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界"),
            ("=?base64?IHBhZGRlZCA=?=", " padded "),
            ("=?base64?bGluZTEKbGluZTI=?=", "line1\nline2"),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?="),
        ] {
            assert_eq!(header_value(value.as_bytes()).as_deref(), Some(said), "{value}");
        }
    }

    #[test]
    fn another_header_says_nothing() {
        for value in [
            "",
            " padded",
            "padded ",
            "a\tb",
            "a\nb",
            "a\0b",
            "世界",
            "=?base64?SGVsbG8?=",
            "=?base64?SGVsbG9=?=",
            "=?base64?SGVs!!!bG8=?=",
            "=?base64?SGVsbG8=\n?=",
            "=?base64?SGVsbG8=",
            "=?base64?=",
            "=?base64??=",
            "=?BASE64?SGVsbG8=?=",
            "=?utf-8?B?SGVsbG8=?=",
            "=?base64?_-8=?=",
            "=?base64?/w==?=",
            "=?base64?YQBi?=",
        ] {
            assert_eq!(header_value(value.as_bytes()), None, "{value:?}");
        }
        assert_eq!(header_value(b"\xff"), None);
    }
}
