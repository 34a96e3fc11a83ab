//! What became of an attempt to send an intent, and what follows from that: pure functions.

use hyper::{
    HeaderMap, StatusCode,
    header::{LOCATION, RETRY_AFTER},
};
use jiff::fmt::rfc2822::DateTimeParser;
use quiesce_policy::{intent::RECEIPT_PATH, time::Timestamp};

use super::pace::full_jitter;
use crate::{
    config::Backfill as Config,
    intents::{Conclusion, IntentRecord, Outcome},
};

/// No `Retry-After` is honoured for longer; milliseconds.
const LONGEST_WAIT_MS: u64 = 3_600_000;
/// Characters of a header of an answer that are kept.
const MAX_VALUE: usize = 1_024;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// An answer.
    Answered {
        /// Its status.
        status: StatusCode,
        /// Those of its headers that are kept.
        headers: Vec<(String, String)>,
        /// How long it asks to wait; milliseconds.
        retry_after_ms: Option<u64>,
        /// It is the receipt of an enforcer, which holds the write once more.
        held_again: bool,
    },
    /// None, and why.
    Unanswered(String),
    /// It was not sent at all.
    Unsent,
}

/// What an attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The origin has taken it.
    Done,
    /// The origin has refused it for good.
    Refused,
    /// The origin lives and asks to come back.
    Later,
    /// Nobody knows whether the origin has taken it.
    Failure,
}

/// What follows from an attempt, by the name under which it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// The origin has taken it.
    Done,
    /// The origin has refused it for good.
    Refused,
    /// The origin asked to come back.
    Later,
    /// There was no answer, or one of 5xx; it is tried again.
    Failure,
    /// The same, for the last time.
    GivenUp,
    /// It was not sent.
    Unsent,
}

impl Ending {
    /// All endings.
    pub const ALL: [Self; 6] =
        [Self::Done, Self::Refused, Self::Later, Self::Failure, Self::GivenUp, Self::Unsent];

    /// The ending as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Later => "later",
            Self::Failure => "failure",
            Self::GivenUp => "given-up",
            Self::Unsent => "unsent",
        }
    }

    /// Whether nobody knows what the origin has made of it.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::GivenUp)
    }
}

impl Attempt {
    /// Takes from an answer what matters. `kept` are names in lower case.
    pub fn answered(status: StatusCode, headers: &HeaderMap, kept: &[String], now: Timestamp) -> Self {
        let text = |value: &hyper::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).chars().take(MAX_VALUE).collect::<String>()
        };
        let find = |name: &String| Some((name.clone(), text(headers.get(name.as_str())?)));
        let location = headers.get(LOCATION).map(|value| value.as_bytes());
        Self::Answered {
            status,
            headers: kept.iter().filter_map(find).collect(),
            retry_after_ms: headers
                .get(RETRY_AFTER)
                .and_then(|value| retry_after_ms(value.to_str().ok()?, now)),
            held_again: location.is_some_and(|location| location.starts_with(RECEIPT_PATH)),
        }
    }

    fn meaning(&self) -> Meaning {
        let Self::Answered { status, retry_after_ms, held_again, .. } = self else { return Meaning::Failure };
        match status.as_u16() {
            // Its enforcer has a window that this companion does not know of.
            200..=299 if *held_again => Meaning::Later,
            200..=299 => Meaning::Done,
            408 | 423 | 425 | 429 => Meaning::Later,
            503 if retry_after_ms.is_some() => Meaning::Later,
            500.. => Meaning::Failure,
            _ => Meaning::Refused,
        }
    }
}

