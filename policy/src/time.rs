//! Instants as everything in Quiesce exchanges them: Unix milliseconds, written as RFC 3339 in UTC.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The last millisecond of the year 9999, beyond which RFC 3339 has no spelling.
const LAST_MS: u64 = 253_402_300_799_999;

/// An instant in Unix milliseconds, within the years 1970 to 9999.
///
/// In JSON it is an RFC 3339 string: `"2026-11-23T10:00:00.000Z"`. Policy never asks for the time;
/// whoever calls it passes the instant in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A string that is no RFC 3339 instant in UTC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time; write it as RFC 3339 in UTC, for example 2026-11-23T10:00:00Z")]
pub struct TimestampError(String);

impl Timestamp {
    /// The instant `ms` milliseconds after the Unix epoch; later than the year 9999 becomes its end.
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(if ms > LAST_MS { LAST_MS } else { ms })
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// This instant moved later by `ms` milliseconds.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; zero if it is not later.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UNIX_EPOCH + Duration::from_millis(self.0);
        humantime::format_rfc3339_millis(at).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = humantime::parse_rfc3339(text).map_err(|_| TimestampError(text.to_owned()))?;
        let since = at.duration_since(UNIX_EPOCH).map_err(|_| TimestampError(text.to_owned()))?;
        let ms = u64::try_from(since.as_millis()).map_err(|_| TimestampError(text.to_owned()))?;
        Ok(Self::from_unix_ms(ms))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_rfc_3339() {
        let at = Timestamp::from_unix_ms(1_795_435_200_123);
        assert_eq!(at.to_string(), "2026-11-23T12:00:00.123Z");
        assert_eq!(at.to_string().parse(), Ok(at));
        assert_eq!("2026-11-23T12:00:00Z".parse::<Timestamp>().unwrap().unix_ms(), 1_795_435_200_000);
    }

    #[test]
    fn says_what_is_wrong_with_a_time() {
        let err = "tomorrow".parse::<Timestamp>().unwrap_err();
        assert!(err.to_string().contains("`tomorrow` is not a time"));
    }

    #[test]
    fn never_leaves_what_rfc_3339_can_spell() {
        assert_eq!(Timestamp::from_unix_ms(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_unix_ms(5).plus_ms(u64::MAX).unix_ms(), LAST_MS);
    }
}
