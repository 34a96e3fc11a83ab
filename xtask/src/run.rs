//! Runs what the other modules prepared: the tests, the demo and the benchmark.
//!
//! What runs finds the real parts in its environment: `QUIESCE_WASM` and `QUIESCE_LEARNING_WASM` (the
//! modules as they ship), `QUIESCE_BIN` (the companion), `QUIESCE_EXAMPLES` (those of the guard), `ENVOY_BIN`, and `QUIESCE_NOOP_WASM` (a filter that
//! does nothing); tests of PostgreSQL and of real servers also what `third_party` got.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    envoy, filter, fuzz, node,
    progress::step,
    tally::Tally,
    third_party,
    workspace::{WASM_TARGET, Workspace},
};

/// Every test there is; or with `args`, for `cargo test`, those native ones that they choose.
pub fn test(ws: &Workspace, args: &[String]) -> Result<()> {
    let envoy = envoy::obtain(ws)?;
    let (wasm, learning) = (filter::build(ws)?, filter::build_learning(ws)?);
    let noop = filter::build_noop(ws)?;
    let others = third_party::obtain(ws, args)?;
    let runner = if args.is_empty() { Some(node::obtain(ws)?) } else { None };

    step("building the companion and the tests", || {
        // In one go with the tests: built alone, the companion would get other features and be built twice.
        Ok(ws.cargo().args(["build", "--workspace", "--bins", "--tests", "--examples"]).run()?)
    })?;
    let companion = ws.target("debug/quiesce");

    let mut native = Tally::default();
    let ran = step("running the tests", || {
        let chosen = args.iter().any(|arg| arg == "-p" || arg.starts_with("--package"));
        let whole = if chosen { None } else { Some("--workspace") };
        native.run(
            ws.cargo()
                .arg("test")
                .args(whole)
                .args(args)
                .env("QUIESCE_WASM", &wasm)
                .env("QUIESCE_LEARNING_WASM", &learning)
                .env("QUIESCE_NOOP_WASM", &noop)
                .env("QUIESCE_BIN", &companion)
                .env("QUIESCE_EXAMPLES", ws.target("debug/examples"))
                .env("ENVOY_BIN", &envoy)
                .envs(others),
        )
    });
    // The last line of standard output is the sum, however it ends: each suite closes with its own.
    let Some(runner) = runner.filter(|_| ran.is_ok()) else {
        println!("{native}");
        return ran;
    };
    let mut on_wasm = Tally::default();
    let ran = step(format_args!("running policy's tests on {WASM_TARGET}, in Node"), || {
        on_wasm.run(
            ws.cargo()
                .args(["test", "--package", "quiesce-policy", "--tests", "--target", WASM_TARGET])
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &runner.program)
                .env("PATH", &runner.path),
        )?;
        if on_wasm.ran() == 0 {
            bail!("policy has no test that runs on {WASM_TARGET}, which is where it runs in Envoy");
        }
        Ok(())
    })
    .and_then(|()| fuzz::briefly(ws));
    println!("{}", native + on_wasm);
    ran
}

/// The demo, with `args` of its own. Does not return when it could be started.
pub fn demo(ws: &Workspace, args: &[&str]) -> Result<()> {
    let envoy = envoy::obtain(ws)?;
    let wasm = filter::build(ws)?;
    step("building the companion and the demo", || build(ws, "demo", &[]))?;
    become_program(
        Command::new(ws.target("debug/demo"))
            .args(args)
            .env("QUIESCE_WASM", wasm)
            .env("QUIESCE_BIN", ws.target("debug/quiesce"))
            .env("ENVOY_BIN", envoy),
    )
}

/// The benchmark, with `args` of its own. Does not return when it could be started.
pub fn bench(ws: &Workspace, args: &[String]) -> Result<()> {
    let envoy = envoy::obtain(ws)?;
    let wasm = filter::build(ws)?;
    let noop = filter::build_noop(ws)?;
    step("building the companion and the benchmark (release)", || build(ws, "bench", &["--release"]))?;
    let reports = reports_dir(ws)?;
    become_program(
        Command::new(ws.target("release/bench"))
            .args(args)
            .env("QUIESCE_WASM", wasm)
            .env("QUIESCE_NOOP_WASM", noop)
            .env("QUIESCE_BIN", ws.target("release/quiesce"))
            .env("ENVOY_BIN", envoy)
            .env("QUIESCE_BENCH_DIR", reports),
    )
}

fn build(ws: &Workspace, bin: &str, profile: &[&str]) -> Result<()> {
    Ok(ws
        .cargo()
        .args(["build", "--package", "quiesce", "--package", "quiesce-integration", "--bin", "quiesce"])
        .args(["--bin", bin])
        .args(profile)
        .run()?)
}

fn reports_dir(ws: &Workspace) -> Result<PathBuf> {
    let dir = ws.target("bench");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", Path::display(&dir)))?;
    Ok(dir)
}

/// Hands this process over, so that Ctrl-C and the exit status are the program's own: it stops what
/// it started before the prompt is back.
fn become_program(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}
