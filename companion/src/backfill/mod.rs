//! Brings intents back: replays them once their windows are over, in order within each line.

pub mod answer;
mod pace;
