//! When something recurs: a rule of RFC 5545 by the clock of a place, made into instants.

use jiff::{
    civil::DateTime,
    tz::{Offset, TimeZone},
};
use quiesce_policy::time::Timestamp;
use rrule::RRuleSet;

/// Characters of a rule.
const MAX_RULE: usize = 500;
/// Occurrences looked through, whatever a rule says: a daily one lasts for half a century.
const MAX_OCCURRENCES: usize = 20_000;
const HINT: &str = "write it as in RFC 5545, for example FREQ=WEEKLY;BYDAY=SU";

/// What is wrong with a recurrence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct RuleError {
    /// The field.
    pub place: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

/// A rule that was checked.
#[derive(Debug)]
pub struct Recurrence {
    /// Walks through times on the wall as if they were UTC: which instants they are is for the zone to say.
    walls: RRuleSet,
    until: Option<jiff::Timestamp>,
    zone: TimeZone,
}

impl Recurrence {
    /// Of a rule, the first time on the wall, and the place whose clock counts.
    pub fn parse(rule: &str, first: &str, zone: &str) -> Result<Self, RuleError> {
        let bad = |message: String| RuleError { place: "rule", message, hint: HINT };
        let zone = TimeZone::get(zone).map_err(|_| RuleError {
            place: "zone",
            message: format!("`{zone}` is no time zone that is known here"),
            hint: "write its IANA name, for example Europe/Berlin",
        })?;
        let first: DateTime = wall(first)?;
        let rule = rule.trim().to_ascii_uppercase();
        let rule = rule.strip_prefix("RRULE:").unwrap_or(&rule);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"=;,+-".contains(&byte);
        if rule.len() > MAX_RULE || !rule.bytes().all(fits) {
            return Err(bad(format!(
                "it is one line of at most {MAX_RULE} letters, digits and `=;,+-`, without DTSTART or EXDATE"
            )));
        }
        let mut until = None;
        let mut parts = Vec::new();
        for part in rule.split(';').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("UNTIL", at)) => until = Some(parse_until(at)?),
                Some(("FREQ", "HOURLY" | "MINUTELY" | "SECONDLY")) => {
                    return Err(bad(format!("`{part}`: windows recur daily at the most")));
                }
                Some(("COUNT", _)) if rule.contains("UNTIL=") => {
                    return Err(bad("has both COUNT and UNTIL; give one of them".to_owned()));
                }
                _ => parts.push(part),
            }
        }
        let text = format!("DTSTART:{}Z\nRRULE:{}", first.strftime("%Y%m%dT%H%M%S"), parts.join(";"));
        let walls: RRuleSet =
            text.parse().map_err(|error: rrule::RRuleError| bad(format!("`{rule}`: {error}")))?;
        Ok(Self { walls: walls.limit(), until, zone })
    }

    /// The instants after this one, in order.
    ///
    /// A time that the clock skips is taken by the offset before the gap, of one that it shows twice the first counts,
    /// as RFC 5545 has it (3.3.5).
    pub fn after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        let mut last = after;
        (&self.walls)
            .into_iter()
            .take(MAX_OCCURRENCES)
            .filter_map(|wall| {
                let wall = Offset::UTC.to_datetime(jiff::Timestamp::from_second(wall.timestamp()).ok()?);
                self.zone.to_ambiguous_timestamp(wall).compatible().ok()
            })
            .take_while(|at| self.until.is_none_or(|until| *at <= until))
            .filter_map(|at| Some(Timestamp::from_unix_ms(u64::try_from(at.as_millisecond()).ok()?)))
            .filter(move |at| {
                let is_later = *at > last;
                last = last.max(*at);
                is_later
            })
    }

    /// The instant as the clock of the place shows it, with its offset.
    pub fn show(&self, at: Timestamp) -> String {
        let ms = i64::try_from(at.unix_ms()).unwrap_or(i64::MAX);
        let Ok(instant) = jiff::Timestamp::from_millisecond(ms) else { return at.to_string() };
        instant.display_with_offset(self.zone.to_offset(instant)).to_string()
    }
}

