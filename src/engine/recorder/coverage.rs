//! What was seen of each cluster, hour by hour of event time.
//!
//! An hour is told when event time has passed it; what comes later is told again, by an entry of its own
//! for the same hour. What Kubernetes dropped before us leaves no trace here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    flood::HOUR,
    missing::{Missing, Open, Sort},
};
use crate::engine::{
    detector::{DetectionBatch, SeenHour},
    ledger::{Entry, EntryKind, INPUT_ENDED},
    limits::{COVERAGE_CLUSTERS_MAX, COVERAGE_HOURS_MAX},
    shard::watermark::Clocks,
    time::EventTime,
};

/// An hour since 1970, and a cluster; empty if nobody names it.
pub(super) type CoverageKey = (i64, Arc<str>);

/// For how many hours a cluster is expected that nothing was heard of: a day.
const EXPECTED_HOURS: i64 = 24;

/// What was seen of an hour and not told yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Hour {
    events: u64,
    cut: u64,
    /// What could not be read, some of which may be of this hour.
    dead_letters: u64,
    /// Accesses that were not recorded, since there was no room.
    shed: u64,
    /// Records that were deleted before they were read, some of which may be of this hour.
    lost: u64,
    /// Events to which some rule is blind, since they were logged at too low a level.
    below: u64,
    /// What the last of these were.
    below_what: String,
    /// Events that are not counted, some of which may be of this hour.
    uncounted: u64,
}

impl Hour {
    /// Reads a stored one; `None` if it cannot be read. What an earlier version did not know yet stands behind what it knew,
    /// and is nothing then.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Hour> {
        let ((events, cut, dead_letters), mut rest) = postcard::take_from_bytes(bytes).ok()?;
        let (shed, lost) = next(&mut rest);
        let (below, below_what) = next(&mut rest);
        let uncounted = next(&mut rest);
        Some(Hour { events, cut, dead_letters, shed, lost, below, below_what, uncounted })
    }
}

/// What stands next in some bytes. If it is not there as a whole, nor is anything behind it.
fn next<T: DeserializeOwned + Default>(bytes: &mut &[u8]) -> T {
    let (value, rest) = postcard::take_from_bytes(bytes).unwrap_or_default();
    *bytes = rest;
    value
}

/// Hours that only tell of something that is missing: 10,000 beside the others. Of further ones nothing is told.
const MISSING_HOURS_MAX: usize = 10_000;

/// Clusters, and what was told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clusters {
    /// The last hour that was told in which each was heard of, or else the first one.
    heard: BTreeMap<Arc<str>, i64>,
    /// Hours before this one were told.
    told: Option<i64>,
}

/// Coverage of the hours that are not told yet.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    hours: BTreeMap<CoverageKey, Hour>,
    changed: BTreeSet<CoverageKey>,
    clusters: Clusters,
    clusters_changed: bool,
    /// What is missing of which the end is not known.
    pub(super) open: Open,
}

impl Coverage {
    /// Adds what a batch shows.
    pub(super) fn add(&mut self, batch: &DetectionBatch, clocks: &Clocks) {
        for seen in batch.hours.iter() {
            self.add_hour(seen);
        }
        let reached = self
            .clusters
            .told
            .or_else(|| self.hours.first_key_value().map(|((first, _), _)| *first));
        for missing in self.open.of_batch(batch, clocks, reached) {
            self.miss(&missing);
        }
    }

    /// Accesses of a cluster that were not recorded.
    pub(super) fn shed(&mut self, cluster: Option<&Arc<str>>, at: EventTime, count: u64) {
        let hour = at.hour();
        let (hours, cluster, sort) = ((hour, hour), cluster.cloned(), Sort::Shed);
        self.miss(&Missing { hours, cluster, sort, count });
    }

