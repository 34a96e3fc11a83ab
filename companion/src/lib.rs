//! The companion of a fleet of enforcers: keeps windows, publishes snapshots, proves barriers; and
//! the operator's command line that talks to it.

pub mod api;
pub mod auth;
pub mod backfill;
pub mod barrier;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod envoy;
pub mod error;
pub mod event;
pub mod explain;
pub mod flags;
pub mod fleet;
pub mod intents;
pub mod lean;
pub mod limits;
pub mod metrics;
pub mod notify;
pub mod outbox;
pub mod passes;
pub mod plans;
pub mod public;
pub mod rule_text;
pub mod seen;
pub mod server;
pub mod service;
pub mod signals;
pub mod starter;
pub mod store;
pub mod sync;
pub mod view;
pub mod windows;
pub mod yaml;
