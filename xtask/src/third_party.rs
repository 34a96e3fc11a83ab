//! What others make and tests run: servers to put behind Envoy, the clients that call them, and a browser.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{node, progress::note, tools, workspace::Workspace};

/// Where in the repository it is said which packages, and of which versions.
const CLIENTS: &str = "integration/clients";
/// <https://github.com/dequelabs/axe-core/releases>
const AXE_VERSION: &str = "4.14.1";

/// The variables by which tests find all of it. What cannot be had is left out, and the tests that need it say that
/// they were skipped; where `CI` is set, that is an error.
pub fn obtain(ws: &Workspace, args: &[String]) -> Result<Vec<(&'static str, OsString)>> {
    let mut found = Vec::new();
    let mut take = |name, obtained: Result<PathBuf>| match obtained {
        Ok(path) => {
            found.push((name, path.into_os_string()));
            Ok(())
        }
        Err(error) if std::env::var_os("CI").is_some() => Err(error),
        Err(error) => {
            note(format_args!("tests that need {name} will be SKIPPED: {error:#}"));
            Ok(())
        }
    };
    if is_postgres_wanted(args) {
        take("QUIESCE_POSTGRES", postgres(ws))?;
        take("QUIESCE_VARNISH", varnish(ws))?;
    }
    if is_wanted(args, "browser") {
        take("QUIESCE_CHROMIUM", chromium(ws))?;
        take("QUIESCE_AXE", tools::npm_package(ws, "axe-core", AXE_VERSION))?;
    }
    if is_wanted(args, "real") {
        take("QUIESCE_ETCD", etcd(ws))?;
        take("QUIESCE_PYTHON", python_packages(ws))?;
        take("QUIESCE_NODE", npm_project(ws))?;
        if let Ok(path) = node::path(ws) {
            found.push(("PATH", path));
        }
    }
    Ok(found)
}

/// Whether `args` for `cargo test` choose a crate with tests of PostgreSQL: of the companion, or end to end.
fn is_postgres_wanted(args: &[String]) -> bool {
    let packages = values(args, &["-p", "--package"]);
    packages.is_empty()
        || packages.iter().any(|name| ["quiesce", "quiesce-integration"].contains(&name.as_str()))
}

/// What follows one of these names in `args`, as the next word or behind `=`.
fn values(args: &[String], names: &[&str]) -> Vec<String> {
    let args: Vec<&str> = args.iter().flat_map(|arg| arg.splitn(2, '=')).collect();
    let pairs = args.windows(2).filter_map(|pair| match pair {
        [name, value] if names.contains(name) => Some((*value).to_owned()),
        _ => None,
    });
    pairs.collect()
}

/// Whether `args` for `cargo test` choose those end to end that are in the test binary `binary`.
fn is_wanted(args: &[String], binary: &str) -> bool {
    let (tests, packages) = (values(args, &["--test"]), values(args, &["-p", "--package"]));
    let others = args.iter().any(|arg| matches!(arg.as_str(), "--lib" | "--bin" | "--bins" | "--doc"));
    let has = |list: &[String], name: &str| list.iter().any(|one| one == name);
    (has(&tests, binary) || (tests.is_empty() && !others))
        && (packages.is_empty() || has(&packages, "quiesce-integration"))
}

/// The directory with `etcd` and `etcdctl`: that on the PATH, else from Debian's packages.
fn etcd(ws: &Workspace) -> Result<PathBuf> {
    if let Some(dir) = which::which("etcd").ok().as_deref().and_then(|found| found.parent())
        && dir.join("etcdctl").is_file()
    {
        return Ok(dir.to_owned());
    }
    let root = tools::debian_packages(ws, &["etcd-server", "etcd-client"])
        .context("cannot get etcd; put `etcd` and `etcdctl` on the PATH")?;
    Ok(root.join("usr/bin"))
}

/// The root below which Debian's packages have put Chromium and its driver: this system's, if they are installed.
fn chromium(ws: &Workspace) -> Result<PathBuf> {
    let is_there = |root: &Path| {
        ["usr/lib/chromium/chromium", "usr/bin/chromedriver"].iter().all(|file| root.join(file).is_file())
    };
    if is_there(Path::new("/")) {
        return Ok(PathBuf::from("/"));
    }
    let root = tools::debian_packages_and_dependencies(ws, &["chromium", "chromium-driver"])
        .context("cannot get Chromium; install the packages `chromium` and `chromium-driver`")?;
    ensure!(is_there(&root), "Debian's packages of Chromium have no `chromium` and `chromedriver`");
    Ok(root)
}