    /// Something is missing of each of some hours.
    fn miss(&mut self, missing: &Missing) {
        let known = missing.cluster.as_ref();
        let known = known.filter(|cluster| self.clusters.heard.contains_key(*cluster));
        let cluster = known.cloned().unwrap_or_else(|| "".into());
        for hour in missing.hours.0..=missing.hours.1 {
            let key = (hour, Arc::clone(&cluster));
            let is_room = self.hours.len() < COVERAGE_HOURS_MAX + MISSING_HOURS_MAX;
            if !is_room && !self.hours.contains_key(&key) {
                return;
            }
            let hour = self.hours.entry(key.clone()).or_default();
            *match missing.sort {
                Sort::Unread => &mut hour.dead_letters,
                Sort::Lost => &mut hour.lost,
                Sort::Shed => &mut hour.shed,
                Sort::Uncounted => &mut hour.uncounted,
            } += missing.count;
            self.changed.insert(key);
        }
    }

    fn add_hour(&mut self, seen: &SeenHour) {
        let name = Arc::clone(&seen.cluster);
        let is_known = self.clusters.heard.contains_key(&name);
        let name = if is_known || self.clusters.heard.len() < COVERAGE_CLUSTERS_MAX {
            name
        } else {
            "".into()
        };
        if seen.events > 0 && !self.clusters.heard.contains_key(&name) {
            self.clusters.heard.insert(Arc::clone(&name), seen.hour);
            self.clusters_changed = true;
        }
        let key = (seen.hour, name);
        if !self.hours.contains_key(&key) && self.hours.len() >= COVERAGE_HOURS_MAX {
            let (hours, sort, count) = ((seen.hour, seen.hour), Sort::Uncounted, seen.events);
            self.miss(&Missing { hours, cluster: None, sort, count });
            return;
        }
        let hour = self.hours.entry(key.clone()).or_default();
        hour.events += seen.events;
        hour.cut += seen.cut;
        hour.below += seen.below;
        if let Some(what) = &seen.below_what {
            what.as_ref().clone_into(&mut hour.below_what);
        }
        self.changed.insert(key);
    }

    /// Entries for what event time has passed, each with its hour.
    pub(super) fn ended(&mut self, watermark: EventTime) -> Vec<(i64, Entry)> {
        let current = watermark.hour();
        if self.clusters.told.is_some_and(|told| current <= told) && !self.has_before(current) {
            return Vec::new();
        }
        let entries = self.tell_before(current);
        if self.clusters.told.is_none_or(|told| told < current) {
            self.clusters.told = Some(current);
            self.clusters_changed = true;
            let pending: BTreeSet<&Arc<str>> =
                self.hours.keys().map(|(_, cluster)| cluster).collect();
            let is_expected = |heard: i64| heard.saturating_add(EXPECTED_HOURS) >= current;
            self.clusters
                .heard
                .retain(|cluster, heard| is_expected(*heard) || pending.contains(cluster));
        }
        entries
    }

    /// Entries for all that was seen, since nothing more comes. What another run sees of the same hours is told again,
    /// and is not late.
    pub(super) fn finish(&mut self) -> Vec<(i64, Entry)> {
        let Some(last) = self.hours.last_key_value().map(|((hour, _), _)| *hour) else {
            return Vec::new();
        };
        for missing in self.open.finish(last) {
            self.miss(&missing);
        }
        let mut entries = self.tell_before(last.saturating_add(1));
        for (_, entry) in entries.iter_mut().filter(|(hour, _)| *hour == last) {
            // Nobody knows how much of it was seen.
            entry.facts.push((INPUT_ENDED.to_owned(), "in this hour".to_owned()));
        }
        entries
    }

    fn has_before(&self, hour: i64) -> bool {
        self.hours.first_key_value().is_some_and(|((first, _), _)| *first < hour)
    }

    /// Entries for the hours before one. If nothing was told before, the first that was seen is the first of all.
    fn tell_before(&mut self, end: i64) -> Vec<(i64, Entry)> {
        let first = self.hours.first_key_value().map_or(end, |((hour, _), _)| *hour);
        let told = self.clusters.told.unwrap_or(first);
        let left = self.hours.split_off(&(end, Arc::from("")));
        let seen: Vec<(CoverageKey, Hour)> =
            std::mem::replace(&mut self.hours, left).into_iter().collect();
        let mut entries: Vec<(i64, Entry)> =
            seen.iter().map(|(key, hour)| (key.0, entry_of(key, hour, key.0 < told))).collect();
        self.tell_silent(told..end, &seen, &mut entries);
        for ((hour, cluster), seen) in seen {
            if seen.events > 0 {
                let heard = self.clusters.heard.entry(Arc::clone(&cluster)).or_insert(hour);
                *heard = hour.max(*heard);
                self.clusters_changed = true;
            }
            self.changed.insert((hour, cluster));
        }
        entries
    }

