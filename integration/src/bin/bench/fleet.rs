//! A large fleet of simulated enforcers on loopback: how long until all of them have acknowledged a freeze.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use quiesce_integration::{
    companion::Companion,
    http::{Request, Response},
    process,
    snapshots::SYNC_TOKEN,
    wait,
};
use quiesce_policy::{
    snapshot::{Epoch, Snapshot},
    sync::{Enforcer, EnforcerKind, SyncRequest},
    time::Timestamp,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use crate::{
    freezes::{freeze, thaw},
    report::{Report, median},
};

/// All have come by then.
const GATHERED_WITHIN: Duration = Duration::from_secs(120);
const WAIT_MS: u64 = 30_000;

/// Freezes and thaws with so many enforcers, each on a connection of its own, as Envoys are.
pub async fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let (count, rounds) = if quick { (200, 2) } else { (10_000, 10) };
    let companion = Companion::start("").await?;
    let fleet = Fleet::gather(companion.addr(), count).await?;
    let mut took_ms = Vec::new();
    for _ in 0..rounds {
        fleet.until_all_have(fleet.newest()).await?;
        let began = Instant::now();
        let id = freeze(&companion, &[]).await?;
        took_ms.push(began.elapsed().as_secs_f64() * 1e3);
        let before = fleet.newest();
        thaw(&companion, &id).await?;
        fleet.until_all_have(before + 1).await?;
    }
    ensure!(fleet.left() == count, "{} of {count} simulated enforcers are left", fleet.left());
    report.target(
        &format!("{count} enforcers all acknowledge a freeze: median"),
        median(&took_ms),
        "ms",
        1000.0,
    );
    report.note("the same: longest", took_ms.iter().copied().fold(0.0, f64::max), "ms");
    #[allow(clippy::cast_precision_loss, reason = "megabytes")]
    let megabytes = process::peak_memory_bytes(companion.pid())? as f64 / 1e6;
    report.target("the companion's most memory with them", megabytes, "MB", 300.0);
    Ok(())
}

/// Simulated enforcers; they go when dropped.
struct Fleet {
    applied: Vec<Arc<AtomicU64>>,
    enforcers: JoinSet<Result<()>>,
}

impl Fleet {
    async fn gather(addr: SocketAddr, count: usize) -> Result<Self> {
        let mut fleet = Self { applied: Vec::new(), enforcers: JoinSet::new() };
        for number in 0..count {
            let applied = Arc::new(AtomicU64::new(0));
            fleet.applied.push(Arc::clone(&applied));
            let stream = TcpStream::connect(addr).await.with_context(|| format!("enforcer {number}"))?;
            fleet.enforcers.spawn(enforce(addr, stream, number, applied));
        }
        fleet.until_all_have(1).await?;
        Ok(fleet)
    }

    fn newest(&self) -> u64 {
        self.applied.iter().map(|one| one.load(Ordering::Acquire)).max().unwrap_or(0)
    }

    /// Waits until every enforcer has applied this version, or a later one.
    async fn until_all_have(&self, epoch: u64) -> Result<()> {
        wait::until("the whole fleet is up to date", GATHERED_WITHIN, async || {
            self.applied.iter().all(|one| one.load(Ordering::Acquire) >= epoch).then_some(())
        })
        .await
    }

    fn left(&self) -> usize {
        self.enforcers.len()
    }
}

/// Polls, applies what comes, and says so with the next poll.
async fn enforce(
    addr: SocketAddr,
    mut stream: TcpStream,
    number: usize,
    applied: Arc<AtomicU64>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut report = SyncRequest {
        enforcer: Enforcer {
            id: format!("simulated-{number}").into(),
            instance: "1".into(),
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
        wait_ms: WAIT_MS,
    };
    loop {
        let request = Request::post("/v1/sync", serde_json::to_vec(&report)?)
            .header("content-type", "application/json")
            .header("authorization", &format!("Bearer {SYNC_TOKEN}"))
            .header("connection", "keep-alive");
        stream.write_all(&request.to_bytes(addr)).await?;
        let response = Response::read(&mut stream, false).await?;
        match response.status {
            200 => {
                let snapshot: Snapshot = response.json()?;
                report.in_force =
                    snapshot.windows.iter().filter(|it| it.started).map(|it| it.id.clone()).collect();
                report.applied = snapshot.version;
                applied.store(snapshot.version.0, Ordering::Release);
            }
            204 => {}
            other => anyhow::bail!("enforcer {number} was answered {other}: {}", response.text()),
        }
    }
}
