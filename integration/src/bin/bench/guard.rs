//! What the guard costs a service for each read that passes: time on one core, beside the service alone.
//!
//! That it allocates nothing is a test, `guard/tests/allocations.rs`.

use std::{
    convert::Infallible,
    future::{Future as _, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use anyhow::{Result, ensure};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Bytes;
use quiesce_guard::{Boot, Config, Guard, GuardLayer};
use quiesce_policy::snapshot::Snapshot;
use serde_json::json;
use tower::{Layer as _, Service};

use crate::{
    cpus,
    policies::HOST,
    report::{Report, median},
};

const AT_MOST_US: f64 = 1.0;
/// Requests that are made ready, and then served in one go.
const BATCH: usize = 1000;
/// Rules of the surface that the reads belong to.
const RULES: usize = 100;

/// Serves batches of reads by turns with the guard and without it, while a window is in force.
pub fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let turns = if quick { 3 } else { 300 };
    let guard = frozen()?;
    let (mut alone, mut guarded) = (Inner, GuardLayer::new(guard).layer(Inner));
    let costs: Vec<f64> = cpus::on_one(|| {
        // The first turn is for caches and for the memory that is used again.
        let both = |_| Ok(serve(&mut guarded)? - serve(&mut alone)?);
        (0..=turns).map(both).skip(1).collect::<Result<_>>()
    })?;
    report.target("a passing GET through the guard of a service: time", median(&costs), "µs", AT_MOST_US);
    Ok(())
}

fn frozen() -> Result<Guard> {
    let rules: Vec<_> = (0..RULES)
        .map(|at| json!({ "methods": ["POST"], "path": format!("/r{at}/{{id}}"), "effect": "read" }))
        .collect();
    let snapshot: Snapshot = serde_json::from_value(json!({
        "version": 1,
        "windows": [{
            "id": "w",
            "starts_at": "2026-01-01T00:00:00Z",
            "started": true,
            "expires_at": "2999-01-01T00:00:00Z",
            "reason": "benchmark",
            "drain_timeout_ms": 30_000,
        }],
        "surfaces": [{ "name": "shop", "hosts": [HOST], "path_prefix": "/api", "rules": rules }],
    }))?;
    let guard = Guard::unconnected(Config::new("http://127.0.0.1:1", "token", "bench").boot(Boot::Closed));
    guard.publish(&snapshot)?;
    Ok(guard)
}

/// A service that is done at once.
#[derive(Clone)]
struct Inner;

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// Time for each request of a batch; microseconds.
fn serve<S, R>(service: &mut S) -> Result<f64>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let requests: Vec<_> = (0..BATCH).map(request).collect::<Result<_>>()?;
    let mut context = Context::from_waker(Waker::noop());
    let mut served = 0;
    let began = Instant::now();
    for request in requests {
        if let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) {
            served += usize::from(response.status().is_success());
        }
    }
    let took = began.elapsed();
    ensure!(served == BATCH, "{served} of {BATCH} reads have passed");
    #[allow(clippy::cast_precision_loss, reason = "a thousand")]
    Ok(took.as_secs_f64() * 1e6 / BATCH as f64)
}

/// As a browser or a client library sends it.
fn request(at: usize) -> Result<Request<Empty<Bytes>>> {
    let request = Request::get(format!("/api/orders/{at}?page=2"))
        .header("host", HOST)
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, deflate, br")
        .header("accept-language", "en")
        .header("authorization", "Bearer 0123456789abcdef0123456789abcdef")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-request-id", "0198f0c2-7a53-7cc0-9d0e-2f6a5c1b7d11");
    Ok(request.body(Empty::new())?)
}
