//! What Quiesce decides, and nothing of how it is carried out.
//!
//! This crate does no I/O, reads no clock, draws no randomness and never panics, whatever the
//! input: hosts, clocks and entropy are passed in. The same code runs inside Envoy, in the
//! companion's `config check` and in services.
#![forbid(unsafe_code)]

pub mod snapshot;
pub mod sync;
pub mod time;
