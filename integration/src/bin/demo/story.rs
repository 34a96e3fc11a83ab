//! The story, step by step: each one says what it does, does it, and checks what came of it.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use quiesce_integration::{
    http::{Request, Response},
    origin::Seen,
    stack::Stack,
    wait,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    show::{command, exchange, pause, say, title},
    traffic::{Sample, Traffic},
};

/// How long the slow write takes at the origin.
const SLOW_MS: u64 = 3000;
/// How long the clients in the background try to write during the freeze that is shown.
const TRY_FOR: Duration = Duration::from_secs(2);
/// How many more freezes are timed at the end.
const ROUNDS: usize = 10;
/// What happens within a moment happens within this.
const MOMENT: Duration = Duration::from_secs(5);

const ORDER: &str = r#"{"item":"tea"}"#;
const QUERY: &str = r#"{"query":"green tea"}"#;

/// From the moment a freeze was said to hold to the moment before its thaw was asked for.
struct Frozen {
    from: Instant,
    to: Instant,
}

/// Tells it all. The first surprise ends it as an error.
pub async fn tell(stack: &Stack) -> Result<()> {
    title("1. Reads and writes pass");
    expect(&exchange(stack, "GET", "/orders/7", None).await?, 200, "a read")?;
    expect(&exchange(stack, "POST", "/orders", Some(ORDER)).await?, 200, "a write")?;

    let traffic = Traffic::start(stack.envoy().addr());
    let (first, to_quiesced) = freeze(stack).await?;
    look_around(stack).await?;
    let (frozen, to_open) = thaw(stack, first).await?;
    origins_own_log(stack, &frozen)?;

    title("6. The same ten times more, with nothing slow in the way");
    let (rounds, mut times) = more_freezes(stack).await?;
    let samples = traffic.finish().await?;
    times.sort_unstable();

    let all: Vec<Frozen> = std::iter::once(frozen).chain(rounds).collect();
    let kept = check_traffic(stack, &samples, &all)?;

    title("What was measured");
    let row = |what: &str, value: String| say(&format!("  {what:<60} {value:>10}"));
    row("freeze until quiesced, with a write of 3 s in flight", ms(to_quiesced));
    row("freeze until quiesced, with nothing slow: median of ten", ms(middle(&times)));
    row(
        "freeze until quiesced, with nothing slow: slowest of ten",
        ms(times.last().copied().unwrap_or_default()),
    );
    row("thaw until a write passes, the command's own start included", ms(to_open));
    row("reads in the background", kept.reads.to_string());
    row("  not answered with 200", kept.reads_failed.to_string());
    row("  median", ms(kept.read_median));
    row("writes tried while quiesced", kept.writes_refused.to_string());
    row("  that reached the origin", kept.writes_at_origin.to_string());
    Ok(())
}

async fn freeze(stack: &Stack) -> Result<(Instant, Duration)> {
    title("2. A slow write is on its way to the origin");
    command(&format!("curl -X POST http://{}/slow?ms={SLOW_MS} -d '{ORDER}' &", stack.envoy().addr()));
    let addr = stack.envoy().addr();
    let slow = tokio::spawn(async move {
        let response = Request::post(&format!("/slow?ms={SLOW_MS}"), ORDER).send(addr).await?;
        anyhow::Ok((response, Instant::now()))
    });
    wait::until("the slow write reaches the origin", MOMENT, || async {
        (stack.origin.count(is_slow) == 1).then_some(())
    })
    .await?;
    say("The origin has it, and will take 3 s over it.");
    pause().await;

    title("3. Freeze, and wait for the proof");
    let reason = ["--reason", "reindexing the shop", "--contact", "#shop-oncall"];
    let said = quiesce(stack, &[&["freeze", "--for", "10m"], &reason[..], &["--wait"]].concat()).await?;
    let quiesced = Instant::now();
    for expected in ["quiesced in", "1/1 enforcers", "0 writes in flight"] {
        ensure!(said.contains(expected), "`quiesce freeze --wait` did not say `{expected}`");
    }
    let (response, answered) = slow.await??;
    expect(&response, 200, "the slow write, which was admitted before the freeze")?;
    let running = stack.origin.seen_where(|seen| is_slow(seen) && seen.overlaps(quiesced, quiesced));
    ensure!(running.is_empty(), "freeze returned while the slow write was still at the origin");
    say(&format!(
        "\nThe slow write got its 200; freeze returned {} after that, and not before.",
        ms(quiesced.saturating_duration_since(answered))
    ));
    pause().await;
    let status: Value = stack.companion.json(&["status"]).await?;
    Ok((quiesced, elapsed(status.pointer("/windows/0"))?))
}

