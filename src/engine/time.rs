//! The two clocks, as two types that never mix.
//!
//! [`EventTime`] comes from the data and decides windows. [`WallTime`] is the operator's clock, is
//! always an argument, and decides only idleness, delivery and schedules of retry. Both count
//! microseconds since the Unix epoch, the resolution of `metav1.MicroTime` in audit events.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

macro_rules! clock {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Earlier than every time that can be written in an event.
            pub const MIN: $name = $name(i64::MIN);
            /// Later than every time that can be written in an event.
            pub const MAX: $name = $name(i64::MAX);

            /// From microseconds since the Unix epoch.
            pub const fn from_micros(micros: i64) -> $name {
                $name(micros)
            }

            /// The Unix epoch.
            pub const fn epoch() -> $name {
                $name(0)
            }

            /// From milliseconds since the Unix epoch; saturates.
            pub const fn from_millis(millis: i64) -> $name {
                $name(millis.saturating_mul(1_000))
            }

            /// Microseconds since the Unix epoch.
            pub const fn micros(self) -> i64 {
                self.0
            }

            /// Whole hours since the Unix epoch; of earlier times rounded down.
            pub const fn hour(self) -> i64 {
                self.0.div_euclid(3_600_000_000)
            }

            /// This time plus `span`; saturates.
            #[must_use]
            pub fn plus(self, span: Duration) -> $name {
                $name(self.0.saturating_add(micros(span)))
            }

            /// This time minus `span`; saturates.
            #[must_use]
            pub fn minus(self, span: Duration) -> $name {
                $name(self.0.saturating_sub(micros(span)))
            }

            /// How far this time lies after `earlier`; zero if it does not.
            pub fn since(self, earlier: $name) -> Duration {
                u64::try_from(self.0.saturating_sub(earlier.0))
                    .map_or(Duration::ZERO, Duration::from_micros)
            }

            /// RFC 3339 in UTC with microseconds, as in audit events. Times outside the calendar of
            /// `jiff` (years −9999 to 9999) print as `MIN` or `MAX`.
            pub fn rfc3339(self) -> String {
                rfc3339(self.0)
            }

            /// In UTC to the second: `2026-01-05 22:14:01`.
            pub fn for_people(self) -> String {
                let text = rfc3339(self.0);
                text.get(..19).map_or_else(|| text.clone(), |head| head.replace('T', " "))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&rfc3339(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&rfc3339(self.0))
            }
        }
    };
}

clock! {
    /// When something happened, by the API server's own clock.
    EventTime
}
clock! {
    /// What the operator's clock says now, as told to the engine by its caller.
    WallTime
}

impl EventTime {
    /// Parses RFC 3339 as the API server writes it (`2026-01-05T22:14:01.131000Z`, any number of
    /// fraction digits, numeric offsets allowed). `None` if it is anything else.
    ///
    /// The usual 27-byte UTC form takes a path of its own, about 10 ns.
    pub fn parse(text: &str) -> Option<EventTime> {
        parse_utc_micros(text.as_bytes())
            .or_else(|| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond))
            .map(EventTime)
    }

    /// The wall time with the same reading, for comparisons of clock skew only.
    pub const fn as_wall(self) -> WallTime {
        WallTime(self.0)
    }
}