/// What becomes of an intent after an attempt that ended at `now`; `random` decides how long it waits.
pub fn conclude(
    record: &IntentRecord,
    attempt: Attempt,
    config: &Config,
    now: Timestamp,
    random: u64,
) -> (Conclusion, Ending) {
    let before = record.outcome.clone().unwrap_or_default();
    // With its first attempt, or the first since an operator's word, all begins anew.
    let (failures, since) =
        if record.attempts <= 1 { (0, now) } else { (before.failures, before.since.unwrap_or(now)) };
    let meaning = attempt.meaning();
    let failures = failures.saturating_add(u32::from(meaning == Meaning::Failure));
    let (status, headers, asked_ms, note) = match attempt {
        Attempt::Unsent => return (Conclusion::Unsent, Ending::Unsent),
        Attempt::Unanswered(why) => (None, Vec::new(), None, Some(why)),
        Attempt::Answered { status, headers, retry_after_ms, held_again } => {
            let note = held_again.then(|| "an enforcer held it again: a window was in force".to_owned());
            (Some(status.as_u16()), headers, retry_after_ms, note)
        }
    };
    let outcome = Outcome { status, headers, note, failures, since: Some(since) };
    match meaning {
        Meaning::Done => return (Conclusion::Done(outcome), Ending::Done),
        Meaning::Refused => return (Conclusion::Refused(outcome), Ending::Refused),
        Meaning::Later | Meaning::Failure => {}
    }
    let wait_ms = full_jitter(&config.backoff, failures.max(1), random);
    // Who is told when to come back comes no earlier, and not all at the same time.
    let wait_ms = asked_ms.map_or(wait_ms, |asked_ms| asked_ms.min(LONGEST_WAIT_MS).saturating_add(wait_ms));
    let at = now.plus_ms(wait_ms.max(1));
    let spent = meaning == Meaning::Failure && failures >= config.attempts.get();
    if spent || at.ms_since(since) >= config.deadline.ms() {
        let limit = if spent {
            format!("failed {failures} times, which is what backfill.attempts allows")
        } else {
            format!("not taken within backfill.deadline, {}", config.deadline)
        };
        let note = match &outcome.note {
            Some(why) => format!("{limit}; the last time: {why}"),
            None => limit,
        };
        return (Conclusion::GivenUp(Outcome { note: Some(note), ..outcome }), Ending::GivenUp);
    }
    let ending = if meaning == Meaning::Later { Ending::Later } else { Ending::Failure };
    (Conclusion::Later { at, outcome }, ending)
}

