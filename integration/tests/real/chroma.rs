//! Chroma, by its own client over HTTP.

use std::net::SocketAddr;

use quiesce_integration::artifacts;

use crate::{
    client::{Program, host_and_port},
    front::Front,
    server::{Server, or_skip, program, python},
    story::freeze_and_thaw,
};

#[tokio::test(flavor = "multi_thread")]
async fn chroma_reads_and_refuses() {
    let Some(packages) = or_skip("chromadb", artifacts::python()) else { return };
    let server = Server::start("chroma", |addr, data| {
        let [host, port] = host_and_port(addr);
        let mut command = python(&packages);
        command
            .arg(packages.join("bin/chroma"))
            .args(["run", "--host", &host, "--port", &port, "--path"])
            .arg(data.join("data"));
        command
    })
    .await;
    let front = Front::start(server.addr(), "surfaces:\n  - { name: chroma, catalogs: [chroma] }").await;
    let client = async |addr: SocketAddr| {
        let mut command = python(&packages);
        command.arg(program("python/chroma_client.py")).args(host_and_port(addr));
        Program::start(command).await
    };
    let (mut around, mut through) = (client(server.addr()).await, client(front.addr()).await);
    freeze_and_thaw(&front, &mut through, &mut around).await;
}
