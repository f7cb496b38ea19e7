//! The plan that rules are compiled to: [`set`] is what detection and correlation work from.

pub(in crate::engine) mod build;
pub(in crate::engine) mod outline;
mod print;
pub(in crate::engine) mod set;
