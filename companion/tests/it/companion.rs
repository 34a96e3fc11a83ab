//! A companion inside the test's process, on a free port and a store of its own.

use std::{path::Path, time::Duration};

use quiesce::{
    config::Config,
    event::Event,
    intents::Seals,
    server::{ServeError, Server},
    view::{BarrierView, EventList, FleetView, StatusView, WindowView},
};
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

/// Whatever a test waits for has happened by then, or never will.
pub const LIMIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` finds what it looks for.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// An HTTP client.
pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(LIMIT + LIMIT).build().unwrap()
}

/// A running companion.
pub struct Companion {
    pub url: String,
    http: reqwest::Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Companion {
    /// Starts one with this configuration in a directory.
    pub async fn start_in(dir: &Path, yaml: &str) -> Self {
        Self::try_start_in(dir, yaml).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn try_start_in(dir: &Path, yaml: &str) -> Result<Self, ServeError> {
        Self::open(dir, yaml, Seals::default()).await
    }

    /// Starts one that seals what it keeps.
    pub async fn start_sealed(dir: &Path, yaml: &str, seals: Seals) -> Self {
        Self::open(dir, yaml, seals).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts one at the address that one before it had.
    pub async fn start_at(dir: &Path, yaml: &str, address: &str) -> Self {
        Self::open_at(dir, yaml, Seals::default(), address).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn open(dir: &Path, yaml: &str, seals: Seals) -> Result<Self, ServeError> {
        Self::open_at(dir, yaml, seals, "127.0.0.1:0").await
    }

    async fn open_at(dir: &Path, yaml: &str, seals: Seals, address: &str) -> Result<Self, ServeError> {
        let mut config = Config::from_yaml(yaml, "test.yaml").unwrap();
        config.listen = address.parse().unwrap();
        config.state_dir = Some(dir.to_owned());
        let server = Server::open(config, seals).await?;
        let url = format!("http://{}", server.address()?);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Ok(Self { url, http: http(), stop, task })
    }

    /// Starts one with this configuration; its state goes with the directory.
    pub async fn start(yaml: &str) -> (Self, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Self::start_in(dir.path(), yaml).await, dir)
    }

    /// Takes it down in good order.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(LIMIT, self.task).await.expect("going down takes too long").unwrap().unwrap();
    }

    /// Sends a request, with a JSON body if there is one.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.unwrap()
    }

    async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> T {
        let response = self.send(method, path, body).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.json(Method::GET, path, None).await
    }

    pub async fn create(&self, body: Value) -> WindowView {
        self.json(Method::POST, "/v1/windows", Some(&body)).await
    }

    /// Freezes everything for ten minutes.
    pub async fn freeze(&self) -> WindowView {
        self.create(json!({ "duration_ms": 600_000, "reason": "reindex" })).await
    }

    pub async fn act(&self, window: &WindowView, verb: &str) -> WindowView {
        self.json(Method::POST, &format!("/v1/windows/{}/{verb}", window.id), None).await
    }

    pub async fn thaw(&self, window: &WindowView) -> WindowView {
        self.act(window, "thaw").await
    }

    pub async fn window(&self, window: &WindowView) -> WindowView {
        self.get(&format!("/v1/windows/{}", window.id)).await
    }

    pub async fn status(&self) -> StatusView {
        self.get("/v1/status").await
    }

    pub async fn fleet(&self) -> FleetView {
        self.get("/v1/fleet").await
    }

    pub async fn events(&self) -> Vec<Event> {
        self.get::<EventList>("/v1/events?limit=1000").await.events
    }

    /// Follows a window's barrier by long polls until `done` says so.
    pub async fn watch(&self, window: &WindowView, done: impl Fn(&WindowView) -> bool) -> WindowView {
        let mut after = String::new();
        let follow = async {
            loop {
                let path = format!("/v1/windows/{}/barrier?wait_ms=5000&after={after}", window.id);
                let look: BarrierView = self.get(&path).await;
                if done(&look.window) {
                    return look.window;
                }
                after = look.revision;
            }
        };
        tokio::time::timeout(LIMIT, follow).await.expect("the barrier never came to that")
    }
}
