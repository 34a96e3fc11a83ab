//! What it costs to keep writes for later and to replay them, beside what the disk and the origin can do.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use hyper::body::Bytes;
use quiesce_integration::{
    load::{Clients, Profile},
    origin::Origin,
    process,
    stack::{Stack, StackOptions},
    wait,
};
use serde_json::Value;
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    bare::{self, last_seq},
    report::{Report, median, percentile},
};

/// As many as write at once, and as a bare loop commits together.
pub const CLIENTS: usize = 64;
/// Replays at a time.
const CONCURRENCY: usize = 16;
const FREEZE: [&str; 5] = ["freeze", "--for", "2h", "--reason", "a benchmark"];
/// What SQLite appends for a row, to the next page; bytes.
const SYNCED_BYTES: usize = 4096;
const REPLAYED_WITHIN: Duration = Duration::from_secs(120);

/// How much is done.
struct Size {
    rounds: usize,
    /// Intents of one round.
    intents: u64,
    /// Of a round at half the rate.
    paced: Duration,
    syncs: usize,
    replayed: u64,
    held: i64,
}

/// Measures intake and, if `all` is wanted, replay and a companion that holds very many.
pub async fn measure(report: &mut Report, quick: bool, all: bool) -> Result<()> {
    let size = if quick {
        Size { rounds: 1, intents: 500, paced: Duration::from_secs(1), syncs: 50, replayed: 200, held: 2000 }
    } else {
        let paced = Duration::from_secs(5);
        Size { rounds: 5, intents: 10_000, paced, syncs: 1000, replayed: 10_000, held: 1_000_000 }
    };
    let stack = frozen().await?;
    intake(report, &stack, &size).await?;
    drop(stack);
    if !all {
        return Ok(());
    }
    replay(report, &size).await?;
    hold(report, &size).await
}

async fn frozen() -> Result<Stack> {
    let settings = format!(
        "surfaces:\n  - name: shop\n    rules:\n\
         \x20     - {{ methods: [POST], path: '/orders/{{*rest}}', effect: write, action: queue }}\n\
         intents:\n  headers: [content-type, x-origin-delay-ms]\n  max_count: 2000000\n\
         backfill: {{ to: 'http://{{origin}}', soak: 1ms, concurrency: {CONCURRENCY} }}\n"
    );
    let stack = Stack::start(StackOptions { companion: settings, ..StackOptions::default() }).await?;
    stack.companion.run(&[&FREEZE[..], &["--wait"]].concat()).await?;
    Ok(stack)
}

fn profile(stack: &Stack, clients: usize) -> Profile {
    let body = Bytes::from(vec![b'x'; 1024]);
    let headers = &[("content-type", "text/plain"), ("x-origin-delay-ms", "5")];
    let addr = stack.envoy().addr();
    Profile { addr, method: "POST", target: "/orders/{n}", headers, body, clients }
}

/// What the rounds of the intake come to.
#[derive(Default)]
struct Intake {
    /// The time that ours takes, by that of a bare loop which binds and inserts the same rows.
    by_bound: Vec<f64>,
    /// By that of a loop which copies them from one table to the other.
    by_copied: Vec<f64>,
    per_second: Vec<f64>,
    late_ms: Vec<f64>,
    disk_ms: Vec<f64>,
    late_by_disk: Vec<f64>,
    /// CPU time for one intent, by who has used it; µs.
    cpu_us: [Vec<f64>; 3],
}

/// The CPU time so far of the companion, of Envoy, and of the clients, who are this process.
fn cpu_times(stack: &Stack) -> Result<[Duration; 3]> {
    let envoy = stack.envoy().cpu_time()?;
    Ok([process::cpu_time(stack.companion.pid())?, envoy, process::cpu_time(std::process::id())?])
}

/// Intents through Envoy, and the very same rows by loops that do nothing else, in turns.
async fn intake(report: &mut Report, stack: &Stack, size: &Size) -> Result<()> {
    let mut clients = Clients::connect(profile(stack, CLIENTS)).await?;
    let store = stack.companion.store_file();
    let mut intake = Intake::default();
    for _ in 0..size.rounds {
        let before = last_seq(&store).await?;
        let (began, cpu) = (Instant::now(), cpu_times(stack)?);
        let tally = clients.send(size.intents).await?;
        let (ours, used) = (began.elapsed(), cpu_times(stack)?);
        ensure!(tally.other_than(&[202]).is_empty(), "intents: {:?}", tally.other_than(&[202]));
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        let count = size.intents as f64;
        for (all, (used, before)) in intake.cpu_us.iter_mut().zip(used.into_iter().zip(cpu)) {
            all.push(used.saturating_sub(before).as_secs_f64() * 1e6 / count);
        }
        let rate = count / ours.as_secs_f64();
        intake.per_second.push(rate);
        let bound = bare::bound(&store, before).await?;
        intake.by_bound.push(ours.as_secs_f64() / bound.as_secs_f64());
        let copied = bare::copied(&store, before).await?;
        intake.by_copied.push(ours.as_secs_f64() / copied.as_secs_f64());

        let (tally, took) = clients.send_at_rate(rate / 2.0, size.paced).await?;
        ensure!(tally.other_than(&[202]).is_empty(), "intents: {:?}", tally.other_than(&[202]));
        let ours_ms: Vec<_> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
        let (late_ms, disk_ms) =
            (percentile(&ours_ms, 0.99), percentile(&sync_ms(&store, size.syncs)?, 0.99));
        intake.late_by_disk.push(late_ms / disk_ms);
        intake.late_ms.push(late_ms);
        intake.disk_ms.push(disk_ms);
    }
    intake.report(report);
    Ok(())
}

