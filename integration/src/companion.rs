//! The real companion and its command line, on a free port and a store of its own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use crate::{artifacts, http::Request, ports, process::Process, snapshots::SYNC_TOKEN, wait};

const START_BOUND: Duration = Duration::from_secs(20);
const STOP_BOUND: Duration = Duration::from_secs(20);

/// Where a small disk is, in the companion's directory.
const DISK: &str = "disk";

/// The token that the command line uses here.
pub const OPERATOR_TOKEN: &str = "operator-token-of-the-tests";

/// A running companion; killed when dropped.
#[derive(Debug)]
pub struct Companion {
    // Before `dir`: the process ends before its files go.
    process: Process,
    addr: SocketAddr,
    dir: TempDir,
    disk: Option<SmallDisk>,
}

/// A file system in memory that only the companion sees, and that ends with it.
#[derive(Clone, Copy, Debug)]
struct SmallDisk {
    bytes: u64,
}

impl SmallDisk {
    /// Mounts it, and becomes the program that follows.
    const MOUNT: &str = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@""#;

    /// A command that runs `program` with the disk in place of the directory `at`, in a namespace of its own.
    fn command(self, at: &Path, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", Self::MOUNT, "sh", &self.bytes.to_string()])
            .args([at, program]);
        command
    }
}

impl Companion {
    /// Starts one with `settings` added to its configuration (YAML, top level), and waits until it is ready.
    ///
    /// # Errors
    /// When the binary is not there, or is not ready in time; its log is in the error.
    pub async fn start(settings: &str) -> Result<Self> {
        Self::start_on(None, settings).await
    }

    /// The same with its state on a disk of its own, of so many bytes. What was on it is gone when the process ends.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on_small_disk(bytes: u64, settings: &str) -> Result<Self> {
        Self::start_on(Some(SmallDisk { bytes }), settings).await
    }

    /// Whether this system lets us mount a disk of our own; if not, why.
    ///
    /// # Errors
    /// When there are no programs to try it with, or they are not allowed to.
    pub fn can_have_small_disk() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let tried = SmallDisk { bytes: 1 << 20 }.command(dir.path(), Path::new("true")).output();
        let tried = tried.context("unshare")?;
        ensure!(
            tried.status.success(),
            "no namespace of our own: {}",
            String::from_utf8_lossy(&tried.stderr).trim()
        );
        Ok(())
    }

    async fn start_on(disk: Option<SmallDisk>, settings: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("quiesce-companion-").tempdir()?;
        let addr = ports::free()?;
        let state_dir = disk.map_or_else(|| dir.path().to_owned(), |_| dir.path().join(DISK));
        fs::create_dir_all(&state_dir)?;
        fs::write(dir.path().join("quiesce.yaml"), config(addr, &dir, &state_dir, settings)?)?;
        let process = spawn(&dir, disk)?;
        let mut companion = Self { process, addr, dir, disk };
        companion.until_ready().await?;
        Ok(companion)
    }

    /// Its small disk, as seen from here.
    pub fn small_disk(&self) -> PathBuf {
        let seen_by_it = self.dir.path().join(DISK);
        Path::new("/proc")
            .join(self.pid().to_string())
            .join("root")
            .join(seen_by_it.strip_prefix("/").unwrap_or(&seen_by_it))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("quiesce.yaml")
    }

    /// The file of its embedded store.
    pub fn store_file(&self) -> PathBuf {
        self.dir.path().join("quiesce.db")
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it does not end in time, or ends with a failure.
    pub async fn stop(&mut self) -> Result<()> {
        let status = self.process.terminate(STOP_BOUND).await?;
        ensure!(status.success(), "the companion ended with {status} after SIGTERM:\n{}", self.log());
        Ok(())
    }

    /// Starts it again on the same port and store, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.process = spawn(&self.dir, self.disk)?;
        self.until_ready().await
    }

    /// A command of its command line, with where the companion is and an operator's token set.
    ///
    /// # Errors
    /// When the binary is not there.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(artifacts::quiesce()?);
        command
            .args(args)
            .env("QUIESCE_URL", format!("http://{}", self.addr))
            .env("QUIESCE_TOKEN", OPERATOR_TOKEN)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command to its end and returns whatever it said.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn output(&self, args: &[&str]) -> Result<Output> {
        tokio::process::Command::from(self.command(args)?)
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("quiesce {}", args.join(" ")))
    }

    /// Runs a command that must succeed and returns its standard output.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args).await?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.success(),
            "quiesce {} ended with {}\nstdout: {out}\nstderr: {err}",
            args.join(" "),
            output.status
        );
        Ok(out.into_owned())
    }

    /// Runs a command that must succeed with `--output json` and reads what it prints.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub async fn json<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T> {
        let out = self.run(&[args, &["--output", "json"]].concat()).await?;
        serde_json::from_str(&out)
            .with_context(|| format!("quiesce {}: not the JSON expected: {out}", args.join(" ")))
    }

    /// The filter that the command line prints for Envoys of this companion, with `args` about what it is to be.
    ///
    /// # Errors
    /// When it prints none, or the module is not there.
    pub async fn envoy_filter(&self, args: &[&str]) -> Result<Value> {
        let wasm = artifacts::wasm()?;
        let wasm = wasm.to_str().context("a module whose path is no text")?;
        let with = ["--config", "quiesce.yaml", "--sync-token-file", "sync-token", "--wasm", wasm];
        self.json(&[&["envoy", "filter"], &with[..], args].concat()).await
    }

    /// A request to its API as an operator.
    pub fn api(&self, method: &str, path: &str) -> Request {
        Request::new(method, path).header("authorization", &format!("Bearer {OPERATOR_TOKEN}"))
    }

    async fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_BOUND;
        loop {
            if let Some(status) = self.process.exited() {
                bail!("the companion ended with {status} while it started:\n{}", self.log());
            }
            if Request::get("/readyz").send(self.addr).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the companion was not ready within {START_BOUND:?}:\n{}", self.log());
            }
            tokio::time::sleep(wait::POLL).await;
        }
    }
}

fn config(addr: SocketAddr, dir: &TempDir, state_dir: &Path, settings: &str) -> Result<String> {
    let dir = dir.path();
    fs::write(dir.join("operator-token"), OPERATOR_TOKEN)?;
    fs::write(dir.join("sync-token"), SYNC_TOKEN)?;
    Ok(format!(
        "listen: {addr}\nstate_dir: {state_dir}\nlog_format: human\ntokens:\n\
         \x20 - {{ name: tests, role: operator, file: {dir}/operator-token }}\n\
         \x20 - {{ name: envoys, role: sync, file: {dir}/sync-token }}\n{settings}\n",
        dir = dir.display(),
        state_dir = state_dir.display(),
    ))
}

fn spawn(dir: &TempDir, disk: Option<SmallDisk>) -> Result<Process> {
    let program = artifacts::quiesce()?;
    let mut command = match disk {
        Some(disk) => disk.command(&dir.path().join(DISK), &program),
        None => Command::new(program),
    };
    command.arg("serve").arg("--config").arg(dir.path().join("quiesce.yaml")).current_dir(dir.path());
    Process::spawn("quiesce serve", command, &dir.path().join("quiesce.log"))
}
