//! The one place where the companion reads the wall clock.

use quiesce_policy::time::Timestamp;

/// The instant it is now, by this machine's clock.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default())
}
