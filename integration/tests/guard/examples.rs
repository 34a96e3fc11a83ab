//! The examples, as programs: frozen and thawed with the companion that they are told of.

use std::{net::SocketAddr, path::Path, process::Command};

use quiesce_integration::{
    artifacts, assert_eventually, companion::Companion, http::Request, ports, process::Process,
    snapshots::SYNC_TOKEN,
};
use tempfile::TempDir;
use tonic::Code;

use crate::services::{NotesClient, RULES};

const FREEZE: [&str; 8] = ["freeze", "--for", "10m", "--reason", "examples", "--wait", "--expect", "1"];

struct Example {
    _process: Process,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Example {
    fn start(name: &str, companion: &Companion) -> Self {
        let (dir, addr) = (tempfile::tempdir().unwrap(), ports::free().unwrap());
        let mut command = Command::new(artifacts::example(name).unwrap());
        command
            .env("QUIESCE_URL", format!("http://{}", companion.addr()))
            .env("QUIESCE_SYNC_TOKEN", SYNC_TOKEN)
            .env("LISTEN", addr.to_string());
        let log: &Path = &dir.path().join("log");
        Self { _process: Process::spawn(name, command, log).unwrap(), addr, _dir: dir }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_for_axum_refuses_its_clients_and_its_own_job() {
    let companion = Companion::start("").await.unwrap();
    let example = Example::start("axum", &companion);
    let add = async || Request::post("/notes", "tea").send(example.addr).await;
    let count = async || Request::get("/notes").send(example.addr).await.unwrap().json::<[u64; 2]>().unwrap();
    assert_eventually!(add().await.is_ok_and(|answer| answer.status == 200), "it is there, and writes pass");
    let [_, tidied] = count().await;
    assert_eventually!(count().await[1] > tidied, "its job writes");

    companion.run(&FREEZE).await.unwrap();
    let before = count().await;
    let refused = add().await.unwrap();
    assert_eq!(refused.status, 423, "{}", refused.text());
    let wait_s: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((590..=610).contains(&wait_s), "{wait_s}");
    for _ in 0..50 {
        assert_eq!(add().await.unwrap().status, 423);
    }
    assert_eq!(count().await, before, "neither a client nor the job has written");
    companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(count().await[1] > before[1], "the job goes on");
    assert_eventually!(add().await.unwrap().status == 200, "writes pass");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_for_tonic_refuses_as_grpc_does() {
    let companion = Companion::start(RULES).await.unwrap();
    let example = Example::start("tonic", &companion);
    assert_eventually!(tokio::net::TcpStream::connect(example.addr).await.is_ok(), "it is there");
    let mut client = NotesClient::connect(example.addr).await;
    assert_eventually!(client.add().await.is_ok(), "writes pass");
    companion.run(&FREEZE).await.unwrap();
    let before = client.count().await.unwrap();
    let refused = client.add().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().starts_with("Read-only"), "{refused}");
    assert_eq!(client.count().await.unwrap(), before);
    companion.run(&["thaw"]).await.unwrap();
    assert_eventually!(client.add().await.is_ok(), "writes pass");
}
