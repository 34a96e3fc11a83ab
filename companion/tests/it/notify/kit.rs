//! What these tests share: configurations, and waiting for deliveries.

use std::{fs, path::Path, time::Duration};

use quiesce::{
    outbox::{
        DeliveryState,
        view::{DeliveryList, DeliveryView},
    },
    view::WindowView,
};

use super::elsewhere::{Elsewhere, KEY};
use crate::companion::{Companion, eventually};

/// A secret in a file below `dir`, as the configuration has it.
pub fn secret(dir: &Path, name: &str, value: &str) -> String {
    let file = dir.join(name);
    fs::write(&file, value).unwrap();
    format!("{{ file: {} }}", file.display())
}

/// Deliveries that are tried again soon, and no later than in 40 ms; windows that soak for no time.
pub const QUICK: &str =
    "deliveries: { timeout: 1s, backoff: { first: 5ms, cap: 40ms } }\nbackfill: { soak: 1ms }\n";

/// A Statuspage of that name.
pub fn statuspage(dir: &Path, elsewhere: &Elsewhere) -> String {
    let key = secret(dir, "statuspage-key", KEY);
    format!(
        "  - {{ name: status, kind: statuspage, page_id: page1, api_key: {key}, api_url: \"{}\", components: [db1] }}\n",
        elsewhere.url
    )
}

/// An Instatus of that name.
pub fn instatus(dir: &Path, elsewhere: &Elsewhere) -> String {
    let key = secret(dir, "instatus-key", KEY);
    format!(
        "  - {{ name: instatus, kind: instatus, page_id: site1, api_key: {key}, api_url: \"{}\", components: [c1] }}\n",
        elsewhere.url
    )
}

/// The secret of webhooks.
pub const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A program at `/hook`.
pub fn webhook(dir: &Path, elsewhere: &Elsewhere) -> String {
    let secret = secret(dir, "hook-secret", WHSEC);
    format!("  - {{ name: pipeline, kind: webhook, url: \"{}/hook\", secret: {secret} }}\n", elsewhere.url)
}

/// A configuration with these notifiers.
pub fn config(notifiers: &[String]) -> String {
    format!("{QUICK}notify:\n{}", notifiers.concat())
}

impl Companion {
    /// All deliveries, the oldest first.
    pub async fn deliveries(&self) -> Vec<DeliveryView> {
        let mut all = self.get::<DeliveryList>("/v1/deliveries?limit=1000").await.deliveries;
        all.reverse();
        all
    }

    /// Waits until there are so many deliveries of a window, and nothing is to be sent any more.
    pub async fn until_told(&self, window: &WindowView, count: usize) -> Vec<DeliveryView> {
        eventually(&format!("{count} deliveries are over"), async || {
            let mut all = self.deliveries().await;
            all.retain(|one| one.window == window.id);
            let over = all.len() == count && all.iter().all(|one| one.state != DeliveryState::Pending);
            over.then_some(all)
        })
        .await
    }

    /// Waits until a delivery looks like this.
    pub async fn until_delivery(&self, what: &str, fits: impl Fn(&DeliveryView) -> bool) -> DeliveryView {
        eventually(what, async || self.deliveries().await.into_iter().find(|one| fits(one))).await
    }
}

/// Step and state of deliveries.
pub fn steps(deliveries: &[DeliveryView]) -> Vec<(&'static str, &'static str)> {
    deliveries.iter().map(|one| (one.step.as_str(), one.state.as_str())).collect()
}

/// In so many seconds, for windows that begin later.
pub fn later(seconds: u64) -> String {
    quiesce::clock::now().plus_ms(Duration::from_secs(seconds).as_millis() as u64).to_string()
}
