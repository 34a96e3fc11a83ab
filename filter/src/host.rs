//! Everything that the filter asks of its host, as functions that return what can go wrong.
//!
//! The SDK's convenience methods on contexts panic on statuses that they do not expect; nothing here
//! calls them. Metrics and shared data belong to the process, all else to the calling VM.

use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::{
    hostcalls,
    types::{BufferType, MapType, MetricType, Status},
};
use quiesce_policy::{HeaderBlock, Timestamp, reply::Reply};

use crate::config::PluginConfig;

/// A compare-and-swap token that no stored value ever has, by which a value is stored only if there
/// is none: the host compares tokens only where a value exists (proxy-wasm-cpp-host `shared_data.cc`).
const ABSENT: u32 = u32::MAX;

/// A gauge or counter of the process.
#[derive(Clone, Copy, Debug)]
pub struct Metric(u32);

/// A value in shared data, and the token to replace exactly it.
#[derive(Debug, Default)]
pub struct Shared {
    /// The value, if there is one.
    pub value: Option<Vec<u8>>,
    cas: Option<u32>,
}

impl Metric {
    /// The gauge of this name; made if there is none.
    pub fn gauge(name: &str) -> Option<Self> {
        hostcalls::define_metric(MetricType::Gauge, name).ok().map(Self)
    }

    /// The counter of this name; made if there is none.
    pub fn counter(name: &str) -> Option<Self> {
        hostcalls::define_metric(MetricType::Counter, name).ok().map(Self)
    }

    /// Its value; nothing if the host does not keep it.
    pub fn get(self) -> Option<u64> {
        hostcalls::get_metric(self.0).ok()
    }

    /// Sets a gauge.
    pub fn set(self, value: u64) {
        log_failure("record_metric", hostcalls::record_metric(self.0, value));
    }

    /// Adds to a counter, or moves a gauge.
    pub fn add(self, offset: i64) {
        log_failure("increment_metric", hostcalls::increment_metric(self.0, offset));
    }
}

/// Reads a value of shared data.
pub fn shared(key: &str) -> Shared {
    match hostcalls::get_shared_data(key) {
        Ok((value, cas)) => Shared { value, cas },
        Err(status) => {
            log::error!("get_shared_data failed for {key}: {status:?}");
            Shared::default()
        }
    }
}

/// Replaces a value, if it is still the one that was read; says whether it was.
pub fn replace_shared(key: &str, read: &Shared, value: &[u8]) -> bool {
    hostcalls::set_shared_data(key, Some(value), Some(read.cas.unwrap_or(ABSENT))).is_ok()
}

/// The time on the proxy's clock.
pub fn now() -> Timestamp {
    timestamp(now_ns())
}

/// A reading of [`now_ns`] as policy has it.
pub fn timestamp(now_ns: u64) -> Timestamp {
    Timestamp::from_unix_ms(now_ns / 1_000_000)
}

/// The time on the proxy's clock, in nanoseconds since the Unix epoch: also what varies most from call to call.
pub fn now_ns() -> u64 {
    let since_epoch = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    since_epoch.map_or(0, |since| {
        since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into())
    })
}

/// A property of the node or the connection; nothing if it is unknown or empty. The parts of its path
/// have a zero byte between them.
pub fn property(path: &str) -> Option<Vec<u8>> {
    raw::property(path).filter(|value| !value.is_empty())
}

/// Asks for a tick every `period_ms` milliseconds.
pub fn set_tick_period(period_ms: u64) {
    log_failure("set_tick_period", hostcalls::set_tick_period(Duration::from_millis(period_ms)));
}

/// The plugin configuration, in the callback that brings it.
pub fn plugin_configuration(size_bytes: usize) -> Vec<u8> {
    raw::buffer(BufferType::PluginConfiguration, size_bytes).unwrap_or_default()
}

/// The headers of the request, in its callback: one call, one copy.
pub fn request_headers() -> HeaderBlock {
    HeaderBlock::from_host(raw::headers(MapType::HttpRequestHeaders).unwrap_or_default())
}

