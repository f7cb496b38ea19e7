//! Numbers, counts and spans of time as people write them.

use std::time::Duration;

/// `12,345`.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number as people write it: no `.0`, at most two digits behind the point.
pub fn number(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and small")]
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        thousands(value as u64)
    } else {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The first `most` of some names, and whether there are more: `a, b, …`.
pub fn first_of<T: AsRef<str>>(names: &[T], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    format!("{}{}", shown.join(", "), if names.len() > most { ", …" } else { "" })
}

/// `1 rule`, `62 rules`.
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{} {noun}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// How long, in the two largest units: `8 s`, `3 min 20 s`, `1 d 5 h`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([7, 1_000, 16_563_201].map(thousands), ["7", "1,000", "16,563,201"]);
        assert_eq!([3.0, 1_234.5, 0.126].map(number), ["3", "1234.5", "0.13"]);
        assert_eq!(
            [0_usize, 1, 1_000].map(|n| counted(n, "rule")),
            ["0 rules", "1 rule", "1,000 rules"]
        );
        let spans = [5, 65, 3_700, 90_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    }
}