fn wall(text: &str) -> Result<DateTime, RuleError> {
    let bad = |message: String| RuleError {
        place: "starts_at",
        message,
        hint: "write what the clock of the place shows, without an offset, for example 2026-12-06T02:00",
    };
    if text.len() > MAX_RULE || text.ends_with(['Z', 'z']) {
        return Err(bad(format!("`{text}` has an offset, and the zone says that already")));
    }
    let wall: DateTime = text.parse().map_err(|_| bad(format!("`{text}` is no date with a time")))?;
    if wall.subsec_nanosecond() != 0 || wall.year() < 1970 {
        return Err(bad(format!("`{text}` has to be a whole second since 1970")));
    }
    Ok(wall)
}

fn parse_until(text: &str) -> Result<jiff::Timestamp, RuleError> {
    let wall = text.strip_suffix('Z').and_then(|text| DateTime::strptime("%Y%m%dT%H%M%S", text).ok());
    let until = wall.and_then(|wall| TimeZone::UTC.to_ambiguous_timestamp(wall).compatible().ok());
    until.ok_or_else(|| RuleError {
        place: "rule",
        message: format!("`UNTIL={text}` is no instant in UTC"),
        hint: "write it like UNTIL=20271231T230000Z",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rule: &str, first: &str, count: usize) -> Vec<String> {
        let recurrence = Recurrence::parse(rule, first, "Europe/Berlin").unwrap();
        recurrence.after(Timestamp::default()).take(count).map(|at| recurrence.show(at)).collect()
    }

    #[test]
    fn the_clock_of_the_place_decides_across_its_changes() {
        assert_eq!(
            times("FREQ=WEEKLY;BYDAY=SU", "2026-10-18T02:30", 3),
            ["2026-10-18T02:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-11-01T02:30:00+01:00"],
            "of a time that is shown twice the first counts"
        );
        assert_eq!(
            times("FREQ=DAILY", "2026-03-28T02:30", 3),
            ["2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"],
            "a time that is skipped is taken by the offset before"
        );
        assert_eq!(
            times("FREQ=DAILY;BYHOUR=2,3;BYMINUTE=30", "2026-03-29T02:30", 2),
            ["2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"],
            "two times that are one instant are one occurrence"
        );
    }

    #[test]
    fn rules_end_where_they_say() {
        let until = "RRULE:FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20270226T010000Z";
        let last_fridays =
            ["2026-12-25T02:00:00+01:00", "2027-01-29T02:00:00+01:00", "2027-02-26T02:00:00+01:00"];
        assert_eq!(times(until, "2026-12-01T02:00", 9), last_fridays);
        assert_eq!(times("freq=monthly;byday=-1fr;count=3", "2026-12-01T02:00", 9), last_fridays);
        assert_eq!(times("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2026-12-01T02:00", 1), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (rule, first, zone, place, told) in [
            ("FREQ=FORTNIGHTLY", "2026-12-06T02:00", "UTC", "rule", "FORTNIGHTLY"),
            ("BYDAY=SU", "2026-12-06T02:00", "UTC", "rule", "BYDAY=SU"),
            ("", "2026-12-06T02:00", "UTC", "rule", "``"),
            ("FREQ=HOURLY", "2026-12-06T02:00", "UTC", "rule", "daily at the most"),
            ("FREQ=DAILY;UNTIL=20271231", "2026-12-06T02:00", "UTC", "rule", "no instant in UTC"),
            ("FREQ=DAILY;COUNT=2;UNTIL=20271231T000000Z", "2026-12-06T02:00", "UTC", "rule", "both"),
            ("FREQ=DAILY\nEXDATE:20261206T020000Z", "2026-12-06T02:00", "UTC", "rule", "one line"),
            ("FREQ=DAILY", "2026-12-06T02:00Z", "UTC", "starts_at", "offset"),
            ("FREQ=DAILY", "Sunday", "UTC", "starts_at", "no date"),
            ("FREQ=DAILY", "2026-12-06T02:00", "Europe/Atlantis", "zone", "no time zone"),
        ] {
            let error = Recurrence::parse(rule, first, zone).unwrap_err();
            assert_eq!(error.place, place, "{rule}: {error}");
            assert!(error.message.contains(told), "{rule}: {error}");
        }
    }
}