/// Reads `Retry-After`: seconds, or a date.
pub(crate) fn retry_after_ms(text: &str, now: Timestamp) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000);
    }
    let at = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(u64::try_from(at.as_millisecond()).unwrap_or_default().saturating_sub(now.unix_ms()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intents::IntentState;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);

    fn config(yaml: &str) -> Config {
        crate::config::Config::from_yaml(&format!("backfill: {{ {yaml} }}"), "test.yaml").unwrap().backfill
    }

    fn record(attempts: u32, outcome: Option<Outcome>) -> IntentRecord {
        IntentRecord {
            seq: 1,
            id: "i1".to_owned().into(),
            surface: "shop".to_owned(),
            window: "w1".into(),
            tenant: String::new(),
            key: "k".to_owned(),
            line: "/orders".to_owned(),
            method: "POST".to_owned(),
            path: "/orders".to_owned(),
            size_bytes: 1,
            received_at: NOW,
            state: IntentState::Replaying,
            stops_line: false,
            attempts,
            next_attempt_at: NOW,
            updated_at: NOW,
            outcome,
        }
    }

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Attempt {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Attempt::answered(StatusCode::from_u16(status).unwrap(), &map, &["etag".to_owned()], NOW)
    }

    #[test]
    fn every_answer_means_one_thing() {
        let config = config("");
        let result = |attempt| conclude(&record(1, None), attempt, &config, NOW, 0).1;
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(result(answer(status, &[])), Ending::Done, "{status}");
        }
        for status in [101, 301, 302, 304, 307, 400, 401, 403, 404, 409, 410, 412, 413, 422, 451] {
            assert_eq!(result(answer(status, &[])), Ending::Refused, "{status}");
        }
        for status in [408, 423, 425, 429] {
            assert_eq!(result(answer(status, &[])), Ending::Later, "{status}");
        }
        for status in [500, 501, 502, 503, 504, 599] {
            assert_eq!(result(answer(status, &[])), Ending::Failure, "{status}");
        }
        assert_eq!(result(answer(503, &[("retry-after", "3")])), Ending::Later);
        assert_eq!(result(Attempt::Unanswered("reset".to_owned())), Ending::Failure);
        assert_eq!(result(Attempt::Unsent), Ending::Unsent);
        let receipt = answer(202, &[("location", "/.well-known/maintenance/intents/01abc")]);
        assert_eq!(result(receipt), Ending::Later, "held once more is not taken");
        assert_eq!(result(answer(201, &[("location", "/orders/7")])), Ending::Done);
    }

    #[test]
    fn what_is_kept_of_an_answer_is_what_is_listed() {
        let attempt = answer(201, &[("etag", "\"7\""), ("set-cookie", "secret")]);
        let (conclusion, _) = conclude(&record(1, None), attempt, &config(""), NOW, 0);
        let Conclusion::Done(outcome) = conclusion else { panic!("{conclusion:?}") };
        assert_eq!(outcome.headers, [("etag".to_owned(), "\"7\"".to_owned())]);
        assert_eq!(outcome.status, Some(201));
    }

    #[test]
    fn failures_use_up_the_budget_and_requests_to_come_back_do_not() {
        let config = config("attempts: 3");
        let mut outcome = None;
        let attempts = [
            (answer(500, &[]), Ending::Failure),
            (answer(429, &[]), Ending::Later),
            (answer(429, &[]), Ending::Later),
            (Attempt::Unanswered("reset".to_owned()), Ending::Failure),
            (answer(423, &[]), Ending::Later),
            (Attempt::Unanswered("reset".to_owned()), Ending::GivenUp),
        ];
        for (number, (attempt, expected)) in (1..).zip(attempts) {
            let (conclusion, result) = conclude(&record(number, outcome), attempt, &config, NOW, 7);
            assert_eq!(result, expected, "attempt {number}");
            outcome = match conclusion {
                Conclusion::Later { outcome, .. } | Conclusion::GivenUp(outcome) => Some(outcome),
                other => panic!("{other:?}"),
            };
        }
        let outcome = outcome.unwrap();
        let note = "failed 3 times, which is what backfill.attempts allows; the last time: reset";
        assert_eq!((outcome.failures, outcome.note.as_deref()), (3, Some(note)));
        // An operator's word sets the attempts back, and with them what was counted.
        let again = conclude(&record(1, Some(outcome)), answer(500, &[]), &config, NOW, 7);
        assert_eq!(again.1, Ending::Failure);
    }

    #[test]
    fn the_deadline_counts_from_the_first_attempt() {
        let config = config("deadline: 1h, timeout: 1s");
        let since = Some(Timestamp::from_unix_ms(NOW.unix_ms() - 3_599_000));
        let old = Outcome { failures: 1, since, ..Outcome::default() };
        let later = conclude(&record(2, Some(old.clone())), answer(429, &[]), &config, NOW, 0);
        assert_eq!(later.1, Ending::Later);
        let asked = conclude(&record(2, Some(old)), answer(429, &[("retry-after", "1")]), &config, NOW, 0);
        assert_eq!(asked.1, Ending::GivenUp, "it would come back after the deadline");
    }

    #[test]
    fn who_is_asked_to_come_back_later_comes_no_earlier() {
        let wait = |attempt, random| match conclude(&record(1, None), attempt, &config(""), NOW, random).0 {
            Conclusion::Later { at, .. } => at.ms_since(NOW),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(answer(429, &[("retry-after", "120")]), 0), 120_000);
        assert!(wait(answer(503, &[("retry-after", "120")]), u64::MAX) > 120_000, "not all at once");
        let date = answer(429, &[("retry-after", "Mon, 23 Nov 2026 12:02:00 GMT")]);
        assert_eq!(wait(date, 0), 120_000);
        assert_eq!(wait(answer(429, &[("retry-after", "99999999")]), 0), LONGEST_WAIT_MS);
        assert_eq!(wait(answer(429, &[("retry-after", "soon")]), 0), 1);
    }
}
