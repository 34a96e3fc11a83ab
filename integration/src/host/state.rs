//! What one VM's host side knows: contexts, what the running callback may do, what it did.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    memory::{Exports, Pairs},
    process::{Metric, Shared},
    streams::Stream,
};

/// The root context of the one plugin.
pub(super) const ROOT: u32 = 1;

/// The callback that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// `_initialize`: only logging is allowed (`wasm.cc`: `startVm`).
    Start,
    Create,
    VmStart,
    Configure,
    Tick,
    CallResponse,
    RequestHeaders,
    RequestBody,
    ResponseHeaders,
    ResponseBody,
    Log,
    Done,
    Delete,
}

/// A line that the module logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// 0 trace, 1 debug, 2 info, 3 warn, 4 error, 5 critical.
    pub level: u32,
    /// What it said.
    pub message: String,
}

/// An HTTP call that the module made and the test has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// Its token.
    pub token: u32,
    /// The cluster.
    pub cluster: String,
    /// The headers, pseudo-headers included.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The timeout; milliseconds.
    pub timeout_ms: u32,
}

impl HttpCall {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        super::memory::first(&self.headers, name)
    }
}

/// An answer that the module gave itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// The status code.
    pub status: u32,
    /// `response_code_details`, as in Envoy's access log.
    pub details: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl LocalResponse {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What callbacks cost, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Times the VM was entered.
    pub entries: u64,
    /// Host calls by name.
    pub host_calls: BTreeMap<&'static str, u64>,
    /// Fuel: about one a WebAssembly instruction.
    pub fuel: u64,
}

impl Usage {
    /// All host calls.
    pub fn total_host_calls(&self) -> u64 {
        self.host_calls.values().sum()
    }
}

/// What Envoy does once the VM has returned (`addAfterVmCallAction`).
#[derive(Clone, Debug)]
pub(super) enum Action {
    Answer(u32),
    Close(u32),
}

/// The state of one VM.
pub(super) struct State {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u32,
    pub(super) configuration: Vec<u8>,
    pub(super) exports: Option<Exports>,
    pub(super) phase: Phase,
    /// The context that the callback was called for.
    pub(super) current: u32,
    /// The context that host calls act on, when the module has chosen another.
    pub(super) effective: Option<u32>,
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) tick_period_ms: u32,
    pub(super) metrics: HashMap<u32, Arc<Metric>>,
    pub(super) next_counter: u32,
    pub(super) next_gauge: u32,
    pub(super) calls: BTreeMap<u32, HttpCall>,
    pub(super) next_token: u32,
    /// The answer that `on_http_call_response` is about; `None` in it when the call failed.
    pub(super) call_response: Option<(Pairs, Vec<u8>)>,
    pub(super) actions: Vec<Action>,
    pub(super) log: Vec<LogLine>,
    pub(super) usage: Usage,
}

impl State {
    pub(super) fn new(shared: Arc<Shared>, number: u32, configuration: &str) -> Self {
        Self {
            shared,
            number,
            configuration: configuration.as_bytes().to_vec(),
            exports: None,
            phase: Phase::Start,
            current: 0,
            effective: None,
            streams: BTreeMap::new(),
            tick_period_ms: 0,
            metrics: HashMap::new(),
            next_counter: 0,
            next_gauge: 1,
            calls: BTreeMap::new(),
            next_token: 1,
            call_response: None,
            actions: Vec::new(),
            log: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// The context that host calls act on.
    pub(super) fn context(&self) -> u32 {
        self.effective.unwrap_or(self.current)
    }

    /// The stream that host calls act on.
    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        let id = self.context();
        self.streams.get_mut(&id)
    }
}
