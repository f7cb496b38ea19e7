//! `time_intervals:` and `inhibit_rules:` of the configuration: when routes are quiet, and which alerts hide
//! which. Keys and meaning are Alertmanager's.
//!
//! ```yaml
//! time_intervals:
//!   - name: night
//!     time_intervals:
//!       - times: [{start_time: '22:00', end_time: '24:00'}, {start_time: '00:00', end_time: '06:00'}]
//!         weekdays: ['monday:friday']
//!         location: Europe/Berlin
//! inhibit_rules:
//!   - source_matchers: [alertname="node_down"]
//!     target_matchers: [severity=~"low|medium"]
//!     equal: [cluster]
//! ```

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::matchers::matchers;
use crate::engine::{
    dispatch::{InhibitRule, RouteTimes, TimeInterval, TimeIntervals},
    yaml::Section,
};

/// Days of the week as they are written, from Sunday.
const DAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// Months as they are written.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Minutes of a day.
const DAY: u16 = 1_440;

/// Reads `inhibit_rules:`. Every mistake is reported.
pub fn parse_inhibit_rules(root: &Section<'_>) -> Vec<InhibitRule> {
    let read = |section: Section<'_>| {
        let help = "write `[alertname=\"…\"]`, as routes do";
        for key in ["source_matchers", "target_matchers"] {
            if !section.has(key) {
                section.missing(key, help);
            }
        }
        let rule = InhibitRule {
            source: matchers(&section, "source_matchers"),
            target: matchers(&section, "target_matchers"),
            equal: section.strings("equal").unwrap_or_default(),
        };
        section.finish();
        rule
    };
    root.sections("inhibit_rules").into_iter().map(read).collect()
}

/// Reads `time_intervals:`. Every mistake is reported.
pub(super) fn parse_time_intervals(root: &Section<'_>) -> Vec<Arc<TimeIntervals>> {
    let mut named: Vec<Arc<TimeIntervals>> = Vec::new();
    for section in root.sections("time_intervals") {
        let help = "routes name it in `mute_time_intervals`";
        let name = section.required_string("name", help).unwrap_or_default();
        if named.iter().any(|known| known.name == name) {
            section.invalid("name", format!("`{name}` is there twice"), "give it another name");
        }
        let intervals = section.sections("time_intervals").into_iter().map(interval).collect();
        section.finish();
        named.push(Arc::new(TimeIntervals { name, intervals }));
    }
    named
}

/// Reads what a route says of when it is quiet.
pub(super) fn route_times(section: &Section<'_>, named: &[Arc<TimeIntervals>]) -> RouteTimes {
    let read = |key: &str| {
        let mut found = Vec::new();
        for name in section.strings(key).unwrap_or_default() {
            if let Some(known) = named.iter().find(|known| known.name == name) {
                found.push(Arc::clone(known));
            } else {
                let names: Vec<&str> = named.iter().map(|known| known.name.as_str()).collect();
                let help = match names.as_slice() {
                    [] => "`time_intervals` defines them".to_owned(),
                    names => format!("there are: {}", names.join(", ")),
                };
                section.invalid(key, format!("there is no time interval `{name}`"), help);
            }
        }
        found
    };
    RouteTimes { mute: read("mute_time_intervals"), active: read("active_time_intervals") }
}

fn interval(section: Section<'_>) -> TimeInterval {
    let times = section.sections("times").into_iter().filter_map(times).collect();
    let small = |key: &str, words: &[&str], lowest: i64, highest: i64, help: &str| {
        let number = |(first, last): (i64, i64)| {
            (i8::try_from(first).unwrap_or_default(), i8::try_from(last).unwrap_or_default())
        };
        let all = ranges(&section, key, (words, lowest, highest), help);
        all.into_iter().map(number).collect::<Vec<(i8, i8)>>()
    };
    let weekdays = small("weekdays", &DAYS, 0, 6, "write `monday` or `monday:friday`");
    let months = small("months", &MONTHS, 1, 12, "write `january`, `1` or `1:3`");
    let days = small("days_of_month", &[], -31, 31, "write `1`, `1:5` or, from the end, `-3:-1`");
    let years = ranges(&section, "years", (&[], 1_970, 9_999), "write `2026` or `2026:2028`");
    let year = |year: i64| i16::try_from(year).unwrap_or(i16::MAX);
    let location = section.string("location").map_or(TimeZone::UTC, |name| {
        TimeZone::get(&name).unwrap_or_else(|_| {
            let title = format!("there is no time zone `{name}`");
            section.invalid("location", title, "write a name such as `Europe/Berlin` or `UTC`");
            TimeZone::UTC
        })
    });
    section.finish();
    TimeInterval {
        times,
        weekdays,
        days_of_month: days,
        months,
        years: years.into_iter().map(|(first, last)| (year(first), year(last))).collect(),
        location,
    }
}

fn times(section: Section<'_>) -> Option<(u16, u16)> {
    let read = |key: &str| {
        let text = section.required_string(key, "write `08:00`; a day ends at `24:00`")?;
        let minute = minute_of(&text);
        if minute.is_none() {
            let title = format!("`{text}` is no time of a day");
            section.invalid(key, title, "write `08:00`; a day ends at `24:00`");
        }
        minute
    };
    let (start, end) = (read("start_time"), read("end_time"));
    let range = start.zip(end);
    if range.is_some_and(|(start, end)| start >= end) {
        let help = "write two, one to `24:00` and one from `00:00`, for what passes midnight";
        section.invalid("end_time", "it ends before it begins", help);
    }
    section.finish();
    range
}

fn minute_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let is_two = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_digit());
    if !is_two(hour) || !is_two(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let all = hour.checked_mul(60)?.checked_add(minute)?;
    (minute < 60 && all <= DAY).then_some(all)
}

/// Ranges such as `monday:friday`, `1:5`, `-3:-1`, `2026`: words from the lowest number on, or numbers.
fn ranges(
    section: &Section<'_>,
    key: &str,
    (words, lowest, highest): (&[&str], i64, i64),
    help: &str,
) -> Vec<(i64, i64)> {
    let one = |text: &str| -> Option<i64> {
        let text = text.trim().to_ascii_lowercase();
        let place = words.iter().position(|word| *word == text);
        let number = match place {
            Some(place) => i64::try_from(place).ok()? + lowest,
            // Days of the week have no numbers that people agree on.
            None if lowest == 0 => return None,
            None => text.parse().ok()?,
        };
        (number != 0 || lowest == 0).then_some(number)
    };
    let is_known = |number: &i64| (lowest..=highest).contains(number);
    let mut ranges = Vec::new();
    for text in section.strings(key).unwrap_or_default() {
        let (first, last) = text.split_once(':').unwrap_or((&text, &text));
        let range = one(first).filter(is_known).zip(one(last).filter(is_known));
        let is_forward = |(first, last): &(i64, i64)| {
            first <= last || (first.signum() != last.signum() && *first > 0)
        };
        match range.filter(is_forward) {
            Some(range) => ranges.push(range),
            None => section.invalid(key, format!("`{text}` is no range of {key}"), help),
        }
    }
    ranges
}
