//! What Quiesce decides, and nothing of how it is carried out.
//!
//! This crate does no I/O, reads no clock, draws no randomness and never panics, whatever the
//! input: hosts, clocks and entropy are passed in. The same code runs inside Envoy, in the
//! companion's `config check` and in services.
//!
//! [`snapshot`] and [`sync`] are the wire types. [`Policy::compile`] turns a snapshot into
//! something that judges: [`Policy::classify`] says what a [`Request`] would do,
//! [`Policy::judge`] says what becomes of a write, and [`reply`] writes the answer.
#![forbid(unsafe_code)]

pub mod banner;
mod body;
mod bytes;
mod conditions;
mod error;
mod headers;
mod host;
mod inspect;
pub mod intent;
pub mod json;
pub mod learning;
mod object;
pub mod pass;
mod path;
mod pattern;
mod policy;
mod query;
mod refusal;
pub mod reply;
mod request;
pub mod retry;
mod router;
mod rules;
mod schedule;
pub mod seen;
pub mod snapshot;
mod stop;
mod surfaces;
pub mod sync;
mod text_enum;
pub mod time;
pub mod wire;

pub use crate::{
    error::SnapshotError,
    headers::{HeaderBlock, Headers, Pairs},
    host::Host,
    path::{Path, PlainPath},
    policy::{Basis, Circumstances, Classified, Policy, Verdict},
    refusal::Refusal,
    request::{OVERRIDE_HEADERS, Request, Suspicion},
    rules::RuleIndex,
    schedule::{Latches, Schedule},
    stop::Stop,
    surfaces::{RuleRef, SurfaceIndex},
    time::{Timestamp, TimestampError},
};

/// What metrics and logs call the requests that belong to no surface.
pub const OTHER_SURFACE: &str = "other";