impl WallTime {
    /// The event time with the same reading: what "now" is to a stream that has gone idle.
    pub const fn as_event(self) -> EventTime {
        EventTime(self.0)
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn rfc3339(micros: i64) -> String {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(timestamp) => usual_rfc3339(timestamp).unwrap_or_else(|| format!("{timestamp:.6}")),
        Err(_) => if micros < 0 { "MIN" } else { "MAX" }.to_owned(),
    }
}

/// The 27 bytes of a year from 0 to 9999, digit by digit: several times cheaper than formatting, and each line of the
/// ledger has two to four of them.
fn usual_rfc3339(timestamp: jiff::Timestamp) -> Option<String> {
    let time = jiff::tz::Offset::UTC.to_datetime(timestamp);
    let year = u32::try_from(time.year()).ok()?;
    let part = |number: i8| u32::from(number.unsigned_abs());
    let micros = time.subsec_nanosecond().unsigned_abs() / 1_000;
    let mut text = String::with_capacity(27);
    for (number, digits, behind) in [
        (year, 1_000, '-'),
        (part(time.month()), 10, '-'),
        (part(time.day()), 10, 'T'),
        (part(time.hour()), 10, ':'),
        (part(time.minute()), 10, ':'),
        (part(time.second()), 10, '.'),
        (micros, 100_000, 'Z'),
    ] {
        let mut unit = digits;
        while unit > 0 {
            text.push(char::from_digit(number / unit % 10, 10)?);
            unit /= 10;
        }
        text.push(behind);
    }
    Some(text)
}

/// `YYYY-MM-DDTHH:MM:SS[.f{1,6}]Z` only.
fn parse_utc_micros(text: &[u8]) -> Option<i64> {
    if let Ok(text) = text.try_into() {
        return parse_usual(text);
    }
    let (head, fraction) = text.strip_suffix(b"Z")?.split_at_checked(19)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] =
        *head
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i64, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let date = [number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?];
    let time = [number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?];
    let fraction_micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
            let scale = 10_i64.pow(6 - u32::try_from(digits.len()).ok()?);
            number(digits)? * scale
        }
        _ => return None,
    };
    micros_of(date, time, fraction_micros)
}

/// The usual 27 bytes, eight at a time.
fn parse_usual(text: &[u8; 27]) -> Option<i64> {
    let at = |start: usize| text.get(start..)?.first_chunk().copied();
    let [y1, y2, y3, y4, _, m1, m2, _] = digits_of(at(0)?, *b"0000-00-")?;
    let [d1, d2, _, h1, h2, _, n1, n2] = digits_of(at(8)?, *b"00T00:00")?;
    let [_, s1, s2, _, f1, f2, f3, f4] = digits_of(at(16)?, *b":00.0000")?;
    let [_, _, _, _, _, f5, f6, _] = digits_of(at(19)?, *b".000000Z")?;
    let number = |digits: &[u8]| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(*digit));
    micros_of(
        [number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2])],
        [number(&[h1, h2]), number(&[n1, n2]), number(&[s1, s2])],
        number(&[f1, f2, f3, f4, f5, f6]),
    )
}

/// The digits of a text that looks like this one, which has a `0` for each; 0 for all else.
#[inline]
fn digits_of(text: [u8; 8], form: [u8; 8]) -> Option<[u8; 8]> {
    let found = u64::from_le_bytes(text) ^ u64::from_le_bytes(form);
    // Added to a digit, or to what is the same, these leave the high bit of a byte alone.
    let most = u64::from_le_bytes(form.map(|byte| if byte == b'0' { 0x76 } else { 0x7F }));
    let beyond = (found.wrapping_add(most) | found) & 0x8080_8080_8080_8080;
    (beyond == 0).then(|| found.to_le_bytes())
}

/// Microseconds since the epoch of a date and a time of day; `None` if there is no such one.
fn micros_of(
    [year, month, day]: [i64; 3],
    [hour, minute, second]: [i64; 3],
    micros: i64,
) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if day < 1 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since the epoch, by Howard Hinnant's `days_from_civil`.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_path_agrees_with_jiff() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2024-02-29T23:59:59.999999Z",
            "2000-02-29T12:00:00.5Z",
            "2100-02-28T00:00:00.000001Z",
            "0001-01-01T00:00:00Z",
            "2026-12-31T23:59:59.10Z",
        ] {
            let expected = text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
            assert_eq!(parse_utc_micros(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn times_are_written_as_jiff_writes_them() {
        let mut micros = -70_000_000_000_000_000_i64;
        while micros < 253_000_000_000_000_000 {
            let timestamp = jiff::Timestamp::from_microsecond(micros).unwrap();
            assert_eq!(rfc3339(micros), format!("{timestamp:.6}"));
            micros += 97_351_713_333_337;
        }
        assert_eq!([rfc3339(i64::MIN), rfc3339(i64::MAX)], ["MIN", "MAX"]);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "Z", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01", "now"] {
            assert_eq!(EventTime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn offsets_are_understood() {
        assert_eq!(
            EventTime::parse("2026-01-05T23:14:01.131+01:00"),
            EventTime::parse("2026-01-05T22:14:01.131000Z")
        );
    }
}