async fn look_around(stack: &Stack) -> Result<()> {
    title("4. Writes are refused, reads are not");
    let refused = exchange(stack, "POST", "/orders", Some(ORDER)).await?;
    expect(&refused, 423, "a write")?;
    for header in ["retry-after", "cache-control", "content-type", "link"] {
        ensure!(refused.header(header).is_some(), "the refusal has no `{header}`");
    }
    expect(&exchange(stack, "GET", "/orders/7", None).await?, 200, "a read")?;
    say("A search is a POST; a rule says that it reads:\n");
    expect(&exchange(stack, "POST", "/search/products", Some(QUERY)).await?, 200, "a search")?;
    quiesce(stack, &["status"]).await?;
    pause().await;
    say(&format!(
        "\nFor {} s more, one client keeps reading and another keeps trying to write.",
        TRY_FOR.as_secs()
    ));
    tokio::time::sleep(TRY_FOR).await;
    Ok(())
}

async fn thaw(stack: &Stack, frozen_from: Instant) -> Result<(Frozen, Duration)> {
    let frozen = Frozen { from: frozen_from, to: Instant::now() };
    title("5. Thaw");
    quiesce(stack, &["thaw"]).await?;
    until_open(stack).await?;
    let took = frozen.to.elapsed();
    say("");
    expect(&exchange(stack, "POST", "/orders", Some(ORDER)).await?, 200, "a write after the thaw")?;
    Ok((frozen, took))
}

/// What the origin saw of the story, with the traffic in the background summed up.
fn origins_own_log(stack: &Stack, frozen: &Frozen) -> Result<()> {
    say("The origin's own log, from the moment the freeze held to the moment before the thaw:\n");
    let seen = stack.origin.seen_where(|seen| seen.overlaps(frozen.from, frozen.to));
    let mut reads = 0_u32;
    for one in &seen {
        if one.method == "GET" {
            reads += 1;
        } else {
            let at = one.arrived.saturating_duration_since(frozen.from);
            say(&format!("  {:>10}  {} {}", ms(at), one.method, one.target));
        }
    }
    say(&format!("  and {reads} GETs"));
    let writes = writes_during(stack, frozen);
    ensure!(writes.is_empty(), "these writes reached the origin during the freeze: {writes:?}");
    say(&format!(
        "\nNo write in {:.1} s, though a client tried all the time. The search is the POST that reads.",
        (frozen.to - frozen.from).as_secs_f64()
    ));
    Ok(())
}

async fn more_freezes(stack: &Stack) -> Result<(Vec<Frozen>, Vec<Duration>)> {
    let (mut rounds, mut times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let window: Value =
            stack.companion.json(&["freeze", "--for", "10m", "--reason", "again", "--wait"]).await?;
        let from = Instant::now();
        times.push(elapsed(Some(&window))?);
        let refused = stack.send(&Request::post("/orders", ORDER)).await?;
        expect(&refused, 423, "a write in one of the ten freezes")?;
        rounds.push(Frozen { from, to: Instant::now() });
        stack.companion.run(&["thaw"]).await?;
        until_open(stack).await?;
    }
    say(&format!("{ROUNDS} times: freeze --wait, a write refused, thaw, a write passes."));
    Ok((rounds, times))
}

