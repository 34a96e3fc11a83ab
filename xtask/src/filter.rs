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
    slim::{KEPT, KEPT_TO_LEARN, Kept, slim},
    tools,
    workspace::{WASM_TARGET, Workspace},
};

/// How one of the modules that ship is made. A proxy gets one of them.
struct Shipped {
    package: &'static str,
    /// The file of the compiler's module, and of the one that ships.
    file: &'static str,
    exports: &'static [&'static [Kept]],
    /// What a proxy loads per worker must stay small; the issue tracker's figure is 300 KB.
    max_bytes: usize,
}

/// The one for everybody.
const FILTER: Shipped =
    Shipped { package: "quiesce-filter", file: "quiesce_filter.wasm", exports: &[KEPT], max_bytes: 300_000 };

/// The one that learns from the answers of MCP servers, for which Envoy enters it for those of all requests.
const LEARNING: Shipped = Shipped {
    package: "quiesce-filter-learning",
    file: "quiesce_filter_learning.wasm",
    exports: &[KEPT, KEPT_TO_LEARN],
    max_bytes: 320_000,
};

/// Optimised for size, LLVM inlines hardly anything; a little more makes requests a fifth cheaper, and the
/// module 3 % larger.
const INLINE_MORE: &str = "'-Cllvm-args=-inline-threshold=45', ";

/// What of Binaryen makes modules smaller, and a little faster: about 8 % and 3 %.
const BINARYEN_VERSION: &str = "132.0.0";

/// Builds the filter, drops what it has no use for, and returns where the shipped module is.
pub fn build(ws: &Workspace) -> Result<PathBuf> {
    ensure_target(ws)?;
    step(format_args!("building the filter ({WASM_TARGET}, release)"), || build_one(ws, &FILTER))
}

/// The same of the filter that learns.
pub fn build_learning(ws: &Workspace) -> Result<PathBuf> {
    ensure_target(ws)?;
    step(format_args!("building the filter that learns ({WASM_TARGET}, release)"), || {
        build_one(ws, &LEARNING)
    })
}

fn build_one(ws: &Workspace, Shipped { package, file, exports, max_bytes }: &Shipped) -> Result<PathBuf> {
    let shipped = ws.target("quiesce").join(file);
    let compiled = compile(ws, package, file, INLINE_MORE)?;
    let module = optimise(ws, &slim(&compiled, exports)?)?;
    write_if_changed(&shipped, &module)?;
    note(format_args!("{}: {} bytes", ws.shown(&shipped), module.len()));
    if module.len() > *max_bytes {
        bail!("{file} is {} bytes, and at most {max_bytes} ship", module.len());
    }
    Ok(shipped)
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
