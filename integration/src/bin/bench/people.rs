//! How soon people are told of a change, and the status page under load.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::body::Bytes;
use quiesce_integration::{
    http::Request,
    load::{Clients, Profile},
    stack::{Stack, StackOptions},
    wait,
};
use serde_json::{Value, json};

use crate::{
    freezes::{freeze, thaw},
    report::{Report, median, percentile},
};

const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Requests for the page, a second.
const PAGES_PER_S: f64 = 5_000.0;
/// People who look at the page at once.
const READERS: usize = 200;

/// Measures both.
pub async fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    tell(report, &stack, if quick { 2 } else { 50 }).await?;
    let (time, freezes) = if quick { (Duration::from_secs(1), 3) } else { (Duration::from_secs(20), 100) };
    show(report, &stack, time, freezes).await
}

/// From the request that freezes or thaws to a banner and a page that say so.
async fn tell(report: &mut Report, stack: &Stack, rounds: usize) -> Result<()> {
    let (mut banner_ms, mut page_ms) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let asked = json!({ "duration_ms": 600_000, "reason": "a benchmark" });
        let create = stack.companion.api("POST", "/v1/windows").header("content-type", "application/json");
        let began = Instant::now();
        let window: Value = create.body(asked.to_string()).send(stack.companion.addr()).await?.json()?;
        let (banner, page) = told(stack, "read-only", "read-only", began).await?;
        banner_ms.push(banner);
        page_ms.push(page);
        let began = Instant::now();
        thaw(&stack.companion, window["id"].as_str().unwrap_or_default()).await?;
        let (banner, page) = told(stack, "ended", "reopening", began).await?;
        banner_ms.push(banner);
        page_ms.push(page);
        wait::until("the banner forgets", TOLD_WITHIN, async || {
            let banner: Value = ask(stack.envoy().addr(), "/.well-known/maintenance").await.ok()?;
            (banner["state"] != "read-only").then_some(())
        })
        .await?;
    }
    let longest = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    report.target("state change to the banner: longest", longest(&banner_ms), "ms", 1000.0);
    report.target("state change to the status page: longest", longest(&page_ms), "ms", 1000.0);
    Ok(())
}

async fn ask(addr: std::net::SocketAddr, path: &str) -> Result<Value> {
    Request::get(path).send(addr).await?.json()
}

/// How long until banner and page are in these states; milliseconds.
async fn told(stack: &Stack, banner: &str, page: &str, began: Instant) -> Result<(f64, f64)> {
    let until = async |addr, path: &'static str, state: &str| {
        wait::until(path, TOLD_WITHIN, async || {
            let seen = ask(addr, path).await.ok()?;
            (seen["state"] == state).then(|| began.elapsed().as_secs_f64() * 1e3)
        })
        .await
    };
    tokio::try_join!(
        until(stack.envoy().addr(), "/.well-known/maintenance", banner),
        until(stack.companion.addr(), "/status.json", page)
    )
}

/// The page during a window, at a rate, while other windows begin and end.
async fn show(report: &mut Report, stack: &Stack, time: Duration, freezes: usize) -> Result<()> {
    let window = freeze(&stack.companion, &["shop.example.com"]).await?;
    let alone = freezes_ms(stack, freezes).await?;
    let addr = stack.companion.addr();
    let page = Profile {
        addr,
        method: "GET",
        target: "/status",
        headers: &[],
        body: Bytes::new(),
        clients: READERS,
    };
    let mut readers = Clients::connect(page).await?;
    let (read, beside) = tokio::join!(readers.send_at_rate(PAGES_PER_S, time), freezes_ms(stack, freezes));
    let ((tally, took), beside) = (read?, beside?);
    let others = tally.other_than(&[200]);
    ensure!(others.is_empty(), "the page: {others:?}");
    let took_ms: Vec<f64> = took.iter().map(|it| it.as_secs_f64() * 1e3).collect();
    #[allow(clippy::cast_precision_loss, reason = "a count")]
    let served = tally.answers() as f64 / time.as_secs_f64();
    report.note("requests for the status page served, a second", served, "/s");
    report.target("the status page at that rate: p99", percentile(&took_ms, 0.99), "ms", 20.0);
    let slowed = median(&beside) / median(&alone);
    report.note("a freeze meanwhile, by one without that load: medians", slowed, "x");
    report.target("a freeze meanwhile: p99", percentile(&beside, 0.99), "ms", 1000.0);
    thaw(&stack.companion, &window).await
}

/// How long freezes of another host take until they are proven.
async fn freezes_ms(stack: &Stack, count: usize) -> Result<Vec<f64>> {
    let mut took_ms = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let id = freeze(&stack.companion, &["other.example.com"]).await?;
        took_ms.push(began.elapsed().as_secs_f64() * 1e3);
        thaw(&stack.companion, &id).await?;
    }
    Ok(took_ms)
}
