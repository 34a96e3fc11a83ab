//! Why a snapshot, or a configuration that would become one, cannot be used.

/// A snapshot that cannot be used, naming the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SnapshotError {
    /// The field at fault: `surfaces[2].rules[0].path`.
    pub place: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl SnapshotError {
    pub(crate) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}
