//! What people see, in a real browser: the status page, the banner in somebody's page behind a real Envoy, the console.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is missing fails its test"
)]

mod banner;
mod chromium;
mod console;
mod site;
mod status;
