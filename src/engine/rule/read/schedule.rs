//! `schedules.yaml`: named weekly schedules in a time zone, such as office hours.
//!
//! ```yaml
//! zone: Europe/Berlin                 # for schedules that name none; UTC without it
//! holidays:                           # calendars that schedules may name
//!   germany: [2026-12-25, 2026-12-26]
//! schedules:
//!   office-hours:
//!     zone: America/New_York
//!     hours: [mon-thu 08:00-18:00, fri 08:00-16:00]
//!     holidays: [germany, 2026-07-03] # on these dates nothing is inside
//!   night-shift:
//!     hours: mon-fri 22:00-06:00      # passes midnight: ends on the next day
//! ```

use std::sync::Arc;

use jiff::{civil::Date, tz::TimeZone};

use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, SourceText},
    rule::plan::schedule::{MINUTES_PER_WEEK, Schedule},
    syntax::{
        code,
        read::{Context, Text, chosen_text, parse_date, texts},
    },
    yaml::{self, Section},
};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_PER_DAY: u16 = 1_440;

/// Reads all schedules, sorted by name, with their places.
pub(in crate::engine) fn read_schedules(
    source: Option<&Arc<SourceText>>,
    problems: &Problems,
) -> Vec<(Schedule, Place)> {
    let Some(source) = source else { return Vec::new() };
    let context = Context { source, problems };
    let nodes = match yaml::parse(source) {
        Ok(nodes) => nodes,
        Err(problem) => {
            problems.push(*problem);
            return Vec::new();
        }
    };
    let Some(node) = nodes.first() else { return Vec::new() };
    if let Some(second) = nodes.get(1) {
        context.error(code::BAD_SCHEDULE, &second.span, "schedules.yaml has one document");
    }
    let root = context.section(node, "");
    let default_zone = zone(&root).unwrap_or(TimeZone::UTC);
    let calendars = read_calendars(&root);
    let mut schedules = Vec::new();
    if let Some(section) = root.section("schedules") {
        for name in section.keys() {
            let Some(entry) = section.section(name) else { continue };
            let schedule = read_schedule(name, &entry, &default_zone, &calendars);
            schedules.push((schedule, section.place_of_key(name)));
            entry.finish();
        }
    }
    root.finish();
    schedules.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    schedules
}

fn report(section: &Section<'_>, text: &Text, title: String, help: &str) {
    let diagnostic = Diagnostic::error(code::BAD_SCHEDULE, text.place.clone(), title).help(help);
    section.report(diagnostic);
}

fn zone(section: &Section<'_>) -> Option<TimeZone> {
    let name = chosen_text(section, "zone")?;
    let zone = TimeZone::get(&name.value).ok();
    if zone.is_none() {
        let title = format!("there is no time zone `{}`", name.value);
        report(section, &name, title, "write a name such as `Europe/Berlin` or `UTC`");
    }
    zone
}

type Calendars = Vec<(String, Vec<Date>)>;

fn read_calendars(root: &Section<'_>) -> Calendars {
    let Some(section) = root.section("holidays") else { return Vec::new() };
    let mut calendars = Calendars::new();
    for name in section.keys() {
        if section.is_empty(name) {
            section.empty(name);
        }
        let dates = texts(&section, name).unwrap_or_default();
        let dates = dates.iter().filter_map(|text| {
            let date = parse_date(&text.value);
            if date.is_none() {
                let title = format!("`{}` is not a date", text.value);
                report(&section, text, title, "write year, month and day: 2026-12-25");
            }
            date
        });
        calendars.push((name.to_owned(), dates.collect()));
    }
    calendars
}

fn read_schedule(
    name: &str,
    section: &Section<'_>,
    default_zone: &TimeZone,
    calendars: &Calendars,
) -> Schedule {
    let zone = zone(section).unwrap_or_else(|| default_zone.clone());
    let mut minutes = Vec::new();
    if section.node("hours").is_none() {
        section.missing("hours", "write weekly ranges such as `mon-fri 08:00-18:00`");
    }
    for range in texts(section, "hours").unwrap_or_default() {
        match parse_range(&range.value) {
            Ok(ranges) => minutes.extend(ranges),
            Err(title) => report(
                section,
                &range,
                title,
                "write days and hours: `mon-fri 08:00-18:00`, `sat,sun 00:00-24:00`, \
                 `daily 22:00-06:00`",
            ),
        }
    }
    if section.is_empty("holidays") {
        section.empty("holidays");
    }
    let mut except = Vec::new();
    for holiday in texts(section, "holidays").unwrap_or_default() {
        if let Some(date) = parse_date(&holiday.value) {
            except.push(date);
        } else if let Some((_, dates)) = calendars.iter().find(|(name, _)| *name == holiday.value) {
            except.extend_from_slice(dates);
        } else {
            let title = format!("`{}` is neither a date nor a calendar", holiday.value);
            let diagnostic = Diagnostic::error(code::BAD_SCHEDULE, holiday.place.clone(), title)
                .help("calendars are named under `holidays` at the top of the file")
                .suggest(&holiday.value, calendars.iter().map(|(name, _)| name.as_str()));
            section.report(diagnostic);
        }
    }
    except.sort_unstable();
    except.dedup();
    Schedule { name: name.to_owned(), zone, minutes: merge(minutes), except }
}

