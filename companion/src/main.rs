//! The `quiesce` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    quiesce::cli::main()
}
