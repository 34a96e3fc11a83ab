//! The status page in each state: by day and by night, on a desk and on a telephone, by keyboard, without scripts.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quiesce_integration::{assert_eventually, companion::Companion};
use quiesce_policy::time::Timestamp;
use serde_json::Value;

use crate::chromium::{Browser, Screen};

const SETTINGS: &str = "surfaces: [{ name: shop, hosts: [shop.example.com] }]\n\
                        public: { title: Example Shop status, titles: { shop: The shop }, ended_for: 4s }\n\
                        windows: { announce_before: 3650d }\nbackfill: { soak: 4s }";
const ROLLBACK: &str = "The old index stays in place until the new one is verified.";

#[allow(clippy::disallowed_methods, reason = "the companion under test goes by the real clock")]
pub fn now_plus_ms(ms: u64) -> String {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_ms(u64::try_from(unix.as_millis()).unwrap() + ms).to_string()
}

/// Looks at the page on every screen, and keeps a picture of each.
async fn look_all_over(browser: &Browser, url: &str, name: &str) {
    for (width, dark) in [(1100, false), (1100, true), (360, false), (360, true)] {
        browser.look(Screen { width, dark, scripts: true }).await;
        browser.tab.goto(url).await.unwrap();
        browser.assert_accessible().await;
        let (place, light) =
            (if width < 500 { "phone" } else { "desk" }, if dark { "dark" } else { "light" });
        browser.picture(&format!("status-{name}-{place}-{light}")).await;
    }
    browser.look(Screen::DESK).await;
    browser.tab.goto(url).await.unwrap();
}

