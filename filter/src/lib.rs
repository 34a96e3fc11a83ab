//! The proxy-wasm HTTP filter: a thin shell of host calls around `quiesce-policy`.
//!
//! Every worker of an Envoy runs one VM with this module, and so does its main thread. What they
//! share lives in Envoy's shared data and metrics, under keys that begin with `quiesce.`.
//! [`barrier`], [`config`], [`lease`] and [`waiting`] know no host and are tested natively;
//! the rest is built for wasm32 only and tested through the module that ships.

pub mod barrier;
pub mod config;
pub mod lease;
pub mod waiting;

#[cfg(target_arch = "wasm32")]
mod admission;
#[cfg(target_arch = "wasm32")]
mod context;
#[cfg(target_arch = "wasm32")]
mod counters;
#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(target_arch = "wasm32")]
mod in_flight;
#[cfg(target_arch = "wasm32")]
mod intents;
#[cfg(target_arch = "wasm32")]
mod leader;
#[cfg(target_arch = "wasm32")]
mod learning;
#[cfg(target_arch = "wasm32")]
mod plugin;
#[cfg(target_arch = "wasm32")]
mod refusals;
#[cfg(target_arch = "wasm32")]
mod seen;
#[cfg(target_arch = "wasm32")]
mod state;
#[cfg(target_arch = "wasm32")]
mod vms;
