//! Waiting for a condition itself, with a bound.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(5);

/// Waits until `probe` gives a value.
///
/// # Errors
/// When it gave none within `bound`; the error says what was waited for.
pub async fn until<T, F>(what: &str, bound: Duration, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + bound;
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("waited {bound:?} in vain: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Asserts that a condition becomes true within a bound (10 s unless told): the only way tests here wait.
#[macro_export]
macro_rules! assert_eventually {
    ($cond:expr, within: $bound:expr, $($what:tt)+) => {{
        let bound: ::std::time::Duration = $bound;
        let deadline = ::std::time::Instant::now() + bound;
        loop {
            if $cond {
                break;
            }
            assert!(
                ::std::time::Instant::now() <= deadline,
                "waited {bound:?} in vain: {}",
                format_args!($($what)+)
            );
            ::tokio::time::sleep($crate::wait::POLL).await;
        }
    }};
    ($cond:expr, $($what:tt)+) => {
        $crate::assert_eventually!($cond, within: ::std::time::Duration::from_secs(10), $($what)+)
    };
}
