//! Attempts to slip a write past, over raw sockets through real Envoy: what reaches the origin decides.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is missing here fails its test")]

mod common;

use common::cases::{plugin, table};
use quiesce::{
    config::Config,
    explain::{ANY_HOST, Asked},
};
use quiesce_integration::{
    assert_eventually,
    envoy::{Envoy, Options},
    http::Request,
    origin::{Origin, Seen},
    snapshots::Snapshots,
};
use quiesce_policy::snapshot::{Epoch, Snapshot};
use serde::Deserialize;

#[derive(Deserialize)]
struct Attempt<'a> {
    about: String,
    #[serde(borrow)]
    attack: Asked<'a>,
    #[serde(borrow)]
    twin: Asked<'a>,
}

/// Twins that Envoy itself refuses: its HTTP/1.1 parser knows no such method.
const REFUSED_BY_ENVOY: [&str; 1] = ["QUERY"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_harmless_twins_reaches_the_origin() {
    try_all(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_behind_an_envoy_that_is_strict_about_paths() {
    try_all(true).await;
}

async fn try_all(strict_paths: bool) {
    let (origin, companion) = (Origin::start().unwrap(), Snapshots::start().await.unwrap());
    let options = Options::quiesce(&plugin(), origin.addr(), companion.addr()).unwrap();
    let envoy =
        Envoy::start(Options { strict_paths, reject_underscores: strict_paths, ..options }).await.unwrap();
    companion.publish(&frozen()).unwrap();
    assert_eventually!(envoy.metric("quiesce.epoch").await.unwrap() == 1, "the snapshot is in force");

    let mut failures = Vec::new();
    for line in include_str!("../../policy/cases/attacks.jsonl").lines() {
        let Attempt { about, attack, twin } = serde_json::from_str(line).unwrap();
        let before = origin.seen().len();
        // Envoy may close the connection of what it takes for no HTTP.
        let _ = request(&attack).send(envoy.addr()).await;
        for seen in origin.seen().split_off(before) {
            if !has_become(&attack, &twin, &seen) {
                failures.push(format!("{about}: {} {} has reached the origin", seen.method, seen.target));
            }
        }
        let before = origin.seen().len();
        let answer = request(&twin).send(envoy.addr()).await.unwrap();
        let expected = usize::from(!REFUSED_BY_ENVOY.contains(&&*twin.method));
        if origin.seen().len() != before + expected {
            failures.push(format!("{about}: the twin has not reached the origin: {}", answer.status));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Whether Envoy has made the twin of an attack before it passed it on: by cutting an `Upgrade` that it does
/// not serve, white space around a value, or what is odd about a path.
fn has_become(attack: &Asked<'_>, twin: &Asked<'_>, seen: &Seen) -> bool {
    let of = |asked: &Asked<'_>, name: &str| -> Vec<String> {
        asked.headers.get(name).map(|values| values.all().to_vec()).unwrap_or_default()
    };
    let arrived = |name: &str| -> Vec<String> {
        seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let mut headers = attack.headers.keys().chain(twin.headers.keys()).filter(|name| *name != "connection");
    seen.method.as_str() == twin.method
        && seen.target == twin.path
        && attack.body == twin.body
        && arrived("host") == [twin.host.as_deref().unwrap_or(ANY_HOST)]
        && headers.all(|name| arrived(name) == of(twin, name))
}

/// The configuration that the attempts are meant for, frozen.
fn frozen() -> Snapshot {
    let yaml = include_str!("../../policy/cases/attacks.yaml");
    let (configured, _) = Config::from_yaml(yaml, "attacks.yaml").unwrap().snapshot().unwrap();
    let mut windows = table().snapshots["frozen"].windows.clone();
    for window in &mut windows {
        window.expires_at = window.expires_at.plus_ms(100 * 365 * 86_400_000);
    }
    Snapshot { version: Epoch(1), windows, ..configured }
}

fn request(asked: &Asked<'_>) -> Request {
    let mut request = Request::new(&asked.method, &asked.path)
        .header("host", asked.host.as_deref().unwrap_or(ANY_HOST))
        .body(asked.body.clone().unwrap_or_default());
    for (name, values) in &asked.headers {
        for value in values.all() {
            request = request.header(name, value);
        }
    }
    request
}
