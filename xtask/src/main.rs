//! Set-up and orchestration.

fn main() {}
