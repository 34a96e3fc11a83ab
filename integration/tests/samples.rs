//! The samples in the documents do what the documents say: shell samples against a running stack,
//! configurations through the parsers that read them, answers beside real ones.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a sample that is not as the document says fails its test"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use quiesce_filter::config::PluginConfig;
use quiesce_integration::{
    artifacts,
    envoy::{self, EnforcerConfig},
    http::Request,
    samples::sample,
    stack::{Stack, StackOptions},
};
use quiesce_policy::{Policy, Refusal, snapshot::Snapshot, sync::SyncRequest};
use serde_json::Value;

const README: &str = include_str!("../../README.md");

/// A shell that finds `quiesce` and the companion of `stack`; what it writes goes to `dir`.
fn shell(stack: &Stack, dir: &Path, script: &str) -> Command {
    let quiesce = artifacts::quiesce().unwrap();
    let inherited = std::env::var("PATH").unwrap();
    let as_operator = stack.companion.command(&[]).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", script]).current_dir(dir);
    shell.envs(as_operator.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", format!("{}:{inherited}", quiesce.parent().unwrap().display()));
    shell
}

/// Runs a script in `dir`, which must succeed, and returns what it prints.
#[track_caller]
fn run(stack: &Stack, dir: &Path, script: &str) -> String {
    let said = shell(stack, dir, script).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{script}\nended with {}\n{out}{err}", said.status);
    out.into_owned()
}

/// A stack whose Envoy carries the label that the samples select by.
async fn in_region_eu(companion: &str) -> Stack {
    let labels = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
    let enforcer = EnforcerConfig { labels, ..EnforcerConfig::default() };
    let plugin = envoy::PluginConfig { enforcer, ..envoy::PluginConfig::default() };
    Stack::start(StackOptions { companion: companion.to_owned(), plugin, ..StackOptions::default() })
        .await
        .unwrap()
}

async fn status(stack: &Stack, request: &Request) -> u16 {
    stack.send(request).await.unwrap().status
}

/// Every member's name, of objects within it too.
fn members(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let inner = members(value).into_iter().map(move |inner| format!("{name}.{inner}"));
                std::iter::once(name.clone()).chain(inner)
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(members).collect(),
        _ => Vec::new(),
    }
}

/// What `quiesce config check` says of a configuration.
fn check_config(yaml: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quiesce.yaml");
    fs::write(&file, yaml).unwrap();
    Command::new(artifacts::quiesce().unwrap()).args(["config", "check"]).arg(file).output().unwrap()
}

#[track_caller]
fn assert_config(yaml: &str, summary: &str) {
    let said = check_config(yaml);
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{err}");
    assert!(out.contains(summary), "not `{summary}`: {out}");
}

/// The rows of the table below a heading's text, cells without backquotes.
fn table_after(text: &str, mark: &str) -> Vec<Vec<String>> {
    let below = text.split_once(mark).unwrap_or_else(|| panic!("no `{mark}`")).1;
    let rows =
        below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2)
        .map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

/// Every `cargo xtask` of a sample is a task that there is.
#[track_caller]
fn assert_tasks(script: &str) {
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["cargo", "xtask", task, ..] = words[..] else { panic!("`{line}` is no `cargo xtask TASK`") };
        let said = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["xtask", task, "--help"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        assert!(said.status.success(), "{line}: {}", String::from_utf8_lossy(&said.stderr));
    }
}

#[test]
fn the_commands_to_begin_with_are_there() {
    assert_tasks(&sample("README.md", "commands").unwrap());
}

#[test]
fn the_commands_for_contributors_are_there() {
    assert_tasks(&sample("CONTRIBUTING.md", "checks").unwrap());
}

#[test]
fn tokens_are_made_as_the_configuration_wants_them() {
    let mut yaml = "tokens:".to_owned();
    for line in sample("README.md", "tokens").unwrap().lines() {
        let args: Vec<&str> = line.split_whitespace().skip(1).collect();
        let said = Command::new(artifacts::quiesce().unwrap()).args(&args).output().unwrap();
        assert!(said.status.success(), "{line}: {}", String::from_utf8_lossy(&said.stderr));
        let out = String::from_utf8(said.stdout).unwrap();
        yaml.push_str(out.split_once("\ntokens:").unwrap().1.trim_end());
    }
    assert_config(&yaml, "2 tokens");
}

#[test]
fn the_companions_configuration_is_good() {
    let yaml = sample("README.md", "companion").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("sync-token");
    fs::write(&secret, "a-token-that-is-long-enough-to-be-one").unwrap();
    let yaml = yaml.replace("/run/secrets/quiesce-sync-token", secret.to_str().unwrap());
    assert_config(&yaml, "2 tokens");
}

#[test]
fn the_filter_takes_its_configuration() {
    let json = sample("README.md", "plugin").unwrap();
    let config = PluginConfig::read(json.as_bytes()).unwrap();
    assert_eq!(config.companion_cluster, "quiesce");
}

