//! A filter that does nothing, as the SDK's users write it: the yardstick for what Quiesce costs.
//!
//! The benchmark loads it beside the shipped filter. It overrides no callback and keeps all of the
//! SDK's exports, so Envoy enters the VM for each stage of each request, as it does for any filter.
#![allow(missing_docs, reason = "the SDK's macro defines a public function and says nothing about it")]

use proxy_wasm::traits::{Context, HttpContext};

struct Noop;

impl Context for Noop {}

impl HttpContext for Noop {}

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Noop));
}}
