//! What commands print, for people and as JSON, and with what codes they exit.

use std::process::Stdio;

use quiesce::windows::Phase;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    command::{Serve, command, run},
    companion::LIMIT,
    enforcer::Enforcer,
};

async fn serve() -> (Serve, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Serve::start(dir.path(), None).await, dir)
}

#[tokio::test]
async fn help_tells_the_commands_and_the_exit_codes() {
    insta::assert_snapshot!(run(&mut command(&["--help"])).await.stdout, @r#"
Freeze writes behind a fleet of proxies, prove that none is in flight, thaw

Usage: quiesce [OPTIONS] <COMMAND>

Commands:
  serve        Run the companion
  freeze       Freeze writes now
  thaw         Open writes again
  abort        Open writes again because the work is given up
  extend       Move a window's end
  cancel       Take back a window that has not begun
  status       Show the windows that are not over, and the fleet in numbers
  timeline     Show what happened to a window, and when
  schedule     Freeze writes later
  plan         Freeze writes again and again, by a rule
  run          Freeze, wait for the barrier, run a command, thaw whatever happens
  fleet        List the enforcers, or forget a lost one
  intents      Show writes held for later, and decide about those that have failed
  backfill     Show how held writes are brought back; pause and resume it
  announce     Show what others would be told of a window, and tell nobody
  deliveries   Show what others are told of windows, and have it sent again
  surfaces     Show what was seen in observe mode: every write, and what no rule knows
  explain      Say what would become of a request, and what decides
  catalog      Show what is known of products' operations
  pass         Issue passes, with which somebody may write during a window
  token        Make tokens for the companion's API
  store        Move the companion's state to another database
  config       Check a configuration of the companion
  envoy        Print what to put into Envoy
  completions  Print what a shell needs to complete commands
  help         Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Global options:
      --url <URL>          Where the companion is [env: QUIESCE_URL] [default:
                           http://127.0.0.1:7423]
      --token-file <FILE>  A file that holds the token; without it, QUIESCE_TOKEN in the environment
                           does
      --output <FORMAT>    For people, or one JSON document on standard output [default: human]
                           [possible values: human, json]

Exit codes:
    0  done
    1  internal error
    2  wrong command line
    3  bad value or configuration
    4  no such window, enforcer, intent or delivery
    5  conflict, for example with another window
    6  not allowed with this token
    7  the companion does not answer
    8  not proven: the barrier cannot hold
    9  timed out before the barrier held
  130  interrupted
`quiesce run` exits with the code of its command: 126 if it cannot be executed, 127 if it is not
found, 128 + N if signal N ended it.
"#);
    insta::assert_snapshot!(run(&mut command(&["freeze", "--help"])).await.stdout, @r#"
Freeze writes now

Usage: quiesce freeze [OPTIONS]

Options:
      --for <DURATION>            How long people are told that it lasts; without it, what the
                                  companion is configured for
      --reason <REASON>           Why, in words for the people refused
      --contact <CONTACT>         Whom the people refused may ask
      --scope <KEY=VALUE>         Narrow it: `host=api.example.com`, or an enforcer's label; of one
                                  key given twice, either will do
      --status <STATUS>           The HTTP status of refusals: 423 or 503
      --drain-timeout <DURATION>  Writes still in flight this long after the start are cut
      --rollback <TEXT>           What happens if the work fails, in words for the public
      --expect <N>                Do not call it quiesced with fewer live enforcers
      --wait                      Return when the freeze is in force everywhere and no admitted
                                  write is running any more
      --timeout <DURATION>        Give up waiting after this long; the window stays in force
  -h, --help                      Print help

Global options:
      --url <URL>          Where the companion is [env: QUIESCE_URL] [default:
                           http://127.0.0.1:7423]
      --token-file <FILE>  A file that holds the token; without it, QUIESCE_TOKEN in the environment
                           does
      --output <FORMAT>    For people, or one JSON document on standard output [default: human]
                           [possible values: human, json]
"#);
}

#[tokio::test]
async fn a_day_with_the_command_line() {
    let (serve, _dir) = serve().await;
    insta::assert_snapshot!(serve.run(&["status"]).await.redacted(), @r#"
open: writes pass, no window is in force or scheduled
enforcers: 0 live, 0 lost
--- exit code 0
"#);
    insta::assert_snapshot!(serve.run(&["fleet"]).await.redacted(), @r#"
no enforcer is known
--- exit code 0
"#);
    let _enforcer = Enforcer::new(&serve.url, "edge-1", "1").label("region", "eu").run();
    serve.api().until_live(1).await;

    let freeze = &["freeze", "--for", "10m", "--reason", "reindex", "--contact", "#ops", "--wait"];
    // Whether the enforcer is quicker than the first look is not for a test to say.
    insta::assert_snapshot!(serve.run(freeze).await.redacted().replace("edge-1  not in force yet\n", ""), @r#"
window WINDOW freezes all writes until TIME (10m)
edge-1  in force, 0 writes in flight
quiesced in N ms: 1/1 enforcers, 0 writes in flight
--- exit code 0
"#);
    let status = serve.run(&["status"]).await;
    assert!(status.stdout.starts_with("quiesced: window "), "{}", status.stdout);
    assert!(status.stdout.contains("reason    reindex\n  contact   #ops\n"), "{}", status.stdout);
    assert!(status.stdout.contains(" ms: 1/1 enforcers, 0 writes in flight\n"), "{}", status.stdout);
    let extend = serve.run(&["extend", "--by", "5m"]).await;
    assert!(extend.stdout.contains(" now ends in 1"), "{}", extend.stdout);
    insta::assert_snapshot!(serve.run(&["freeze", "--scope", "host=a.com"]).await.redacted(), @r#"
--- stderr
error: it would overlap window `WINDOW` (reindex), which lasts from TIME to TIME
hint: `quiesce extend WINDOW` makes it longer and `quiesce thaw WINDOW` ends it; or choose other times or a narrower scope
--- exit code 5
"#);
    let thaw = serve.run(&["thaw"]).await;
    assert_eq!(thaw.code, Some(0));
    assert!(thaw.stdout.starts_with("thawed window "), "{}", thaw.stdout);
    insta::assert_snapshot!(serve.run(&["thaw"]).await.redacted(), @r#"
--- stderr
error: no window is in force
hint: `quiesce status` lists the windows that are not over
--- exit code 4
"#);
    assert_eq!(serve.json(&["status"]).await["windows"][0]["phase"], "soaking");
    let status = serve.run(&["status"]).await.stdout;
    assert!(status.starts_with("open: writes pass"), "{status}");
    assert!(
        status.contains("\nsoaking: window ") && status.contains("thawed by anonymous\n  soaks     until "),
        "{status}"
    );
    let timeline = serve.run(&["timeline", "--tz", "Asia/Kathmandu"]).await;
    let lines: Vec<Vec<_>> = timeline.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.iter().all(|line| line[0].ends_with("+05:45")), "{timeline:?}");
    let kinds: Vec<_> = lines.iter().map(|line| line[1]).collect();
    assert_eq!(kinds, ["started", "quiesced", "extended", "thawed"], "{timeline:?}");
    let document = serve.json(&["timeline"]).await;
    assert_eq!(document["events"][3]["kind"], "thawed");
    assert_eq!(serve.run(&["timeline", "nope"]).await.code, Some(4));
    assert_eq!(serve.run(&["timeline", "--tz", "Europe/Atlantis"]).await.code, Some(2));
}

#[tokio::test]
async fn windows_can_be_scheduled_and_taken_back() {
    let (serve, _dir) = serve().await;
    let schedule = &["schedule", "--at", "2999-01-01T01:00:00+01:00", "--for", "1h", "--scope", "region=eu"];
    let scheduled =
        serve.run(&[&schedule[..], &["--scope", "region=us", "--scope", "host=a.com"]].concat()).await;
    assert!(
        scheduled
            .stdout
            .contains("will freeze writes where region=eu|us and host=a.com until 2999-01-01T01:00:00Z (1h)"),
        "{scheduled:?}"
    );
    assert!(serve.run(&["status"]).await.stdout.starts_with("scheduled: window "));
    let cancelled = serve.run(&["cancel"]).await;
    assert!(cancelled.code == Some(0) && cancelled.stdout.starts_with("cancelled window "), "{cancelled:?}");
}

#[tokio::test]
async fn json_is_one_document_on_standard_output() {
    let (serve, _dir) = serve().await;
    let _enforcer = Enforcer::new(&serve.url, "edge-1", "1").run();
    serve.api().until_live(1).await;
    let window = serve.json(&["freeze", "--for", "10m", "--wait"]).await;
    assert_eq!(
        (&window["phase"], &window["quiesced"]["barrier"]["verdict"]),
        (&json!("quiesced"), &json!("proven"))
    );
    let fleet = serve.json(&["fleet"]).await;
    assert_eq!(fleet["enforcers"][0]["id"], "edge-1");
    let conflict = serve.run(&["freeze", "--output", "json"]).await;
    let error: Value = serde_json::from_str(&conflict.stdout).unwrap();
    assert_eq!(conflict.code, Some(5));
    assert_eq!(error["error"]["kind"], "conflict");
    assert_eq!(error["error"]["code"], "window-overlaps");
    assert_eq!(error["error"]["exit_code"], 5);
    assert!(conflict.stderr.is_empty());
    let thawed = serve.json(&["thaw", window["id"].as_str().unwrap()]).await;
    assert_eq!(thawed["phase"], "soaking");
    let pass = serve.json(&["pass", "issue", "--for", "30m", "--subject", "bob"]).await;
    assert_eq!(pass["pass"].as_str().unwrap().split('.').count(), 3);
    let token = serve.json(&["token", "new", "--role", "sync"]).await;
    assert_eq!(token["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(serve.json(&["config", "default"]).await["yaml"], quiesce::config::DEFAULT_YAML);
}

#[tokio::test]
async fn mistakes_are_named_with_what_to_do() {
    let (serve, dir) = serve().await;
    for args in [
        &["freeze", "--for", "48h"][..],
        &["freeze", "--scope", "host=HTTP://x"],
        &["freeze", "--reason", ""],
        &["thaw", "nope"],
        &["extend", "--by", "1m"],
        &["fleet", "forget", "nope"],
        &["pass", "issue", "--for", "2h", "--subject", "bob"],
    ] {
        let output = serve.run(args).await;
        assert!(output.stdout.is_empty() && output.code != Some(0), "{args:?}: {output:?}");
        assert!(output.stderr.starts_with("error: "), "{args:?}: {output:?}");
    }
    insta::assert_snapshot!(serve.run(&["freeze", "--for", "48h"]).await.redacted(), @r#"
--- stderr
error: --for: the window would last 48h; 24h is the most
hint: `windows.max_duration` in the companion's configuration is the limit
--- exit code 3
"#);
    insta::assert_snapshot!(serve.run(&["thaw", "nope"]).await.redacted(), @r#"
--- stderr
error: there is no window `nope`
hint: `quiesce status` lists the windows there are
--- exit code 4
"#);
    let usage = serve.run(&["freeze", "--for", "soon"]).await;
    assert_eq!(usage.code, Some(2));
    assert!(usage.stderr.contains("`soon` is not a duration; write it like 30s"), "{}", usage.stderr);
    for window in 0..2 {
        serve.api().create(json!({ "scope": { "hosts": [format!("h{window}.com")] } })).await;
    }
    insta::assert_snapshot!(serve.run(&["thaw"]).await.redacted(), @r#"
--- stderr
error: 2 windows are in force: WINDOW, WINDOW
hint: name the one that you mean
--- exit code 5
"#);
    let yaml = dir.path().join("wrong.yaml");
    std::fs::write(&yaml, "windows:\n  grace: soon\n").unwrap();
    let path = yaml.to_str().unwrap();
    for args in [&["config", "check", path][..], &["serve", "--config", path]] {
        let output = run(&mut command(args)).await;
        assert_eq!(output.code, Some(3));
        let expected = format!("error: {path}:2:10: windows.grace: `soon` is not a duration");
        assert!(output.stderr.starts_with(&expected), "{}", output.stderr);
    }
}

#[tokio::test]
async fn a_companion_that_is_not_there_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    insta::assert_snapshot!(run(command(&["status"]).env("QUIESCE_URL", &url)).await.redacted(), @r#"
--- stderr
error: the companion at ADDRESS does not answer: Connection refused (os error 111)
hint: is `quiesce serve` running there? --url or QUIESCE_URL says where to look
--- exit code 7
"#);
    insta::assert_snapshot!(run(&mut command(&["status", "--url", "localhost:1"])).await.redacted(), @r#"
--- stderr
error: --url `localhost:1` is neither http nor https
hint: write it like ADDRESS
--- exit code 2
"#);
}

#[tokio::test]
async fn waiting_ends_when_it_must() {
    let (serve, _dir) = serve().await;
    let mut slow = Enforcer::new(&serve.url, "edge-1", "1");
    slow.obey().await;
    let _poll = slow.hold();
    let freeze = &["freeze", "--for", "10m", "--wait", "--timeout", "300ms"];
    insta::assert_snapshot!(serve.run(freeze).await.redacted(), @r#"
window WINDOW freezes all writes until TIME (10m)
edge-1  not in force yet
--- stderr
error: timed out after 300ms, still freezing (0/1 enforcers, 0 writes in flight): edge-1 not in force yet
hint: window WINDOW stays in force; `quiesce thaw WINDOW` opens writes again, `quiesce status` shows it
--- exit code 9
"#);
    serve.run(&["thaw"]).await;

    let mut trapped = Enforcer::new(&serve.url, "edge-1", "1");
    trapped.request.unaccounted = 2;
    let _trapped = trapped.run();
    let unproven = serve.run(&["freeze", "--wait"]).await;
    assert_eq!(unproven.code, Some(8));
    assert!(unproven.stderr.starts_with("error: not proven ("), "{unproven:?}");
    assert!(unproven.stderr.contains(
        "edge-1 lost count of 2 writes: who counted it failed, or lost sight of it\nhint: window "
    ));
}

#[tokio::test]
async fn an_interrupted_wait_says_what_it_leaves() {
    let (serve, _dir) = serve().await;
    let mut child = command(&["freeze", "--for", "10m", "--wait"]);
    child.env("QUIESCE_URL", &serve.url).stdout(Stdio::piped());
    let child = child.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let id = serve.api().until(Phase::Freezing).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains(&format!("window {id} stays in force; `quiesce thaw {id}` opens writes")),
        "{stderr}"
    );
    assert_eq!(serve.api().status().await.windows.len(), 1);
}

#[tokio::test]
async fn status_can_be_watched() {
    let (serve, _dir) = serve().await;
    let mut watch = command(&["status", "--watch", "--output", "json"]);
    watch.env("QUIESCE_URL", &serve.url).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = watch.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    assert_eq!(next().await["windows"], json!([]));
    let window = serve.api().create(json!({})).await;
    assert_eq!(next().await["windows"][0]["id"], json!(window.id));
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = tokio::time::timeout(LIMIT, child.wait()).await.unwrap().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn tokens_come_from_the_environment_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let made = run(&mut command(&["token", "new", "--role", "operator", "--name", "ann"])).await.stdout;
    let token = made.lines().next().unwrap();
    let yaml = made.split_once("tokens:").unwrap().1;
    let secret = dir.path().join("sync-token");
    std::fs::write(&secret, "a sync token of some length\n").unwrap();
    let config = format!("tokens:{yaml}  - {{ name: envoys, role: sync, file: {} }}\n", secret.display());
    let serve = Serve::start(dir.path(), Some(&config)).await;

    let denied = serve.run(&["status"]).await;
    assert_eq!(denied.code, Some(6));
    assert!(denied.stderr.contains("QUIESCE_TOKEN"), "{}", denied.stderr);
    let allowed = run(command(&["freeze"]).env("QUIESCE_URL", &serve.url).env("QUIESCE_TOKEN", token)).await;
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let status = serve.run(&["status", "--token-file", file.to_str().unwrap()]).await;
    assert!(status.stdout.contains("issued by ann"), "{status:?}");
    let enforcers = serve.run(&["status", "--token-file", secret.to_str().unwrap()]).await;
    assert!(enforcers.stderr.contains("`envoys` has the role `sync`; this needs `viewer`"), "{enforcers:?}");
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(!log.contains(token) && !log.contains("a sync token"), "a secret is in the log");
}

#[tokio::test]
async fn beyond_loopback_tokens_are_required() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(command(&["serve", "--listen", "0.0.0.0:0", "--state-dir"]).arg(dir.path())).await;
    insta::assert_snapshot!(output.redacted(), @r#"
--- stderr
error: command line: listen: 0.0.0.0:0 can be reached from other machines, so `tokens` must say who may call: add some (`quiesce token new --role operator`), or listen on 127.0.0.1
hint: `quiesce config default` prints a configuration that explains every field
--- exit code 3
"#);
}

#[tokio::test]
async fn serve_goes_down_in_good_order() {
    let (mut serve, dir) = serve().await;
    let window = serve.api().create(json!({})).await;
    let pid = rustix::process::Pid::from_raw(serve.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(serve.ended().await.success());
    let again = Serve::start(dir.path(), None).await;
    assert_eq!(again.api().status().await.windows[0].id, window.id);
}

#[tokio::test]
async fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&mut command(&["completions", shell])).await;
        assert!(output.code == Some(0) && output.stdout.contains("drain-timeout"), "{shell}");
    }
}

#[tokio::test]
async fn a_good_configuration_is_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quiesce.yaml");
    std::fs::write(&path, "mode: observe\nsurfaces: [{ name: a, rules: [{ path: /x, effect: read }] }]\n")
        .unwrap();
    let output = run(command(&["config", "check"]).current_dir(dir.path())).await;
    insta::assert_snapshot!(output.redacted(), @r#"
ok quiesce.yaml: 1 surface, 1 rule, 0 tokens, mode observe, listening on ADDRESS
--- exit code 0
"#);
    let missing = run(command(&["config", "check"]).current_dir(dir.path().parent().unwrap())).await;
    assert!(missing.code == Some(3) && missing.stderr.contains("cannot read quiesce.yaml"), "{missing:?}");
}
