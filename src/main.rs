//! The `hookmill` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookmill::cli::main()
}
