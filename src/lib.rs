//! Tripline watches Kubernetes audit events as they happen and tells people about abnormal access.
//!
//! Modules in the order in which data flows: a [`source`] yields records, the pure [`engine`]
//! decodes, detects, correlates, alerts and decides what is sent, a [`store`] makes that durable,
//! [`notify`] delivers it. [`app`] is the only module that sees all the others.

pub mod engine;

#[cfg(feature = "shell")]
pub mod app;
#[cfg(feature = "shell")]
pub mod archive;
#[cfg(feature = "shell")]
pub mod ask;
#[cfg(feature = "shell")]
pub mod backtest;
#[cfg(feature = "shell")]
pub mod cli;
#[cfg(feature = "shell")]
pub mod config;
#[cfg(feature = "shell")]
pub mod evidence;
#[cfg(feature = "shell")]
pub mod file;
pub mod generate;
#[cfg(feature = "shell")]
mod html;
#[cfg(feature = "shell")]
pub mod kafka;
#[cfg(feature = "shell")]
pub mod notify;
#[cfg(feature = "shell")]
pub mod report;
#[cfg(feature = "shell")]
pub mod rule_test;
#[cfg(feature = "shell")]
pub mod server;
#[cfg(feature = "shell")]
pub mod source;
#[cfg(feature = "shell")]
pub mod store;
#[cfg(feature = "shell")]
pub mod telemetry;
#[cfg(feature = "shell")]
pub mod tls;
#[cfg(feature = "shell")]
pub mod web;
