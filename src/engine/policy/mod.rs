//! Kubernetes audit policies: which one some rules need, and what an existing one hides from them.
//!
//! Whether a rule can match is evaluated over what a policy decides by (verb, resource, user), with
//! everything else unknown. So a policy that is made here records whatever could satisfy a rule, and
//! never less; what depends on the data is said to depend on it.

mod generate;
mod requests;
mod resources;

pub use generate::{Policy, generate};

use super::rule::taxonomy::AuditLevel;
