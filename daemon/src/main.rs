//! The one program a person uses.

use std::process::ExitCode;

fn main() -> ExitCode {
    sessd::cli::main()
}
