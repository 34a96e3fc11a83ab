//! The filter with its feature `learning`, as a module of its own: a file beside that of the one without.

#[cfg(target_arch = "wasm32")]
use quiesce_filter as _;
