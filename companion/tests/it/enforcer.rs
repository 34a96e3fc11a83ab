//! An enforcer that speaks `/v1/sync`, as obedient or as odd as a test wants it.

use std::collections::BTreeMap;

use quiesce_policy::{
    snapshot::{Epoch, Snapshot, WindowId},
    sync::{
        EPOCH_HEADER, Enforcer as Identity, EnforcerKind, Seen, SeenReport, SurfaceCounters, SyncRequest,
    },
    time::Timestamp,
};
use reqwest::StatusCode;
use tokio::task::JoinHandle;

use crate::companion::http;

/// What the companion answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub epoch: Option<u64>,
    pub snapshot: Option<Snapshot>,
}

/// An enforcer whose every report a test decides.
#[derive(Clone)]
pub struct Enforcer {
    pub request: SyncRequest,
    pub token: Option<String>,
    url: String,
    http: reqwest::Client,
}

impl Enforcer {
    pub fn new(url: &str, id: &str, instance: &str) -> Self {
        let request = SyncRequest {
            enforcer: Identity {
                id: id.into(),
                instance: instance.into(),
                kind: EnforcerKind::Envoy,
                labels: BTreeMap::new(),
                version: "0.1.0".to_owned(),
            },
            applied: Epoch(0),
            in_force: Vec::new(),
            in_flight: 0,
            unaccounted: 0,
            cut: 0,
            clock: Timestamp::from_unix_ms(0),
            counters: Vec::new(),
            boots_closed: true,
            rejected: None,
            wait_ms: 0,
        };
        Self { request, token: None, url: url.to_owned(), http: http() }
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.request.enforcer.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn counted(mut self, surface: &str, outcome: &str, count: u64) -> Self {
        let outcomes = BTreeMap::from([(outcome.to_owned(), count)]);
        self.request.counters.push(SurfaceCounters { surface: surface.to_owned(), outcomes });
        self
    }

    /// Reports, and waits for an answer that long.
    pub async fn send(&mut self, wait_ms: u64) -> reqwest::Result<Answer> {
        self.request.wait_ms = wait_ms;
        self.request.clock = quiesce::clock::now();
        let mut request = self.http.post(format!("{}/v1/sync", self.url)).json(&self.request);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        let status = response.status();
        let epoch = response.headers().get(EPOCH_HEADER).map(|it| it.to_str().unwrap().parse().unwrap());
        let body = response.bytes().await?;
        let snapshot = (status == StatusCode::OK).then(|| serde_json::from_slice(&body).unwrap());
        Ok(Answer { status, epoch, snapshot })
    }

    /// Reports without waiting.
    pub async fn report(&mut self) -> Answer {
        self.send(0).await.unwrap()
    }

    /// Reports what it has seen, under the rules of the snapshot that it has.
    pub async fn saw(&self, seen: Vec<Seen>) {
        let report = SeenReport {
            enforcer: self.request.enforcer.id.clone(),
            epoch: self.request.applied,
            seen,
            unlisted: 0,
        };
        let request = self.http.post(format!("{}/v1/seen", self.url)).json(&report);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }

    /// Puts a snapshot in force.
    pub fn apply(&mut self, snapshot: &Snapshot) {
        let labels = &self.request.enforcer.labels;
        let started = snapshot.windows.iter().filter(|window| window.started);
        let in_force: Vec<WindowId> =
            started.filter(|window| window.scope.covers_labels(labels)).map(|it| it.id.clone()).collect();
        self.request.applied = snapshot.version;
        self.request.in_force = in_force;
    }

    /// Takes the snapshot that there is, puts it in force and says so.
    pub async fn obey(&mut self) {
        if let Some(snapshot) = self.report().await.snapshot {
            self.apply(&snapshot);
            self.report().await;
        }
    }

    /// Polls and obeys from now on, until dropped; also while the companion is away.
    pub fn run(mut self) -> Running {
        Running(tokio::spawn(async move {
            loop {
                match self.send(2_000).await {
                    Ok(Answer { snapshot: Some(snapshot), .. }) => self.apply(&snapshot),
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                }
            }
        }))
    }

    /// Holds one poll open, until dropped.
    pub fn hold(&self) -> Running {
        let mut enforcer = self.clone();
        Running(tokio::spawn(async move {
            let _ = enforcer.send(30_000).await;
        }))
    }
}

/// Something that an enforcer does in the background. Dropped, it hangs up.
pub struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}
