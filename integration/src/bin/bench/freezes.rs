//! How long a freeze takes from the operator's request to the proof, with nothing in flight.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use quiesce_integration::{
    companion::Companion,
    stack::{Stack, StackOptions},
};
use serde_json::{Value, json};

use crate::report::{Report, median, percentile};

const PROVEN_WITHIN: Duration = Duration::from_secs(10);

/// Freezes and thaws `count` times through the real companion and an Envoy of two workers.
pub async fn measure(report: &mut Report, count: usize) -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let mut took_ms = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let id = freeze(&stack.companion, &[]).await?;
        took_ms.push(began.elapsed().as_secs_f64() * 1e3);
        thaw(&stack.companion, &id).await?;
    }
    report.target(
        "freeze, from the request to in force on every worker: p99",
        percentile(&took_ms, 0.99),
        "ms",
        10.0,
    );
    report.note("the same: median", median(&took_ms), "ms");
    Ok(())
}

/// Freezes these hosts, or everything; returns the window's id once the barrier holds.
pub async fn freeze(companion: &Companion, hosts: &[&str]) -> Result<String> {
    let asked = json!({ "duration_ms": 600_000, "reason": "a benchmark", "scope": { "hosts": hosts } });
    let request = companion.api("POST", "/v1/windows").header("content-type", "application/json");
    let window = request.body(asked.to_string()).send(companion.addr()).await?;
    ensure!(window.status == 201, "freeze: {} {}", window.status, window.text());
    let window: Value = window.json()?;
    let id = window["id"].as_str().context("a window without an id")?.to_owned();
    let began = Instant::now();
    let mut after = String::new();
    while began.elapsed() < PROVEN_WITHIN {
        let path = format!("/v1/windows/{id}/barrier?wait_ms=1000{after}");
        let state: Value = companion.api("GET", &path).send(companion.addr()).await?.json()?;
        if !state["window"]["quiesced"].is_null() {
            return Ok(id);
        }
        let revision = state["revision"].as_str().context("a barrier without a revision")?;
        after = format!("&after={revision}");
    }
    anyhow::bail!("a freeze with nothing in flight was not proven within {PROVEN_WITHIN:?}")
}

/// Opens writes again.
pub async fn thaw(companion: &Companion, id: &str) -> Result<()> {
    let thawed = companion.api("POST", &format!("/v1/windows/{id}/thaw")).send(companion.addr()).await?;
    ensure!(thawed.status == 200, "thaw: {}", thawed.text());
    Ok(())
}
