//! Real hosts for the filter, and the tests that need them.
//!
//! A stack of the real parts in one process tree: an [`origin`] that records what reaches it, a real
//! [`envoy`], the real [`companion`] (or [`snapshots`], which serves any snapshot a test wants), and
//! the [`load`] that goes through them. Everything listens on free loopback ports, is stopped when
//! dropped, and prints its log when the test that owns it fails.
#![allow(clippy::indexing_slicing, reason = "a harness that finds nothing where it looks must fail its test")]

pub mod artifacts;
pub mod catalogs;
pub mod companion;
pub mod envoy;
pub mod host;
pub mod http;
pub mod load;
pub mod origin;
pub mod ports;
pub mod process;
pub mod samples;
pub mod skip;
pub mod snapshots;
pub mod stack;
pub mod starts;
pub mod wait;
