//! The `tripline` binary: see `tripline::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tripline::cli::main()
}
