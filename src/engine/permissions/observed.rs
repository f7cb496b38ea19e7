//! For which hours it is known of all permissions whether they were used.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{
    access::{
        UsageMode,
        usage::{day_of, start_of},
    },
    ledger::{Entry, EntryKind, INPUT_ENDED},
    time::EventTime,
};

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;

/// Hours that are looked at: two years of them. A longer time is looked at from its end.
const HOURS_MAX: i64 = 2 * 366 * 24;

/// Whether uses of a time are all known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The first hour, since 1970.
    from: i64,
    /// Behind the last one.
    to: i64,
    /// Hours that are not whole, with why; those without are.
    problems: BTreeMap<i64, &'static str>,
    /// Hours in which only the use of people was recorded.
    people_only: BTreeSet<i64>,
}

/// Adds up what the ledger says of hours.
#[derive(Clone, Debug)]
pub struct ObservedBuilder {
    cluster: String,
    hours: BTreeMap<i64, Hour>,
    problems: BTreeMap<i64, &'static str>,
    last_told: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    events: u64,
    damaged: u64,
    mode: Option<UsageMode>,
}

impl ObservedBuilder {
    /// Of a cluster; empty if its events have no name.
    pub fn new(cluster: &str) -> ObservedBuilder {
        ObservedBuilder {
            cluster: cluster.to_owned(),
            hours: BTreeMap::new(),
            problems: BTreeMap::new(),
            last_told: None,
        }
    }

    /// Adds an entry of kind `coverage` or `gap`, and when it happened; others say nothing.
    pub fn add(&mut self, entry: &Entry, at: EventTime) {
        let number = at.hour();
        match entry.kind {
            EntryKind::Coverage => self.add_hour(entry, number),
            EntryKind::Gap => self.add_gap(entry, number),
            _ => {}
        }
    }

    fn add_hour(&mut self, entry: &Entry, number: i64) {
        // What is missing of nobody knows which cluster may be missing of each.
        if entry.subject.is_empty() && entry.count_of("lost") > 0 {
            self.problems.entry(number).or_insert("records were deleted before they were read");
        }
        if entry.subject != self.cluster {
            if entry.subject.is_empty() && entry.count_of("dead_letters") > 0 {
                self.problems.entry(number).or_insert("records could not be read");
            }
            return;
        }
        let hour = self.hours.entry(number).or_default();
        hour.events += entry.count_of("events");
        hour.damaged += entry.count_of("cut") + entry.count_of("dead_letters");
        // Nobody knows how much was seen of the hour in which the input ended.
        if entry.what != "late" && entry.fact_of(INPUT_ENDED).is_none() {
            let mode = entry.fact_of("usage").and_then(UsageMode::parse);
            hour.mode = Some(mode.unwrap_or(UsageMode::Off));
            self.last_told = self.last_told.max(Some(number));
        }
    }

    fn add_gap(&mut self, entry: &Entry, number: i64) {
        let (from, to, why) = match (entry.subject.as_str(), entry.what.as_str()) {
            ("ledger", "shed") => {
                let last = entry.fact_of("last").and_then(EventTime::parse);
                let last = last.map_or(number, EventTime::hour);
                (number, last, "there was no room for all that was to be recorded")
            }
            ("usage", what) => {
                let cluster = entry.fact_of("cluster").unwrap_or("");
                if cluster != self.cluster {
                    return;
                }
                let first = start_of(day_of(EventTime::from_micros(number.saturating_mul(HOUR))));
                let first = first.hour();
                let why = if what == "late" {
                    "events came more than a day late"
                } else {
                    "somebody used more different permissions than are told"
                };
                (first, first + 23, why)
            }
            (_, "lost") => (number, number, "records were deleted before they were read"),
            _ => return,
        };
        for hour in from..=to.min(from.saturating_add(HOURS_MAX)) {
            self.problems.entry(hour).or_insert(why);
        }
    }

