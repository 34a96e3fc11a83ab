//! Where the built things under test are: the bytes that ship, never a stale or debug build.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

/// The release module of the filter, `$QUIESCE_WASM`.
///
/// # Errors
/// When the variable is not set or names no file.
pub fn wasm() -> Result<PathBuf> {
    from_env("QUIESCE_WASM")
}

/// The release module of the filter that learns, `$QUIESCE_LEARNING_WASM`.
///
/// # Errors
/// When the variable is not set or names no file.
pub fn learning_wasm() -> Result<PathBuf> {
    from_env("QUIESCE_LEARNING_WASM")
}

/// The companion's binary, `$QUIESCE_BIN`.
///
/// # Errors
/// When the variable is not set or names no file.
pub fn quiesce() -> Result<PathBuf> {
    from_env("QUIESCE_BIN")
}

/// An example of the guard, built: a program in `$QUIESCE_EXAMPLES`.
///
/// # Errors
/// When the variable is not set or has no such program in it.
pub fn example(name: &str) -> Result<PathBuf> {
    let dir = std::env::var_os("QUIESCE_EXAMPLES").map(PathBuf::from);
    let dir =
        dir.context("QUIESCE_EXAMPLES is not set; run `cargo xtask test`, which builds what it names")?;
    let path = dir.join(name);
    ensure!(path.is_file(), "{} is no file; run `cargo xtask test`", path.display());
    Ok(path)
}

/// The Envoy binary, `$ENVOY_BIN`.
///
/// # Errors
/// When the variable is not set or names no file.
pub fn envoy() -> Result<PathBuf> {
    from_env("ENVOY_BIN")
}

/// The module of the filter that does nothing, `$QUIESCE_NOOP_WASM`: what the SDK alone costs.
///
/// # Errors
/// When the variable is not set or names no file.
pub fn noop_wasm() -> Result<PathBuf> {
    from_env("QUIESCE_NOOP_WASM")
}

/// Where the programs `etcd` and `etcdctl` are, `$QUIESCE_ETCD`; `None` where they could not be had.
///
/// # Errors
/// When the variable names no directory.
pub fn etcd() -> Result<Option<PathBuf>> {
    third_party("QUIESCE_ETCD")
}

/// Python's packages of real servers and clients, `$QUIESCE_PYTHON`; `None` where they could not be had.
///
/// # Errors
/// When the variable names no directory.
pub fn python() -> Result<Option<PathBuf>> {
    third_party("QUIESCE_PYTHON")
}

/// The npm project of real servers and clients, `$QUIESCE_NODE`; `None` where it could not be had.
///
/// # Errors
/// When the variable names no directory.
pub fn node() -> Result<Option<PathBuf>> {
    third_party("QUIESCE_NODE")
}

/// The root below which Chromium and its driver are, `$QUIESCE_CHROMIUM`; `None` where they could not be had.
///
/// # Errors
/// When the variable names no directory.
pub fn chromium() -> Result<Option<PathBuf>> {
    third_party("QUIESCE_CHROMIUM")
}

/// The npm package axe-core, `$QUIESCE_AXE`; `None` where it could not be had.
///
/// # Errors
/// When the variable names no directory.
pub fn axe() -> Result<Option<PathBuf>> {
    third_party("QUIESCE_AXE")
}

fn third_party(name: &str) -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os(name).map(PathBuf::from) else { return Ok(None) };
    ensure!(path.is_dir(), "{name} names {}, which is no directory; run `cargo xtask test`", path.display());
    Ok(Some(path))
}

fn from_env(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set; run `cargo xtask test`, which builds what it names"))?;
    ensure!(path.is_file(), "{name} names {}, which is no file; run `cargo xtask test`", path.display());
    path.canonicalize().with_context(|| format!("{name} names {}", path.display()))
}
