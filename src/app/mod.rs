//! Wires the parts together: the only module that sees all the others.
//!
//! [`pipeline`] runs threads and channels around the pure engine; everything it is given is already
//! built. It decides nothing about alerts: the engine does.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod archiver;
mod canary;
pub mod clock;
pub mod configuration;
mod configured_source;
mod contradictions;
mod coordinator;
mod dead_letters;
mod delivery;
mod endings;
pub mod event_fetcher;
mod feed;
pub mod import;
mod input;
mod ledger_topic;
mod pages;
pub mod pipeline;
pub mod reload;
mod rule_tests;
pub mod run;
mod self_alert;
mod source_health;
mod take_over;
mod troubles;
