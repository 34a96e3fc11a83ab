//! What is in front of a server: Envoy with the shipped filter, and the companion.

use std::net::SocketAddr;

use quiesce_integration::{
    artifacts, assert_eventually,
    companion::Companion,
    envoy::{Envoy, Filter, Options, PluginConfig},
};

/// An Envoy in front of one server, with its companion.
pub struct Front {
    envoy: Envoy,
    companion: Companion,
}

impl Front {
    /// Starts both, with `settings` added to the companion's configuration, and waits for the first snapshot.
    pub async fn start(server: SocketAddr, settings: &str) -> Self {
        Self::start_with(server, settings, |_| {}).await
    }

    /// The same with the module that learns which tools read.
    pub async fn learning(server: SocketAddr, settings: &str) -> Self {
        let learning = |options: &mut Options| {
            let configuration = serde_json::to_string(&PluginConfig::default()).unwrap();
            options.filter = Filter::Wasm { module: artifacts::learning_wasm().unwrap(), configuration };
        };
        Self::start_with(server, settings, learning).await
    }

    async fn start_with(server: SocketAddr, settings: &str, change: impl FnOnce(&mut Options)) -> Self {
        let companion = Companion::start(settings).await.unwrap();
        let mut options = Options::quiesce(&PluginConfig::default(), server, companion.addr()).unwrap();
        options.protocol_of_client = true;
        change(&mut options);
        let envoy = Envoy::start(options).await.unwrap();
        let epoch = async || envoy.metric("quiesce.epoch").await.unwrap();
        assert_eventually!(epoch().await > 0, "the first snapshot:\n{}", envoy.log());
        Self { envoy, companion }
    }

    /// Where clients reach the server through it.
    pub fn addr(&self) -> SocketAddr {
        self.envoy.addr()
    }

    /// Returns when no write passes any more and none is in flight.
    pub async fn freeze(&self) {
        let freeze = ["freeze", "--for", "10m", "--reason", "a test", "--expect", "1", "--wait"];
        self.companion.run(&freeze).await.unwrap();
    }

    /// Returns when writes pass again.
    pub async fn thaw(&self) {
        let frozen = self.envoy.metric("quiesce.epoch").await.unwrap();
        self.companion.run(&["thaw"]).await.unwrap();
        let epoch = async || self.envoy.metric("quiesce.epoch").await.unwrap();
        assert_eventually!(epoch().await != frozen, "the thaw is in force");
    }

    /// How many requests it has taken.
    pub async fn requests(&self) -> u64 {
        let name = "http.ingress.downstream_rq_total";
        self.envoy.stats(&format!("^{name}$")).await.unwrap()[name]
    }
}