/// The headers of the origin's answer, in their callback.
pub fn answer_headers() -> HeaderBlock {
    HeaderBlock::from_host(raw::headers(MapType::HttpResponseHeaders).unwrap_or_default())
}

/// The part of the origin's answer that its callback brings.
pub fn answer_part(size_bytes: usize) -> Vec<u8> {
    // The last part is often empty, and then there may be no buffer.
    if size_bytes == 0 {
        return Vec::new();
    }
    hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size_bytes).ok().flatten().unwrap_or_default()
}

/// Takes a header off the request, before it is passed.
pub fn remove_request_header(name: &str) {
    log_failure("remove_header", hostcalls::set_map_value(MapType::HttpRequestHeaders, name, None));
}

/// The request's body as far as it has come, in the callbacks of body and trailers.
pub fn request_body(size_bytes: usize) -> Vec<u8> {
    raw::buffer(BufferType::HttpRequestBody, size_bytes).unwrap_or_default()
}

/// Answers the request instead of the origin.
pub fn reply(reply: &Reply) {
    log_failure("send_local_response", raw::reply(reply));
}

/// Resets the stream of a request, from a tick.
pub fn reset_stream(context_id: u32, root_id: u32) {
    within(context_id, root_id, || log_failure("close_stream", hostcalls::reset_http_request()));
}

/// Acts in the context of a stream, from a callback of a root context.
pub fn within(context_id: u32, root_id: u32, act: impl FnOnce()) {
    match hostcalls::set_effective_context(context_id) {
        Ok(()) => act(),
        err => log_failure("set_effective_context", err),
    }
    log_failure("set_effective_context", hostcalls::set_effective_context(root_id));
}

/// Calls the companion: POST, or GET if there is no body. The answer comes with the token returned, in a
/// callback of a root context, whichever has called.
pub fn call(
    config: &PluginConfig,
    path: &str,
    headers: &[(&[u8], &[u8])],
    body: &[u8],
    timeout_ms: u32,
) -> Option<u32> {
    let (cluster, method) = (&config.companion_cluster, if body.is_empty() { "GET" } else { "POST" });
    let bearer = ["Bearer ", config.sync_token.expose()].concat();
    let mut pairs: Vec<(&[u8], &[u8])> = vec![
        (b":method", method.as_bytes()),
        (b":path", path.as_bytes()),
        (b":authority", cluster.as_bytes()),
        (b"authorization", bearer.as_bytes()),
    ];
    pairs.extend_from_slice(headers);
    let called = raw::call(cluster, &HeaderBlock::new(&pairs), body, timeout_ms);
    if let Err(status) = called {
        log::warn!("cannot call the companion: cluster `{cluster}`: {status:?}");
    }
    called.ok()
}

/// The same with a body of JSON.
pub fn post_json(config: &PluginConfig, path: &str, body: &[u8], timeout_ms: u32) -> Option<u32> {
    call(config, path, &[(b"content-type", b"application/json")], body, timeout_ms)
}

/// The headers of the answer to [`call`], in its callback; none if there was no answer.
pub fn response_headers() -> HeaderBlock {
    HeaderBlock::from_host(raw::headers(MapType::HttpCallResponseHeaders).unwrap_or_default())
}

/// The body of the answer to [`call`], in its callback.
pub fn response_body(size_bytes: usize) -> Vec<u8> {
    raw::buffer(BufferType::HttpCallResponseBody, size_bytes).unwrap_or_default()
}

fn log_failure(call: &str, result: Result<(), Status>) {
    if let Err(status) = result {
        log::error!("{call} failed: {status:?}");
    }
}

/// The host calls of the request path, made by hand: the SDK copies every header twice, into strings
/// that must be UTF-8, builds paths of properties anew each time, and panics where a call fails.
#[allow(unsafe_code, reason = "the ABI hands over buffers by pointer and length")]
mod raw {
    use std::ptr::{null, null_mut};

