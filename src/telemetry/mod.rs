//! What operators see of the process from outside: metrics and logs.
//!
//! [`Metrics`] has a method for each thing that happens, so that names and labels stand in one place;
//! [`start_logs`] sets up `tracing` once. What people see of alerts is not here: that is `notify`.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod families;
mod log;
mod metrics;
mod process;
mod quiet;
mod refusal;
mod registry;

pub use log::{LogFormat, LogLevel, LogSettings, start_logs};
pub use metrics::{Metrics, RuleNumbers};
pub use quiet::Quiet;
pub use refusal::Refusal;
pub use registry::MetricInfo;
