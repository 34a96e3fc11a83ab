//! A server that others make, on a free port, with a directory of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use quiesce_integration::{assert_eventually, ports, process::Process, skip::skip};
use tempfile::TempDir;

/// Python and Node may have much to load, on a machine that does other things too.
const START_BOUND: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
pub struct Server {
    // Before `dir`: the process ends before its files go.
    process: Process,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Server {
    /// Starts what `command` makes of an address and a directory for data, and waits until it listens.
    pub async fn start(name: &str, command: impl FnOnce(SocketAddr, &Path) -> Command) -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("quiesce-{name}-")).tempdir().unwrap();
        let addr = ports::free().unwrap();
        let process =
            Process::spawn(name, command(addr, dir.path()), &dir.path().join("server.log")).unwrap();
        let mut server = Self { process, addr, _dir: dir };
        assert_eventually!(server.listens().await, within: START_BOUND, "{name} listens:\n{}", server.process.log());
        server
    }

    async fn listens(&mut self) -> bool {
        let ended = self.process.exited();
        assert!(ended.is_none(), "ended with {ended:?} while it started:\n{}", self.process.log());
        tokio::net::TcpStream::connect(self.addr).await.is_ok()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A file of `integration/clients`.
pub fn program(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(file)
}

/// Python with nothing but these packages, and not what somebody has installed beside them.
pub fn python(packages: &Path) -> Command {
    let mut command = Command::new("python3");
    command
        .arg("-S")
        .env("PYTHONPATH", packages)
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Node among the packages of this project.
pub fn node(project: &Path) -> Command {
    let mut command = Command::new("node");
    command.current_dir(project);
    command
}

/// What set-up found, or nothing: then this test is skipped, and says so where nobody captures it. CI skips nothing.
pub fn or_skip(what: &str, found: anyhow::Result<Option<PathBuf>>) -> Option<PathBuf> {
    let found = found.unwrap();
    if found.is_none() {
        skip(&format!("{what} is not there; `cargo xtask test` gets it"));
    }
    found
}