const HEADLINE: &str = "return document.querySelector('h1').textContent";
const LABELS: &str =
    "return [...document.querySelectorAll('.label')].map((label) => label.textContent).join()";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_tells_each_state_to_everybody() {
    let Some(browser) = Browser::start().await else { return };
    let companion = Companion::start(SETTINGS).await.unwrap();
    let url = format!("http://{}/status", companion.addr());
    look_all_over(&browser, &url, "operational").await;
    assert_eq!(browser.text(HEADLINE).await, "Everything works");

    let at = now_plus_ms(3_600_000);
    let schedule = [
        "schedule",
        "--at",
        &at,
        "--for",
        "45m",
        "--reason",
        "Moving the catalogue to new storage",
        "--contact",
        "#shop-oncall",
        "--scope",
        "host=shop.example.com",
        "--rollback",
        ROLLBACK,
    ];
    companion.run(&schedule).await.unwrap();
    let window: Value = companion.json(&["status"]).await.unwrap();
    let planned = window["windows"][0]["id"].as_str().unwrap().to_owned();
    assert_eventually!(
        browser.goto_and_read(&url).await == "Everything works; maintenance is planned",
        "announced"
    );
    look_all_over(&browser, &url, "announced").await;
    assert_eq!(browser.text(LABELS).await, "Planned");
    let text = browser.text("return document.querySelector('article').innerText").await;
    for part in ["Changes to The shop", "#shop-oncall", ROLLBACK] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let frozen: Value = companion
        .json(&[
            "freeze",
            "--for",
            "30m",
            "--reason",
            "Reindexing the search",
            "--scope",
            "host=search.example.com",
        ])
        .await
        .unwrap();
    let id = frozen["id"].as_str().unwrap().to_owned();
    companion.run(&["announce", &id, "Half of the index is <b>written</b>."]).await.unwrap();
    companion.run(&["extend", &id, "--by", "15m"]).await.unwrap();
    assert_eventually!(browser.goto_and_read(&url).await == "Some writes are paused", "in force");
    look_all_over(&browser, &url, "read-only").await;
    assert_eq!(browser.text(LABELS).await, "In progress,Planned");
    let updates = browser.text("return document.querySelector('.updates').innerText").await;
    assert!(updates.contains("Half of the index is <b>written</b>."), "told as text: {updates}");

    companion.run(&["cancel", &planned]).await.unwrap();
    companion.run(&["thaw", &id]).await.unwrap();
    assert_eventually!(browser.goto_and_read(&url).await == "Writes are open again", "reopened");
    look_all_over(&browser, &url, "reopening").await;
    assert_eventually!(browser.goto_and_read(&url).await == "Maintenance is over", "over");
    look_all_over(&browser, &url, "ended").await;
    assert_eventually!(browser.goto_and_read(&url).await == "Everything works", "history");
    look_all_over(&browser, &url, "history").await;
    let history = browser.text("return document.querySelector('.past').innerText").await;
    assert!(history.contains("Reindexing the search") && history.contains("Cancelled"), "{history}");
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_follows_and_tells_times_in_the_zone_of_who_reads_it() {
    let Some(browser) = Browser::start().await else { return };
    let companion = Companion::start(SETTINGS).await.unwrap();
    let url = format!("http://{}/status", companion.addr());
    browser.look(Screen::DESK).await;
    browser.tab.goto(&url).await.unwrap();
    assert_eq!(
        browser.text("return document.getElementById('zone').textContent").await,
        "Times are in your time zone, Europe/Berlin."
    );
    companion.run(&["schedule", "--at", "2036-07-01T12:00:00Z", "--reason", "planned"]).await.unwrap();
    // What a person who comes back to the tab would cause; the page looks every quarter of a minute by itself.
    let again = "document.dispatchEvent(new Event('visibilitychange')); return document.querySelector('h1').textContent";
    assert_eventually!(
        browser.text(again).await == "Everything works; maintenance is planned",
        "the open page follows"
    );
    let begins = browser.text("return document.querySelector('dd time').textContent").await;
    assert!(begins.contains("14:00") || begins.contains("2:00"), "{begins} is not 14:00 in Berlin");
    assert_eq!(
        browser.text("return document.querySelector('dd time').dateTime").await,
        "2036-07-01T12:00:00.000Z"
    );
    let live = browser
        .text("return document.querySelector('h1').closest('[aria-live]').getAttribute('aria-live')")
        .await;
    assert_eq!(live, "polite");
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_neither_scripts_nor_a_mouse() {
    let Some(browser) = Browser::start().await else { return };
    let companion = Companion::start(SETTINGS).await.unwrap();
    let url = format!("http://{}/status", companion.addr());
    companion.run(&["schedule", "--at", "2036-07-01T12:00:00Z", "--reason", "planned"]).await.unwrap();
    browser.look(Screen { scripts: false, ..Screen::PHONE }).await;
    browser.tab.goto(&url).await.unwrap();
    let source = browser.tab.source().await.unwrap();
    assert!(source.contains(">Tuesday 1 July 2036, 12:00 UTC</time>"), "{source}");
    assert!(source.contains("Times are in UTC."), "{source}");

    browser.look(Screen::DESK).await;
    browser.tab.goto(&url).await.unwrap();
    let mut reached = Vec::new();
    for _ in 0..4 {
        let body = browser.tab.active_element().await.unwrap();
        body.send_keys("\u{e004}").await.unwrap();
        reached.push(browser.text("return document.activeElement.textContent").await);
    }
    assert_eq!(reached, ["Skip to the current state", "Atom feed", "Calendar", "JSON"]);
    let outline = browser.text("return getComputedStyle(document.activeElement).outlineStyle").await;
    assert_eq!(outline, "solid", "who tabs sees where they are");
    let loaded = "return performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))\
                  .reduce((sum, one) => sum + one.transferSize, 0)";
    let bytes = browser.eval(loaded).await.as_f64().unwrap();
    assert!(bytes < 50_000.0, "{bytes} bytes for the page and all that it needs");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_on_the_page_within_a_second() {
    let companion = Companion::start(SETTINGS).await.unwrap();
    let page = quiesce_integration::http::Request::get("/status.json");
    for reason in ["first", "second", "third"] {
        let began = Instant::now();
        let frozen: Value = companion.json(&["freeze", "--reason", reason]).await.unwrap();
        let told = async || page.send(companion.addr()).await.unwrap();
        assert_eventually!(String::from_utf8_lossy(&told().await.body).contains(reason), "on the page");
        let late = began.elapsed();
        println!("from the command to the page: {late:?}");
        assert!(late.as_secs_f64() < 1.0, "{late:?}");
        companion.run(&["thaw", frozen["id"].as_str().unwrap()]).await.unwrap();
    }
}

impl Browser {
    /// The headline of the page, loaded anew.
    async fn goto_and_read(&self, url: &str) -> String {
        self.tab.goto(url).await.unwrap();
        self.text(HEADLINE).await
    }
}
