//! Companions that share a PostgreSQL, end to end: they are killed, the database is, and nothing that was promised is
//! lost, done twice or called proven too early.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

mod common;
#[allow(dead_code, reason = "the companion's own tests use more of it")]
#[path = "../../companion/tests/it/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "common/tls.rs"]
mod tls;

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use common::intents::{Answer, Chance, QUEUED_ORDERS, Writers, assert_effects, is_over};
use postgres::{Database, PASSWORD, Postgres};
use quiesce_integration::{
    assert_eventually,
    companion::Companion,
    envoy::{Envoy, Options, PluginConfig},
    http::Request,
    load::{Load, Profile},
    origin::{Origin, Seen},
    ports,
};
use serde_json::Value;
use tempfile::TempDir;
use tls::Authority;
use tokio::process::{Child, Command};

const FREEZE: [&str; 6] = ["freeze", "--for", "30m", "--reason", "moving the orders", "--wait"];
/// Writers at a time, each with a line of its own.
const WRITERS: u32 = 8;
/// Crashes of the database while intents are taken in, and while they are replayed.
const CRASHES: u32 = 5;
const CRASHES_IN_BACKFILL: u32 = 3;
/// Kills of one companion or the other while intents are taken in.
const KILLS: u32 = 6;
/// At least so many are taken in before the first is replayed.
const ENOUGH: usize = 300;
/// So many replays more, and a kill hits the backfill in its midst.
const MIDST: usize = 20;
/// All that is held is replayed in this time: what a companion had claimed when it was killed is waited for.
const BACKFILL: Duration = Duration::from_secs(120);

/// Companions that share a database, and an Envoy that reaches all of them under one name.
struct Shared {
    envoy: Envoy,
    companions: Vec<Companion>,
    origin: Origin,
    _key: TempDir,
}

impl Shared {
    async fn start(database: &Database, count: usize) -> Self {
        let origin = Origin::start().unwrap();
        let key = tempfile::tempdir().unwrap();
        // Slow enough to be interrupted, and what a killed companion has claimed is soon free again.
        let queued = QUEUED_ORDERS.replace("{origin}", &origin.addr().to_string()).replace("5s", "1s");
        let settings = format!(
            "store: '{}'\npasses: {{ key_file: {}/pass.key }}\n{queued}  rate_per_s: 400\n",
            database.url,
            key.path().display()
        );
        let mut companions = Vec::new();
        for _ in 0..count {
            let companion = Companion::start(&settings).await.unwrap();
            // The first to come has the lock.
            assert_eventually!(!companions.is_empty() || controls(&companion), "it controls the windows");
            companions.push(companion);
        }
        let addrs = companions.iter().map(Companion::addr).collect();
        let options =
            Options::quiesce(&PluginConfig::default(), origin.addr(), companions[0].addr()).unwrap();
        let envoy = Envoy::start(Options { companions: addrs, ..options }).await.unwrap();
        assert_eventually!(
            envoy.metric("quiesce.epoch").await.unwrap() > 0,
            "the first snapshot: {}",
            envoy.log()
        );
        for companion in &companions {
            until_live(companion).await;
        }
        Self { envoy, companions, origin, _key: key }
    }

    /// How many replays have arrived.
    fn replays(&self) -> usize {
        self.origin.count(Seen::is_unsafe)
    }

    async fn until_more_replays(&self) {
        let before = self.replays();
        assert_eventually!(self.replays() >= before + MIDST, within: BACKFILL, "the backfill goes on");
    }
}

/// Whether a companion that has never lost touch with the database controls the windows.
fn controls(companion: &Companion) -> bool {
    companion.log().contains("controls the windows")
}

async fn until_live(companion: &Companion) {
    assert_eventually!(
        companion.json::<Value>(&["status"]).await.unwrap()["fleet"]["live"] == 1,
        "the enforcer is known"
    );
}

async fn until_ready(companion: &Companion) {
    assert_eventually!(
        companion.api("GET", "/readyz").send(companion.addr()).await.is_ok_and(|it| it.status == 200),
        within: Duration::from_secs(30),
        "the companion is ready again"
    );
}

