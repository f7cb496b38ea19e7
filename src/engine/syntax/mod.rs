//! The pieces that rule files are written with: texts with places, conditions and
//! thresholds. Both the reader of rules and the kinds of correlation read with them.

pub(in crate::engine) mod condition;
pub(in crate::engine) mod key;
pub(in crate::engine) mod read;
pub mod threshold;

pub(in crate::engine) use super::diagnostic::code;
