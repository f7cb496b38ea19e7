//! Writes JSON as Go's `encoding/json` does, straight into bytes.

use crate::engine::time::EventTime;

/// Writes the members of one JSON object.
pub(super) struct Fields<'o> {
    pub(super) out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Fields<'o> {
    /// Begins an object.
    pub(super) fn open(out: &'o mut Vec<u8>) -> Fields<'o> {
        out.push(b'{');
        Fields { out, first: true }
    }

    /// Begins a member. Names that we write need no escapes.
    pub(super) fn name(&mut self, name: &str) {
        self.out.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A string; left out if it is empty.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.name(name);
            quote(self.out, value);
        }
    }

    /// A value that is JSON already; left out if it is empty.
    pub(super) fn raw(&mut self, name: &str, json: &str) {
        if !json.is_empty() {
            self.name(name);
            self.out.extend_from_slice(json.as_bytes());
        }
    }

    /// Ends the object.
    pub(super) fn close(self) {
        self.out.push(b'}');
    }
}

/// Appends a list of strings.
pub(super) fn list<'t>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'t str>) {
    out.push(b'[');
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        quote(out, text);
    }
    out.push(b']');
}

/// Appends a string with its quotes.
pub(super) fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// Appends text with the escapes of Go's `encoding/json`, which writes `<`, `>` and `&` as `\u00..`.
pub(super) fn escape(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| !plain(*byte)) {
        let (head, tail) = rest.split_at(at);
        out.extend_from_slice(head);
        let Some((special, tail)) = tail.split_first() else { break };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Appends a time as `metav1.MicroTime` does: UTC with six digits.
pub(super) fn write_time(out: &mut Vec<u8>, time: EventTime) {
    let micros = time.micros().rem_euclid(1_000_000);
    let seconds = time.micros().div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date by Howard Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    out.push(b'"');
    digits(out, year, 4);
    for (separator, number) in [
        (b'-', month),
        (b'-', day),
        (b'T', second / 3_600),
        (b':', second / 60 % 60),
        (b':', second % 60),
    ] {
        out.push(separator);
        digits(out, number, 2);
    }
    out.push(b'.');
    digits(out, micros, 6);
    out.extend_from_slice(b"Z\"");
}

fn digits(out: &mut Vec<u8>, number: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// As a string.
///
/// # Panics
/// If something other than whole texts was appended.
pub(super) fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("only whole texts were appended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_agree_with_the_engine() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "2024-02-29T23:59:59.999999Z",
            "2100-03-01T00:00:00.000001Z",
            "2026-12-31T12:30:45.123456Z",
        ] {
            let mut out = Vec::new();
            write_time(&mut out, EventTime::parse(text).unwrap());
            assert_eq!(out, format!("\"{text}\"").into_bytes());
        }
    }

    #[test]
    fn escapes_are_those_of_go() {
        let mut out = Vec::new();
        quote(&mut out, "a\"b\\c<d>&\n\u{1}é");
        assert_eq!(utf8(out), r#""a\"b\\c\u003cd\u003e\u0026\n\u0001é""#);
    }
}
