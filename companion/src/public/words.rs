//! Instants and spans in the words of pages: in UTC, for whoever has no script that knows their time zone.

use quiesce_policy::time::Timestamp;

/// `Tuesday 24 November 2026, 14:00 UTC`.
pub fn instant(at: Timestamp) -> String {
    written(at, "%A %-d %B %Y, %H:%M UTC")
}

/// `24 Nov, 14:00 UTC`.
pub fn short(at: Timestamp) -> String {
    written(at, "%-d %b, %H:%M UTC")
}

fn written(at: Timestamp, format: &str) -> String {
    jiff_of(at).strftime(format).to_string()
}

fn jiff_of(at: Timestamp) -> jiff::Timestamp {
    let ms = i64::try_from(at.unix_ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
}

/// `2 h 10 min`: from one instant to the other.
pub fn span(from: Timestamp, to: Timestamp) -> String {
    let minutes = to.ms_since(from).div_ceil(60_000);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_spans_are_words() {
        let at = Timestamp::from_unix_ms(1_795_435_200_000);
        assert_eq!(instant(at), "Monday 23 November 2026, 12:00 UTC");
        assert_eq!(short(at.plus_ms(61_000)), "23 Nov, 12:01 UTC");
        let spans = [1, 60_000, 61_000, 3_600_000, 7_800_000].map(|ms| span(at, at.plus_ms(ms)));
        assert_eq!(spans, ["1 min", "1 min", "2 min", "1 h", "2 h 10 min"]);
        // The last that the calendar in use can say.
        assert_eq!(instant(Timestamp::from_unix_ms(u64::MAX)), "Thursday 30 December 9999, 22:00 UTC");
    }
}
