//! Checking: warnings about rules that can be compiled, but hardly say what their author means.

pub(in crate::engine) mod absent;
pub(in crate::engine) mod alert;
pub(in crate::engine) mod bodies;
pub(in crate::engine) mod confirmed;
mod conflict;
pub(in crate::engine) mod documents;
pub(in crate::engine) mod fields;
mod foreign;
pub(in crate::engine) mod possible;
mod recent;
mod request_text;
pub(in crate::engine) mod require;
pub(in crate::engine) mod teams;
mod together;
pub(in crate::engine) mod values;