/// Joins overlapping and touching ranges.
fn merge(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// `mon-fri,sun 08:00-18:00` in minutes of the week; a range past Sunday is split.
fn parse_range(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let Some((days, hours)) = text.trim().rsplit_once(char::is_whitespace) else {
        return Err(format!("`{text}` has no days, or no hours"));
    };
    let Some((from, to)) = hours.split_once('-') else {
        return Err(format!("`{hours}` is not a range of hours"));
    };
    let minute =
        |text: &str| parse_clock(text).ok_or_else(|| format!("`{text}` is not a time of day"));
    let (from, to) = (minute(from)?, minute(to)?);
    if from == MINUTES_PER_DAY {
        return Err("a range begins before 24:00".to_owned());
    }
    if from == to {
        return Err(format!("`{hours}` is empty"));
    }
    let length = if to > from { to - from } else { to + MINUTES_PER_DAY - from };
    let mut ranges = Vec::new();
    for day in parse_days(days)? {
        let start = day * MINUTES_PER_DAY + from;
        let end = start + length;
        if end <= MINUTES_PER_WEEK {
            ranges.push((start, end));
        } else {
            ranges.push((start, MINUTES_PER_WEEK));
            ranges.push((0, end - MINUTES_PER_WEEK));
        }
    }
    Ok(ranges)
}

fn parse_clock(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| {
        (text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (hour, minute): (u16, u16) = (number(hour)?, number(minute)?);
    let sum = hour * 60 + minute;
    (minute < 60 && sum <= MINUTES_PER_DAY).then_some(sum)
}

/// Days of the week from Monday = 0. A range may pass Sunday: `sat-mon`.
fn parse_days(text: &str) -> Result<Vec<u16>, String> {
    let day = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        let found = DAYS.iter().position(|day| {
            name == *day
                || (name.len() > 3 && FULL_DAYS.contains(&name.as_str()) && name.starts_with(day))
        });
        found
            .and_then(|index| u16::try_from(index).ok())
            .ok_or_else(|| format!("`{name}` is not a day of the week"))
    };
    let mut days = Vec::new();
    for part in text.split(',') {
        if part.trim().eq_ignore_ascii_case("daily") {
            days.extend(0..7);
            continue;
        }
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let count = (last + 7 - first) % 7;
        days.extend((0..=count).map(|step| (first + step) % 7));
    }
    Ok(days)
}

const FULL_DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::time::EventTime;

    fn read(text: &str) -> (Vec<Schedule>, Vec<Diagnostic>) {
        let problems = Problems::new();
        let source = SourceText::new("schedules.yaml", text);
        let schedules = read_schedules(Some(&source), &problems);
        (schedules.into_iter().map(|(schedule, _)| schedule).collect(), problems.into_sorted())
    }

    fn inside(schedule: &Schedule, time: &str) -> bool {
        schedule.contains(EventTime::parse(time).unwrap())
    }

    #[test]
    fn zones_midnight_and_holidays_count() {
        let (schedules, problems) = read(
            "zone: Europe/Berlin\nholidays: {de: [2026-12-25]}\nschedules:\n  office:\n    \
             hours: [mon-fri 08:00-18:00]\n    holidays: [de, 2026-01-06]\n  night:\n    zone: UTC\n    \
             hours: fri-sun 22:00-06:00\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let (night, office) = (&schedules[0], &schedules[1]);
        assert!(inside(office, "2026-01-05T07:00:00Z"), "Monday 08:00 in Berlin");
        assert!(!inside(office, "2026-01-05T06:59:59Z"));
        assert!(!inside(office, "2026-01-05T17:00:00Z"), "ranges are half-open");
        assert!(inside(office, "2026-07-06T06:30:00Z"), "summer time");
        assert!(!inside(office, "2026-01-06T10:00:00Z"), "a holiday of its own");
        assert!(!inside(office, "2026-12-25T10:00:00Z"), "a holiday of the calendar");
        assert!(inside(night, "2026-01-05T05:59:00Z"), "Sunday's range ends on Monday");
        assert!(!inside(night, "2026-01-05T06:00:00Z"));
        assert!(!inside(night, "2026-01-05T23:00:00Z"));
    }

    #[test]
    fn mistakes_are_reported() {
        for hours in [
            "mon 8-18",
            "8:00-9:00",
            "mon 25:00-26:00",
            "mox 08:00-09:00",
            "mon 08:00-08:00",
            "mon 24:00-06:00",
            "mon",
            "mo-fr 08:00-18:00",
        ] {
            let (_, problems) = read(&format!("schedules: {{a: {{hours: '{hours}'}}}}\n"));
            assert_eq!(problems.len(), 1, "{hours}: {problems:?}");
        }
        for text in [
            "schedules: {a: {}}\n",
            "zone: Mars/Base\n",
            "schedules: {a: {hours: 'daily 00:00-24:00', holidays: [xmas]}}\n",
            "schedule: {}\n",
            "- a\n",
            "holidays: {de: [25.12.]}\n",
        ] {
            assert!(!read(text).1.is_empty(), "{text}");
        }
    }
}
