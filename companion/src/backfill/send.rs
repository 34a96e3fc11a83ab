//! Sends replays over HTTP/1.1: no redirects, no proxies of the environment, and nothing in them that was not
//! received.

use std::{io, sync::Arc, time::Duration};

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::answer::Attempt;
use crate::{clock, config::Backfill as Config};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Of an answer's body so much is read, to use the connection again; nobody looks at it.
const BODY_BYTES: usize = 64 * 1024;

/// Sends replays to one place.
#[derive(Clone)]
pub struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: Uri,
    timeout: Duration,
    kept: Arc<[String]>,
}

impl Sender {
    /// To `target`.
    pub fn new(target: Uri, config: &Config) -> io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT.min(config.timeout.duration())));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(usize::try_from(config.concurrency.get()).unwrap_or(usize::MAX))
            .build(connector);
        let kept = config.answer_headers.clone().into();
        Ok(Self { client, target, timeout: config.timeout.duration(), kept })
    }

    /// Where it sends.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// Sends one, and takes from the answer what is kept.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Attempt {
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| cause(&error))?;
            let (parts, body) = response.into_parts();
            let now = clock::now();
            let attempt = Attempt::answered(parts.status, &parts.headers, &self.kept, now);
            // With its status it has answered, whatever becomes of its body.
            Ok((attempt, body))
        };
        let deadline = tokio::time::Instant::now() + self.timeout;
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok((attempt, body))) => {
                let rest = Limited::new(body, BODY_BYTES).collect();
                // Dropped half-read, its connection is closed, which is all that follows from an error here.
                let _ = tokio::time::timeout_at(deadline, rest).await;
                attempt
            }
            Ok(Err(why)) => Attempt::Unanswered(why),
            Err(_) => {
                let limit = crate::config::Period::from_ms(
                    u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
                );
                Attempt::Unanswered(format!("no answer within {limit}"))
            }
        }
    }
}

/// The innermost reason of an error: those around it say that something failed.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
