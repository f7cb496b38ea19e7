//! Times as shippers and serializers write them: RFC 3339, its relatives, and numbers since 1970.

use std::borrow::Cow;

use super::json::Json;
use crate::engine::{time::EventTime, value::Value};

/// The time that a value says. `None` if it is none, or a zero that stands for none (the year 1 of Go,
/// the year 1970).
pub(super) fn read_time(value: &Value<'_>) -> Option<EventTime> {
    let time = match value {
        Value::Str(text) => read_text(text),
        Value::Int(number) => since_epoch(*number),
        Value::Float(number) => since_epoch_fraction(*number),
        Value::Null | Value::Bool(_) | Value::Composite => None,
    };
    time.filter(|time| is_real(*time))
}

/// The same of a piece of JSON.
pub(super) fn read_json_time(json: Json<'_>) -> Option<EventTime> {
    if let Some(text) = json.text() {
        return read_time(&Value::Str(text));
    }
    let raw = json.raw();
    let value = raw.parse().map(Value::Int).or_else(|_| raw.parse().map(Value::Float)).ok()?;
    read_time(&value)
}

/// Whether a time is one that something happened at.
pub(super) fn is_real(time: EventTime) -> bool {
    time.micros() > 0
}

fn read_text(text: &str) -> Option<EventTime> {
    let text = text.trim();
    if let Some(time) = EventTime::parse(text) {
        return Some(time);
    }
    if let Ok(number) = text.parse::<i64>() {
        return since_epoch(number);
    }
    if let Ok(number) = text.parse::<f64>() {
        return since_epoch_fraction(number);
    }
    // `2026-03-02 10:00:00.2 +0000 UTC`, as Go prints a time; without a zone it is UTC.
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    let joined: Cow<'_, str> = match text.rsplit_once([' ', 'T']) {
        Some((head, zone)) if zone.starts_with(['+', '-']) => Cow::Owned(format!("{head}{zone}")),
        _ => Cow::Borrowed(text),
    };
    EventTime::parse(&joined)
        .or_else(|| EventTime::parse(&format!("{joined}Z")))
        .or_else(|| read_mail_time(text))
}

/// `Mon, 02 Mar 2026 10:00:00 GMT`, as mails and HTTP have it.
fn read_mail_time(text: &str) -> Option<EventTime> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(EventTime::from_micros(time.as_microsecond()))
}

/// Seconds, milliseconds, microseconds or nanoseconds, told apart by how many there are: each is within
/// the years 1973 to 5138 in one unit only.
fn since_epoch(number: i64) -> Option<EventTime> {
    let micros = match number {
        ..=0 => return None,
        1..100_000_000_000 => number.checked_mul(1_000_000)?,
        100_000_000_000..100_000_000_000_000 => number.checked_mul(1_000)?,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number / 1_000,
    };
    Some(EventTime::from_micros(micros))
}

/// The same with a fraction, which only seconds and milliseconds have.
#[expect(clippy::cast_possible_truncation, reason = "the bounds are far within 64 bits")]
fn since_epoch_fraction(number: f64) -> Option<EventTime> {
    let micros = match number {
        0.0..1e11 => number * 1e6,
        1e11..1e14 => number * 1e3,
        1e14..1e17 => number,
        1e17..9e18 => number / 1e3,
        _ => return None,
    };
    Some(EventTime::from_micros(micros.round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_however_they_are_written() {
        for text in [
            "\"2026-03-02T10:00:00.2Z\"",
            "\"2026-03-02T10:00:00.200000000Z\"",
            "\"2026-03-02T11:00:00.2+01:00\"",
            "\"2026-03-02 10:00:00.2Z\"",
            "\"2026-03-02 10:00:00.2 +0000 UTC\"",
            "\"2026-03-02 11:00:00.2 +0100\"",
            "\"2026-03-02 10:00:00.2\"",
            "\"2026-03-02T10:00:00.2\"",
            "1772445600.2",
            "\"1772445600.2\"",
            "1772445600200",
            "1772445600200000",
            "1772445600200000000",
            "\"1772445600200000000\"",
            "1.7724456002e9",
        ] {
            let time = read_json_time(Json::new(text)).map(EventTime::rfc3339);
            assert_eq!(time.as_deref(), Some("2026-03-02T10:00:00.200000Z"), "{text}");
        }
    }

    #[test]
    fn what_says_no_time_is_none() {
        for text in [
            "null",
            "true",
            "{}",
            "0",
            "-1",
            "0.0",
            "\"\"",
            "\"noon\"",
            "1e300",
            "\"NaN\"",
            "\"0001-01-01T00:00:00Z\"",
            "\"1970-01-01T00:00:00Z\"",
            "\"2026-03-02\"",
        ] {
            assert_eq!(read_json_time(Json::new(text)), None, "{text}");
        }
    }
}
