//! Whether a part of an event is missing.

use super::{Event, well_known};
use crate::engine::value::Value;

/// What AKS puts in the place of a body that is too large.
const SKIPPED_BODY: &str = ":\"skipped-too-big-size-object\"";

/// Whether a part of the event is missing.
pub(in crate::engine) fn is_truncated(event: &Event<'_>) -> bool {
    let dropped = match event.first(well_known::TRUNCATED) {
        Some(Value::Str(text)) => text.eq_ignore_ascii_case("true"),
        Some(Value::Bool(dropped)) => *dropped,
        _ => false,
    };
    // Within a string its quotes would have backslashes, so these stand where a value is.
    event.is_cut
        || dropped
        || memchr::memmem::find(event.json.as_bytes(), SKIPPED_BODY.as_bytes()).is_some()
}
