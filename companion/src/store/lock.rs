//! Keeps two companions from one store file: an advisory lock that dies with its process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use super::StoreError;

/// Held as long as the store is in use.
#[derive(Debug)]
pub struct StoreLock {
    file: File,
}

impl StoreLock {
    /// Locks `<store>.lock`, or says who cannot have it.
    pub fn acquire(store: &Path) -> Result<Self, StoreError> {
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        let path = Path::new(&name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: store.to_owned() }),
            Err(TryLockError::Error(source)) => Err(StoreError::File { path: path.to_owned(), source }),
        }
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // Closing is not enough: a child just forked may hold the file open until it executes. If
        // unlocking fails, closing does it a little later.
        let _ = self.file.unlock();
    }
}
