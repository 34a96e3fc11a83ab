//! What all VMs of one Envoy process share: module, clock, metrics, shared data.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Result, anyhow};
use quiesce_policy::time::Timestamp;
use wasmtime::{Config, Engine, Linker};

use super::{abi, imports, state::State, vm::Vm};

/// A compiled module, ready for any number of processes.
#[derive(Clone)]
pub struct Module {
    pub(super) engine: Engine,
    pub(super) module: wasmtime::Module,
    pub(super) linker: Arc<Linker<State>>,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").finish_non_exhaustive()
    }
}

impl Module {
    /// Compiles the module in `file`.
    ///
    /// # Errors
    /// When it is not a WebAssembly module, or imports what this host does not have.
    pub fn load(file: &Path) -> Result<Self> {
        Self::from_bytes(&std::fs::read(file)?)
    }

    /// Compiles a module from its binary form.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = Engine::new(&config).map_err(|error| anyhow!("{error:?}"))?;
        let module = wasmtime::Module::new(&engine, bytes).map_err(|error| anyhow!("{error:?}"))?;
        let linker = imports::linker(&engine, &module).map_err(|error| anyhow!("{error:?}"))?;
        linker.instantiate_pre(&module).map_err(|error| anyhow!("{error:?}"))?;
        Ok(Self { engine, module, linker: Arc::new(linker) })
    }

    /// The names of the functions that the module exports.
    pub fn exports(&self) -> Vec<String> {
        self.module
            .exports()
            .filter(|export| export.ty().func().is_some())
            .map(|export| export.name().to_owned())
            .collect()
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl MetricKind {
    pub(super) fn from_abi(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Counter),
            1 => Some(Self::Gauge),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Metric {
    pub(super) kind: MetricKind,
    /// Sequentially consistent, as Envoy's are: `std::atomic` in `source/common/stats/allocator.cc`.
    pub(super) value: AtomicU64,
}

type Hook = Box<dyn FnMut(u32, &'static str) + Send>;

/// What the VMs of one process share.
pub(super) struct Shared {
    clock_ms: AtomicU64,
    pub(super) clusters: Vec<String>,
    /// Of the root contexts, by dotted path.
    pub(super) properties: BTreeMap<String, Vec<u8>>,
    pub(super) metrics: Mutex<BTreeMap<String, Arc<Metric>>>,
    data: Mutex<SharedData>,
    hook: Mutex<Option<Hook>>,
    vms: AtomicU64,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct SharedData {
    values: HashMap<String, (Vec<u8>, u32)>,
    last_cas: u32,
}

impl Shared {
    pub(super) fn clock_ns(&self) -> u64 {
        self.clock_ms.load(Ordering::SeqCst) * 1_000_000
    }

    pub(super) fn get_data(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        lock(&self.data).values.get(key).cloned()
    }

    /// As `SharedData::set`: a CAS of 0 always sets, and a key that is not there takes any.
    pub(super) fn set_data(&self, key: String, value: Vec<u8>, cas: u32) -> u32 {
        let mut data = lock(&self.data);
        let stale = data.values.get(&key).is_some_and(|(_, current)| cas != 0 && cas != *current);
        if stale {
            return abi::CAS_MISMATCH;
        }
        data.last_cas += 1;
        let entry = (value, data.last_cas);
        data.values.insert(key, entry);
        abi::OK
    }

    /// Lets the test act between a callback's host calls.
    pub(super) fn before_host_call(&self, vm: u32, name: &'static str) {
        // Taken out while it runs: what it does makes host calls of its own.
        let hook = lock(&self.hook).take();
        if let Some(mut hook) = hook {
            hook(vm, name);
            lock(&self.hook).get_or_insert(hook);
        }
    }
}

/// One Envoy process: any number of VMs that share metrics, data and clock.
#[derive(Clone)]
pub struct Process {
    pub(super) module: Module,
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}

impl Process {
    /// A process of the node `node_id`, with the cluster `quiesce`, whose clock stands at `now`.
    pub fn new(module: &Module, node_id: &str, now: Timestamp) -> Self {
        let properties = BTreeMap::from([("xds.node.id".to_owned(), node_id.as_bytes().to_vec())]);
        let shared = Shared {
            clock_ms: AtomicU64::new(now.unix_ms()),
            clusters: vec!["quiesce".to_owned()],
            properties,
            metrics: Mutex::default(),
            data: Mutex::default(),
            hook: Mutex::default(),
            vms: AtomicU64::new(0),
        };
        Self { module: module.clone(), shared: Arc::new(shared) }
    }

    /// Starts a VM and its one plugin as Envoy does on each thread: instantiate, `on_context_create`,
    /// `on_vm_start`, `on_configure`.
    ///
    /// # Errors
    /// When the module traps, misuses a host call, or refuses its configuration.
    pub fn start_vm(&self, configuration: &str) -> Result<Vm> {
        let number = u32::try_from(self.shared.vms.fetch_add(1, Ordering::SeqCst))?;
        Vm::start(self, number, configuration)
    }

    /// Sets the clock.
    pub fn set_clock(&self, now: Timestamp) {
        self.shared.clock_ms.store(now.unix_ms(), Ordering::SeqCst);
    }

    /// What the clock says.
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.shared.clock_ms.load(Ordering::SeqCst))
    }

    /// The value of a metric; 0 while it is not defined.
    pub fn metric(&self, name: &str) -> u64 {
        lock(&self.shared.metrics).get(name).map_or(0, |metric| metric.value.load(Ordering::SeqCst))
    }

    /// All metrics.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.metrics)
            .iter()
            .map(|(name, metric)| (name.clone(), metric.value.load(Ordering::SeqCst)))
            .collect()
    }

    /// The keys of the shared data.
    pub fn shared_keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = lock(&self.shared.data).values.keys().cloned().collect();
        keys.sort();
        keys
    }

    /// Calls `hook` with VM number and name before each host call, until it is replaced. Host calls
    /// that the hook itself causes do not call it again.
    pub fn on_host_call(&self, hook: impl FnMut(u32, &'static str) + Send + 'static) {
        *lock(&self.shared.hook) = Some(Box::new(hook));
    }

    /// Calls no hook any more.
    pub fn clear_hook(&self) {
        *lock(&self.shared.hook) = None;
    }
}
