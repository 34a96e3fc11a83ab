//! One VM: its life, its root context, and how it is entered.

use std::fmt;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use wasmtime::{Store, WasmParams, WasmResults};

use super::{
    memory::{Exports, Pairs},
    process::Process,
    state::{HttpCall, LogLine, Phase, ROOT, State, Usage},
};

/// More than any callback needs; one that runs longer is stuck.
const FUEL: u64 = 10_000_000_000;

/// What the test answers to an HTTP call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An answer came.
    Response {
        /// The status code.
        status: u16,
        /// More headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// None came: connection refused, reset, timed out.
    Failure,
}

/// One VM: of a worker, or of the main thread.
pub struct Vm {
    store: Store<State>,
    instance: wasmtime::Instance,
    last_context: u32,
    failed: bool,
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm")
            .field("number", &self.number())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Vm {
    pub(super) fn start(process: &Process, number: u32, configuration: &str) -> Result<Self> {
        let module = &process.module;
        let state = State::new(process.shared.clone(), number, configuration);
        let mut store = Store::new(&module.engine, state);
        store.set_fuel(FUEL).map_err(|error| anyhow!("{error:?}"))?;
        let instance =
            module.linker.instantiate(&mut store, &module.module).map_err(|error| anyhow!("{error:?}"))?;
        let mut vm = Self { store, instance, last_context: ROOT, failed: false };
        vm.store.data_mut().exports = Some(vm.exports()?);
        vm.call_void(Phase::Start, 0, "_initialize", ())?;
        vm.call_void(Phase::Create, ROOT, "proxy_on_context_create", (ROOT, 0_u32))?;
        let started = vm.call(Phase::VmStart, ROOT, "proxy_on_vm_start", (ROOT, 0_u32))?.unwrap_or(1_u32);
        ensure!(started != 0, "on_vm_start refused{}", vm.said());
        let size = u32::try_from(configuration.len())?;
        let configured =
            vm.call(Phase::Configure, ROOT, "proxy_on_configure", (ROOT, size))?.unwrap_or(1_u32);
        ensure!(configured != 0, "on_configure refused the configuration{}", vm.said());
        Ok(vm)
    }

    fn exports(&mut self) -> Result<Exports> {
        let memory =
            self.instance.get_memory(&mut self.store, "memory").context("the module exports no memory")?;
        for name in ["malloc", "proxy_on_memory_allocate"] {
            if let Ok(allocate) = self.instance.get_typed_func(&mut self.store, name) {
                return Ok(Exports { memory, allocate });
            }
        }
        bail!("the module exports neither malloc nor proxy_on_memory_allocate");
    }

    /// Its number in the process, from 0.
    pub fn number(&self) -> u32 {
        self.state().number
    }

    /// The period that the module asked ticks at; 0 for none; milliseconds.
    pub fn tick_period_ms(&self) -> u32 {
        self.state().tick_period_ms
    }

    /// Delivers a tick.
    ///
    /// # Errors
    /// When the module asked for none, traps, or misuses a host call.
    pub fn tick(&mut self) -> Result<()> {
        ensure!(self.tick_period_ms() > 0, "the module asked for no ticks");
        self.call_void(Phase::Tick, ROOT, "proxy_on_tick", ROOT)?;
        self.after_call()
    }

    /// The HTTP calls not yet answered, oldest first. Those of a stream outlive it.
    pub fn http_calls(&self) -> Vec<HttpCall> {
        self.state().calls.values().cloned().collect()
    }

    /// Answers an HTTP call.
    ///
    /// # Errors
    /// When there is no such call, the module traps, or misuses a host call.
    pub fn answer(&mut self, token: u32, answer: Answer) -> Result<()> {
        let known = self.state_mut().calls.remove(&token).is_some();
        ensure!(known, "no HTTP call {token}");
        let response: Option<(Pairs, Vec<u8>)> = match answer {
            Answer::Failure => None,
            Answer::Response { status, headers, body } => {
                let mut pairs = vec![(":status".to_owned(), status.to_string().into_bytes())];
                pairs.extend(headers.into_iter().map(|(name, value)| (name, value.into_bytes())));
                Some((pairs, body))
            }
        };
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (headers, body) =
            response.as_ref().map_or((0, 0), |(one, two)| (size(one.len()), size(two.len())));
        self.state_mut().call_response = response;
        // Those that streams have made are answered in the root context too.
        let args = (ROOT, token, headers, body, 0_u32);
        let result = self.call_void(Phase::CallResponse, ROOT, "proxy_on_http_call_response", args);
        self.state_mut().call_response = None;
        result?;
        self.after_call()
    }

    /// Makes the VM trap, as a bug in it would: Envoy calls nothing in it any more, and whatever its
    /// streams would have done at their end stays undone.
    pub fn crash(&mut self) {
        let tick = self.call_with_fuel::<(), _>(Phase::Tick, ROOT, "proxy_on_tick", ROOT, 1);
        let trapped = tick.is_err();
        self.failed = trapped;
    }

    /// Whether it has trapped.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// What it logged.
    pub fn log(&self) -> &[LogLine] {
        &self.state().log
    }

    /// The size of its linear memory; bytes.
    pub fn memory_bytes(&self) -> usize {
        self.state().exports.as_ref().map_or(0, |exports| exports.memory.data_size(&self.store))
    }

    /// What callbacks have cost since this was last asked.
    pub fn take_usage(&mut self) -> Usage {
        std::mem::take(&mut self.state_mut().usage)
    }

    pub(super) fn state(&self) -> &State {
        self.store.data()
    }

    pub(super) fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    pub(super) fn next_context(&mut self) -> u32 {
        self.last_context += 1;
        self.last_context
    }

    pub(super) fn call_void(
        &mut self,
        phase: Phase,
        context: u32,
        name: &str,
        args: impl WasmParams,
    ) -> Result<()> {
        self.call::<(), _>(phase, context, name, args).map(drop)
    }

    /// Calls a callback that says whether to go on; one that the module lacks says yes.
    pub(super) fn call_action(
        &mut self,
        phase: Phase,
        context: u32,
        name: &str,
        args: impl WasmParams,
    ) -> Result<u32> {
        Ok(self.call(phase, context, name, args)?.unwrap_or(super::abi::ACTION_CONTINUE))
    }

    fn call<R: WasmResults, A: WasmParams>(
        &mut self,
        phase: Phase,
        context: u32,
        name: &str,
        args: A,
    ) -> Result<Option<R>> {
        self.call_with_fuel(phase, context, name, args, FUEL)
    }

    /// Enters the VM; `None` when the module does not export the callback, which Envoy then skips.
    fn call_with_fuel<R: WasmResults, A: WasmParams>(
        &mut self,
        phase: Phase,
        context: u32,
        name: &str,
        args: A,
        fuel: u64,
    ) -> Result<Option<R>> {
        ensure!(!self.failed, "{name} in VM {}, which has failed", self.number());
        let Some(callback) = self.instance.get_func(&mut self.store, name) else {
            return Ok(None);
        };
        let callback = callback
            .typed::<A, R>(&self.store)
            .map_err(|error| anyhow!("{name} is not what the ABI says: {error:?}"))?;
        let state = self.store.data_mut();
        (state.phase, state.current, state.effective) = (phase, context, None);
        state.usage.entries += 1;
        self.store.set_fuel(fuel).map_err(|error| anyhow!("{error:?}"))?;
        let result = callback.call(&mut self.store, args);
        let left = self.store.get_fuel().unwrap_or(0);
        self.store.data_mut().usage.fuel += fuel - left;
        result.map(Some).map_err(|error| {
            self.failed = true;
            anyhow!("{name} in VM {}: {error:?}{}", self.number(), self.said())
        })
    }

    /// What the module said last, for errors.
    fn said(&self) -> String {
        let log = self.log();
        let last = log.iter().skip(log.len().saturating_sub(10));
        last.map(|line| format!("\n  logged: {}", line.message)).collect()
    }
}
