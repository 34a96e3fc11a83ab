//! Brings intents back: replays them once their windows are over, in order within each line.
//!
//! A replay is a write like any other. It is counted before it is looked whether a window is in force, and a
//! window's barrier waits for those that are counted: see [`gate`].

pub mod answer;
mod engine;
pub mod gate;
pub(crate) mod pace;
pub mod request;
mod send;
mod state;
mod task;
pub mod view;

pub use self::{
    engine::replay,
    state::{Backfill, Pause, Tally},
};
