//! `quiesce run`: the command runs inside a proven freeze, and whatever happens writes are open after it.

use std::process::Stdio;

use quiesce::{view::WindowView, windows::Phase};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    command::{Output, Serve, command},
    companion::{LIMIT, eventually},
    enforcer::{Enforcer, Running},
};

struct Scene {
    serve: Serve,
    _enforcer: Running,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let serve = Serve::start(dir.path(), None).await;
        let enforcer = Enforcer::new(&serve.url, "edge-1", "1").run();
        serve.api().until_live(1).await;
        Self { serve, _enforcer: enforcer, dir }
    }

    async fn run(&self, command: &[&str]) -> Output {
        self.serve.run(&[&["run", "--for", "5m", "--reason", "test", "--"], command].concat()).await
    }

    async fn assert_open(&self) {
        let windows: Vec<WindowView> = self.serve.api().status().await.windows;
        assert!(windows.iter().all(|one| one.phase.is_ending()), "writes are still refused: {windows:?}");
    }
}

#[tokio::test]
async fn the_commands_code_is_the_exit_code() {
    let scene = Scene::new().await;
    let good = scene.run(&["echo", "inside"]).await;
    insta::assert_snapshot!(good.redacted().replace("edge-1  not in force yet\n", ""), @r#"
window WINDOW freezes all writes until TIME (5m)
edge-1  in force, 0 writes in flight
quiesced in N ms: 1/1 enforcers, 0 writes in flight
inside
thawed window WINDOW; the command ended with 0
--- exit code 0
"#);
    scene.assert_open().await;
    for (script, code) in [("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137)] {
        let output = scene.run(&["sh", "-c", script]).await;
        assert_eq!(output.code, Some(code), "{output:?}");
        scene.assert_open().await;
    }
}

#[tokio::test]
async fn the_command_runs_only_while_the_freeze_is_proven() {
    let scene = Scene::new().await;
    let url = scene.serve.url.clone();
    let binary = env!("CARGO_BIN_EXE_quiesce");
    let output = scene.run(&[binary, "status", "--url", &url]).await;
    assert!(output.stdout.contains("\nquiesced: window "), "{output:?}");
    scene.assert_open().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_started_leaves_writes_open() {
    let scene = Scene::new().await;
    let output = scene.run(&["no-such-command-anywhere"]).await;
    assert_eq!(output.code, Some(127));
    assert!(output.stderr.contains("cannot run no-such-command-anywhere"), "{output:?}");
    scene.assert_open().await;
    let not_executable = scene.run(&[scene.dir.path().to_str().unwrap()]).await;
    assert_eq!(not_executable.code, Some(126), "{not_executable:?}");
    scene.assert_open().await;
}

#[tokio::test]
async fn without_proof_the_command_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), None).await;
    let mut trapped = Enforcer::new(&serve.url, "edge-1", "1");
    trapped.request.unaccounted = 1;
    let _trapped = trapped.run();
    serve.api().until_live(1).await;
    let marker = dir.path().join("ran");
    let output = serve.run(&["run", "--for", "5m", "--", "touch", marker.to_str().unwrap()]).await;
    assert_eq!(output.code, Some(8));
    let hint =
        "who counted it failed, or lost sight of it\nhint: the command was not run; writes are open again\n";
    assert!(output.stderr.ends_with(hint), "{output:?}");
    assert!(!marker.exists());
    assert!(serve.api().status().await.windows.iter().all(|one| one.phase.is_ending()));
}

#[tokio::test]
async fn when_the_barrier_takes_too_long_the_command_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), None).await;
    let output = serve.run(&["run", "--for", "5m", "--timeout", "200ms", "--", "echo", "ran"]).await;
    assert_eq!(output.code, Some(9));
    assert!(!output.stdout.contains("ran\n"), "{output:?}");
    assert!(serve.api().status().await.windows.iter().all(|one| one.phase.is_ending()));
}

/// Starts a command that waits for a signal, sends one to `quiesce`, and returns how both ended.
async fn signalled(signal: Signal, trap: &str) -> (Output, Scene) {
    let scene = Scene::new().await;
    let ready = scene.dir.path().join("ready");
    let script = format!("trap '{trap}' INT TERM; touch {}; while :; do sleep 0.02; done", ready.display());
    let mut quiesce = command(&["run", "--for", "5m", "--", "sh", "-c", &script]);
    quiesce.env("QUIESCE_URL", &scene.serve.url).kill_on_drop(true);
    let child = quiesce.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the command runs", async || ready.exists().then_some(())).await;
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    let output = Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    (output, scene)
}

#[tokio::test]
async fn signals_reach_the_command_and_writes_are_open_after_it() {
    for signal in [Signal::INT, Signal::TERM] {
        let (output, scene) = signalled(signal, "exit 42").await;
        assert_eq!(output.code, Some(42), "{output:?}");
        scene.assert_open().await;
    }
}

#[tokio::test]
async fn interrupted_before_the_barrier_held_it_thaws() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), None).await;
    let mut quiesce = command(&["run", "--for", "5m", "--", "echo", "ran"]);
    quiesce.env("QUIESCE_URL", &serve.url).kill_on_drop(true);
    let child = quiesce.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    serve.api().until(Phase::Freezing).await;
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(!String::from_utf8(output.stdout).unwrap().contains("ran\n"));
    assert!(serve.api().status().await.windows.iter().all(|one| one.phase.is_ending()));
}

#[tokio::test]
async fn a_window_that_ended_under_the_command_is_a_failure() {
    let scene = Scene::new().await;
    let binary = env!("CARGO_BIN_EXE_quiesce");
    let output = scene.run(&[binary, "thaw", "--url", &scene.serve.url]).await;
    assert_eq!(output.code, Some(8), "{output:?}");
    assert!(output.stderr.contains("writes were open again before the command ended"), "{output:?}");
}