    /// What is known of a time. Hours that are not over, or of which nothing is told yet, are left out at its
    /// end.
    pub fn finish(self, from: EventTime, to: EventTime) -> Observed {
        let told = self.last_told.map_or(i64::MIN, |last| last.saturating_add(1));
        let to = to.hour().min(told);
        let from = (from.micros() + HOUR - 1).div_euclid(HOUR).max(to.saturating_sub(HOURS_MAX));
        let mut observed = Observed { from, to: to.max(from), ..Observed::default() };
        for number in observed.from..observed.to {
            let hour = self.hours.get(&number).copied().unwrap_or_default();
            // Where somebody began to look, nobody knows how much of the hour was seen.
            let is_first = self.hours.get(&(number - 1)).is_none_or(|before| before.mode.is_none());
            let problem = self.problems.get(&number).copied().or(match hour {
                Hour { mode: None, .. } => Some("nobody looked"),
                _ if is_first => Some("nobody had looked in the hour before"),
                Hour { mode: Some(UsageMode::Off), .. } => {
                    Some("uses of permissions were not recorded")
                }
                Hour { damaged: 1.., .. } => Some("events were cut off or could not be read"),
                Hour { events: 0, .. } => Some("no events came"),
                Hour { mode: Some(UsageMode::People), .. } => {
                    observed.people_only.insert(number);
                    None
                }
                Hour { mode: Some(UsageMode::All), .. } => None,
            });
            if let Some(why) = problem {
                observed.problems.insert(number, why);
            }
        }
        observed
    }
}

impl Observed {
    /// When what is known begins and ends; `None` if nothing is.
    pub fn range(&self) -> Option<(EventTime, EventTime)> {
        let time = |hour: i64| EventTime::from_micros(hour.saturating_mul(HOUR));
        (self.from < self.to).then(|| (time(self.from), time(self.to)))
    }

    /// How many hours there are.
    pub const fn hours(&self) -> i64 {
        self.to - self.from
    }

    /// How many of them are whole for what is asked.
    pub fn whole(&self, of_machines: bool) -> i64 {
        let people_only = if of_machines { self.people_only.len() } else { 0 };
        let missing = self.problems.len() + people_only;
        self.hours().saturating_sub(i64::try_from(missing).unwrap_or(i64::MAX))
    }

    /// Why not all uses are known since a time; `None` if they are.
    pub fn missing(&self, since: Option<EventTime>, of_machines: bool) -> Option<String> {
        if self.from >= self.to {
            return Some("no hour of this time was observed".to_owned());
        }
        let from = since.map_or(self.from, |since| since.hour().max(self.from));
        let hours: Vec<(i64, &str)> =
            (self.problems.range(from..).map(|(hour, why)| (*hour, *why)))
                .chain(
                    self.people_only
                        .range(from..)
                        .filter(|_| of_machines)
                        .map(|hour| (*hour, "only the use of people was recorded")),
                )
                .collect();
        let (first, why) = hours.iter().min()?;
        let first = EventTime::from_micros(first.saturating_mul(HOUR)).rfc3339();
        let count = hours.len();
        let of = self.to.saturating_sub(from);
        Some(format!(
            "{count} of {of} hours are not complete, the first from {}: {why}",
            first.get(..16).unwrap_or(&first)
        ))
    }

    /// Hours that are not whole by why, the most frequent first.
    pub fn problems(&self) -> Vec<(&'static str, usize)> {
        let mut by_reason: BTreeMap<&'static str, usize> = BTreeMap::new();
        for why in self.problems.values() {
            *by_reason.entry(why).or_default() += 1;
        }
        let mut reasons: Vec<(&'static str, usize)> = by_reason.into_iter().collect();
        reasons.sort_by_key(|(why, count)| (std::cmp::Reverse(*count), *why));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_in_which_the_input_ended_is_not_over() {
        let at = |hour: i64| EventTime::from_micros((1_000 + hour) * HOUR);
        let told = || Entry::new(EntryKind::Coverage, "lab", "complete").fact("usage", "all");
        let mut builder = ObservedBuilder::new("lab");
        for hour in 0..3 {
            builder.add(&told().count("events", 1), at(hour));
        }
        builder.add(&told().count("events", 1).fact(INPUT_ENDED, "in this hour"), at(3));
        let range = |builder: &ObservedBuilder| builder.clone().finish(at(0), at(10)).range();
        assert_eq!(range(&builder), Some((at(0), at(3))));
        // Another run read the rest of it.
        builder.add(&told().count("events", 1), at(3));
        assert_eq!(range(&builder), Some((at(0), at(4))));
    }
}
