//! When planned windows really begin: writes to every Envoy around the very instant.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{http::Request, stack::Stack, wait};

/// Windows are planned so far ahead, to the second, that every Envoy knows them by then.
const AHEAD_S: u64 = 3;
/// Writes are sent from this long before the start.
const BEFORE: Duration = Duration::from_millis(300);
/// Nobody takes longer to refuse.
const BOUND: Duration = Duration::from_secs(5);

/// How one Envoy began.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// How long after the start the first refusal had come back.
    pub refused_after: Duration,
    /// How long after the start the last write was sent that still passed; nothing if none was.
    pub passed_until: Duration,
}

/// Plans a window for the next full second that everybody can know of, takes the companion away if that is asked for,
/// and has a client write to each Envoy. The window's id comes with how each of them began.
///
/// # Errors
/// When something fails, when a write is refused before the start, or one passes after another was refused.
pub async fn begin(stack: &mut Stack, companion_is_up: bool) -> Result<(String, Vec<Begun>)> {
    let starts_at_s = now()?.as_secs() + AHEAD_S;
    let starts_at = Duration::from_secs(starts_at_s);
    let asked = json!({
        "starts_at": rfc3339(starts_at_s)?, "duration_ms": 600_000, "reason": "to the second",
    });
    let create = stack.companion.api("POST", "/v1/windows").header("content-type", "application/json");
    let window = create.body(asked.to_string()).send(stack.companion.addr()).await?;
    ensure!(window.status == 201, "planning a window: {} {}", window.status, window.text());
    let window: Value = window.json()?;
    let id = window["id"].as_str().context("a window without an id")?.to_owned();
    for envoy in &stack.envoys {
        wait::until("an Envoy knows of the window", BOUND, async || {
            let banner = Request::get("/.well-known/maintenance").send(envoy.addr()).await.ok()?;
            banner.text().contains(&id).then_some(())
        })
        .await?;
    }
    if !companion_is_up {
        stack.companion.kill();
    }
    let pause = starts_at.checked_sub(now()? + BEFORE).context("it took too long to plan a window")?;
    tokio::time::sleep(pause).await;
    let writers: Vec<_> =
        stack.envoys.iter().map(|envoy| tokio::spawn(write_across(envoy.addr(), starts_at))).collect();
    let mut begun = Vec::new();
    for writer in writers {
        begun.push(writer.await??);
    }
    Ok((id, begun))
}

async fn write_across(addr: SocketAddr, starts_at: Duration) -> Result<Begun> {
    let mut passed_until = Duration::ZERO;
    let deadline = starts_at + BOUND;
    loop {
        let sent_at = now()?;
        ensure!(sent_at < deadline, "{addr} refuses nothing {BOUND:?} after the start");
        let status = Request::post("/items", "{}").send(addr).await?.status;
        if status == 200 {
            passed_until = sent_at.saturating_sub(starts_at);
            continue;
        }
        ensure!(status == 423, "a write was answered {status}");
        let refused_after =
            now()?.checked_sub(starts_at).context("a write was refused before the window began")?;
        for _ in 0..20 {
            let status = Request::post("/items", "{}").send(addr).await?.status;
            ensure!(status == 423, "a write was answered {status} after another was refused");
        }
        return Ok(Begun { refused_after, passed_until });
    }
}

#[allow(clippy::disallowed_methods, reason = "windows begin by the real clock")]
fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

fn rfc3339(unix_s: u64) -> Result<String> {
    Ok(quiesce_policy::time::Timestamp::from_unix_ms(unix_s.checked_mul(1000).context("a time")?).to_string())
}
