//! etcd, by `etcdctl` over gRPC and by its JSON gateway over HTTP.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use quiesce_integration::{artifacts, http::Request, ports};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
    time::timeout,
};

use crate::{
    client::{BOUND, Client, Outcome, Step},
    front::Front,
    server::{Server, or_skip},
    story::freeze_and_thaw,
};

const SURFACE: &str = "surfaces:\n  - { name: etcd, catalogs: [etcd] }";

/// `{dir}` is a directory of the test, `{lease}` a lease that is there.
const READS: &[&str] = &[
    "get shelf/a",
    "get shelf/a --rev 2",
    "get --prefix shelf/",
    "get --prefix shelf/ --keys-only",
    "get --prefix shelf/ --consistency s",
    "lease list",
    "lease timetolive {lease}",
    "lease keep-alive --once {lease}",
    "member list",
    "endpoint status",
    "endpoint hashkv",
    "snapshot save {dir}/snapshot",
    "user list",
    "user get ann",
    "role list",
    "role get reader",
];

const WRITES: &[&str] = &[
    "put shelf/a First",
    "put shelf/b Second",
    "put shelf/c Third --lease {lease}",
    "put shelf/c Third",
    "del shelf/b",
    "role add writer",
    "role grant-permission writer readwrite shelf/",
    "role revoke-permission writer shelf/",
    "user add ben:secret",
    "user grant-role ben writer",
    "user revoke-role ben writer",
    "user delete ben",
    "role delete writer",
    "defrag",
    "alarm disarm",
    // Reads both, but only their bodies show it.
    "alarm list",
    "txn",
];

const RUINS: &[&str] = &[
    "del --prefix shelf/",
    "lease revoke {lease}",
    // Several would be listed in any order.
    "lease grant 3600",
    "compaction 3",
    "member add other --peer-urls http://127.0.0.1:1",
    "member remove 8e9e05c52164694d",
    "auth enable",
    "user passwd ann --interactive=false",
    "lock a-lock",
    "elect an-election me",
];

/// The client that comes with etcd.
struct Etcdctl {
    programs: PathBuf,
    endpoint: SocketAddr,
    dir: TempDir,
    lease: String,
}

impl Etcdctl {
    fn new(programs: &Path, endpoint: SocketAddr, lease: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Nothing to compare; one read if so, none if not.
        fs::write(dir.path().join("txn"), "\nget shelf/a\n\n\n").unwrap();
        fs::write(dir.path().join("user"), "secret\n").unwrap();
        Self { programs: programs.to_owned(), endpoint, dir, lease: lease.to_owned() }
    }

    fn command(&self, line: &str) -> tokio::process::Command {
        let filled = line.replace("{dir}", self.dir.path().to_str().unwrap()).replace("{lease}", &self.lease);
        let words: Vec<&str> = filled.split(' ').collect();
        let stdin = File::open(self.dir.path().join(words[0])).map_or_else(|_| Stdio::null(), Stdio::from);
        let mut command = tokio::process::Command::new(self.programs.join("etcdctl"));
        command
            .args(words)
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", self.endpoint.to_string())
            .stdin(stdin)
            .kill_on_drop(true);
        command
    }

    async fn call(&self, line: &str) -> Result<String, String> {
        let output = timeout(BOUND, self.command(line).output()).await;
        let output = output.unwrap_or_else(|_| panic!("no end within {BOUND:?}: etcdctl {line}")).unwrap();
        let said = |bytes: &[u8]| {
            let said = String::from_utf8_lossy(bytes).into_owned();
            said.replace(&self.endpoint.to_string(), "{endpoint}")
                .replace(self.dir.path().to_str().unwrap(), "{dir}")
        };
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    /// Grants a lease and says which.
    async fn grant(&self, ttl_s: u32) -> String {
        let granted = self.call(&format!("lease grant {ttl_s}")).await.unwrap();
        granted.split(' ').nth(1).unwrap().to_owned()
    }

    /// A command that goes on until it is dropped.
    fn stream(&self, line: &str) -> Streaming {
        let mut child = self.command(line).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Streaming { _child: child, lines }
    }
}

/// What a command prints that goes on.
struct Streaming {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Streaming {
    async fn next(&mut self, count: usize) -> Vec<String> {
        let mut said = Vec::new();
        while said.len() < count {
            let line = timeout(BOUND, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("nothing within {BOUND:?} after {said:?}"));
            said.push(line.unwrap().unwrap_or_else(|| panic!("the end after {said:?}")));
        }
        said
    }
}

impl Client for Etcdctl {
    async fn run(&mut self, step: Step) -> Vec<Outcome> {
        let lines = match step {
            Step::Read => READS,
            Step::Write => WRITES,
            Step::Ruin => RUINS,
        };
        let mut outcomes = Vec::new();
        for line in lines {
            let result = self.call(line).await.map(|said| json!(lasting(line, &said)));
            outcomes.push(Outcome { operation: (*line).to_owned(), result });
        }
        if step == Step::Read {
            // An event is three lines: what happened, the key, and the value.
            let event = self.stream("watch shelf/a --rev 1").next(3).await;
            outcomes.push(Outcome { operation: "watch".to_owned(), result: Ok(json!(event)) });
        }
        outcomes
    }
}

/// What stays of an answer if nothing is written: time passes, reads of users and roles go through Raft, too, and pages
/// of the database become free.
fn lasting<'a>(line: &str, said: &'a str) -> &'a str {
    let end = match line {
        // Where, who, which version.
        "endpoint status" => said.match_indices(", ").nth(2).map(|(at, _)| at),
        "lease timetolive {lease}" => said.find("remaining"),
        _ => None,
    };
    &said[..end.unwrap_or(said.len())]
}

