//! How much one core does: numbers for people, printed by `cargo bench --bench throughput`. Not a
//! test: nothing fails here. Instruction counts and ratios say more than absolute times on a machine
//! that is shared. `cargo bench --bench throughput -- memory` prints what a million keys cost, and nothing else.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark measures, reads files and prints"
)]

mod backtest;
mod engine;
mod memory;
mod rules;
mod workloads;

/// As the product has it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    if memory::is_alone() {
        return;
    }
    if !std::env::args().any(|argument| argument == "memory") {
        engine::run();
    }
    memory::run();
}
