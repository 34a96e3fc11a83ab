//! What one companion is told of the others that share its store.

use tokio::sync::watch;

/// Counts what others, or this one, have changed. Not every change has a number: what is counted is that there is
/// something to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Changes of windows, or of what is configured.
    pub windows: u64,
    /// Changes of the fleet by others.
    pub fleet: u64,
}

/// The others that share a store.
#[derive(Clone, Debug)]
pub struct Others {
    /// What they change.
    pub news: watch::Receiver<News>,
    /// Whether this companion is the one that sees to what happens by itself.
    pub controls: watch::Receiver<bool>,
}
