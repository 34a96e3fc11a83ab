//! Notes over HTTP, guarded: `POST /notes` writes, `GET /notes` reads, and a job tidies up in the background.
//!
//! ```sh
//! QUIESCE_URL=http://127.0.0.1:7423 QUIESCE_SYNC_TOKEN=… LISTEN=127.0.0.1:8080 cargo run --example axum
//! ```

use std::{
    env,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, State},
    http::Extensions,
    routing::get,
};
use quiesce_guard::{Config, Guard, GuardLayer, WriteGate};
use tokio::{net::TcpListener, time::interval};

#[derive(Default)]
struct Notes {
    texts: Mutex<Vec<String>>,
    tidied: AtomicU64,
}

async fn add(State(notes): State<Arc<Notes>>, text: String) {
    notes.texts.lock().unwrap_or_else(PoisonError::into_inner).push(text);
}

/// How many notes there are, and how often they were tidied up.
async fn count(State(notes): State<Arc<Notes>>) -> Json<[u64; 2]> {
    let texts = notes.texts.lock().unwrap_or_else(PoisonError::into_inner).len();
    Json([texts as u64, notes.tidied.load(Ordering::Relaxed)])
}

/// Nobody asks for this by a request, so the job asks the gate itself.
async fn tidy_up(notes: Arc<Notes>, gate: WriteGate) {
    let mut turns = interval(Duration::from_millis(20));
    loop {
        turns.tick().await;
        // In flight until it is dropped, which is when this turn has ended.
        let _write = gate.enter_when_open().await;
        notes.texts.lock().unwrap_or_else(PoisonError::into_inner).sort();
        notes.tidied.fetch_add(1, Ordering::Relaxed);
    }
}

fn remote_ip(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|from| from.0.ip())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let (url, token) = (env::var("QUIESCE_URL")?, env::var("QUIESCE_SYNC_TOKEN")?);
    let guard = Guard::connect(Config::new(url, token, "notes-axum").label("region", "eu"))?;
    let notes = Arc::new(Notes::default());
    tokio::spawn(tidy_up(Arc::clone(&notes), guard.gate()));
    let app = Router::new()
        .route("/notes", get(count).post(add))
        .with_state(notes)
        .layer(GuardLayer::new(guard).client_address(remote_ip));
    let listener = TcpListener::bind(env::var("LISTEN")?).await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
