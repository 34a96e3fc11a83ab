//! A Proxy-Wasm ABI 0.2.1 host on wasmtime: strict, deterministic, with the clock in the test's hands.
//!
//! It does what Envoy does (`proxy-wasm-cpp-host` `src/{context,exports,wasm,shared_data}.cc`, Envoy
//! `source/extensions/common/wasm/context.cc`), with these differences, all of them on purpose:
//! - A host call that Envoy would answer with an error because the module misused it (a header map that
//!   is not there in this callback, a metric that was never defined, memory that is not the module's, a
//!   gauge below zero) fails the test. An import that this host does not have fails at link time.
//! - Time, ticks and answers to HTTP calls come from the test.
//! - One thread: VMs of a process take turns. [`Process::on_host_call`] lets a test act in between, as
//!   another worker's thread would, at any host call of a callback.

mod abi;
mod imports;
mod memory;
mod process;
mod state;
mod streams;
mod vm;
mod workers;

pub use process::{MetricKind, Module, Process};
pub use state::{HttpCall, LocalResponse, LogLine, Usage};
pub use streams::{Head, Outcome, StreamId};
pub use vm::{Answer, Vm};
pub use workers::Workers;
