//! The `quiesce` binary as a process.

use std::{path::Path, process::Stdio};

use quiesce::{
    view::{StatusView, WindowView},
    windows::Phase,
};
use quiesce_policy::snapshot::WindowId;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::companion::{LIMIT, eventually, http};

/// A `quiesce serve` in a process of its own, killed when dropped.
pub struct Serve {
    pub url: String,
    child: Child,
}

impl Serve {
    /// Starts one on a free port with its state in a directory.
    pub async fn start(dir: &Path, config: Option<&str>) -> Self {
        let address = dir.join("address");
        let _ = std::fs::remove_file(&address);
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--state-dir"]);
        command.arg(dir).arg("--address-file").arg(&address);
        if let Some(yaml) = config {
            let path = dir.join("quiesce.yaml");
            std::fs::write(&path, yaml).unwrap();
            command.arg("--config").arg(path);
        }
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut child = command.stderr(log).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let url = eventually("serve listens", async || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = std::fs::read_to_string(dir.join("log")).unwrap();
                panic!("serve ended with {status}: {log}");
            }
            std::fs::read_to_string(&address).ok().map(|text| text.trim().to_owned())
        })
        .await;
        Self { url, child }
    }

    /// Kills it with SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(LIMIT, self.child.wait()).await.expect("serve does not end").unwrap()
    }

    pub fn api(&self) -> Api {
        Api { url: self.url.clone(), http: http() }
    }

    /// Runs a command against it.
    pub async fn run(&self, args: &[&str]) -> Output {
        run(command(args).env("QUIESCE_URL", &self.url)).await
    }

    /// Runs a command against it that has to succeed, and reads what it prints as JSON.
    pub async fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--output", "json"]].concat()).await;
        assert_eq!(output.code, Some(0), "{args:?}: {}{}", output.stdout, output.stderr);
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout))
    }
}

/// The part of the API that tests ask a [`Serve`] for.
pub struct Api {
    url: String,
    http: reqwest::Client,
}

impl Api {
    pub async fn status(&self) -> StatusView {
        self.http.get(format!("{}/v1/status", self.url)).send().await.unwrap().json().await.unwrap()
    }

    pub async fn create(&self, body: Value) -> WindowView {
        let request = self.http.post(format!("{}/v1/windows", self.url)).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Freezes everything, unless the companion is gone before it answers.
    pub async fn try_freeze(&self) -> Option<WindowView> {
        let request = self.http.post(format!("{}/v1/windows", self.url)).json(&json!({}));
        request.send().await.ok()?.json().await.ok()
    }

    pub async fn thaw(&self, window: &WindowView) {
        let path = format!("{}/v1/windows/{}/thaw", self.url, window.id);
        assert!(self.http.post(path).send().await.unwrap().status().is_success());
    }

    pub async fn until(&self, phase: Phase) -> WindowId {
        eventually(&format!("a window is {phase:?}"), async || {
            self.status().await.windows.iter().find(|one| one.phase == phase).map(|one| one.id.clone())
        })
        .await
    }

    pub async fn until_live(&self, count: u64) {
        eventually("enforcers are live", async || (self.status().await.fleet.live == count).then_some(()))
            .await;
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// All that was printed, with what is different every time replaced by its kind.
    pub fn redacted(&self) -> String {
        let mut text = redact(&self.stdout);
        if !self.stderr.is_empty() {
            text.push_str("--- stderr\n");
            text.push_str(&redact(&self.stderr));
        }
        format!("{text}--- exit code {}", self.code.map_or("none".to_owned(), |code| code.to_string()))
    }
}

/// A command line of the binary, with nothing of the environment that could matter to it.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quiesce"));
    command.args(args).env_remove("QUIESCE_TOKEN").env_remove("QUIESCE_URL").env_remove("RUST_LOG");
    command.env_remove("QUIESCE_STATE_DIR").env("COLUMNS", "100");
    command
}

pub async fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("it does not end").unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn redact(text: &str) -> String {
    let mut redacted = String::new();
    for line in text.split_inclusive('\n') {
        let words: Vec<_> = line.split(' ').collect();
        let shown: Vec<_> = words
            .iter()
            .enumerate()
            .map(|(index, word)| {
                let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
                let next = words.get(index + 1).copied().unwrap_or_default();
                let kind = if core.parse::<quiesce_policy::time::Timestamp>().is_ok() {
                    "TIME"
                } else if core.len() == 26 && core.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    "WINDOW"
                } else if core.parse::<u64>().is_ok() && (next.starts_with("ms") || core.len() == 13) {
                    "N"
                } else if core.starts_with("127.0.0.1:") || core.starts_with("http://127.0.0.1:") {
                    "ADDRESS"
                } else {
                    return (*word).to_owned();
                };
                word.replace(core, kind)
            })
            .collect();
        redacted.push_str(&shown.join(" "));
    }
    redacted
}
