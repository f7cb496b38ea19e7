//! How often exceptions were used, hour by hour of event time.
//!
//! An hour is told when event time has passed it, by one entry for each exception that was used in it; what
//! comes later is told again, by an entry of its own for the same hour. Numbers of one exception are to be added.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::flood::HOUR;
use crate::engine::{
    detector::DetectionBatch,
    ledger::{Entry, EntryKind, last_use_in, uses_in},
    limits::{EXCEPTION_CLUSTERS_MAX, EXCEPTION_USES_MAX},
    rule::Exception,
    text::{bounded_line, first_of},
    time::EventTime,
};

/// Bytes of a text of an exception that are kept: 300.
const TEXT_BYTES_MAX: usize = 300;

/// Bytes of the name of a cluster that are kept: 100.
const CLUSTER_BYTES_MAX: usize = 100;

/// Rules that an entry names: 5. Of further ones it says how many.
const RULES_NAMED: usize = 5;

/// An hour since 1970, and the name of an exception.
pub(super) type UsesKey = (i64, Arc<str>);

/// Uses of an exception that are not told yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Uses {
    all: Total,
    by_cluster: BTreeMap<String, (u64, EventTime)>,
}

/// Uses in all clusters, and what is said of the exception. All that was stored before clusters were counted by
/// themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Total {
    count: u64,
    last: Option<EventTime>,
    owner: String,
    reason: String,
    expires: Option<EventTime>,
    rules: String,
}

/// Uses of the hours that are not told yet.
#[derive(Debug, Default)]
pub(super) struct ExceptionHours {
    hours: BTreeMap<UsesKey, Uses>,
    changed: BTreeSet<UsesKey>,
}

impl ExceptionHours {
    /// Adds what a batch shows. Returns how many uses were left out, since there are too many exceptions.
    pub(super) fn add(&mut self, batch: &DetectionBatch) -> u64 {
        let mut left_out = 0;
        for ((hour, _), used) in &batch.exceptions {
            let name = bounded_line(&used.exception.name, TEXT_BYTES_MAX);
            let key: UsesKey = (*hour, Arc::from(name));
            if !self.hours.contains_key(&key) && self.hours.len() >= EXCEPTION_USES_MAX {
                left_out += used.count;
                continue;
            }
            let uses = self.hours.entry(key.clone()).or_default();
            // What is said of it is what was said last.
            uses.all = uses.all.with(&used.exception);
            uses.all.count += used.count;
            uses.all.last = uses.all.last.max(Some(used.last));
            for (cluster, count, last) in &used.by_cluster {
                uses.add_of(bounded_line(cluster, CLUSTER_BYTES_MAX), *count, *last);
            }
            self.changed.insert(key);
        }
        left_out
    }

    /// Entries for what event time has passed.
    pub(super) fn ended(&mut self, watermark: EventTime) -> Vec<Entry> {
        let current = watermark.hour();
        let mut entries = Vec::new();
        while let Some(((hour, _), _)) = self.hours.first_key_value()
            && *hour < current
            && let Some((key, uses)) = self.hours.pop_first()
        {
            entries.push(uses.entry(&key));
            self.changed.insert(key);
        }
        entries
    }

    /// What changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<(UsesKey, Option<Uses>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.map(|key| (key.clone(), self.hours.get(&key).cloned())).collect()
    }

    pub(super) fn restore(&mut self, key: UsesKey, uses: Uses) {
        self.hours.insert(key, uses);
    }
}

impl Uses {
    /// Reads stored ones; `None` if they cannot be read.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Uses> {
        if let Ok(uses) = postcard::from_bytes(bytes) {
            return Some(uses);
        }
        let all = postcard::from_bytes(bytes).ok()?;
        Some(Uses { all, by_cluster: BTreeMap::new() })
    }

    /// Adds those of one cluster, if there is room for it.
    fn add_of(&mut self, cluster: String, count: u64, last: EventTime) {
        if self.by_cluster.len() >= EXCEPTION_CLUSTERS_MAX
            && !self.by_cluster.contains_key(&cluster)
        {
            return;
        }
        let of = self.by_cluster.entry(cluster).or_insert((0, last));
        *of = (of.0 + count, of.1.max(last));
    }

    fn entry(self, (hour, name): &UsesKey) -> Entry {
        let Uses { all, by_cluster } = self;
        let expires = all.expires.map(EventTime::rfc3339).unwrap_or_default();
        let entry = Entry::new(EntryKind::Exception, name, "used")
            .by(&all.owner)
            .at(EventTime::from_micros(hour.saturating_mul(HOUR)))
            .detail(&all.reason)
            .fact("expires", &expires)
            .fact("rules", &all.rules)
            .fact("last", &all.last.map(EventTime::rfc3339).unwrap_or_default())
            .count("uses", all.count);
        by_cluster.into_iter().fold(entry, |entry, (cluster, (count, last))| {
            let entry = entry.count(&uses_in(&cluster), count);
            entry.fact(&last_use_in(&cluster), &last.rfc3339())
        })
    }
}

