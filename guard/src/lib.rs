//! Quiesce inside a service: the same policy, snapshot, barrier and refusals as the filter in Envoy.
//!
//! A [`Guard`] keeps itself in step with the companion, as an enforcer of kind `service`, so that
//! `quiesce freeze --wait` waits for its writes too. A [`GuardLayer`] has it decide about every request of a
//! tower service, axum's and tonic's among them; a [`WriteGate`] is for what writes without being asked by a
//! request: jobs, schedulers, compactions. [`retry`] is for clients of such services.
//!
//! What the guard promises is what the filter promises: a write is counted before the guard looks whether it
//! may pass, and counted until it is over. When the companion hears that a window is in force here and that no
//! write is left in flight, that is so, and stays so until the thaw.
#![forbid(unsafe_code)]

mod admission;
mod body;
mod config;
mod counters;
mod future;
mod gate;
mod guard;
mod head;
mod in_flight;
mod layer;
mod respond;
pub mod retry;
mod saved;
mod state;
mod sync;
#[cfg(test)]
mod tests;

pub use self::{
    body::{RequestBody, ResponseBody},
    config::{Boot, Config, ConfigError, OnUnreachable},
    future::ResponseFuture,
    gate::{WriteGate, WritePermit, WriteRefused},
    guard::Guard,
    in_flight::WriteInFlight,
    layer::{GuardLayer, GuardService},
};
pub use quiesce_policy as policy;