impl Intake {
    fn report(&self, report: &mut Report) {
        report.target(
            "durable intents, 64 clients, 1 KB: time by that of a bare loop of inserts",
            median(&self.by_bound),
            "x",
            2.0,
        );
        report.note(
            "the same: by that of INSERT ... SELECT, which binds nothing",
            median(&self.by_copied),
            "x",
        );
        report.note("the same: intents a second", median(&self.per_second), "/s");
        for (who, cpu_us) in ["the companion", "Envoy", "the clients"].iter().zip(&self.cpu_us) {
            report.note(&format!("the same: CPU of {who} for one"), median(cpu_us), "µs");
        }
        report.target(
            "p99 of a 202 at half that rate, by that of the disk's sync",
            median(&self.late_by_disk),
            "x",
            5.0,
        );
        report.note("the same: p99 of a 202", median(&self.late_ms), "ms");
        report.note("the same: p99 of the disk's sync", median(&self.disk_ms), "ms");
    }
}

pub async fn open(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(30));
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// What it takes to append to a file beside the store's and have that on disk.
fn sync_ms(store: &Path, count: usize) -> Result<Vec<f64>> {
    let mut file = File::create(store.with_extension("sync"))?;
    let page = [0_u8; SYNCED_BYTES];
    let sync = |_| {
        let began = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    (0..count).map(sync).collect()
}

/// Replays to an origin that takes 5 ms, and the same requests by clients that do nothing else.
async fn replay(report: &mut Report, size: &Size) -> Result<()> {
    let mut ratios = Vec::new();
    for _ in 0..size.rounds.min(3) {
        let stack = frozen().await?;
        let mut clients = Clients::connect(profile(&stack, CLIENTS)).await?;
        let tally = clients.send(size.replayed).await?;
        ensure!(tally.with_status(202) == size.replayed, "intents: {:?}", tally.statuses);
        // While frozen nothing else arrives.
        let arrived = || stack.origin.arrived();
        let wanted = usize::try_from(size.replayed)?;
        stack.companion.run(&["thaw"]).await?;
        wait::until("the first replay", REPLAYED_WITHIN, || async { (arrived() > 0).then_some(()) }).await?;
        let (began, first) = (Instant::now(), arrived());
        wait::until("all replays", REPLAYED_WITHIN, || async { (arrived() >= wanted).then_some(()) }).await?;
        let ours = began.elapsed();

        let origin = Origin::start()?;
        let direct = Profile { addr: origin.addr(), ..profile(&stack, CONCURRENCY) };
        let mut direct = Clients::connect(direct).await?;
        let began = Instant::now();
        direct.send(u64::try_from(wanted - first)?).await?;
        ratios.push(ours.as_secs_f64() / began.elapsed().as_secs_f64());
    }
    // A fifth of the time elsewhere is a quarter more than the origin's.
    report.target("replay: time by that of as many clients who send the same", median(&ratios), "x", 1.25);
    Ok(())
}

/// A companion that starts with very many held intents, takes some more, and lists them.
async fn hold(report: &mut Report, size: &Size) -> Result<()> {
    let mut stack = frozen().await?;
    let mut clients = Clients::connect(profile(&stack, CLIENTS)).await?;
    clients.send(1).await?;
    stack.companion.stop().await?;
    multiply(&stack.companion.store_file(), size.held).await?;
    stack.companion.restart().await?;
    let tally = clients.send(100).await?;
    ensure!(tally.with_status(202) == 100, "intents: {:?}", tally.statuses);
    let listed: Value = stack.companion.json(&["intents", "list", "--state", "held"]).await?;
    ensure!(listed["intents"].as_array().is_some_and(|intents| !intents.is_empty()), "{listed}");
    #[allow(clippy::cast_precision_loss, reason = "megabytes")]
    let peak_mb = process::peak_memory_bytes(stack.companion.pid())? as f64 / 1e6;
    report.target("memory of a companion that holds 1,000,000 intents", peak_mb, "MB", 200.0);
    Ok(())
}

/// Makes of one held intent `count`, each with a line and a key of its own.
async fn multiply(store: &Path, count: i64) -> Result<()> {
    let mut store = open(store).await?;
    let columns = sqlx::query("SELECT name FROM pragma_table_info('intents')").fetch_all(&mut store).await?;
    let names: Vec<String> = columns.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let values: Vec<_> = names
        .iter()
        .map(|name| match name.as_str() {
            "seq" => "n",
            "id" | "key" => "printf('%026d', n)",
            "line" => "'/held/' || n",
            other => other,
        })
        .collect();
    let numbers = "WITH numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)";
    for insert in [
        format!(
            "INSERT INTO intents ({}) {numbers} SELECT {} FROM numbers, intents WHERE seq = 1",
            names.join(", "),
            values.join(", ")
        ),
        format!(
            "INSERT INTO intent_payloads {numbers} \
             SELECT n, sealed_by, head, body FROM numbers, intent_payloads WHERE seq = 1"
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(insert)).bind(count).execute(&mut store).await?;
    }
    store.close().await?;
    Ok(())
}
