//! What others make and the tests of real servers run: servers to put behind Envoy, and the clients that call them.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context, Result};

use crate::{node, progress::note, tools, workspace::Workspace};

/// Where in the repository it is said which packages, and of which versions.
const CLIENTS: &str = "integration/clients";

/// The variables by which tests find all of it. What cannot be had is left out, and the tests that need it say that
/// they were skipped; where `CI` is set, that is an error.
pub fn obtain(ws: &Workspace) -> Result<Vec<(&'static str, OsString)>> {
    let parts = [
        ("QUIESCE_ETCD", etcd(ws)),
        ("QUIESCE_PYTHON", python_packages(ws)),
        ("QUIESCE_NODE", npm_project(ws)),
    ];
    let mut found = Vec::new();
    for (name, obtained) in parts {
        match obtained {
            Ok(path) => found.push((name, path.into_os_string())),
            Err(error) if std::env::var_os("CI").is_some() => return Err(error),
            Err(error) => note(format_args!("tests that need {name} will be SKIPPED: {error:#}")),
        }
    }
    if let Ok(path) = node::path(ws) {
        found.push(("PATH", path));
    }
    Ok(found)
}

/// Whether `args` for `cargo test` choose tests of real servers, which are in the test binary `real`.
pub fn is_wanted(args: &[String]) -> bool {
    let args: Vec<&str> = args.iter().flat_map(|arg| arg.splitn(2, '=')).collect();
    let values = |names: &[&str]| -> Vec<&str> {
        let pairs = args.windows(2).filter_map(|pair| match pair {
            [name, value] if names.contains(name) => Some(*value),
            _ => None,
        });
        pairs.collect()
    };
    let (tests, packages) = (values(&["--test"]), values(&["-p", "--package"]));
    let others = args.iter().any(|arg| matches!(*arg, "--lib" | "--bin" | "--bins" | "--doc"));
    (tests.contains(&"real") || (tests.is_empty() && !others))
        && (packages.is_empty() || packages.contains(&"quiesce-integration"))
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
    fn is_wanted_where_tests_of_real_servers_would_be_run() {
        let wanted = |args: &str| is_wanted(&args.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
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
