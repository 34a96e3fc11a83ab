//! Durations as people write them: `30s`, `10m`, `1h30m`.

use std::{fmt, str::FromStr, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error as _};

/// A span of time of at least a millisecond, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(u64);

/// The longest period: ten years; milliseconds. Longer ones are typing errors.
const LONGEST_MS: u64 = 10 * 366 * 24 * 3600 * 1000;

/// A string that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write it like 30s, 10m or 1h30m")]
pub struct PeriodError(String);

impl Period {
    /// A span of so many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// In milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || PeriodError(text.to_owned());
        // "1d" is 24 hours here: windows are spans of time, not calendar dates.
        let span: SignedDuration = match text.strip_suffix('d').map(str::parse::<i64>) {
            Some(Ok(days)) => {
                SignedDuration::try_from_hours(days.checked_mul(24).ok_or_else(wrong)?).ok_or_else(wrong)?
            }
            _ => text.parse().map_err(|_| wrong())?,
        };
        let ms = u64::try_from(span.as_millis()).map_err(|_| wrong())?;
        if ms == 0 || ms > LONGEST_MS { Err(wrong()) } else { Ok(Self(ms)) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = i64::try_from(self.0).unwrap_or(i64::MAX);
        let printer = jiff::fmt::friendly::SpanPrinter::new();
        f.pad(&printer.duration_to_string(&SignedDuration::from_millis(ms)).replace(' ', ""))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_people_write() {
        for (text, ms, shown) in [
            ("30s", 30_000, "30s"),
            ("10m", 600_000, "10m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("250ms", 250, "250ms"),
            ("2d", 172_800_000, "48h"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.ms(), period.to_string().as_str()), (ms, shown));
        }
        for text in ["", "0s", "10", "-5m", "1y", "soon", "99999999999d"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
