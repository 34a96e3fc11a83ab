//! Notes over gRPC, guarded: `Add` writes, and `Count` reads, which a rule of the companion says.
//!
//! ```sh
//! QUIESCE_URL=http://127.0.0.1:7423 QUIESCE_SYNC_TOKEN=… LISTEN=127.0.0.1:8081 cargo run --example tonic
//! ```

mod notes;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
};

use notes::{AddRequest, Added, CountRequest, Counted, Notes, NotesServer};
use quiesce_guard::{Config, Guard, GuardLayer};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpConnectInfo},
};

#[derive(Default)]
struct InMemory(AtomicU64);

#[tonic::async_trait]
impl Notes for InMemory {
    async fn add(&self, _request: Request<AddRequest>) -> Result<Response<Added>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(Added {}))
    }

    async fn count(&self, _request: Request<CountRequest>) -> Result<Response<Counted>, Status> {
        Ok(Response::new(Counted { notes: self.0.load(Ordering::Relaxed) }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let (url, token) = (env::var("QUIESCE_URL")?, env::var("QUIESCE_SYNC_TOKEN")?);
    let guard = Guard::connect(Config::new(url, token, "notes-tonic"))?;
    let layer = GuardLayer::new(guard).client_address(|extensions| {
        extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr).map(|from| from.ip())
    });
    let server = Server::builder().layer(layer).add_service(NotesServer::new(InMemory::default()));
    server.serve(env::var("LISTEN")?.parse()?).await?;
    Ok(())
}