/// Whoever calls the JSON gateway, which is all POST.
struct Gateway {
    endpoint: SocketAddr,
    lease: i64,
}

impl Client for Gateway {
    async fn run(&mut self, step: Step) -> Vec<Outcome> {
        // Base64, as the gateway has it: shelf/, shelf/a, shelf0.
        let shelf = json!({ "key": "c2hlbGYv", "range_end": "c2hlbGYw" });
        let key = json!({ "key": "c2hlbGYvYQ==" });
        let calls = match step {
            Step::Read => vec![
                ("kv/range", key),
                ("kv/range", shelf),
                ("lease/leases", json!({})),
                ("lease/keepalive", json!({ "ID": self.lease })),
                ("cluster/member/list", json!({})),
                ("maintenance/status", json!({})),
                ("maintenance/hash", json!({})),
                ("auth/user/list", json!({})),
                ("auth/user/get", json!({ "name": "ann" })),
                ("auth/role/list", json!({})),
                ("auth/role/get", json!({ "role": "reader" })),
            ],
            Step::Write => vec![
                ("kv/put", json!({ "key": "c2hlbGYvYQ==", "value": "Rmlyc3Q=" })),
                ("kv/put", json!({ "key": "c2hlbGYvYg==", "value": "U2Vjb25k" })),
                ("kv/deleterange", json!({ "key": "c2hlbGYvYg==" })),
                ("kv/txn", json!({ "success": [{ "request_put": { "key": "c2hlbGYvYw==" } }] })),
                ("auth/role/add", json!({ "name": "writer" })),
                ("auth/role/delete", json!({ "role": "writer" })),
                ("maintenance/defragment", json!({})),
            ],
            Step::Ruin => vec![
                ("kv/deleterange", shelf),
                ("kv/compaction", json!({ "revision": 3 })),
                ("lease/grant", json!({ "TTL": 3600 })),
                ("auth/enable", json!({})),
                ("cluster/member/add", json!({ "peerURLs": ["http://127.0.0.1:1"] })),
            ],
        };
        let mut outcomes = Vec::new();
        for (path, body) in calls {
            let answer =
                Request::post(&format!("/v3/{path}"), body.to_string()).send(self.endpoint).await.unwrap();
            let result = match answer.status {
                200 => Ok(lasting_members(answer.json().unwrap())),
                _ => Err(answer.text()),
            };
            outcomes.push(Outcome { operation: path.to_owned(), result });
        }
        outcomes
    }
}

/// See [`lasting`].
fn lasting_members(mut answer: Value) -> Value {
    for changing in ["raftIndex", "raftAppliedIndex", "dbSize", "dbSizeInUse"] {
        answer.as_object_mut().unwrap().remove(changing);
    }
    answer
}

/// An etcd with a user, a role and a lease.
async fn start(programs: &Path) -> (Server, String) {
    let server = Server::start("etcd", |addr, data| {
        let (client, peer) = (format!("http://{addr}"), format!("http://{}", ports::free().unwrap()));
        let mut command = Command::new(programs.join("etcd"));
        command
            .arg("--data-dir")
            .arg(data.join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")]);
        command
    })
    .await;
    let direct = Etcdctl::new(programs, server.addr(), "");
    for line in ["role add reader", "user add ann:secret", "user grant-role ann reader"] {
        direct.call(line).await.unwrap();
    }
    let lease = direct.grant(3600).await;
    (server, lease)
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_reads_and_refuses_over_grpc() {
    let Some(programs) = or_skip("etcd", artifacts::etcd()) else { return };
    let (server, lease) = start(&programs).await;
    let front = Front::start(server.addr(), SURFACE).await;
    let client = |endpoint| Etcdctl::new(&programs, endpoint, &lease);
    freeze_and_thaw(&front, &mut client(front.addr()), &mut client(server.addr())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_reads_and_refuses_over_its_gateway() {
    let Some(programs) = or_skip("etcd", artifacts::etcd()) else { return };
    let (server, lease) = start(&programs).await;
    let front = Front::start(server.addr(), SURFACE).await;
    let mut around = Etcdctl::new(&programs, server.addr(), &lease);
    let mut gateway = Gateway { endpoint: front.addr(), lease: i64::from_str_radix(&lease, 16).unwrap() };
    freeze_and_thaw(&front, &mut gateway, &mut around).await;
}

/// If it were refused, the freeze itself would delete what hangs on leases; if it were a write, the barrier would wait
/// for its stream, which does not end.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_kept_alive_outlives_a_freeze() {
    const TTL_S: u32 = 2;
    let Some(programs) = or_skip("etcd", artifacts::etcd()) else { return };
    let (server, _) = start(&programs).await;
    let front = Front::start(server.addr(), SURFACE).await;
    let direct = Etcdctl::new(&programs, server.addr(), "");
    let lease = Etcdctl::new(&programs, front.addr(), "").grant(TTL_S).await;
    let through = Etcdctl::new(&programs, front.addr(), &lease);
    let mut kept_alive = through.stream("lease keep-alive {lease}");
    kept_alive.next(1).await;
    through.call("put shelf/d Fourth --lease {lease}").await.unwrap();

    front.freeze().await;
    let frozen = Instant::now();
    while frozen.elapsed().as_secs() <= TTL_S.into() {
        kept_alive.next(1).await;
    }
    assert_eq!(direct.call("get shelf/d").await.unwrap(), "shelf/d\nFourth\n");
}
