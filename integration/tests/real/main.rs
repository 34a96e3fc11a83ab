//! Real servers behind real Envoy, called by their own clients, frozen and thawed: while frozen every read of a
//! client works and every write is refused with the time until which it is, and what is stored stays as it was.
//!
//! Servers and clients are what `cargo xtask test` got from their registries (`xtask/src/third_party.rs`); the
//! programs that call them are in `integration/clients`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails its test"
)]

mod chroma;
mod client;
mod etcd;
mod front;
mod mcp;
mod milvus;
mod openfeature;
mod rust_sdk;
mod server;
mod story;
