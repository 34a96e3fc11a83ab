//! Milvus Lite, by Milvus's own client over gRPC.

use std::net::SocketAddr;

use quiesce_integration::artifacts;

use crate::{
    client::{Program, host_and_port},
    front::Front,
    server::{Server, or_skip, program, python},
    story::freeze_and_thaw,
};

#[tokio::test(flavor = "multi_thread")]
async fn milvus_lite_reads_and_refuses() {
    let Some(packages) = or_skip("milvus-lite", artifacts::python()) else { return };
    let server = Server::start("milvus", |addr, data| {
        let [host, port] = host_and_port(addr);
        let mut command = python(&packages);
        command
            .args(["-m", "milvus_lite", "server", "--host", &host, "--port", &port, "--data-dir"])
            .arg(data.join("data"));
        command
    })
    .await;
    let front = Front::start(server.addr(), "surfaces:\n  - { name: milvus, catalogs: [milvus] }").await;
    let client = async |addr: SocketAddr| {
        let mut command = python(&packages);
        command.arg(program("python/milvus_client.py")).args(host_and_port(addr));
        Program::start(command).await
    };
    let (mut around, mut through) = (client(server.addr()).await, client(front.addr()).await);
    freeze_and_thaw(&front, &mut through, &mut around).await;
}