    /// Hours in which a cluster that is known said nothing, while event time went on.
    fn tell_silent(
        &self,
        hours: std::ops::Range<i64>,
        seen: &[(CoverageKey, Hour)],
        entries: &mut Vec<(i64, Entry)>,
    ) {
        for (cluster, heard) in self.clusters.heard.iter().filter(|(name, _)| !name.is_empty()) {
            let is_own = |(key, hour): &&(CoverageKey, Hour)| {
                key.1 == *cluster && hours.contains(&key.0) && hour.events > 0
            };
            let own: Vec<i64> = seen.iter().filter(is_own).map(|(key, _)| key.0).collect();
            // Of one that is new, the first of these is all that is known.
            let mut last =
                if own.first().is_some_and(|first| first <= heard) { i64::MIN } else { *heard };
            for next in own.into_iter().chain([hours.end]) {
                let from = last.saturating_add(1).max(hours.start);
                let until = next.min(last.saturating_add(EXPECTED_HOURS + 1));
                for hour in from..until {
                    let key = (hour, Arc::clone(cluster));
                    entries.push((hour, entry_of(&key, &Hour::default(), false)));
                }
                last = next;
            }
        }
    }

    /// What changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<(CoverageKey, Option<Hour>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.map(|key| (key.clone(), self.hours.get(&key).cloned())).collect()
    }

    /// Clusters, if they changed since the last call.
    pub(super) fn take_clusters(&mut self) -> Option<&Clusters> {
        std::mem::take(&mut self.clusters_changed).then_some(&self.clusters)
    }

    pub(super) fn restore_hour(&mut self, key: CoverageKey, hour: Hour) {
        self.hours.insert(key, hour);
    }

    pub(super) fn restore_clusters(&mut self, clusters: Clusters) {
        self.clusters = clusters;
    }
}

