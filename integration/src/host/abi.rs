//! The numbers of the Proxy-Wasm ABI 0.2.1.
//!
//! From <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1> and `proxy_wasm_common.h`.

pub(super) const OK: u32 = 0;
pub(super) const NOT_FOUND: u32 = 1;
pub(super) const BAD_ARGUMENT: u32 = 2;
pub(super) const CAS_MISMATCH: u32 = 8;

pub(super) const MAP_REQUEST_HEADERS: u32 = 0;
pub(super) const MAP_RESPONSE_HEADERS: u32 = 2;
pub(super) const MAP_CALL_RESPONSE_HEADERS: u32 = 6;
pub(super) const MAP_CALL_RESPONSE_TRAILERS: u32 = 7;

pub(super) const BUFFER_REQUEST_BODY: u32 = 0;
pub(super) const BUFFER_RESPONSE_BODY: u32 = 1;
pub(super) const BUFFER_CALL_RESPONSE_BODY: u32 = 4;
pub(super) const BUFFER_VM_CONFIGURATION: u32 = 6;
pub(super) const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;

pub(super) const STREAM_REQUEST: u32 = 0;
pub(super) const STREAM_RESPONSE: u32 = 1;

pub(super) const ACTION_CONTINUE: u32 = 0;

/// Metric ids carry their kind in the two lowest bits (`wasm.h`: `kMetricTypeMask`, `kMetricIdIncrement`).
pub(super) const METRIC_ID_INCREMENT: u32 = 4;
