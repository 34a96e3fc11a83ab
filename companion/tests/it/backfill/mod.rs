//! Held writes are brought back: to a real origin, in order, each with one effect, whatever fails meanwhile.

mod engine;
mod freezes;
mod held;
mod operators;
mod origin;
mod restarts;