    use proxy_wasm::types::{BufferType, MapType, Status};
    use quiesce_policy::{HeaderBlock, reply::Reply};

    /// The answer to no gRPC call.
    const NO_GRPC_STATUS: i32 = -1;

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_header_map_pairs(
            map_type: MapType,
            data: *mut *mut u8,
            size_bytes: *mut usize,
        ) -> Status;

        fn proxy_get_property(
            path: *const u8,
            path_bytes: usize,
            data: *mut *mut u8,
            size_bytes: *mut usize,
        ) -> Status;

        fn proxy_get_buffer_bytes(
            buffer_type: BufferType,
            start: usize,
            length: usize,
            data: *mut *mut u8,
            size_bytes: *mut usize,
        ) -> Status;

        fn proxy_http_call(
            upstream: *const u8,
            upstream_bytes: usize,
            headers: *const u8,
            headers_bytes: usize,
            body: *const u8,
            body_bytes: usize,
            trailers: *const u8,
            trailers_bytes: usize,
            timeout_ms: u32,
            token: *mut u32,
        ) -> Status;

        fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_bytes: usize,
            body: *const u8,
            body_bytes: usize,
            headers: *const u8,
            headers_bytes: usize,
            grpc_status: i32,
        ) -> Status;
    }

    pub fn headers(map: MapType) -> Option<Vec<u8>> {
        // SAFETY: the host writes to both, or to neither and says so.
        handed_over(|data, size_bytes| unsafe { proxy_get_header_map_pairs(map, data, size_bytes) })
    }

    pub fn buffer(buffer: BufferType, length: usize) -> Option<Vec<u8>> {
        // SAFETY: as for headers.
        handed_over(|data, size_bytes| unsafe { proxy_get_buffer_bytes(buffer, 0, length, data, size_bytes) })
    }

    pub fn property(path: &str) -> Option<Vec<u8>> {
        // SAFETY: as for headers; the host reads the path and keeps nothing of it.
        handed_over(|data, size_bytes| unsafe {
            proxy_get_property(path.as_ptr(), path.len(), data, size_bytes)
        })
    }

    pub fn call(upstream: &str, headers: &HeaderBlock, body: &[u8], timeout_ms: u32) -> Result<u32, Status> {
        let (headers, mut token) = (headers.as_bytes(), 0);
        // SAFETY: the host reads what the pointers and lengths span, and keeps nothing of it; it writes the token.
        let status = unsafe {
            proxy_http_call(
                upstream.as_ptr(),
                upstream.len(),
                headers.as_ptr(),
                headers.len(),
                body.as_ptr(),
                body.len(),
                null(),
                0,
                timeout_ms,
                &raw mut token,
            )
        };
        if status == Status::Ok { Ok(token) } else { Err(status) }
    }

    pub fn reply(reply: &Reply) -> Result<(), Status> {
        let (body, headers) = (&reply.body, reply.headers.as_bytes());
        let grpc_status = reply.grpc_status.and_then(|status| i32::try_from(status).ok());
        let grpc_status = grpc_status.unwrap_or(NO_GRPC_STATUS);
        // SAFETY: the host reads what the pointers and lengths span, and keeps nothing of it.
        let status = unsafe {
            proxy_send_local_response(
                u32::from(reply.status),
                null(),
                0,
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                grpc_status,
            )
        };
        if status == Status::Ok { Ok(()) } else { Err(status) }
    }

    /// What a host call hands over, if it does.
    fn handed_over(call: impl FnOnce(*mut *mut u8, *mut usize) -> Status) -> Option<Vec<u8>> {
        let (mut data, mut size_bytes) = (null_mut(), 0);
        let status = call(&raw mut data, &raw mut size_bytes);
        if status != Status::Ok || data.is_null() {
            return None;
        }
        // SAFETY: the host got the memory from this module's allocator, as a boxed slice of just this size.
        Some(unsafe { Vec::from_raw_parts(data, size_bytes, size_bytes) })
    }
}
