//! Keeps a guard in step with the companion: a long poll for snapshots, and reports while writes drain.

use std::{sync::Arc, time::Duration};

use quiesce_policy::{
    json,
    snapshot::{Epoch, InstanceId, Snapshot},
    sync::{EPOCH_HEADER, Enforcer, EnforcerKind, RejectedSnapshot, SyncRequest},
};
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    config::{Config, ConfigError},
    guard::{Shared, Standing},
    in_flight::Drain,
    saved,
};

/// How long the companion may hold a poll.
const POLL: Duration = Duration::from_secs(30);

/// How long an answer may take beyond that.
const ANSWER: Duration = Duration::from_secs(5);

/// While writes drain, they are looked at this often, so that the last one's end is told at once.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// That fewer writes are left is told at most this often.
const DRAIN_REPORT: Duration = Duration::from_millis(50);

/// While a window is in force, counters are reported this often.
const COUNTERS: Duration = Duration::from_secs(2);

/// Without anything to drain, how things stand is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// After a failed call the next one waits a random time up to the first of these, then twice as long, up to the last.
const BACKOFF: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(4)];

/// A snapshot larger than this is not taken in; bytes.
const MAX_SNAPSHOT_BYTES: usize = 16 * 1024 * 1024;

/// Longer errors are cut before they are reported.
const MAX_ERROR_CHARS: usize = 500;

/// The way to the companion.
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    token: String,
    enforcer: Enforcer,
    boots_closed: bool,
}

/// What came back.
enum Answer {
    /// Nothing new.
    Nothing,
    /// A snapshot, with the version that the companion gives it.
    Snapshot(Epoch, Vec<u8>),
}

/// Why no answer came that can be used.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("a snapshot of more than {MAX_SNAPSHOT_BYTES} bytes")]
    TooLong,
}

impl Client {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let url = config.sync_url()?;
        let http = match &config.client {
            Some(client) => client.clone(),
            None => client(&url).map_err(|error| ConfigError::Client(error.to_string()))?,
        };
        let enforcer = Enforcer {
            id: config.id.clone(),
            instance: InstanceId::from(format!("{:016x}", fastrand::u64(..))),
            kind: EnforcerKind::Service,
            labels: config.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let (token, boots_closed) = (config.token.expose().to_owned(), config.boots_closed());
        Ok(Self { http, url, token, enforcer, boots_closed })
    }

