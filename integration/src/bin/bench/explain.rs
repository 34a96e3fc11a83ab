//! What `quiesce explain --input` takes for a request: CPU time, on one core.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use quiesce_integration::{artifacts, catalogs, process::cpu_time};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};

use crate::{
    cpus,
    report::{Report, median},
};

/// 200,000 requests a second.
const AT_MOST_US: f64 = 5.0;

/// Explains every operation of Qdrant again and again, in several runs of the real binary.
pub fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let (copies, runs) = if quick { (10, 1) } else { (2000, 15) };
    let operations: Vec<_> = catalogs::operations("qdrant")?.lines().map(request).collect::<Result<_>>()?;
    let dir = tempfile::tempdir()?;
    let input = dir.path().join("requests.jsonl");
    fs::write(&input, operations.concat().repeat(copies))?;
    #[allow(clippy::cast_precision_loss, reason = "less than a million")]
    let requests = (operations.len() * copies) as f64;

    let run = || -> Result<f64> {
        let mut command = Command::new(artifacts::quiesce()?);
        command.args(["explain", "--catalog", "qdrant", "--input"]).arg(&input).stdout(Stdio::null());
        let mut process = command.spawn()?;
        let pid = Pid::from_child(&process);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let cpu = cpu_time(process.id())?;
        let ended = process.wait()?;
        ensure!(ended.success(), "quiesce explain ended with {ended}");
        Ok(cpu.as_secs_f64() * 1e6 / requests)
    };
    let cpu_us: Vec<_> = cpus::on_one(|| (0..runs).map(|_| run()).collect::<Result<_>>())?;
    report.target("explaining a request of a file: CPU on one core", median(&cpu_us), "µs", AT_MOST_US);
    Ok(())
}

/// An operation of a catalog's list as a request to explain.
fn request(operation: &str) -> Result<String> {
    let operation: Value = serde_json::from_str(operation)?;
    let headers = operation.get("headers").cloned().unwrap_or_else(|| json!({}));
    let (method, path) =
        operation.get("method").zip(operation.get("path")).context("an operation without a path")?;
    Ok(format!("{}\n", json!({ "method": method, "path": path, "headers": headers })))
}
