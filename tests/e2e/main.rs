//! End to end: the real binary between a real Kafka broker and real receivers.
//!
//! Each scenario states what a person would see. How services are started, and what happens where
//! they are not installed, is in `harness`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    reason = "tests touch the world, and a panic is how they fail"
)]

mod acts;
mod alarms;
mod bad_input;
mod clocks;
mod configuration;
mod console;
mod crash;
mod credentials;
mod delivery;
mod evidence;
mod harness;
mod intake;
mod killing;
mod mail;
mod mistakes;
mod outage;
mod ownership;
mod real_cluster;
mod refusals;
mod reload;
mod resolved;
mod routes;
mod rules;
mod server;
mod shippers;
mod slack;
mod state;
mod stop;
mod stories;
mod stream;