/// What the clients in the background got.
struct Kept {
    reads: usize,
    reads_failed: usize,
    read_median: Duration,
    writes_refused: usize,
    writes_at_origin: usize,
}

/// No read was ever refused; while a freeze held, every write was, and none was at the origin.
fn check_traffic(stack: &Stack, samples: &[Sample], all: &[Frozen]) -> Result<Kept> {
    let reads: Vec<&Sample> = samples.iter().filter(|sample| !sample.write).collect();
    let reads_failed = reads.iter().filter(|sample| sample.status != 200).count();
    ensure!(reads_failed == 0, "{reads_failed} of {} reads were not answered with 200", reads.len());
    let mut times: Vec<Duration> = reads.iter().map(|sample| sample.answered - sample.sent).collect();
    times.sort_unstable();

    let (mut writes_refused, mut writes_at_origin) = (0, 0);
    for frozen in all {
        let tried = samples.iter().filter(|sample| sample.write && sample.within(frozen.from, frozen.to));
        for write in tried {
            ensure!(write.status == 423, "a write during a freeze was answered with {}", write.status);
            writes_refused += 1;
        }
        let writes = writes_during(stack, frozen);
        writes_at_origin += writes.len();
        ensure!(writes.is_empty(), "these writes reached the origin during a freeze: {writes:?}");
    }
    ensure!(writes_refused > 0, "the client in the background never tried to write during a freeze");
    Ok(Kept {
        reads: reads.len(),
        reads_failed,
        read_median: middle(&times),
        writes_refused,
        writes_at_origin,
    })
}

fn writes_during(stack: &Stack, frozen: &Frozen) -> Vec<Seen> {
    let mut writes = stack.origin.writes_between(frozen.from, frozen.to);
    writes.retain(|seen| !seen.target.starts_with("/search/"));
    writes
}

/// How long a freeze took until it was quiesced, as the companion measured it.
fn elapsed(window: Option<&Value>) -> Result<Duration> {
    let ms = window.and_then(|window| window.pointer("/quiesced/elapsed_ms")).and_then(Value::as_u64);
    Ok(Duration::from_millis(ms.context("the window does not say how long it took until it was quiesced")?))
}

async fn until_open(stack: &Stack) -> Result<()> {
    wait::until("writes pass after the thaw", MOMENT, || async {
        let response = stack.send(&Request::post("/orders", ORDER)).await.ok()?;
        (response.status == 200).then_some(())
    })
    .await
}

/// Runs a command of the operator's, shows what it says line by line as it says it, and returns it.
async fn quiesce(stack: &Stack, args: &[&str]) -> Result<String> {
    let typed: Vec<String> = args
        .iter()
        .map(|arg| if arg.contains([' ', '#']) { format!("'{arg}'") } else { (*arg).to_owned() })
        .collect();
    command(&format!("quiesce {}", typed.join(" ")));
    let mut child = tokio::process::Command::from(stack.companion.command(args)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("quiesce")?;
    let mut out = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let mut err = BufReader::new(child.stderr.take().context("no standard error")?).lines();
    let mut said = String::new();
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let line = tokio::select! {
            line = out.next_line(), if out_open => { let line = line?; out_open = line.is_some(); line }
            line = err.next_line(), if err_open => { let line = line?; err_open = line.is_some(); line }
        };
        if let Some(line) = line {
            say(&line);
            said.push_str(&line);
            said.push('\n');
        }
    }
    let status = child.wait().await?;
    ensure!(status.success(), "`quiesce {}` ended with {status}", typed.join(" "));
    Ok(said)
}

fn is_slow(seen: &Seen) -> bool {
    seen.target.starts_with("/slow")
}

fn expect(response: &Response, status: u16, what: &str) -> Result<()> {
    if response.status == status {
        return Ok(());
    }
    bail!("{what} was answered with {} instead of {status}: {}", response.status, response.text())
}

fn middle(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}