/// A command that goes on whatever becomes of its companion.
fn begin(companion: &Companion, args: &[&str]) -> Child {
    let mut command = Command::from(companion.command(args).unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_companions_is_killed_in_the_midst_of_a_freeze() {
    let Some(database) = Database::new().await else { return };
    let mut shared = Shared::start(&database, 2).await;
    let addr = shared.envoy.addr();
    let writes = Load::start(Profile::writes(addr, 4)).await.unwrap();
    // The command asks the one that is left, and then the one that is killed and comes back. It is the first that
    // controls the windows, and after its death the other.
    for (asked, killed) in [(1, 0), (1, 1)] {
        let passed = writes.tally().with_status(200);
        assert_eventually!(writes.tally().with_status(200) > passed + 10, "writes pass");
        let target = format!("/slow?ms={}", 3000 + killed);
        let slow = Request::post(&target, "x");
        let slow = tokio::spawn(async move { slow.send(addr).await });
        let of_slow = |seen: &Seen| seen.target == target;
        assert_eventually!(shared.origin.count(of_slow) == 1, "the slow write arrives");
        let freeze = begin(&shared.companions[asked], &FREEZE);
        assert_eventually!(
            shared.companions[asked].json::<Value>(&["status"]).await.unwrap()["windows"][0]["phase"]
                == "draining",
            "the slow write is waited for"
        );
        shared.companions[killed].kill();
        if killed == asked {
            shared.companions[killed].restart().await.unwrap();
        }
        let output = freeze.wait_with_output().await.unwrap();
        let proven = Instant::now();
        assert!(output.status.success(), "{output:?}");
        let (ended, _) = shared.origin.seen_where(of_slow)[0].ended.expect("proven, and the slow write runs");
        assert!(ended <= proven);
        assert_eq!(slow.await.unwrap().unwrap().status, 200, "a write in flight is not hurt");
        if killed != asked {
            shared.companions[killed].restart().await.unwrap();
        }
        let refused = writes.tally().with_status(423);
        assert_eventually!(writes.tally().with_status(423) > refused + 50, "writes are refused");
        assert_eq!(shared.origin.writes_between(proven, Instant::now()).len(), 0);
        for companion in &shared.companions {
            let status: Value = companion.json(&["status"]).await.unwrap();
            assert_eq!(status["windows"][0]["phase"], "quiesced", "whoever is asked: {status}");
        }
        shared.companions[killed].run(&["thaw"]).await.unwrap();
    }
    let writes = writes.stop().await;
    assert!(writes.other_than(&[200, 423]).is_empty(), "writes: {:?}", writes.other_than(&[200, 423]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_companions_is_killed_while_intents_are_taken_in_and_replayed() {
    let Some(database) = Database::new().await else { return };
    let mut chance = Chance::new();
    let mut shared = Shared::start(&database, 2).await;
    shared.companions[0].run(&FREEZE).await.unwrap();
    let writers = Writers::start(shared.envoy.addr(), 0..WRITERS);
    for round in 0..KILLS {
        tokio::time::sleep(chance.up_to(Duration::from_millis(150))).await;
        let killed = &mut shared.companions[round as usize % 2];
        killed.kill();
        writers.until_more(WRITERS as usize * 2, Answer::Receipt).await;
        killed.restart().await.unwrap();
    }
    writers.until_more(ENOUGH, Answer::Receipt).await;
    let sent = writers.stop().await;

    shared.companions[1].run(&["thaw"]).await.unwrap();
    shared.until_more_replays().await;
    let mut replaying = None;
    assert_eventually!(
        {
            for (number, companion) in shared.companions.iter().enumerate() {
                let status: Value = companion
                    .api("GET", "/v1/backfill")
                    .send(companion.addr())
                    .await
                    .unwrap()
                    .json()
                    .unwrap();
                if status["phase"] == "running" {
                    replaying = Some(number);
                }
            }
            replaying.is_some()
        },
        "one of them replays"
    );
    let killed = replaying.unwrap();
    shared.companions[killed].kill();
    let left = &shared.companions[1 - killed];
    assert!(!is_over(left).await, "{chance}: it was killed in the midst");
    assert_eventually!(is_over(left).await, within: BACKFILL, "everything is replayed by the other");
    assert_effects(&sent, &shared.origin, &chance);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_crashes_again_and_again() {
    let Some(mut server) = Postgres::start().await else { return };
    let mut chance = Chance::new();
    let shared = Shared::start(&server.database().await, 1).await;
    let companion = &shared.companions[0];
    companion.run(&FREEZE).await.unwrap();
    let writers = Writers::start(shared.envoy.addr(), 0..WRITERS);
    for _ in 0..CRASHES {
        tokio::time::sleep(chance.up_to(Duration::from_millis(150))).await;
        server.end("QUIT");
        writers.until_more(1, Answer::Unknown).await;
        server.run().await;
        writers.until_more(WRITERS as usize, Answer::Receipt).await;
    }
    writers.until_more(ENOUGH, Answer::Receipt).await;
    let sent = writers.stop().await;

    until_ready(companion).await;
    companion.run(&["thaw"]).await.unwrap();
    for _ in 0..CRASHES_IN_BACKFILL {
        shared.until_more_replays().await;
        server.end("QUIT");
        server.run().await;
        until_ready(companion).await;
        assert!(!is_over(companion).await, "{chance}: it crashed in the midst");
    }
    assert_eventually!(is_over(companion).await, within: BACKFILL, "everything is replayed");
    assert_effects(&sent, &shared.origin, &chance);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_trusted_by_its_certificate() {
    let (authority, another) = (Authority::new().server(), Authority::new().server());
    let port = ports::free().unwrap().port();
    let files = [("server.crt", &*authority.certificate), ("server.key", &*authority.private_key)];
    let number = port.to_string();
    let settings = [
        ("listen_addresses", "localhost"),
        ("port", &*number),
        ("ssl", "on"),
        ("ssl_cert_file", "../server.crt"),
        ("ssl_key_file", "../server.key"),
    ];
    let Some(server) = Postgres::start_with(&files, &settings).await else { return };
    let url = server.database().await.url;
    let database = url.rsplit('/').next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = |name: &str, pem: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, pem).unwrap();
        file.display().to_string()
    };
    let (right, wrong) = (ca("right.pem", &authority.client_ca), ca("wrong.pem", &another.client_ca));
    let store = |host: &str, ca: &str| {
        let query = format!("sslmode=verify-full&sslrootcert={ca}");
        format!("store: 'postgres://quiesce:{PASSWORD}@{host}:{port}/{database}?{query}'\n")
    };
    let companion = Companion::start(&store("localhost", &right)).await.unwrap();
    companion.run(&["freeze", "--for", "1m", "--reason", "over TLS"]).await.unwrap();
    for (host, ca, why) in [
        ("localhost", &*wrong, "invalid peer certificate"),
        ("127.0.0.1", &*right, "not valid for"),
        ("localhost", "/nowhere/ca.pem", "No such file"),
    ] {
        let refused = Companion::start(&store(host, ca)).await.unwrap_err().to_string();
        assert!(
            refused.contains("cannot open postgres://") && refused.contains(why),
            "{host} {ca}: {refused}"
        );
        assert!(!refused.contains(PASSWORD), "{refused}");
    }
}
