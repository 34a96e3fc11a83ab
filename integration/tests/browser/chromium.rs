//! Chromium without a window, as Debian packages it, driven over WebDriver.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use fantoccini::{Client, ClientBuilder};
use quiesce_integration::{artifacts, assert_eventually, http::Request, ports, process::Process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser has much to load, on a machine that does other things too.
const START_BOUND: Duration = Duration::from_secs(60);
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// A running browser with one tab; it ends when dropped.
pub struct Browser {
    /// The tab.
    pub tab: Client,
    driver: SocketAddr,
    session: String,
    axe: PathBuf,
    // Before `_dir`: the process ends before its files go.
    _process: Process,
    _dir: TempDir,
}

/// How the tab is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Pixels.
    pub width: u32,
    /// Whether the person prefers dark pages.
    pub dark: bool,
    /// Whether pages may run scripts.
    pub scripts: bool,
}

impl Screen {
    /// A desk, by day.
    pub const DESK: Self = Self { width: 1100, dark: false, scripts: true };
    /// A telephone, by day.
    pub const PHONE: Self = Self { width: 360, ..Self::DESK };
}

impl Browser {
    /// A browser, or nothing where there is none: then this test is skipped, and says so. CI skips nothing.
    pub async fn start() -> Option<Self> {
        let (Some(root), Some(axe)) = (artifacts::chromium().unwrap(), artifacts::axe().unwrap()) else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let reason = "Chromium or axe-core is not there; `cargo xtask test` gets them";
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes()).unwrap();
            return None;
        };
        let dir = tempfile::Builder::new().prefix("quiesce-chromium-").tempdir().unwrap();
        let driver = ports::free().unwrap();
        let mut command = Command::new(root.join("usr/bin/chromedriver"));
        command.arg(format!("--port={}", driver.port())).env("HOME", dir.path()).env("TZ", "Europe/Berlin");
        if root != Path::new("/") {
            let libraries = [
                root.join(LIBRARIES),
                root.join("lib/x86_64-linux-gnu"),
                root.join(LIBRARIES).join("pulseaudio"),
            ];
            command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
        }
        let process = Process::spawn("chromedriver", command, &dir.path().join("driver.log")).unwrap();
        let ready = async || {
            let status = Request::get("/status").send(driver).await.ok()?.json::<Value>().ok()?;
            status["value"]["ready"].as_bool()
        };
        assert_eventually!(ready().await == Some(true), within: START_BOUND, "chromedriver:\n{}", process.log());
        let mut args = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
        ];
        args.push(format!("--user-data-dir={}", dir.path().join("profile").display()));
        args.push("--lang=en-GB".to_owned());
        if rustix::process::geteuid().is_root() {
            // What Chromium's own sandbox asks of root, it does not get in most containers.
            args.push("--no-sandbox".to_owned());
        }
        let options = json!({ "binary": root.join("usr/lib/chromium/chromium"), "args": args });
        let Value::Object(capabilities) =
            json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } })
        else {
            unreachable!()
        };
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities);
        let tab = builder.connect(&format!("http://{driver}")).await;
        let tab = tab.unwrap_or_else(|error| panic!("{error}\n{}", process.log()));
        let session = tab.session_id().await.unwrap().unwrap();
        Some(Self { tab, driver, session, axe, _process: process, _dir: dir })
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, params: Value) {
        let body = json!({ "cmd": command, "params": params }).to_string();
        let request = Request::post(&format!("/session/{}/goog/cdp/execute", self.session), body.as_str())
            .header("content-type", "application/json");
        let answer = request.send(self.driver).await.unwrap();
        assert_eq!(answer.status, 200, "{command}: {}", String::from_utf8_lossy(&answer.body));
    }

    /// Looks at pages like this from now on.
    pub async fn look(&self, screen: Screen) {
        let scheme = if screen.dark { "dark" } else { "light" };
        let mobile = screen.width < 500;
        let metrics =
            json!({ "width": screen.width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !screen.scripts })).await;
        self.devtools("Emulation.setTimezoneOverride", json!({ "timezoneId": "Europe/Berlin" })).await;
    }

    /// What a script returns.
    pub async fn eval(&self, script: &str) -> Value {
        self.tab.execute(script, Vec::new()).await.unwrap()
    }

    /// What a script returns, as text.
    pub async fn text(&self, script: &str) -> String {
        self.eval(script).await.as_str().unwrap_or_default().to_owned()
    }

    /// Asserts that axe-core finds no fault with the page, and that it is no wider than the screen.
    pub async fn assert_accessible(&self) {
        let axe = std::fs::read_to_string(self.axe.join("axe.min.js")).unwrap();
        // By DevTools, for the page's policy lets nobody add a script to it.
        self.devtools("Runtime.evaluate", json!({ "expression": axe })).await;
        let run = "const done = arguments[0]; axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', \
                   'wcag22aa', 'best-practice'] }).then((found) => done(found.violations.map((one) => \
                   `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(' ')}`)))";
        let found = self.tab.execute_async(run, Vec::new()).await.unwrap();
        assert_eq!(found, json!([]));
        let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.eval(wide).await, json!(0), "the page is wider than the screen");
    }

    /// Keeps a picture of all of the page in `target/quiesce/screenshots`.
    pub async fn picture(&self, name: &str) {
        let height = self.eval("return document.documentElement.scrollHeight").await.as_u64().unwrap();
        let width = self.eval("return innerWidth").await.as_u64().unwrap();
        let metrics = json!({ "width": width, "height": height.max(300), "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let target = artifacts::wasm().unwrap().parent().unwrap().join("screenshots");
        std::fs::create_dir_all(&target).unwrap();
        std::fs::write(target.join(format!("{name}.png")), self.tab.screenshot().await.unwrap()).unwrap();
    }

    /// What the page has complained of, the browser's own complaints included, since it was last asked.
    pub async fn complaints(&self) -> Vec<String> {
        let body = json!({ "type": "browser" }).to_string();
        let request = Request::post(&format!("/session/{}/se/log", self.session), body.as_str());
        let answer: Value = request
            .header("content-type", "application/json")
            .send(self.driver)
            .await
            .unwrap()
            .json()
            .unwrap();
        let entries = answer["value"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// Closes it in good order.
    pub async fn close(self) {
        self.tab.close().await.unwrap();
    }
}
