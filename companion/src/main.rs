//! The `quiesce` binary.

fn main() {}
