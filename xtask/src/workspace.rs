//! Where things are: the workspace, its `target/` directory, and a shell that stands in the former.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};
use xshell::{Cmd, Shell, cmd};

/// The target that the filter ships for.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// The workspace as `cargo metadata` describes it, whatever directory xtask was called from.
pub struct Workspace {
    /// A shell whose working directory is the workspace's root.
    pub sh: Shell,
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo, so that `CARGO_TARGET_DIR` and `build.target-dir` are honoured.
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let metadata =
            MetadataCommand::new().manifest_path(&manifest).no_deps().exec().with_context(|| {
                format!("cannot read the workspace that {} belongs to", manifest.display())
            })?;
        let sh = Shell::new()?;
        sh.change_dir(metadata.workspace_root.as_std_path());
        Ok(Self { sh, metadata })
    }

    /// The directory that holds the root `Cargo.toml`.
    pub fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// A path below cargo's target directory.
    pub fn target(&self, below: impl AsRef<Path>) -> PathBuf {
        self.metadata.target_directory.as_std_path().join(below)
    }

    /// The version of `package` that `Cargo.lock` names.
    pub fn locked_version(&self, package: &str) -> Result<String> {
        let id = self.cargo().args(["pkgid", "--locked", package]).read()?;
        let (_, version) = id.rsplit_once('@').with_context(|| format!("no version in package id {id}"))?;
        Ok(version.to_owned())
    }

    /// `path` as people like to read it: relative to the workspace where it is inside.
    pub fn shown<'p>(&self, path: &'p Path) -> std::path::Display<'p> {
        path.strip_prefix(self.root()).unwrap_or(path).display()
    }

    /// The cargo that runs xtask, in the workspace's root.
    pub fn cargo(&self) -> Cmd<'_> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        cmd!(self.sh, "{cargo}").quiet()
    }
}
