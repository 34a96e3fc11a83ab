//! How held writes are replayed, as it is configured.

use std::num::NonZeroU32;

use hyper::{
    Uri,
    header::{HeaderName, SET_COOKIE},
};

use super::{Period, layered::layered};

/// More connections than this to one place are a typing error.
const MOST_AT_ONCE: u32 = 1_024;
/// The headers of an answer that are kept, at most.
const MOST_HEADERS: usize = 32;

layered! {
    /// How held writes are replayed.
    pub struct Backfill / PartialBackfill {
        required {
            /// Whether a proxy is shown a pass.
            pass: bool,
            /// From a window's end to the first replay.
            soak: Period,
            /// Replays on their way at once.
            concurrency: NonZeroU32,
            /// How long an answer may take.
            timeout: Period,
            /// How often one is sent without an answer of use.
            attempts: NonZeroU32,
            /// How long after the first attempt it is given up.
            deadline: Period,
            /// Failures in a row that pause everything.
            breaker: NonZeroU32,
            /// Headers of an answer that are kept.
            answer_headers: Vec<String>,
        }
        nullable {
            /// Where replays are sent.
            to: String,
            /// Replays a second.
            rate_per_s: NonZeroU32,
        }
        nested {
            /// The time between attempts.
            backoff: Backoff / PartialBackoff,
        }
    }
}

layered! {
    /// The time between attempts.
    pub struct Backoff / PartialBackoff {
        required {
            /// Before the second attempt, at most.
            first: Period,
            /// Before any, at most.
            cap: Period,
        }
        nullable {}
        nested {}
    }
}

/// Every field whose contents are wrong, and what is wrong with it.
pub(super) fn problems(backfill: &Backfill, wrong: &mut impl FnMut(&str, String)) {
    if let Some(to) = &backfill.to
        && target(to).is_none()
    {
        wrong(
            "backfill.to",
            format!("`{to}` is no URL of a host alone; write it like http://10.0.0.5:10000"),
        );
    }
    if backfill.concurrency.get() > MOST_AT_ONCE {
        wrong("backfill.concurrency", format!("is {}, {MOST_AT_ONCE} at most", backfill.concurrency));
    }
    if backfill.backoff.first > backfill.backoff.cap {
        wrong(
            "backfill.backoff.first",
            format!(
                "{} is longer than backfill.backoff.cap, {}",
                backfill.backoff.first, backfill.backoff.cap
            ),
        );
    }
    if backfill.timeout > backfill.deadline {
        wrong(
            "backfill.timeout",
            format!("{} is longer than backfill.deadline, {}", backfill.timeout, backfill.deadline),
        );
    }
    if backfill.answer_headers.len() > MOST_HEADERS {
        wrong(
            "backfill.answer_headers",
            format!("names {}, {MOST_HEADERS} at most", backfill.answer_headers.len()),
        );
    }
    for (index, name) in backfill.answer_headers.iter().enumerate() {
        let place = format!("backfill.answer_headers[{index}]");
        match HeaderName::from_lowercase(name.as_bytes()) {
            Err(_) => wrong(&place, format!("`{name}` is no name of a header; write it in lower case")),
            Ok(name) if name == SET_COOKIE => {
                wrong(&place, "`set-cookie` is a secret of one client, and receipts are not".to_owned());
            }
            Ok(_) => {}
        }
    }
}

/// Reads a URL that is a scheme and a host, with a port perhaps.
pub(crate) fn target(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let plain = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.path() == "/"
        && uri.query().is_none()
        && !text.contains('#')
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    plain.then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_nothing_else() {
        for good in ["http://10.0.0.5:10000", "https://shop.example.com/", "http://[::1]:80"] {
            assert!(target(good).is_some(), "{good}");
        }
        for bad in
            ["", "10.0.0.5", "ftp://a", "http://a/b", "http://a/?x", "http://u:p@a", "http://a/#b", "/"]
        {
            assert!(target(bad).is_none(), "{bad}");
        }
    }
}
