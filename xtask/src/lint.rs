//! What CI checks besides the tests: formatting, clippy with warnings denied, and the dependencies.

use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::{
    filter,
    progress::{note, step},
    tools,
    workspace::{WASM_TARGET, Workspace},
};

const CARGO_DENY_VERSION: &str = "0.20.2";

/// Runs all checks; the first that fails ends it.
pub fn run(ws: &Workspace) -> Result<()> {
    step("checking the formatting", || Ok(ws.cargo().args(["fmt", "--all", "--check"]).run()?))?;
    step("clippy on everything", || {
        Ok(ws.cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]).run()?)
    })?;
    filter::ensure_target(ws)?;
    step(format_args!("clippy on what runs on {WASM_TARGET}"), || {
        Ok(ws
            .cargo()
            .args(["clippy", "--package", "quiesce-policy", "--package", "quiesce-filter"])
            .args(["--package", "quiesce-filter-learning", "--package", "quiesce-noop-filter"])
            .args(["--target", WASM_TARGET])
            .args(["--", "--deny", "warnings"])
            .run()?)
    })?;
    dependencies(ws)
}

/// What may enter the dependency tree, as `deny.toml` says.
fn dependencies(ws: &Workspace) -> Result<()> {
    let deny = cargo_deny(ws)?;
    let sh = &ws.sh;
    step("cargo-deny: bans, licenses, sources", || {
        Ok(cmd!(sh, "{deny} --locked check --hide-inclusion-graph bans licenses sources").quiet().run()?)
    })?;
    // The database is a git repository of its own, which no package registry carries.
    let fetched = step("cargo-deny: fetching RustSec's advisories", || {
        Ok(cmd!(sh, "{deny} --locked fetch db")
            .env("GIT_TERMINAL_PROMPT", "0")
            .quiet()
            .ignore_status()
            .output()?)
    })?;
    if !fetched.status.success() {
        let error = String::from_utf8_lossy(&fetched.stderr);
        let reason = error.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given");
        note(format_args!(
            "SKIPPED: advisories were not checked, because their database is out of reach: {reason}"
        ));
        return Ok(());
    }
    step("cargo-deny: advisories", || {
        Ok(cmd!(sh, "{deny} --locked check --disable-fetch advisories").quiet().run()?)
    })
}

fn cargo_deny(ws: &Workspace) -> Result<PathBuf> {
    match which::which("cargo-deny") {
        Ok(found) => Ok(found),
        Err(_) => tools::cargo_tool(ws, "cargo-deny", CARGO_DENY_VERSION, "cargo-deny")
            .context("cannot get cargo-deny; put one on the PATH"),
    }
}
