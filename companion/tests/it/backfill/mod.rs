//! Held writes are brought back: to a real origin, in order, each with one effect, whatever fails meanwhile.

mod engine;
mod freezes;
pub mod held;
mod operators;
pub mod origin;
mod restarts;
