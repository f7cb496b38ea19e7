//! Durations as files and command lines write them: `30s`, `1h30m`, `2d`.

use std::time::Duration;

/// Units of fixed length with their milliseconds, largest first.
const UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Sigma's month and year, by which no setting is measured: too near to `m`.
const CALENDAR_UNITS: [(&str, u64); 2] = [("y", 31_556_952_000), ("M", 2_629_746_000)];

/// Parses a duration as Prometheus writes it. Units `w d h m s ms`, largest first, each once.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &UNITS)
}

/// Parses a timespan of a rule: a duration, or as Sigma and pySigma also write it (`1M`, `1y`).
pub(crate) fn parse_timespan(text: &str) -> Option<Duration> {
    parse(text, &UNITS).or_else(|| parse(text, &CALENDAR_UNITS))
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut sum, mut before) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (word, tail) = tail.split_at_checked(end)?;
        let (_, millis) = units.iter().find(|(unit, _)| *unit == word)?;
        if *millis >= before {
            return None;
        }
        before = *millis;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_millis(sum))
}

/// A duration as it would be written: `5m`, `1h30m`, `2d`. Weeks are written in days.
pub fn written(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS.iter().skip(1) {
        if rest >= *millis {
            text += &format!("{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_prometheus_durations() {
        let seconds = |text| parse_duration(text).map(|span| span.as_secs_f64());
        assert_eq!(seconds("1h30m"), Some(5_400.0));
        assert_eq!(seconds("250ms"), Some(0.25));
        assert_eq!(seconds("1w2d"), Some(777_600.0));
        assert_eq!(seconds("0"), Some(0.0));
        for bad in ["", "5", "m", "5x", "5m1h", "1m1m", "-5m", "5 m", "1M", "1y", "99999999999999w"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn timespans_of_both_worlds_are_read() {
        let seconds = |text| parse_timespan(text).map(|span| span.as_secs());
        assert_eq!(seconds("5m"), Some(300));
        assert_eq!(seconds("1M"), Some(2_629_746));
        assert_eq!(seconds("1y"), Some(31_556_952));
        assert_eq!(seconds("1h30m"), Some(5_400));
        for bad in ["", "m", "M", "5", "-1m", "99999999999999999y", "5 m"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["0s", "5m", "1h30m", "9d", "1s500ms", "250ms"] {
            assert_eq!(written(parse_duration(text).unwrap()), text);
        }
    }
}