    async fn send(
        &self,
        shared: &Shared,
        standing: &Standing,
        rejected: Option<RejectedSnapshot>,
        wait: Duration,
    ) -> Result<Answer, SyncError> {
        let request = SyncRequest {
            enforcer: self.enforcer.clone(),
            applied: standing.applied,
            in_force: standing.in_force.clone(),
            in_flight: standing.in_flight,
            unaccounted: standing.unaccounted,
            cut: 0,
            clock: (shared.clock)(),
            counters: shared.counters.report(),
            boots_closed: self.boots_closed,
            rejected,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let call = self.http.post(self.url.clone()).bearer_auth(&self.token).timeout(wait + ANSWER);
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let mut response = call.header(CONTENT_TYPE, "application/json").body(body).send().await?;
        match response.status() {
            StatusCode::NO_CONTENT => return Ok(Answer::Nothing),
            StatusCode::OK => {}
            other => return Err(SyncError::Status(other)),
        }
        let epoch = response.headers().get(EPOCH_HEADER).and_then(|value| value.to_str().ok());
        let epoch = Epoch(epoch.and_then(|value| value.parse().ok()).unwrap_or(0));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_SNAPSHOT_BYTES {
                return Err(SyncError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer::Snapshot(epoch, body))
    }
}

/// A client that brings its own TLS, so that whatever the service has chosen for its process stays untouched.
fn client(url: &Url) -> Result<reqwest::Client, Box<dyn std::error::Error>> {
    let ring = || Arc::new(rustls::crypto::ring::default_provider());
    let provider = CryptoProvider::get_default().map_or_else(ring, Arc::clone);
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = match url.scheme() {
        "https" => tls.with_platform_verifier()?,
        _ => tls.with_root_certificates(RootCertStore::empty()),
    };
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls.with_no_client_auth());
    let client = client.connect_timeout(ANSWER).no_proxy();
    Ok(client.user_agent(concat!("quiesce-guard/", env!("CARGO_PKG_VERSION"))).build()?)
}

/// What the two loops tell each other.
#[derive(Clone, Debug, Default)]
struct Link {
    /// The companion answers.
    up: bool,
    /// What it could not be brought to use.
    rejected: Option<RejectedSnapshot>,
}

/// Keeps a guard in step for as long as it lives.
pub(crate) async fn run(shared: Arc<Shared>, client: Client) {
    let link = watch::Sender::new(Link::default());
    tokio::join!(poll(&shared, &client, &link), report(&shared, &client, link.subscribe()));
}

/// Asks for snapshots, again and again.
async fn poll(shared: &Arc<Shared>, client: &Client, link: &watch::Sender<Link>) {
    let [shortest, longest] = BACKOFF;
    let mut backoff = shortest;
    // Reports have a drain of their own; here it only tells what is in flight.
    let mut drain = Drain::default();
    let mut rejections = 0;
    loop {
        let standing = shared.measure(&mut drain);
        let rejected = link.borrow().rejected.clone();
        match client.send(shared, &standing, rejected, POLL).await {
            Ok(answer) => {
                backoff = shortest;
                let rejected = match answer {
                    Answer::Nothing => link.borrow().rejected.clone(),
                    Answer::Snapshot(version, body) => match apply(shared, body).await {
                        Ok(()) => None,
                        Err(error) => {
                            tracing::error!(
                                "snapshot {version} cannot be used, the last good one stays in force: {error}"
                            );
                            rejections += 1;
                            Some(RejectedSnapshot { version, error, count: rejections })
                        }
                    },
                };
                let is_rejected = rejected.is_some();
                link.send_replace(Link { up: true, rejected });
                if is_rejected {
                    sleep(shortest).await;
                }
            }
            Err(error) => {
                link.send_modify(|link| link.up = false);
                let pause = backoff.mul_f64(fastrand::f64());
                tracing::warn!("the companion did not answer as it should ({error}); next try in {pause:?}");
                sleep(pause).await;
                backoff = (backoff * 2).min(longest);
            }
        }
    }
}

/// Puts a snapshot in force, and saves it; the error says why it cannot be used.
async fn apply(shared: &Shared, body: Vec<u8>) -> Result<(), String> {
    let publish = || {
        let snapshot: Snapshot = json::from_slice(&body).map_err(|error| error.to_string())?;
        let (version, in_force) = (snapshot.version, shared.applied());
        if version <= in_force {
            return Err(format!("version {version} is not newer than {in_force}, which is in force"));
        }
        shared.publish(&snapshot).map_err(|error| error.to_string())?;
        Ok(version)
    };
    let version =
        publish().map_err(|error: String| error.chars().take(MAX_ERROR_CHARS).collect::<String>())?;
    tracing::info!("snapshot {version} is in force");
    if let Some(file) = shared.config.snapshot_file.clone() {
        let saved = tokio::task::spawn_blocking(move || saved::save(&file, &body)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!("the snapshot could not be saved: {error}");
        }
    }
    Ok(())
}

/// Tells the companion how things stand whenever that is news to it.
async fn report(shared: &Arc<Shared>, client: &Client, mut link: watch::Receiver<Link>) {
    let mut changes = shared.follow();
    let mut drain = Drain::default();
    let mut told = Standing::default();
    let mut told_at = Instant::now();
    loop {
        let now = link.borrow_and_update().clone();
        changes.mark_unchanged();
        let standing = shared.measure(&mut drain);
        if !now.up {
            told = Standing::default();
        } else if is_news(&standing, &told, told_at.elapsed()) {
            let sent = client.send(shared, &standing, now.rejected, Duration::ZERO).await;
            told_at = Instant::now();
            match sent {
                // A snapshot that comes this way comes to the poll as well.
                Ok(_) => told = standing,
                Err(error) => {
                    tracing::debug!("a report did not get through: {error}");
                    told = Standing::default();
                    sleep(BACKOFF[0].mul_f64(fastrand::f64())).await;
                }
            }
            continue;
        }
        let look = if !told.in_force.is_empty() && told.in_flight > 0 { DRAIN_LOOK } else { LOOK };
        let until_start = {
            let (state, now) = (shared.state(), (shared.clock)());
            state.policy.schedule().next_start(now).map(|at| Duration::from_millis(at.ms_since(now).max(1)))
        };
        tokio::select! {
            () = sleep(until_start.map_or(look, |start| start.min(look))) => {}
            _ = changes.changed() => {}
            _ = link.changed() => {}
        }
    }
}

/// Whether how things stand is worth a report.
fn is_news(standing: &Standing, told: &Standing, since_told: Duration) -> bool {
    if standing.in_force.is_empty() && told.in_force.is_empty() {
        return false;
    }
    let drained = standing.in_flight == 0 && told.in_flight > 0;
    standing.in_force != told.in_force
        || drained
        || (standing != told && since_told >= DRAIN_REPORT)
        || since_told >= COUNTERS
}
