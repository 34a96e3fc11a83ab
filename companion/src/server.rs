//! Runs the companion: opens its state, listens, and goes down in good order.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::{
    api,
    auth::{TokenError, Tokens},
    backfill::replay,
    config::Config,
    error::ServiceError,
    intents::{Ledger, PostgresLedger, Seals, SqliteLedger},
    notify::tell_others,
    passes::{PassError, PassSigner},
    public::Keeper,
    service::{Service, control},
    store::{Location, PostgresStore, SqliteStore, Store, StoreError},
};

/// Requests under way have this long to end when the companion goes down.
const GRACE: Duration = Duration::from_secs(5);

/// Why the companion does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The signing key cannot be used.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state cannot be read.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A file that was asked for cannot be written.
    #[error("cannot write {path}: {source}")]
    AddressFile {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The network or the signals failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A companion that has opened its state and its address, and answers nobody yet.
pub struct Server {
    service: Arc<Service>,
    store: Arc<dyn Store>,
    listener: TcpListener,
}

impl Server {
    /// Opens state and address.
    pub async fn open(config: Config, seals: Seals) -> Result<Self, ServeError> {
        let directory = config.state_directory();
        let tokens = Tokens::load(&config)?;
        let address = config.listen;
        // The address first: of two companions the second fails here, having touched nothing.
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
        let path = |file: &Path| directory.join(file);
        let (store, ledger, shown): (Arc<dyn Store>, Arc<dyn Ledger>, String) = match &config.store {
            Location::File(file) => {
                let store = SqliteStore::open(&path(file)).await?;
                let ledger = SqliteLedger::open(&store).await?;
                (Arc::new(store), Arc::new(ledger), path(file).display().to_string())
            }
            Location::Postgres(url) => {
                let store = PostgresStore::open(url).await?;
                let ledger = PostgresLedger::open(&store);
                (Arc::new(store), Arc::new(ledger), url.to_string())
            }
        };
        let signer = PassSigner::open(&directory.join(&config.passes.key_file), config.passes.max_lifetime)?;
        tracing::info!(store = shown, "state opened");
        if tokens.is_open() {
            tracing::warn!("no tokens are configured: whoever reaches this address may do everything");
        }
        let service = Service::open(config, tokens, signer, Arc::clone(&store), ledger, seals).await?;
        Ok(Self { service, store, listener })
    }

    /// The address listened on.
    pub fn address(&self) -> Result<SocketAddr, ServeError> {
        Ok(self.listener.local_addr()?)
    }

    /// Writes the URL of the API to a file, whole or not at all.
    pub fn write_address(&self, path: &Path) -> Result<(), ServeError> {
        let failed = |source| ServeError::AddressFile { path: path.display().to_string(), source };
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        std::fs::write(&name, format!("http://{}\n", self.address()?)).map_err(failed)?;
        std::fs::rename(&name, path).map_err(failed)
    }

    /// Answers until `stop` ends, then lets go of everything in good order.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let Self { service, store, listener } = self;
        tracing::info!(
            address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"),
            epoch = service.published().epoch.0, "listening"
        );
        let router = api::router(Arc::clone(&service));
        let pages = tokio::spawn(Keeper::open(Arc::clone(&service)).await?.run());
        let controller = tokio::spawn(control(Arc::clone(&service)));
        let fleet_keeper = tokio::spawn(Arc::clone(&service).keep_fleet());
        let others_keeper = tokio::spawn(Arc::clone(&service).keep_up());
        let tidier = tokio::spawn(Arc::clone(&service).tidy_intents());
        let backfill = tokio::spawn(replay(Arc::clone(&service)));
        let teller = tokio::spawn(Arc::clone(&service).tell_consoles());
        let messenger = tokio::spawn(tell_others(Arc::clone(&service)));
        let mut going_down = service.follow_shutdown();
        let graceful = {
            let service = Arc::clone(&service);
            async move {
                stop.await;
                tracing::info!("going down");
                service.begin_shutdown();
            }
        };
        // Answers are written whole: held back for more to come, they would only be late.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "answers may be late");
            }
        });
        // A router that is served as it is would be copied, table of routes and all, for every connection.
        let server =
            axum::serve(listener, router.into_make_service()).with_graceful_shutdown(graceful).into_future();
        let limit = async {
            // An error means that the service is gone, and with it everything to wait for.
            let _ = going_down.wait_for(|down| *down).await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = server => ended?,
            () = limit => tracing::warn!("requests under way were cut off"),
        }
        service.begin_shutdown();
        for task in [controller, fleet_keeper, others_keeper, tidier, backfill, teller, messenger, pages] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background task failed");
            }
        }
        service.flush_fleet().await?;
        store.close().await?;
        Ok(())
    }
}
