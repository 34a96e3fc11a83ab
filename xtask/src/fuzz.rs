//! Fuzzes what reads requests and snapshots, with libFuzzer.
//!
//! The programs in `fuzz/fuzz_targets` are those of cargo-fuzz, built as `cargo fuzz build --sanitizer none`
//! builds them: that needs no nightly toolchain, and nobody has to install it first. There is no `unsafe`
//! in policy for a sanitizer to find.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::{
    progress::{note, step},
    workspace::Workspace,
};

/// A program, and the seeds it starts from beside those in `fuzz/seeds/NAME`.
const TARGETS: [(&str, &str); 5] = [
    ("path", "requests"),
    ("headers", "requests"),
    ("json_rpc", "requests"),
    ("graphql", "requests"),
    ("snapshot", "snapshots"),
];

/// How long each is fuzzed among the tests.
const SECONDS_AMONG_TESTS: u32 = 6;

/// What makes LLVM count where a program goes; what cargo-fuzz sets.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Cdebuginfo=line-tables-only";

/// The programs, built, and their seeds.
struct Fuzzers<'w> {
    ws: &'w Workspace,
    programs: PathBuf,
    seeds: PathBuf,
}

/// Fuzzes one target or all of them; what is found to lead somewhere new is kept for the next time.
pub fn run(ws: &Workspace, target: Option<&str>, seconds: u32) -> Result<()> {
    let chosen = TARGETS.iter().filter(|(name, _)| target.is_none_or(|target| target == *name));
    let chosen: Vec<_> = chosen.collect();
    if chosen.is_empty() {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        bail!("there is no such target; there are {names}");
    }
    if !can_build() {
        bail!("{NO_COMPILER}");
    }
    let fuzzers = Fuzzers::build(ws)?;
    chosen.into_iter().try_for_each(|(name, seeds)| {
        let corpus = ws.target("fuzz/corpus").join(name);
        fuzzers.fuzz(name, seeds, &corpus, seconds, None)
    })
}

/// Fuzzes each target for a moment and from the same start, so that a change is judged by what it changes.
pub fn briefly(ws: &Workspace) -> Result<()> {
    if !can_build() {
        if std::env::var_os("CI").is_some() {
            bail!("{NO_COMPILER}");
        }
        note(format_args!("SKIPPED: nothing was fuzzed. {NO_COMPILER}"));
        return Ok(());
    }
    let fuzzers = Fuzzers::build(ws)?;
    TARGETS.iter().try_for_each(|(name, seeds)| {
        let corpus = tempfile::tempdir()?;
        fuzzers.fuzz(name, seeds, corpus.path(), SECONDS_AMONG_TESTS, Some("-seed=1"))
    })
}

const NO_COMPILER: &str = "There is no C++ compiler to build libFuzzer with: install one (Debian and Ubuntu: \
    apt-get install g++), or name one in CXX";

fn can_build() -> bool {
    let named = std::env::var_os("CXX").into_iter();
    named.chain(["c++".into(), "g++".into(), "clang++".into()]).any(|compiler| which::which(compiler).is_ok())
}

impl<'w> Fuzzers<'w> {
    fn build(ws: &'w Workspace) -> Result<Self> {
        let seeds = ws.target("fuzz/seeds");
        step("building the fuzz targets", || {
            // With a target named, the flags are not those of build scripts and macros, which cannot be
            // linked with them.
            let host = cmd!(ws.sh, "rustc --print host-tuple").quiet().read()?;
            ws.sh.remove_path(&seeds)?;
            ws.cargo()
                .args(["build", "--package", "quiesce-fuzz", "--bins", "--release", "--target", &host])
                .env("RUSTFLAGS", RUSTFLAGS)
                .run()?;
            ws.cargo()
                .args(["run", "--quiet", "--package", "quiesce-fuzz", "--example", "seeds"])
                .arg(&seeds)
                .run()?;
            Ok(Self { ws, programs: ws.target(host).join("release"), seeds })
        })
    }

    fn fuzz(&self, name: &str, seeds: &str, corpus: &Path, seconds: u32, how: Option<&str>) -> Result<()> {
        let found = self.ws.target("fuzz/found").join(name);
        for directory in [corpus, &found] {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let sources = self.ws.root().join("fuzz");
        let (own, dictionary) =
            (sources.join("seeds").join(name), sources.join(format!("dictionaries/{name}.dict")));
        let program = self.programs.join(name);
        let (made, found) = (self.seeds.join(seeds), found.join(""));
        step(format_args!("fuzzing {name} for {seconds} s"), || {
            cmd!(self.ws.sh, "{program} {corpus} {own} {made} -dict={dictionary} -artifact_prefix={found}")
                .arg(format!("-max_total_time={seconds}"))
                // An input that takes longer is found too, though each takes some microseconds.
                .args(["-timeout=5", "-max_len=4096", "-verbosity=0", "-print_final_stats=1"])
                .args(how)
                .quiet()
                .run()
                .with_context(|| {
                    let found = self.ws.shown(&found);
                    format!("{name} has found something: {found}; `cargo run -p quiesce-fuzz --bin {name} FILE` tries it")
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_run() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/fuzz_targets");
        let programs = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
        let mut programs: Vec<_> = programs.map(|file| file.file_stem().unwrap().to_owned()).collect();
        let mut targets = TARGETS.map(|(name, _)| std::ffi::OsString::from(name));
        programs.sort();
        targets.sort();
        assert_eq!(programs, targets);
    }
}
