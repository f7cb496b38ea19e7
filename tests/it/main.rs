//! Integration tests, in one binary: it links once, and its modules share what they need.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "a test may fail"
)]

mod acts;
mod addresses;
mod alert_schema;
mod alike;
mod api;
mod backtest;
mod backtest_reports;
mod binary;
#[path = "../e2e/harness/certificates.rs"]
mod certificates;
mod cli;
mod cli_tools;
mod compose;
mod config;
mod console;
mod contract_notify;
mod contract_source;
mod contract_store;
mod dead_letter_commands;
mod dead_letters;
mod diagnostics;
mod embedded_kafka;
mod explain;
mod fake_receivers;
mod floods;
mod followed;
mod forged;
mod fuzz_bodies;
mod fuzz_state;
mod generate;
mod hidden;
mod http_server;
mod intake;
mod intake_bent;
mod kinds;
mod ledger;
mod mails;
mod many_firing;
mod memory;
mod newest_kubernetes;
mod padding;
mod permissions;
mod pipeline;
mod policy;
mod reference;
mod reload;
mod rule_pack;
mod rules;
mod running;
mod sim;
mod slack;
#[path = "../e2e/harness/slack.rs"]
mod slack_limits;
mod straight;
mod tidy;
mod torn;
mod truth;
mod upgrade;
mod used;
mod webhook;