/// The directory below which there are `usr/sbin/varnishd` and `usr/bin/varnishadm`: the root, if the system has them,
/// else that of Debian's packages. Varnish compiles its configuration, and needs a C compiler for that.
fn varnish(ws: &Workspace) -> Result<PathBuf> {
    ensure!(
        which::which("cc").is_ok(),
        "there is no C compiler `cc`, with which Varnish compiles its configuration"
    );
    let is_varnish = |root: &Path| {
        ["usr/sbin/varnishd", "usr/bin/varnishadm"].iter().all(|program| root.join(program).is_file())
    };
    let system = PathBuf::from("/");
    if is_varnish(&system) {
        return Ok(system);
    }
    let root = tools::debian_packages_and_dependencies(ws, &["varnish"])
        .context("cannot get Varnish; install it with your system's package manager")?;
    ensure!(is_varnish(&root), "Debian's packages of Varnish have no `varnishd` and `varnishadm`");
    Ok(root)
}

/// The directory with `postgres` and `initdb`: `$POSTGRES_BIN_DIR`, that on the PATH, where Debian installs it, else from
/// Debian's packages.
fn postgres(ws: &Workspace) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("POSTGRES_BIN_DIR").map(PathBuf::from) {
        ensure!(
            is_postgres(&dir),
            "POSTGRES_BIN_DIR, {}, does not have `postgres` and `initdb`",
            dir.display()
        );
        return Ok(dir);
    }
    // What is on the PATH may be a link; the programs find their other files by where they are themselves.
    let on_path = which::which("postgres").ok().and_then(|found| found.canonicalize().ok());
    let on_path = on_path.as_deref().and_then(Path::parent).map(Path::to_owned);
    if let Some(dir) = on_path.filter(|dir| is_postgres(dir)) {
        return Ok(dir);
    }
    if let Some(dir) = debian_postgres(ws, Path::new("/"))? {
        return Ok(dir);
    }
    let root = tools::debian_packages_and_dependencies(ws, &["postgresql"])
        .context("cannot get PostgreSQL; say in POSTGRES_BIN_DIR where `postgres` and `initdb` are")?;
    debian_postgres(ws, &root)?.context("Debian's packages of PostgreSQL have no `postgres` and `initdb`")
}

/// Where Debian's packages put PostgreSQL below a root: `usr/lib/postgresql/VERSION/bin`; the latest, if there are several.
fn debian_postgres(ws: &Workspace, root: &Path) -> Result<Option<PathBuf>> {
    let versions = root.join("usr/lib/postgresql");
    if !versions.is_dir() {
        return Ok(None);
    }
    let mut found: Vec<_> = ws.sh.read_dir(&versions)?;
    found.retain(|version| is_postgres(&version.join("bin")));
    found.sort_by_key(|version| version.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    Ok(found.pop().map(|version| version.join("bin")))
}

fn is_postgres(dir: &Path) -> bool {
    ["postgres", "initdb"].iter().all(|program| dir.join(program).is_file())
}

fn python_packages(ws: &Workspace) -> Result<PathBuf> {
    tools::python_packages(ws, &ws.root().join(CLIENTS).join("python/requirements.txt"))
}

fn npm_project(ws: &Workspace) -> Result<PathBuf> {
    tools::npm_project(ws, &ws.root().join(CLIENTS).join("node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_wanted_by_the_companion_and_end_to_end() {
        let wanted =
            |args: &str| is_postgres_wanted(&args.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        for args in ["", "-p quiesce", "--package=quiesce-integration --test=barrier", "a_name_of_a_test"] {
            assert!(wanted(args), "{args}");
        }
        assert!(!wanted("-p quiesce-policy"));
    }

    #[test]
    fn is_wanted_where_tests_of_real_servers_would_be_run() {
        let wanted =
            |args: &str| is_wanted(&args.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), "real");
        for args in [
            "",
            "-p quiesce-integration",
            "--package=quiesce-integration --test=real etcd",
            "a_name_of_a_test",
        ] {
            assert!(wanted(args), "{args}");
        }
        for args in ["-p quiesce-policy", "-p quiesce-integration --test barrier", "--lib"] {
            assert!(!wanted(args), "{args}");
        }
    }
}
