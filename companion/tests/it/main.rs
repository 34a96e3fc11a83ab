//! The companion over HTTP, and the command line as a process, with enforcers that speak `/v1/sync`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod api;
mod attacks;
mod backfill;
mod bad_input;
mod catalogs;
mod cli;
mod cli_envoy;
mod cli_intents;
mod cli_run;
mod command;
mod companion;
mod console;
mod endings;
mod enforcer;
mod failing_store;
mod faults;
mod feeds;
mod flags;
mod fleet;
mod intents;
mod lean;
mod learning;
mod ledger;
mod lifecycle;
mod notify;
mod plans;
mod postgres;
mod roles;
mod several;
mod store_contract;
mod store_copy;
mod surfaces;
mod sync;
