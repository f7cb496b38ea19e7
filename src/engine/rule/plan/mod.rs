//! The plan that rules are compiled to: what detection and correlation work from.

pub(in crate::engine) mod alert;
pub(in crate::engine) mod build;
pub(in crate::engine) mod exception;
pub(in crate::engine) mod expression;
pub(in crate::engine) mod hours;
pub(in crate::engine) mod outline;
mod print;
pub(in crate::engine) mod record;
pub(in crate::engine) mod rule;
pub(in crate::engine) mod schedule;
pub(in crate::engine) mod set;
