//! The wrappers that shippers put around audit events: one file each, one line each in [`DECODERS`](super::DECODERS).
//!
//! They are told apart by their structure alone, so that one topic may hold several. Plain events and
//! EventLists never come here.

use std::{borrow::Cow, fmt};

use super::json::Json;

/// Something that was inside a wrapper.
#[derive(Debug)]
pub struct Wrapped<'a> {
    /// JSON: an event, a list, another wrapper, or lines of these.
    pub content: Cow<'a, str>,
    /// The cluster that the wrapper names.
    pub cluster: Option<Cow<'a, str>>,
}

/// What one kind of shipper makes of an audit event.
pub trait Wrapper: Sync {
    /// Short name, snake_case.
    fn name(&self) -> &'static str;

    /// What it is, and where the name of the cluster comes from. One or two sentences.
    fn summary(&self) -> &'static str;

    /// One such record, with `@EVENT@` in the place of an event, or `@TEXT@` in the place of its text
    /// within a string. For documents and tests.
    fn example(&self) -> &'static str;

    /// Adds what is inside and says true, if this is such a wrapper at all. Nothing may be inside:
    /// shippers also send what is no audit event.
    fn unwrap<'a>(&self, wrapper: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool;
}

impl fmt::Debug for dyn Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The first of several paths that leads to a string which is not empty.
pub(super) fn first_text<'a>(json: Json<'a>, paths: &[&[&str]]) -> Option<Cow<'a, str>> {
    paths.iter().find_map(|path| json.at(path)?.text()).filter(|text| !text.is_empty())
}
