//! Caches are told to forget at every step, and what became of that is in the log.

use quiesce::event::EventKind;
use serde_json::json;

use super::{
    elsewhere::{Elsewhere, Fault, KEY},
    kit::{config, secret},
};
use crate::{
    companion::{Companion, eventually},
    enforcer::Enforcer,
};

#[tokio::test]
async fn each_kind_of_cache_is_asked_in_its_own_way() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (key, url) = (secret(dir.path(), "key", KEY), &elsewhere.url);
    let notifiers = [
        format!(
            "  - {{ name: edge, kind: varnish, urls: [\"{url}/a\", \"{url}/b\"], headers: {{ host: shop.example.com }} }}\n"
        ),
        format!(
            "  - {{ name: ban, kind: varnish, method: BAN, urls: [\"{url}/c\"], headers: {{ x-tag: quiesce }} }}\n"
        ),
        format!(
            "  - {{ name: fastly, kind: fastly, service_id: SU1, api_key: {key}, api_url: \"{url}\", keys: [quiesce], soft: true }}\n"
        ),
        format!(
            "  - {{ name: flare, kind: cloudflare, zone_id: z1, api_key: {key}, api_url: \"{url}\", urls: [\"https://shop.example.com/.well-known/maintenance\"] }}\n"
        ),
    ];
    let companion = Companion::start_in(dir.path(), &config(&notifiers)).await;
    elsewhere.once("PURGE /b", Fault::Answers(503, None));
    let window = companion.freeze().await;
    companion.until_told(&window, 4).await;
    let purged: Vec<_> = elsewhere.at("PURGE").iter().map(|one| one.path.clone()).collect();
    assert_eq!(purged, ["/a", "/b", "/a", "/b"], "all of them again, if one was not reached");
    assert!(elsewhere.at("PURGE").iter().all(|one| one.header("host") == "shop.example.com"));
    assert_eq!(elsewhere.at("BAN /c")[0].header("x-tag"), "quiesce");
    let fastly = elsewhere.at("POST /service/SU1/purge").remove(0);
    assert_eq!((fastly.header("fastly-key"), fastly.header("fastly-soft-purge")), (KEY, "1"));
    assert_eq!(fastly.json(), json!({ "surrogate_keys": ["quiesce"] }));
    let flare = elsewhere.at("POST /client/v4/zones/z1/purge_cache").remove(0);
    assert_eq!(flare.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(flare.json(), json!({ "files": ["https://shop.example.com/.well-known/maintenance"] }));

    companion.thaw(&window).await;
    eventually("the end is told", async || (elsewhere.at("BAN /c").len() > 1).then_some(())).await;
    eventually("it is in the log", async || {
        let events = companion.events().await;
        let of = |name: &str| {
            let purges = events.iter().filter(|event| event.kind == EventKind::CachePurged);
            purges.filter(|event| event.evidence["notifier"] == name).count()
        };
        ["edge", "ban", "fastly", "flare"].iter().all(|name| of(name) >= 2).then_some(())
    })
    .await;
    companion.stop().await;
}

#[tokio::test]
async fn an_answer_that_says_no_is_none() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let key = secret(dir.path(), "key", KEY);
    let notifier = format!(
        "  - {{ name: flare, kind: cloudflare, zone_id: z1, api_key: {key}, api_url: \"{}/refuses/\", tags: [a] }}\n",
        elsewhere.url
    );
    let companion = Companion::start_in(dir.path(), &config(&[notifier])).await;
    companion.freeze().await;
    let tried = companion.until_delivery("it is tried again", |one| one.attempts > 1).await;
    assert!(tried.note.unwrap().contains("Invalid tag"));
    companion.stop().await;
}

/// A cache that forgets too early fetches the old again.
#[tokio::test]
async fn caches_forget_after_the_enforcers_know() {
    let elsewhere = Elsewhere::start().await;
    let dir = tempfile::tempdir().unwrap();
    let notifier = format!("  - {{ name: edge, kind: varnish, urls: [\"{}/banner\"] }}\n", elsewhere.url);
    let companion = Companion::start_in(dir.path(), &config(&[notifier])).await;
    let mut enforcer = Enforcer::new(&companion.url, "edge-1", "1");
    enforcer.obey().await;
    let window = companion.freeze().await;
    let begun = std::time::Instant::now();
    while elsewhere.at("PURGE").is_empty() {
        assert!(begun.elapsed().as_secs() < 10, "nothing was purged");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(begun.elapsed().as_millis() >= 900, "an enforcer did not know it yet: {:?}", begun.elapsed());
    companion.until_told(&window, 1).await;
    let _running = enforcer.run();
    eventually("edge-1 knows", async || (companion.status().await.fleet.up_to_date == 1).then_some(())).await;
    let begun = std::time::Instant::now();
    companion.thaw(&window).await;
    eventually("the end is told", async || (elsewhere.at("PURGE").len() >= 2).then_some(())).await;
    assert!(begun.elapsed().as_millis() < 900, "the enforcer knew: {:?}", begun.elapsed());
    companion.stop().await;
}
