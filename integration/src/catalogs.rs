//! The catalogs that are built into Quiesce, as files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// The names of all of them.
///
/// # Errors
/// When there are none.
pub fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir()).with_context(|| format!("{}", dir().display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "no catalog in {}", dir().display());
    Ok(names)
}

/// Every operation of a product, a line each: JSON with `method`, `path` and more.
///
/// # Errors
/// When no catalog has this name.
pub fn operations(name: &str) -> Result<String> {
    let file = dir().join("operations").join(name).with_extension("jsonl");
    fs::read_to_string(&file).with_context(|| format!("{}", file.display()))
}

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/catalog")
}
