//! The operator's console through a whole freeze and thaw with two enforcers, one of them lagging: by keyboard alone.

use quiesce_integration::{
    assert_eventually,
    companion::OPERATOR_TOKEN,
    http::Request,
    stack::{Stack, StackOptions},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::chromium::{Browser, Screen};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const SLOW_WRITE: &str = "/slow?ms=12000";

/// What is inside of the element with this id, in words.
fn inside(id: &str) -> String {
    format!("return document.getElementById('{id}').innerText")
}

impl Browser {
    async fn press(&self, keys: &str) {
        self.tab.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Tabs until the element with this id has the focus, and sees that whoever tabs sees it.
    async fn tab_to(&self, id: &str) {
        for _ in 0..60 {
            if self.text("return document.activeElement.id").await == id {
                let outline = "return getComputedStyle(document.activeElement).outlineStyle";
                assert_eq!(self.text(outline).await, "solid", "{id}");
                return;
            }
            self.press(TAB).await;
        }
        panic!("no key leads to `{id}`");
    }

    /// Looks at what is shown on every screen, and keeps a picture of each.
    async fn see_console(&self, name: &str) {
        for (screen, kind) in [
            (Screen::DESK, "desk-light"),
            (Screen { dark: true, ..Screen::DESK }, "desk-dark"),
            (Screen::PHONE, "phone-light"),
        ] {
            self.look(screen).await;
            self.assert_accessible().await;
            self.picture(&format!("console-{name}-{kind}")).await;
        }
        self.look(Screen::DESK).await;
    }

    async fn headline(&self) -> String {
        self.text("return document.querySelector('.headline')?.textContent ?? ''").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_freezes_and_thaws_by_keyboard_while_an_enforcer_lags() {
    let Some(browser) = Browser::start().await else { return };
    let stack = Stack::start(StackOptions { envoys: 2, ..StackOptions::default() }).await.unwrap();
    let url = format!("http://{}/console", stack.companion.addr());
    browser.look(Screen::DESK).await;
    browser.tab.goto(&url).await.unwrap();
    assert_eventually!(
        browser.text("return document.activeElement.id").await == "token",
        "asked for a token"
    );
    browser.see_console("login").await;
    browser.press(&format!("not-a-token{ENTER}")).await;
    assert_eventually!(!browser.text(&inside("login-error")).await.is_empty(), "refused");
    browser.complaints().await;
    browser.press(&format!("{OPERATOR_TOKEN}{ENTER}")).await;
    assert_eventually!(browser.headline().await == "Open", "logged in");
    assert_eventually!(browser.text(&inside("state")).await.contains("2 enforcers live"), "the fleet");
    browser.see_console("open").await;

    let lagging = Pid::from_raw(i32::try_from(stack.envoys[1].pid()).unwrap()).unwrap();
    kill_process(lagging, Signal::STOP).unwrap();
    let envoy = stack.envoy().addr();
    let running =
        tokio::spawn(async move { Request::post(SLOW_WRITE, "a write").send(envoy).await.unwrap() });
    assert_eventually!(stack.origin.count(|seen| seen.target == SLOW_WRITE) == 1, "a write is admitted");
    browser.tab_to("freeze").await;
    browser.press(ENTER).await;
    assert_eq!(browser.text("return document.activeElement.name").await, "reason");
    browser.see_console("freeze").await;
    browser.press(&format!("Moving the catalogue{ENTER}")).await;
    assert_eventually!(browser.headline().await == "Freezing", "one lags: {}", browser.headline().await);
    let windows = inside("windows");
    let laggards = "return document.querySelector('.laggards')?.innerText ?? ''";
    assert_eventually!(
        browser.text(laggards).await.contains("envoy-2"),
        "the laggard is named: {}",
        browser.text(&windows).await
    );
    assert_eventually!(
        browser.text(&windows).await.contains("1 of 2 enforcers acknowledged, 1 write in flight"),
        "how far it is: {}",
        browser.text(&windows).await
    );
    browser.see_console("freezing").await;

    kill_process(lagging, Signal::CONT).unwrap();
    assert_eventually!(browser.headline().await == "Draining", "all refuse: {}", browser.headline().await);
    let within = std::time::Duration::from_secs(20);
    assert_eventually!(browser.headline().await == "Quiesced", within: within, "proven");
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(stack.send(&Request::post("/orders", "another")).await.unwrap().status, 423);
    let refused = "return [...document.querySelectorAll('#charts svg')].map((it) => it.getAttribute('aria-label')).join()";
    assert_eventually!(
        browser.text(refused).await.contains("writes a second: now refused"),
        "counted: {}",
        browser.text(refused).await
    );
    browser.see_console("quiesced").await;

    let id = browser.text("return document.querySelector('.card code').textContent").await;
    browser.tab_to(&format!("extend-{id}")).await;
    browser.press(ENTER).await;
    browser.press(ENTER).await;
    assert_eventually!(browser.text(&inside("timeline")).await.contains("extended by"), "a later end");
    // What is drawn anew takes the focus from nobody.
    assert_eventually!(
        browser.text("return document.activeElement.id").await == format!("extend-{id}"),
        "the focus is where it was: {}",
        browser.text("return document.activeElement.outerHTML").await
    );
    browser.tab_to(&format!("thaw-{id}")).await;
    browser.press(ENTER).await;
    browser.tab_to_submit().await;
    assert_eventually!(browser.headline().await == "Open", "writes pass");
    assert_eventually!(browser.text(&inside("timeline")).await.contains("writes reopened by"), "the log");
    assert_eq!(stack.send(&Request::post("/orders", "another")).await.unwrap().status, 200);
    browser.see_console("thawed").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}

impl Browser {
    /// Confirms what a dialog asks.
    async fn tab_to_submit(&self) {
        for _ in 0..10 {
            if self.text("return document.activeElement.type ?? ''").await == "submit" {
                return self.press(ENTER).await;
            }
            self.press(TAB).await;
        }
        panic!("no key leads to the dialog's button");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_why_a_request_is_refused() {
    let Some(browser) = Browser::start().await else { return };
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    browser.look(Screen::PHONE).await;
    browser.tab.goto(&format!("http://{}/console", stack.companion.addr())).await.unwrap();
    assert_eventually!(
        browser.text("return document.activeElement.id").await == "token",
        "asked for a token"
    );
    browser.press(&format!("{OPERATOR_TOKEN}{ENTER}")).await;
    assert_eventually!(browser.headline().await == "Open", "logged in");
    browser.tab_to("explain-path").await;
    browser.press(&format!("orders{ENTER}")).await;
    let said = inside("explanation");
    assert_eventually!(browser.text(&said).await.contains("HTTP 423"), "{}", browser.text(&said).await);
    browser.assert_accessible().await;
    browser.tab_to("logout").await;
    browser.press(ENTER).await;
    assert_eq!(browser.text("return document.activeElement.id").await, "token");
    assert_eq!(browser.eval("return sessionStorage.length").await, 0, "the token is gone");
    browser.close().await;
}
