//! What Kubernetes is, as far as its audit log shows it: requests, resources, bodies, fields, names.
//!
//! Constant tables, each with the place in Kubernetes that it follows; up to version 1.37. Decoders,
//! lints, policies, JSON Schemas and documentation are made from them, so that a new resource,
//! subresource, verb or field is one line here. Nothing is decided here about events or rules, and
//! nothing that Tripline derives from an event is here; see `event::derived`.

pub mod clients;
pub mod fields;
pub mod levels;
pub mod parameters;
pub mod resources;
pub mod shapes;
pub mod stages;
pub mod users;
pub mod verbs;

pub use clients::is_tool_of_people;
pub use levels::AuditLevel;
pub use stages::{Stage, runs_long};
