//! Keeps Envoy and those who load it out of each other's way: each on CPUs of their own.

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// The CPUs of this process, in two halves; one of one CPU shares it.
pub struct Cpus {
    envoys: CpuSet,
    others: CpuSet,
}

impl Cpus {
    /// Divides the CPUs that this process may run on.
    pub fn divide() -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let numbers: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
        let (others, envoys) = numbers.split_at(numbers.len() / 2);
        let set = |numbers: &[usize]| {
            let mut set = CpuSet::new();
            numbers.iter().for_each(|cpu| set.set(*cpu));
            if numbers.is_empty() { all } else { set }
        };
        Ok(Self { envoys: set(envoys), others: set(others) })
    }

    /// What this thread starts from now on runs where Envoys run.
    pub fn start_envoys(&self) -> Result<()> {
        Ok(sched_setaffinity(None, &self.envoys)?)
    }

    /// All threads of this process run where Envoys do not.
    pub fn leave_envoys_alone(&self) -> Result<()> {
        for task in std::fs::read_dir("/proc/self/task")? {
            let name = task?.file_name();
            let thread = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            sched_setaffinity(Some(thread.context("a task that is no number")?), &self.others)?;
        }
        Ok(())
    }
}

/// Does `work` on a thread of its own, which stays on one CPU with all that it starts.
pub fn on_one<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let all = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rfind(|cpu| all.is_set(*cpu)).context("a process without a CPU")?;
    let mut one = CpuSet::new();
    one.set(last);
    let pinned = || {
        sched_setaffinity(None, &one)?;
        work()
    };
    let done = std::thread::scope(|scope| scope.spawn(pinned).join());
    done.map_err(|_| anyhow!("the work on one CPU panicked"))?
}
