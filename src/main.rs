//! The runepeer program.

use std::process::ExitCode;

fn main() -> ExitCode {
    runepeer::cli::main()
}
