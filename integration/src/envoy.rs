//! A real Envoy: started from a bootstrap made here, restarted, killed, and asked for its statistics.

pub mod bootstrap;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    artifacts,
    http::{Request, Response},
    ports,
    process::{Process, cpu_time},
    wait,
};

pub use bootstrap::{Boot, EnforcerConfig, Filter, OnUnreachable, PluginConfig};

/// Starting takes this long at most: Envoy compiles the module before it is ready.
const START_BOUND: Duration = Duration::from_secs(60);

/// What kind of Envoy to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The filter before the router.
    pub filter: Filter,
    /// Where requests go.
    pub origin: SocketAddr,
    /// Where the cluster `quiesce` is: companions that share a store; without any there is no such cluster.
    pub companions: Vec<SocketAddr>,
    /// The node's id.
    pub node_id: String,
    /// Worker threads.
    pub concurrency: u32,
    /// Serve TLS and ask clients for a certificate.
    pub tls: Option<Tls>,
    /// Speak to the origin what the client speaks, HTTP/1.1 or HTTP/2, as origins with gRPC need it; else HTTP/1.1.
    pub protocol_of_client: bool,
    /// Normalise paths and reject what is odd, as Envoy does only when it is told to.
    pub strict_paths: bool,
    /// Reject requests that have headers with `_` in their names.
    pub reject_underscores: bool,
}

impl Options {
    /// Two workers, the node `envoy-1`, no companion, plain text.
    pub fn new(filter: Filter, origin: SocketAddr) -> Self {
        Self {
            filter,
            origin,
            companions: Vec::new(),
            node_id: "envoy-1".to_owned(),
            concurrency: 2,
            tls: None,
            protocol_of_client: false,
            strict_paths: false,
            reject_underscores: false,
        }
    }

    /// The shipped filter under this configuration, with a companion at `companion`.
    ///
    /// # Errors
    /// When the shipped module is not there.
    pub fn quiesce(config: &PluginConfig, origin: SocketAddr, companion: SocketAddr) -> Result<Self> {
        let filter =
            Filter::Wasm { module: artifacts::wasm()?, configuration: serde_json::to_string(config)? };
        Ok(Self { companions: vec![companion], ..Self::new(filter, origin) })
    }
}

/// What a listener with mutual TLS needs, each in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate chain.
    pub certificate: String,
    /// Its private key.
    pub private_key: String,
    /// Whoever signed the clients' certificates.
    pub client_ca: String,
}

/// A running Envoy; killed when dropped.
#[derive(Debug)]
pub struct Envoy {
    // Before `dir`: the process ends before its files go.
    process: Process,
    options: Options,
    listen: SocketAddr,
    admin: SocketAddr,
    dir: TempDir,
}

impl Envoy {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// When Envoy is not there, or is not ready in time; its log is in the error.
    pub async fn start(options: Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("quiesce-envoy-").tempdir()?;
        let (listen, admin) = (ports::free()?, ports::free()?);
        let process = spawn(&options, listen, admin, &dir)?;
        let mut envoy = Self { process, options, listen, admin, dir };
        envoy.until_ready().await?;
        Ok(envoy)
    }

    /// Where it takes requests.
    pub fn addr(&self) -> SocketAddr {
        self.listen
    }

    /// Where its admin interface is.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same ports, after killing it if it still runs, and waits until it serves.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.start_again()?;
        self.until_ready().await
    }

    /// Starts it again like [`Self::restart`] without waiting for it to be ready.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.kill();
        self.process = spawn(&self.options, self.listen, self.admin, &self.dir)?;
        Ok(())
    }

    /// Sends a request through it.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub async fn send(&self, request: &Request) -> Result<Response> {
        request.send(self.listen).await
    }

    /// Its counters and gauges whose name matches the regular expression `filter`.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn stats(&self, filter: &str) -> Result<BTreeMap<String, u64>> {
        #[derive(Deserialize)]
        struct Stats {
            stats: Vec<Stat>,
        }
        #[derive(Deserialize)]
        struct Stat {
            name: Option<String>,
            value: Option<serde_json::Value>,
        }
        let answer = Request::get(&format!("/stats?format=json&filter={filter}")).send(self.admin).await?;
        let stats: Stats = answer.json()?;
        Ok(stats.stats.into_iter().filter_map(|stat| Some((stat.name?, stat.value?.as_u64()?))).collect())
    }

    /// One of the filter's metrics, `quiesce.in_flight` for example; 0 while it is not defined.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let name = format!("wasmcustom.{name}");
        let found = self.stats(&format!("^{}$", name.replace('.', "%5C."))).await?;
        Ok(found.get(&name).copied().unwrap_or(0))
    }

    /// Admitted writes that the filter counts in flight.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn in_flight(&self) -> Result<u64> {
        let lanes = self.stats("^wasmcustom%5C.quiesce%5C.in_flight%5C.").await?;
        Ok(lanes.values().sum())
    }

    /// CPU time that its threads have used.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.pid())
    }

    /// Waits until it is live and its listener is up.
    ///
    /// # Errors
    /// When it has ended or is not ready in time; its log is in the error.
    pub async fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_BOUND;
        loop {
            if let Some(status) = self.process.exited() {
                bail!("Envoy ended with {status} while it started:\n{}", self.log());
            }
            let live = Request::get("/ready").send(self.admin).await.is_ok_and(|answer| answer.status == 200);
            if live && tokio::net::TcpStream::connect(self.listen).await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("Envoy was not ready within {START_BOUND:?}:\n{}", self.log());
            }
            tokio::time::sleep(wait::POLL).await;
        }
    }
}

fn spawn(options: &Options, listen: SocketAddr, admin: SocketAddr, dir: &TempDir) -> Result<Process> {
    let config = dir.path().join("envoy.json");
    let bootstrap = bootstrap::bootstrap(options, listen, admin);
    std::fs::write(&config, serde_json::to_vec_pretty(&bootstrap)?)?;
    let mut command = Command::new(artifacts::envoy()?);
    command
        .arg("--config-path")
        .arg(&config)
        .args(["--service-node", &options.node_id, "--service-cluster", "quiesce-test"])
        .args(["--concurrency", &options.concurrency.to_string()])
        .args(["--log-level", "warning", "--component-log-level", "wasm:info", "--disable-hot-restart"]);
    Process::spawn(&format!("Envoy {}", options.node_id), command, &dir.path().join("envoy.log"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[tokio::test]
    async fn serves_and_restarts_on_the_same_port() {
        let origin = Origin::start().unwrap();
        let mut envoy = Envoy::start(Options::new(Filter::None, origin.addr())).await.unwrap();
        let addr = envoy.addr();
        assert_eq!(envoy.send(&Request::get("/before")).await.unwrap().status, 200);
        assert!(envoy.cpu_time().unwrap() > Duration::ZERO);
        let pid = envoy.pid();
        envoy.restart().await.unwrap();
        assert_eq!(envoy.addr(), addr);
        assert_ne!(envoy.pid(), pid);
        assert_eq!(envoy.send(&Request::get("/after")).await.unwrap().status, 200);
        let stats = envoy.stats("^http.ingress.downstream_rq_2xx$").await.unwrap();
        assert_eq!(stats.get("http.ingress.downstream_rq_2xx"), Some(&1), "{stats:?}");
    }
}
