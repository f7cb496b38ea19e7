//! The `tripline` binary: see `tripline::cli`.

use std::process::ExitCode;

/// Records are allocated by librdkafka's thread, freed by the one that polls, and what was detected in them
/// goes through two more. glibc's allocator locks and trims on such ways; this one also serves
/// librdkafka and SQLite.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tripline::cli::main()
}
