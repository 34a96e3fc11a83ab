//! Origin, companion and Envoy as operators run them: the whole of Quiesce in one value.

use anyhow::Result;

use crate::{
    assert_eventually,
    companion::Companion,
    envoy::{Envoy, Options, PluginConfig},
    http::{Request, Response},
    origin::Origin,
};

/// What to start.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Added to the companion's configuration (YAML, top level): surfaces, for example. `{origin}` stands for
    /// the origin's address.
    pub companion: String,
    /// The filter's configuration.
    pub plugin: PluginConfig,
    /// How many Envoys, named `envoy-1`, `envoy-2`, …
    pub envoys: u32,
    /// Give the companion's state a disk of its own, of so many bytes.
    pub disk_bytes: Option<u64>,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self { companion: String::new(), plugin: PluginConfig::default(), envoys: 1, disk_bytes: None }
    }
}

/// A running stack; all of it ends when dropped.
#[derive(Debug)]
pub struct Stack {
    /// The proxies.
    pub envoys: Vec<Envoy>,
    /// The companion.
    pub companion: Companion,
    /// What is behind the proxies.
    pub origin: Origin,
}

impl Stack {
    /// Starts everything and waits until every Envoy has a snapshot in force.
    ///
    /// # Errors
    /// When a part does not start; its log is in the error.
    ///
    /// # Panics
    /// When an Envoy gets no snapshot in time, which fails the test.
    pub async fn start(options: StackOptions) -> Result<Self> {
        let origin = Origin::start()?;
        let settings = options.companion.replace("{origin}", &origin.addr().to_string());
        let companion = match options.disk_bytes {
            Some(bytes) => Companion::start_on_small_disk(bytes, &settings).await?,
            None => Companion::start(&settings).await?,
        };
        let mut envoys = Vec::new();
        for number in 1..=options.envoys {
            let mut envoy = Options::quiesce(&options.plugin, origin.addr(), companion.addr())?;
            envoy.node_id = format!("envoy-{number}");
            envoys.push(Envoy::start(envoy).await?);
        }
        let stack = Self { envoys, companion, origin };
        stack.until_synced().await?;
        Ok(stack)
    }

    /// The first Envoy.
    ///
    /// # Panics
    /// When the stack was started without any.
    pub fn envoy(&self) -> &Envoy {
        assert!(!self.envoys.is_empty(), "this stack has no Envoy");
        &self.envoys[0]
    }

    /// The first Envoy, to restart or kill.
    ///
    /// # Panics
    /// When the stack was started without any.
    pub fn envoy_mut(&mut self) -> &mut Envoy {
        assert!(!self.envoys.is_empty(), "this stack has no Envoy");
        &mut self.envoys[0]
    }

    /// Sends a request through the first Envoy.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub async fn send(&self, request: &Request) -> Result<Response> {
        self.envoy().send(request).await
    }

    /// Waits until every Envoy has some snapshot in force.
    ///
    /// # Errors
    /// When an Envoy's admin interface does not answer.
    ///
    /// # Panics
    /// When an Envoy gets none in time, which fails the test.
    pub async fn until_synced(&self) -> Result<()> {
        for envoy in &self.envoys {
            assert_eventually!(
                envoy.metric("quiesce.epoch").await? > 0,
                "the first snapshot; the log of Envoy says:\n{}\nthe companion's says:\n{}",
                envoy.log(),
                self.companion.log()
            );
        }
        Ok(())
    }
}
