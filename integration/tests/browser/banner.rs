//! The banner in somebody's page on another origin, behind a real Envoy: announcement, start, extension, end.

use std::time::Instant;

use quiesce_integration::{
    assert_eventually,
    http::Request,
    stack::{Stack, StackOptions},
};
use serde_json::Value;

use crate::{
    chromium::{Browser, Screen},
    site::Site,
};

const BANNER: &str = "const banner = document.querySelector('maintenance-banner').shadowRoot; \
                      const box = banner.querySelector('div'); \
                      return box.hidden ? '' : `${box.dataset.state}: ${box.innerText}`";

async fn stack() -> Stack {
    let companion = "public: { ended_for: 3s }\nstatus_page: https://status.example.com/".to_owned();
    Stack::start(StackOptions { companion, ..StackOptions::default() }).await.unwrap()
}

async fn site(stack: &Stack, attributes: &str) -> Site {
    let envoy = stack.envoy().addr();
    let element = format!(
        "<maintenance-banner src=\"http://{envoy}/.well-known/maintenance\" poll=\"1\" {attributes}></maintenance-banner>"
    );
    Site::start(&element, stack.companion.addr(), envoy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banner_follows_a_window_from_announcement_to_end() {
    let Some(browser) = Browser::start().await else { return };
    let stack = stack().await;
    let site = site(&stack, "").await;
    browser.look(Screen::DESK).await;
    browser.tab.goto(&site.url()).await.unwrap();
    let shown = async || browser.text(BANNER).await;
    assert_eq!(shown().await, "", "nothing is under way");

    let at = crate::status::now_plus_ms(20_000);
    let said: Value = stack
        .companion
        .json(&[
            "schedule",
            "--at",
            &at,
            "--for",
            "10m",
            "--reason",
            "reindexing the shop",
            "--contact",
            "#sre",
        ])
        .await
        .unwrap();
    let id = said["id"].as_str().unwrap().to_owned();
    assert_eventually!(
        shown().await.starts_with("upcoming: Planned maintenance: reindexing the shop."),
        "announced: {}",
        shown().await
    );
    for (screen, name) in [
        (Screen::DESK, "desk-light"),
        (Screen { dark: true, ..Screen::DESK }, "desk-dark"),
        (Screen::PHONE, "phone-light"),
    ] {
        browser.look(screen).await;
        browser.assert_accessible().await;
        browser.picture(&format!("banner-upcoming-{name}")).await;
    }
    // With the companion gone, the start is told at its time all the same.
    let mut stack = stack;
    stack.companion.kill();
    let started = || async { shown().await.starts_with("read-only: Read-only for maintenance") };
    assert_eventually!(started().await, within: std::time::Duration::from_secs(30), "started: {}", shown().await);
    assert!(crate::status::now_plus_ms(0) >= at, "it began before its time");
    browser.picture("banner-read-only").await;
    stack.companion.restart().await.unwrap();

    let before = shown().await;
    stack.companion.run(&["extend", &id, "--by", "30m"]).await.unwrap();
    assert_eventually!(shown().await != before, "the new end is told: {before}");
    assert!(shown().await.starts_with("read-only"), "{}", shown().await);

    stack.companion.run(&["thaw", &id]).await.unwrap();
    assert_eventually!(
        shown().await.starts_with("ended: Maintenance is over: reindexing the shop."),
        "over: {}",
        shown().await
    );
    browser.picture("banner-ended").await;
    assert_eventually!(shown().await.is_empty(), "told for the time configured");
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dismisses_the_banner_is_told_again_of_what_comes_next() {
    let Some(browser) = Browser::start().await else { return };
    let stack = stack().await;
    let site = site(&stack, "dismissible").await;
    let said: Value = stack.companion.json(&["freeze", "--for", "10m", "--reason", "first"]).await.unwrap();
    let id = said["id"].as_str().unwrap().to_owned();
    browser.look(Screen::DESK).await;
    browser.tab.goto(&site.url()).await.unwrap();
    let shown = async || browser.text(BANNER).await;
    assert_eventually!(shown().await.starts_with("read-only"), "in force");
    browser.assert_accessible().await;
    browser.picture("banner-dismissible").await;
    // By keyboard: the link to the status page, then the button.
    for _ in 0..2 {
        browser.tab.active_element().await.unwrap().send_keys("\u{e004}").await.unwrap();
    }
    browser.tab.active_element().await.unwrap().send_keys("\u{e007}").await.unwrap();
    assert_eventually!(shown().await.is_empty(), "dismissed");
    browser.tab.goto(&site.url()).await.unwrap();
    let asked = "return performance.getEntriesByType('resource').filter((one) => one.name.includes('maintenance') && one.responseEnd).length > 0";
    assert_eventually!(browser.eval(asked).await == true, "the page has asked");
    assert_eq!(shown().await, "", "dismissed for this window, and in this state");
    stack.companion.run(&["thaw", &id]).await.unwrap();
    assert_eventually!(shown().await.starts_with("ended"), "its end is told");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banner_is_silent_where_nobody_answers_and_leaves_nothing_behind() {
    let Some(browser) = Browser::start().await else { return };
    let mut stack = stack().await;
    let site = site(&stack, "").await;
    browser.look(Screen::DESK).await;
    browser.tab.goto(&site.url()).await.unwrap();
    let removed = "const one = document.querySelector('maintenance-banner'); one.remove(); \
                   performance.clearResourceTimings(); return true";
    let asked = "return performance.getEntriesByType('resource').length";
    assert_eventually!(browser.eval(asked).await.as_u64() > Some(2), "it asks every second");
    browser.eval(removed).await;
    let elapsed = Instant::now();
    assert_eventually!(elapsed.elapsed().as_millis() > 2_500, "two polls' time");
    assert_eq!(browser.eval(asked).await, 0, "an element that is gone asks no more");
    stack.envoy_mut().kill();
    browser.tab.goto(&site.url()).await.unwrap();
    assert_eventually!(browser.eval(asked).await.as_u64() >= Some(2), "it has asked in vain");
    assert_eq!(browser.text(BANNER).await, "");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_the_banner_within_a_second_and_asked_for_once() {
    let stack = stack().await;
    let banner = Request::get("/.well-known/maintenance");
    for reason in ["first", "second", "third"] {
        let began = Instant::now();
        let said: Value = stack.companion.json(&["freeze", "--reason", reason]).await.unwrap();
        let told = async || stack.send(&banner).await.unwrap();
        assert_eventually!(String::from_utf8_lossy(&told().await.body).contains(reason), "in the banner");
        let late = began.elapsed();
        println!("from the command to the banner: {late:?}");
        assert!(late.as_secs_f64() < 1.0, "{late:?}");
        let answer = told().await;
        assert_eq!(answer.header("surrogate-key"), Some("quiesce-banner"));
        let again = banner.clone().header("if-none-match", answer.header("etag").unwrap());
        let again = stack.send(&again).await.unwrap();
        assert_eq!((again.status, again.body.len()), (304, 0));
        stack.companion.run(&["thaw", said["id"].as_str().unwrap()]).await.unwrap();
    }
}
