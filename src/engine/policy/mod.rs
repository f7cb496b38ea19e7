//! Kubernetes audit policies: which one some rules need, and what an existing one hides from them.
//!
//! Whether a rule can match is evaluated over what a policy decides by (verb, resource, user), with
//! everything else unknown. So a policy that is made here records whatever could satisfy a rule, and
//! an existing one is held against the same; what depends on the data is said to depend on it.

mod apart;
mod below;
mod check;
mod decide;
mod generate;
mod read;
mod requests;
mod words;

pub(in crate::engine) use below::Below;
pub use check::{Checked, check};
pub use generate::{Policy, generate};

use super::kubernetes::AuditLevel;
