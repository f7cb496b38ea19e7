//! Tests of numbers and booleans, and of parts of times.

use jiff::tz::TimeZone;

use crate::engine::{
    rule::{Comparison, TimePart},
    time::EventTime,
    value::{Number, Value},
};

/// The value is a number, or the text of one, and compares so.
pub(super) fn number(comparison: Comparison, bound: Number, value: &Value<'_>) -> bool {
    value.number().is_some_and(|number| comparison.holds(number, bound))
}

/// The value is this boolean, or its text in any case.
pub(super) fn boolean(wanted: bool, value: &Value<'_>) -> bool {
    match value {
        Value::Bool(value) => *value == wanted,
        Value::Str(text) => text.eq_ignore_ascii_case(if wanted { "true" } else { "false" }),
        _ => false,
    }
}

/// A part of the value, read as a time in UTC, compares so.
pub(super) fn time_part(
    part: TimePart,
    comparison: Comparison,
    bound: i64,
    value: &Value<'_>,
) -> bool {
    let Value::Str(text) = value else { return false };
    let Some(time) = EventTime::parse(text) else { return false };
    let Ok(time) = jiff::Timestamp::from_microsecond(time.micros()) else { return false };
    let time = TimeZone::UTC.to_datetime(time);
    let number = match part {
        TimePart::Minute => i64::from(time.minute()),
        TimePart::Hour => i64::from(time.hour()),
        TimePart::Day => i64::from(time.day()),
        TimePart::Week => i64::from(time.date().iso_week_date().week()),
        TimePart::Month => i64::from(time.month()),
        TimePart::Year => i64::from(time.year()),
    };
    match comparison {
        Comparison::Equal => number == bound,
        Comparison::NotEqual => number != bound,
        Comparison::Less => number < bound,
        Comparison::LessOrEqual => number <= bound,
        Comparison::Greater => number > bound,
        Comparison::GreaterOrEqual => number >= bound,
    }
}
