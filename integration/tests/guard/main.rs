//! Services that are guarded from within, with the real companion, and together with Envoy.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod barrier;
mod examples;
#[path = "../../../guard/examples/tonic/notes.rs"]
mod notes;
mod services;
mod sync;