fn entry_of((hour, cluster): &CoverageKey, seen: &Hour, is_late: bool) -> Entry {
    let missing = seen.cut + seen.dead_letters + seen.shed + seen.uncounted;
    let what = match (missing, seen.below, seen.events) {
        _ if seen.lost > 0 => "lost",
        (0, _, 0) => "silent",
        (0, 0, _) => "complete",
        _ => "degraded",
    };
    let mut entry = Entry::new(EntryKind::Coverage, cluster, if is_late { "late" } else { what })
        .at(EventTime::from_micros(hour.saturating_mul(HOUR)))
        .count("events", seen.events)
        .count("cut", seen.cut)
        .count("dead_letters", seen.dead_letters)
        .count("shed", seen.shed)
        .count("lost", seen.lost);
    if seen.below > 0 {
        entry = entry.count("below", seen.below).fact("below", &seen.below_what);
    }
    if seen.uncounted > 0 {
        entry = entry.count("uncounted", seen.uncounted);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::{PartitionName, Progress};

    const HOURS: EventTime = EventTime::from_micros(1_000 * HOUR);

    fn batch(partition: &str, hours: i64) -> DetectionBatch {
        let time = HOURS
            .plus(std::time::Duration::from_micros(hours.unsigned_abs() * HOUR.unsigned_abs()));
        let partition = Arc::new(PartitionName::new(partition, 0));
        let (time_min, time_max) = (Some(time), Some(time));
        let progress = Progress { partition, next_offset: 1, time_min, time_max, records: 1 };
        let seen =
            SeenHour { cluster: "c".into(), hour: 1_000 + hours, events: 1, ..SeenHour::default() };
        DetectionBatch {
            progress: vec![progress],
            time_min: Some(time),
            hours: [seen].into_iter().collect(),
            ..DetectionBatch::default()
        }
    }

    fn lost(coverage: &Coverage) -> Vec<(i64, u64)> {
        let lost = coverage.hours.iter().filter(|(_, hour)| hour.lost > 0);
        lost.map(|((hour, _), seen)| (*hour, seen.lost)).collect()
    }

    #[test]
    fn hours_between_what_was_read_and_where_it_goes_on_are_lost() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.ended(HOURS), [], "nothing was told before");
        coverage.add(&batch("a", 0), &Clocks::new());
        coverage.open.lose("a/0", Some(HOURS), 7);
        coverage.add(&batch("b", 5), &Clocks::new());
        assert_eq!(lost(&coverage), [], "another partition says nothing of it");
        coverage.add(&batch("a", 2), &Clocks::new());
        assert_eq!(lost(&coverage), [(1_000, 7), (1_001, 7), (1_002, 7)]);
        coverage.shed(Some(&"c".into()), HOURS, 3);
        let told = coverage.ended(HOURS.plus(std::time::Duration::from_secs(3 * 3_600)));
        let words: Vec<(&str, &str)> =
            told.iter().map(|(_, entry)| (entry.subject.as_str(), entry.what.as_str())).collect();
        assert!(words.contains(&("", "lost")) && words.contains(&("c", "degraded")), "{words:?}");
    }

    fn at(hours: i64) -> EventTime {
        EventTime::from_micros((1_000 + hours) * HOUR)
    }

    /// Hours and what is told of them.
    fn told(entries: &[(i64, Entry)]) -> Vec<(i64, &str)> {
        entries.iter().map(|(hour, entry)| (hour - 1_000, entry.what.as_str())).collect()
    }

    #[test]
    fn what_is_read_first_is_not_late_and_quiet_hours_in_it_are_silent() {
        let mut coverage = Coverage::default();
        for hours in [0, 1, 4] {
            coverage.add(&batch("a", hours), &Clocks::new());
        }
        let entries = coverage.ended(at(4));
        assert_eq!(
            told(&entries),
            [(0, "complete"), (1, "complete"), (2, "silent"), (3, "silent")]
        );
        assert_eq!(coverage.ended(at(4)), [], "once");
        coverage.add(&batch("a", 2), &Clocks::new());
        assert_eq!(told(&coverage.ended(at(4))), [(2, "late")]);
        assert_eq!(told(&coverage.ended(at(6))), [(4, "complete"), (5, "silent")]);
        // After a day nobody expects it any more.
        let silent = coverage.ended(at(100));
        assert_eq!((silent.len(), silent.last().map(|(hour, _)| hour - 1_000)), (23, Some(28)));
        coverage.add(&batch("a", 100), &Clocks::new());
        assert_eq!(told(&coverage.ended(at(101))), [(100, "complete")]);
    }

    #[test]
    fn the_end_tells_what_is_open_and_another_run_adds_to_it() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.finish(), []);
        coverage.add(&batch("a", 0), &Clocks::new());
        coverage.add(&batch("a", 1), &Clocks::new());
        assert_eq!(told(&coverage.ended(at(1))), [(0, "complete")]);
        let end = coverage.finish();
        assert_eq!(told(&end), [(1, "complete")]);
        assert!(end[0].1.fact_of(INPUT_ENDED).is_some(), "it may be a part of the hour");
        assert_eq!(coverage.take_changed().last(), Some(&((1_001, "c".into()), None)));
        coverage.add(&batch("a", 1), &Clocks::new());
        coverage.add(&batch("a", 3), &Clocks::new());
        assert_eq!(told(&coverage.ended(at(3))), [(1, "complete"), (2, "silent")]);
    }

    #[test]
    fn an_hour_is_read_as_it_was_stored_before() {
        let before = postcard::to_stdvec(&(7_u64, 1_u64, 2_u64)).unwrap();
        let hour = Hour { events: 7, cut: 1, dead_letters: 2, ..Hour::default() };
        assert_eq!(Hour::from_bytes(&before), Some(hour.clone()));
        let before = postcard::to_stdvec(&(7_u64, 1_u64, 2_u64, 0_u64, 0_u64)).unwrap();
        assert_eq!(Hour::from_bytes(&before), Some(hour.clone()));
        let before = (7_u64, 1_u64, 2_u64, 0_u64, 0_u64, 0_u64, "");
        assert_eq!(Hour::from_bytes(&postcard::to_stdvec(&before).unwrap()), Some(hour.clone()));
        assert_eq!(Hour::from_bytes(&postcard::to_stdvec(&hour).unwrap()), Some(hour));
        assert_eq!(Hour::from_bytes(&[]), None);
    }
}
