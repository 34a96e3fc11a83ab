//! Builds the modules that run inside Envoy. Always for release: tests load the bytes that ship.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::{
    node,
    progress::{note, step},
    slim::slim,
    tools,
    workspace::{WASM_TARGET, Workspace},
};

/// What a proxy loads per worker must stay small; the issue tracker's figure is 300 KB.
const MAX_BYTES: usize = 300_000;

/// Optimised for size, LLVM inlines hardly anything; a little more makes requests a fifth cheaper, and the
/// module 3 % larger.
const INLINE_MORE: &str = "'-Cllvm-args=-inline-threshold=45', ";

/// What of Binaryen makes modules smaller, and a little faster: about 8 % and 3 %.
const BINARYEN_VERSION: &str = "132.0.0";

/// Builds the filter, drops what it has no use for, and returns where the shipped module is.
pub fn build(ws: &Workspace) -> Result<PathBuf> {
    ensure_target(ws)?;
    let shipped = ws.target("quiesce/quiesce_filter.wasm");
    step(format_args!("building the filter ({WASM_TARGET}, release)"), || {
        let compiled = compile(ws, "quiesce-filter", "quiesce_filter.wasm", INLINE_MORE)?;
        let module = optimise(ws, &slim(&compiled)?)?;
        write_if_changed(&shipped, &module)?;
        note(format_args!("{}: {} bytes", ws.shown(&shipped), module.len()));
        if module.len() > MAX_BYTES {
            bail!("the filter is {} bytes, and at most {MAX_BYTES} ship", module.len());
        }
        Ok(shipped)
    })
}

/// Builds the filter that does nothing, all exports kept, and returns where it is.
pub fn build_noop(ws: &Workspace) -> Result<PathBuf> {
    ensure_target(ws)?;
    let noop = ws.target("quiesce/noop_filter.wasm");
    step(format_args!("building the no-op filter to compare with ({WASM_TARGET}, release)"), || {
        write_if_changed(&noop, &compile(ws, "quiesce-noop-filter", "quiesce_noop_filter.wasm", "")?)?;
        Ok(noop)
    })
}

/// Installs the standard library for wasm32 where it is missing.
///
/// Asks the compiler rather than rustup, which may not be there; and does not rely on a toolchain
/// file, because automatic installation may be switched off.
pub fn ensure_target(ws: &Workspace) -> Result<()> {
    let sh = &ws.sh;
    let libdir = cmd!(sh, "rustc --print target-libdir --target {WASM_TARGET}").quiet().read()?;
    if Path::new(&libdir).is_dir() {
        return Ok(());
    }
    if which::which("rustup").is_err() {
        bail!(
            "this toolchain has no standard library for {WASM_TARGET} in {libdir}, and there is no rustup to add it: \
             install rustup, or your distribution's package for that target"
        );
    }
    step(format_args!("rustup target add {WASM_TARGET}"), || {
        Ok(cmd!(sh, "rustup target add {WASM_TARGET}").quiet().run()?)
    })
}

/// Compiles one package to a module, for release, with more flags for code generation (in TOML, each with a
/// comma behind it) and with no path of this machine inside.
fn compile(ws: &Workspace, package: &str, file: &str, codegen: &str) -> Result<Vec<u8>> {
    // Panic messages and log lines carry source paths. `--config` rather than RUSTFLAGS, which
    // would replace what the user's own configuration says.
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor a home directory is set")?;
    let flags = format!(
        "target.{WASM_TARGET}.rustflags=[{codegen}'--remap-path-prefix={}=', '--remap-path-prefix={}=cargo']",
        ws.root().display(),
        cargo_home.display(),
    );
    // `--crate-type cdylib`: beside an rlib of the same crate, cargo leaves link-time optimisation off.
    ws.cargo()
        .args(["rustc", "--lib", "--crate-type", "cdylib", "--profile", "wasm"])
        .args(["--package", package, "--target", WASM_TARGET, "--config", &flags])
        .run()?;
    Ok(ws.sh.read_binary_file(ws.target(WASM_TARGET).join("wasm").join(file))?)
}

/// The same module, smaller. The features are those that rustc uses for this target.
fn optimise(ws: &Workspace, module: &[u8]) -> Result<Vec<u8>> {
    let binaryen = tools::npm_package(ws, "binaryen", BINARYEN_VERSION)?;
    let (path, directory) = (node::path(ws)?, tempfile::tempdir()?);
    let node = which::which_in("node", Some(&path), ws.root())?;
    let (wasm_opt, input, output) =
        (binaryen.join("bin/wasm-opt"), directory.path().join("in.wasm"), directory.path().join("out.wasm"));
    std::fs::write(&input, module)?;
    let features = [
        "bulk-memory",
        "bulk-memory-opt",
        "sign-ext",
        "mutable-globals",
        "nontrapping-float-to-int",
        "reference-types",
        "multivalue",
    ];
    let features = features.map(|feature| format!("--enable-{feature}"));
    cmd!(ws.sh, "{node} {wasm_opt} -Oz --converge --reorder-functions {features...} {input} -o {output}")
        .quiet()
        .run()?;
    Ok(std::fs::read(output)?)
}

/// Replaces `path` in one step, and only when its content differs: whoever has it open keeps a whole
/// module, and nothing that depends on it looks changed when it is not.
fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let dir = path.parent().context("a file has a directory")?;
    std::fs::create_dir_all(dir)?;
    let mut temporary = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(dir)?;
    temporary.write_all(content)?;
    temporary.persist(path)?;
    Ok(())
}
