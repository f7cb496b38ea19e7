//! What rules do not see of an event: padding that makes a part of it vanish is itself something that
//! somebody did. What was left out, and why, is decided where it was; here it has its words.

use super::{Event, well_known};
use crate::engine::value::Value;

/// Why rules may not see all of an event; sorted.
pub(super) const CAUSES: &[&str] = &["bodies", "cut", "keys", "values"];

/// Those of one event, in their order.
pub(super) fn causes(event: &Event<'_>) -> Vec<&'static str> {
    let is_so =
        [has_no_bodies(event), event.is_cut, event.is_read_twice(), event.values_dropped > 0];
    CAUSES.iter().zip(is_so).filter(|(_, is_so)| *is_so).map(|(cause, _)| *cause).collect()
}

/// Whether a part of the event is missing.
pub(in crate::engine) fn is_truncated(event: &Event<'_>) -> bool {
    event.is_cut || has_no_bodies(event)
}

/// Whether the bodies of the event were dropped.
fn has_no_bodies(event: &Event<'_>) -> bool {
    let dropped = match event.first(well_known::TRUNCATED) {
        Some(Value::Str(text)) => text.eq_ignore_ascii_case("true"),
        Some(Value::Bool(dropped)) => *dropped,
        _ => false,
    };
    dropped || event.bodies_skipped
}
