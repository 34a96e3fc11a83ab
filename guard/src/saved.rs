//! The last snapshot on disk, for a process that starts while the companion is away.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use quiesce_policy::{json, snapshot::Snapshot};

/// The snapshot that was saved, if there is one that can be read.
pub(crate) fn load(file: &Path) -> Option<Snapshot> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read the snapshot saved in {}: {error}", file.display());
            return None;
        }
    };
    json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!("no snapshot is saved in {}: {error}", file.display()))
        .ok()
}

/// Saves a snapshot in place of the one before: after a crash there is one of the two.
pub(crate) fn save(file: &Path, snapshot: &[u8]) -> io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut fresh = tempfile::NamedTempFile::new_in(dir)?;
    fresh.write_all(snapshot)?;
    fresh.as_file().sync_all()?;
    fresh.persist(file).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}