impl Total {
    /// The same numbers, with what is said of the exception now.
    fn with(&self, exception: &Exception) -> Total {
        let text = |text: &Option<String>| {
            text.as_deref().map_or_else(String::new, |text| bounded_line(text, TEXT_BYTES_MAX))
        };
        Total {
            count: self.count,
            last: self.last,
            owner: text(&exception.owner),
            reason: text(&exception.reason),
            expires: exception.expires,
            rules: bounded_line(&first_of(&exception.counted_in, RULES_NAMED), TEXT_BYTES_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{detector::ExceptionUses, rule::ExceptionIndex};

    fn batch(hour: i64, names: &[(u32, &str, u64)]) -> DetectionBatch {
        let used = names.iter().map(|(index, name, count)| {
            let exception = Exception { name: (*name).to_owned(), ..Exception::default() };
            let last = EventTime::from_micros(hour * HOUR + 7);
            let by_cluster = vec![(Arc::from("prod"), *count, last)];
            let exception = Arc::new(exception);
            let uses = ExceptionUses { exception, count: *count, last, by_cluster };
            ((hour, ExceptionIndex(*index)), uses)
        });
        DetectionBatch { exceptions: used.collect(), ..DetectionBatch::default() }
    }

    #[test]
    fn what_was_restored_in_between_is_told_the_same() {
        let after = |hour: i64| EventTime::from_micros(hour * HOUR);
        let tell = |restores: bool| {
            let mut hours = ExceptionHours::default();
            assert_eq!(hours.add(&batch(5, &[(0, "a", 2), (1, "b", 1)])), 0);
            if restores {
                let mut fresh = ExceptionHours::default();
                for (key, uses) in hours.take_changed() {
                    fresh.restore(key, uses.expect("they are there"));
                }
                hours = fresh;
            }
            assert_eq!(hours.add(&batch(5, &[(0, "a", 3)])), 0);
            assert_eq!(hours.ended(after(5)), [], "the hour runs");
            let mut told = hours.ended(after(6));
            // What comes late is told again, and adds up.
            assert_eq!(hours.add(&batch(5, &[(0, "a", 1)])), 0);
            told.extend(hours.ended(after(6)));
            told
        };
        let told = tell(false);
        assert_eq!(told, tell(true));
        let counts: Vec<(&str, u64)> =
            told.iter().map(|entry| (entry.subject.as_str(), entry.count_of("uses"))).collect();
        assert_eq!(counts, [("a", 5), ("b", 1), ("a", 1)]);
    }

    #[test]
    fn what_was_stored_before_clusters_were_counted_is_read() {
        let all = Total { count: 7, rules: "secret_read".to_owned(), ..Total::default() };
        let before = postcard::to_stdvec(&all).expect("plain values");
        let read = Uses::from_bytes(&before);
        assert_eq!(read, Some(Uses { all: all.clone(), by_cluster: BTreeMap::new() }));
        let last = EventTime::from_micros(HOUR);
        let now = Uses { all, by_cluster: [("prod".to_owned(), (7, last))].into() };
        let stored = postcard::to_stdvec(&now).expect("plain values");
        assert_eq!(Uses::from_bytes(&stored), Some(now));
        assert_eq!(Uses::from_bytes(&[0xFF]), None);
    }

    #[test]
    fn too_many_are_counted_and_left_out() {
        let mut hours = ExceptionHours::default();
        for hour in 0..i64::try_from(EXCEPTION_USES_MAX).expect("it is small") {
            assert_eq!(hours.add(&batch(hour, &[(0, "a", 1)])), 0);
        }
        assert_eq!(hours.add(&batch(-1, &[(0, "a", 4)])), 4);
        assert_eq!(hours.add(&batch(0, &[(0, "a", 4)])), 0, "it is known");
    }
}
