//! For clients of services that Quiesce guards: when to come back, and when to give up.
//!
//! [`RetryPolicy`] is a [`tower::retry::Policy`] for requests of `http` and of `reqwest`:
//!
//! ```
//! use std::time::Duration;
//!
//! use quiesce_guard::retry::RetryPolicy;
//! use tower::{ServiceBuilder, retry::RetryLayer};
//!
//! # fn client() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = RetryPolicy::default().deadline(Duration::from_secs(90));
//! let client = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(reqwest::Client::new());
//! # Ok(())
//! # }
//! ```
//!
//! What it repeats is what may be repeated: requests of idempotent methods, and those with an `Idempotency-Key`.
//! A server that says when to come back, by `Retry-After` or gRPC's pushback, is taken at its word; otherwise the
//! wait is a random part of a bound that doubles. It gives up when the time given would pass before the next
//! attempt, after so many attempts, or when too large a part of all requests are repetitions already, and then
//! hands on the last answer.

mod answer;
mod policy;

pub use self::policy::RetryPolicy;