#[test]
fn one_surface_can_be_observed() {
    assert_config(&sample("README.md", "observe").unwrap(), "2 surfaces, 0 rules, 0 tokens, mode enforce");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_queued_and_dropped() {
    let yaml = sample("README.md", "queue").unwrap();
    assert_config(&yaml, "1 surface, 2 rules");
    let stack = in_region_eu(&yaml).await;
    stack.companion.run(&["freeze", "--for", "10m", "--reason", "samples", "--wait"]).await.unwrap();
    for (path, status, state) in [("/orders/7", 202, "held"), ("/views", 202, ""), ("/items", 423, "")] {
        let answer = stack.send(&Request::post(path, "x")).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        if !state.is_empty() {
            let at = answer.header("location").unwrap().to_owned();
            let receipt: Value = stack.send(&Request::get(&at)).await.unwrap().json().unwrap();
            assert_eq!(receipt["state"], state, "{receipt}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let said = run(&stack, dir.path(), &sample("README.md", "intents").unwrap());
    assert!(said.contains("/orders/7"), "{said}");
}

#[test]
fn companions_can_share_a_database() {
    assert_config(&sample("README.md", "postgres").unwrap(), "0 surfaces, 0 rules, 0 tokens, mode enforce");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_can_be_told() {
    let yaml = sample("README.md", "notify").unwrap();
    assert_config(&yaml, "mode enforce");
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("webhook");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    // Nobody is reached: nothing is said where there is no window.
    let mut yaml = yaml.replace("/run/secrets/pipeline-webhook", secret.to_str().unwrap());
    for variable in ["STATUSPAGE_API_KEY", "SLACK_WEBHOOK_URL"] {
        yaml = yaml.replace(&format!("env: {variable}"), &format!("file: {}", secret.display()));
    }
    let stack = in_region_eu(&yaml).await;
    let said = run(&stack, dir.path(), &sample("README.md", "deliveries").unwrap());
    for expected in
        ["Sat 10 Jan 2099, 03:00 CET (2099-01-10T03:00:00+01:00)", "status (statuspage)", "0 deliveries are"]
    {
        assert!(said.contains(expected), "no `{expected}` in:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_decide_as_the_table_below_them_says() {
    let stack = in_region_eu(&sample("README.md", "surfaces").unwrap()).await;
    stack.companion.run(&["freeze", "--for", "10m", "--wait"]).await.unwrap();
    let rows = table_after(README, "on `shop.example.com`:");
    assert!(rows.len() >= 10, "{} rows", rows.len());
    for row in rows {
        let (method, target) = row[0].split_once(' ').unwrap();
        let expected = match row[1].as_str() {
            "passed" => 200,
            "refused" => 423,
            other => panic!("{}: what is `{other}`?", row[0]),
        };
        let request = Request::new(method, target).header("host", "shop.example.com");
        assert_eq!(status(&stack, &request).await, expected, "{row:?}");
    }
    let by_header = Request::post("/api/rpc", "{}").header("host", "shop.example.com");
    assert_eq!(status(&stack, &by_header.header("x-target", "Table.GetItem")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn freezing_by_hand() {
    let stack = in_region_eu("").await;
    let dir = tempfile::tempdir().unwrap();
    let said = run(&stack, dir.path(), &sample("README.md", "freeze").unwrap());
    for expected in ["1/1 enforcers, 0 writes in flight", "contact   #sre", "now ends in", "thawed window"] {
        assert!(said.contains(expected), "no `{expected}` in:\n{said}");
    }
    assert_eq!(status(&stack, &Request::post("/orders", "{}")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn freezing_later_and_thinking_better_of_it() {
    let stack = in_region_eu("").await;
    let dir = tempfile::tempdir().unwrap();
    let said = run(&stack, dir.path(), &sample("README.md", "schedule").unwrap());
    assert!(said.contains("will freeze writes where region=eu"), "{said}");
    assert!(said.contains("cancelled window"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_recur() {
    let stack = in_region_eu("").await;
    let dir = tempfile::tempdir().unwrap();
    let said = run(&stack, dir.path(), &sample("README.md", "plan").unwrap());
    assert!(said.contains("will freeze all writes"), "{said}");
    assert_eq!(said.matches("FREQ=WEEKLY;BYDAY=SU").count(), 2, "added and listed: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_inside_a_freeze() {
    let stack = in_region_eu("").await;
    let dir = tempfile::tempdir().unwrap();
    let migrate = dir.path().join("migrate.sh");
    fs::write(&migrate, "#!/bin/sh\nquiesce status > status.txt\n").unwrap();
    fs::set_permissions(&migrate, fs::Permissions::from_mode(0o755)).unwrap();
    run(&stack, dir.path(), &sample("README.md", "run").unwrap());
    let during = fs::read_to_string(dir.path().join("status.txt")).unwrap();
    assert!(during.starts_with("quiesced: window "), "{during}");
    assert_eq!(status(&stack, &Request::post("/orders", "{}")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_pass_writes_during_a_freeze() {
    let stack = in_region_eu("").await;
    let dir = tempfile::tempdir().unwrap();
    let said = run(&stack, dir.path(), &sample("README.md", "pass").unwrap());
    let pass = said.lines().find_map(|line| line.strip_prefix("Quiesce-Pass: ")).unwrap();
    stack.companion.run(&["freeze", "--for", "10m", "--wait"]).await.unwrap();
    assert_eq!(status(&stack, &Request::post("/orders", "{}")).await, 423);
    assert_eq!(status(&stack, &Request::post("/orders", "{}").header("quiesce-pass", pass)).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_the_banner_look_as_shown() {
    let stack = in_region_eu("").await;
    let freeze = ["freeze", "--for", "10m", "--reason", "reindexing the shop", "--contact", "#sre", "--wait"];
    stack.companion.run(&freeze).await.unwrap();
    for (name, request) in
        [("refusal", Request::post("/orders", "{}")), ("banner", Request::get("/.well-known/maintenance"))]
    {
        let shown: Value = serde_json::from_str(&sample("README.md", name).unwrap()).unwrap();
        let real: Value = stack.send(&request).await.unwrap().json().unwrap();
        assert_eq!(members(&shown), members(&real), "{name}");
        for same in ["type", "title", "status", "code", "reason", "contact", "state"] {
            assert_eq!(shown[same], real[same], "{name}: {same}");
        }
    }
}

#[test]
fn every_refusal_is_in_the_table() {
    let rows = table_after(README, "`code` is stable:");
    let codes: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(codes, Refusal::ALL.map(Refusal::code));
    for (row, refusal) in rows.iter().zip(Refusal::ALL) {
        let statuses = [423_u16, 503].map(|code| refusal.status(code.try_into().unwrap()));
        let shown = match statuses {
            [locked, unavailable] if locked == unavailable => locked.to_string(),
            [locked, unavailable] => format!("{locked} or {unavailable}"),
        };
        assert_eq!(row[1], shown, "{}", refusal.code());
    }
}

#[test]
fn exit_codes_are_those_that_help_tells() {
    let said = Command::new(artifacts::quiesce().unwrap()).arg("--help").output().unwrap();
    let help = String::from_utf8(said.stdout).unwrap();
    let told: Vec<(String, String)> = help
        .split_once("Exit codes:\n")
        .unwrap()
        .1
        .lines()
        .map_while(|line| line.trim().split_once("  "))
        .map(|(code, meaning)| (code.to_owned(), meaning.trim().to_owned()))
        .collect();
    assert!(told.len() >= 10, "{help}");
    let shown: Vec<(String, String)> = table_after(README, "### Exit codes")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    assert_eq!(shown, told);
}

#[test]
fn a_snapshot_as_enforcers_get_it() {
    let json = sample("ARCHITECTURE.md", "snapshot").unwrap();
    let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
    Policy::compile(&snapshot).unwrap();
    // Nothing is shown that would not be sent, nothing left out that would.
    let sent = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), sent);
}

#[test]
fn a_report_as_enforcers_send_it() {
    let json = sample("ARCHITECTURE.md", "report").unwrap();
    let report: SyncRequest = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), serde_json::to_value(&report).unwrap());
}

/// A case as contributors are shown it: one of the table, and true.
#[test]
fn a_case_is_one_of_the_table() {
    let case: Value = serde_json::from_str(&sample("CONTRIBUTING.md", "case").unwrap()).unwrap();
    let table: Value = serde_json::from_str(include_str!("../../policy/cases/http.json")).unwrap();
    assert!(table["cases"].as_array().unwrap().contains(&case), "{case}");
}

/// The lines of a program, or of what is said in its documentation, without what stands before them.
fn lines_of(source: &str) -> Vec<&str> {
    source.lines().map(|line| line.trim_start().trim_start_matches("//!").trim()).collect()
}

#[test]
fn what_is_shown_of_programs_is_in_those_that_tests_run() {
    let axum = include_str!("../../guard/examples/axum.rs");
    let retry = include_str!("../../guard/src/retry/mod.rs");
    let flag = include_str!("../clients/python/openfeature_client.py");
    let shown = [("guard-layer", axum), ("guard-gate", axum), ("guard-retry", retry), ("flag", flag)];
    for (name, source) in shown {
        let sample = sample("README.md", name).unwrap();
        // A comment within a sample is one of the program too.
        let shown: Vec<_> = sample.lines().map(str::trim).collect();
        let lines = lines_of(source);
        assert!(
            lines.windows(shown.len()).any(|part| part == shown),
            "{name}: not in the program:\n{sample}"
        );
    }
}
