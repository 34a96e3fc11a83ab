//! The proxy-wasm HTTP filter.
