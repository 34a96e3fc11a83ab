//! What the tests of several files need: snapshots and the like.
#![allow(dead_code, reason = "no file of tests uses all of it")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

pub mod cases;
pub mod deployed;
pub mod intents;

use std::sync::OnceLock;

use quiesce_integration::{artifacts, envoy::PluginConfig, host::Module};
use quiesce_policy::{
    snapshot::{Epoch, Scope, Snapshot, Window, WindowId},
    time::Timestamp,
};

/// Noon of a day, for hosts whose clock the test sets.
pub const NOON: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);

/// A minute, in milliseconds.
pub const MINUTE_MS: u64 = 60_000;

/// The module that ships, compiled once.
pub fn shipped_module() -> Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| Module::load(&artifacts::wasm().unwrap()).unwrap()).clone()
}

/// The module that ships for who wants tools to be learned, compiled once.
pub fn learning_module() -> Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| Module::load(&artifacts::learning_wasm().unwrap()).unwrap()).clone()
}

/// The plugin configuration that the tests use where they say nothing else.
pub fn plugin_json() -> String {
    serde_json::to_string(&PluginConfig::default()).unwrap()
}

/// A window in force since `start`, for ten minutes, with a lease of an hour.
pub fn window(id: &str, start: Timestamp) -> Window {
    Window {
        id: WindowId::from(id),
        scope: Scope::default(),
        starts_at: start,
        announce_at: None,
        started: true,
        ends_at: Some(start.plus_ms(10 * MINUTE_MS)),
        expires_at: start.plus_ms(60 * MINUTE_MS),
        reason: "a test".to_owned(),
        contact: None,
        status: Default::default(),
        drain_timeout_ms: 30_000,
    }
}

/// A snapshot with these windows and no surfaces.
pub fn snapshot(version: u64, windows: Vec<Window>) -> Snapshot {
    Snapshot { version: Epoch(version), windows, ..Snapshot::default() }
}
