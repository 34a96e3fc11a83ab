//! A child process with its log: killed when dropped, its log printed when the test fails.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Of a log, this much of the end is printed; bytes.
const TAIL_BYTES: usize = 64 * 1024;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Errors
    /// When it cannot be started or the log cannot be opened.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("could not start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it at once, as a crash or the kernel would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// When it has not ended within `bound`.
    pub async fn terminate(&mut self, bound: Duration) -> Result<ExitStatus> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let what = format!("{} ends after SIGTERM", self.name);
        wait::until(&what, bound, || {
            let exited = self.exited();
            async move { exited }
        })
        .await
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let tail = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
        String::from_utf8_lossy(tail).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}---- end of {} ----", self.name, self.log(), self.name);
        }
    }
}

/// CPU time that the threads of a process have used; of one that has ended, until it is waited for.
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut total_ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // <https://docs.kernel.org/scheduler/sched-stats.html>: the first figure is time on the CPU, in ns.
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = schedstat.split_whitespace().next().context("an empty schedstat")?;
        total_ns += on_cpu.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total_ns))
}

/// The most memory that a process has had at any time; bytes.
///
/// # Errors
/// When the process is gone.
pub fn peak_memory_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
