//! What was seen of each cluster, hour by hour of event time.
//!
//! An hour is told when event time has passed it; what comes later is told again, by an entry of its own
//! for the same hour. What Kubernetes dropped before us leaves no trace here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::flood::HOUR;
use crate::engine::{
    detector::{DetectionBatch, SeenHour},
    ledger::{Entry, EntryKind, INPUT_ENDED},
    limits::{COVERAGE_CLUSTERS_MAX, COVERAGE_HOURS_MAX},
    time::EventTime,
};

/// An hour since 1970, and a cluster; empty if nobody names it.
pub(super) type CoverageKey = (i64, Arc<str>);

/// For how many hours a cluster is expected that nothing was heard of: a day.
const EXPECTED_HOURS: i64 = 24;

/// What was seen of an hour and not told yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hour {
    events: u64,
    cut: u64,
    dead_letters: u64,
    /// Accesses that were not recorded, since there was no room.
    shed: u64,
    /// Records that were deleted before they were read, some of which may be of this hour.
    lost: u64,
    /// Events to which some rule is blind, since they were logged at too low a level.
    below: u64,
    /// What the last of these were.
    below_what: String,
}

/// An [`Hour`] as it was stored before it knew of levels.
#[derive(Deserialize)]
struct HourWithoutLevels {
    events: u64,
    cut: u64,
    dead_letters: u64,
    shed: u64,
    lost: u64,
}

/// An [`Hour`] as it was stored before it knew what was shed and lost.
#[derive(Deserialize)]
struct HourBefore {
    events: u64,
    cut: u64,
    dead_letters: u64,
}

impl Hour {
    /// Reads a stored one; `None` if it cannot be read.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Hour> {
        let without_levels = || {
            let HourWithoutLevels { events, cut, dead_letters, shed, lost } =
                postcard::from_bytes(bytes).ok()?;
            Some(Hour { events, cut, dead_letters, shed, lost, ..Hour::default() })
        };
        postcard::from_bytes(bytes).ok().or_else(without_levels).or_else(|| {
            let HourBefore { events, cut, dead_letters } = postcard::from_bytes(bytes).ok()?;
            Some(Hour { events, cut, dead_letters, ..Hour::default() })
        })
    }
}

/// Records of a partition that were deleted before they were read, while it is not known yet when it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lost {
    /// The name of the partition.
    partition: String,
    /// How far event time had come there before, if anybody knows.
    from: Option<EventTime>,
    records: u64,
}

/// Hours that one loss marks: a month. Beyond it the earliest are marked.
const LOST_HOURS_MAX: i64 = 31 * 24;

/// Losses of which the end is not known: 1,000. Further ones are told as entries alone.
const LOST_MAX: usize = 1_000;

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
    lost: Vec<Lost>,
    lost_changed: bool,
}

impl Coverage {
    /// Adds what a batch shows.
    pub(super) fn add(&mut self, batch: &DetectionBatch) {
        for seen in &batch.hours {
            self.add_hour(seen);
        }
        self.end_lost(batch);
        let letters = batch.dead_letters.len() as u64;
        if letters > 0 {
            // Nobody knows of which cluster they are, nor exactly of when.
            let at = batch
                .time_min
                .or_else(|| Some(EventTime::from_micros(self.clusters.told?.saturating_mul(HOUR))));
            if let Some(at) = at {
                let key = (at.micros().div_euclid(HOUR), Arc::from(""));
                self.hours.entry(key.clone()).or_default().dead_letters += letters;
                self.changed.insert(key);
            }
        }
    }

    /// Accesses of a cluster that were not recorded.
    pub(super) fn shed(&mut self, cluster: Option<&Arc<str>>, at: EventTime, count: u64) {
        let known = cluster.filter(|cluster| self.clusters.heard.contains_key(*cluster));
        let key = (at.micros().div_euclid(HOUR), known.cloned().unwrap_or_else(|| "".into()));
        if self.hours.contains_key(&key) || self.hours.len() < COVERAGE_HOURS_MAX {
            self.hours.entry(key.clone()).or_default().shed += count;
            self.changed.insert(key);
        }
    }

    /// Records of a partition were deleted before they were read; event time had come so far there.
    pub(super) fn lost(&mut self, partition: &str, from: Option<EventTime>, records: u64) {
        if self.lost.len() < LOST_MAX {
            let partition = partition.to_owned();
            self.lost.push(Lost { partition, from, records });
            self.lost_changed = true;
        }
    }

    /// Where a partition goes on, what was lost of it ends: all hours between are in doubt.
    fn end_lost(&mut self, batch: &DetectionBatch) {
        if self.lost.is_empty() {
            return;
        }
        for progress in &batch.progress {
            let Some(time_max) = progress.time_max else { continue };
            let name = progress.partition.to_string();
            let (ended, left) =
                std::mem::take(&mut self.lost).into_iter().partition(|one| one.partition == name);
            self.lost = left;
            let ended: Vec<Lost> = ended;
            let until = batch.time_min.unwrap_or(time_max).micros().div_euclid(HOUR);
            for one in ended {
                self.lost_changed = true;
                let from = one.from.map_or(until, |from| from.micros().div_euclid(HOUR));
                for hour in from.min(until)..=until.min(from.saturating_add(LOST_HOURS_MAX)) {
                    // Nobody knows of which cluster they were.
                    let key: CoverageKey = (hour, Arc::from(""));
                    self.hours.entry(key.clone()).or_default().lost += one.records;
                    self.changed.insert(key);
                }
            }
        }
    }

    /// Losses of which the end is not known, if they changed since the last call.
    pub(super) fn take_lost(&mut self) -> Option<&Vec<Lost>> {
        std::mem::take(&mut self.lost_changed).then_some(&self.lost)
    }

    pub(super) fn restore_lost(&mut self, lost: Vec<Lost>) {
        self.lost = lost;
    }

    fn add_hour(&mut self, seen: &SeenHour) {
        let name = seen.cluster.clone().unwrap_or_else(|| "".into());
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
        let current = watermark.micros().div_euclid(HOUR);
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
    let what = match seen {
        Hour { lost: 1.., .. } => "lost",
        Hour { cut: 0, dead_letters: 0, shed: 0, events: 0, .. } => "silent",
        Hour { cut: 0, dead_letters: 0, shed: 0, below: 0, .. } => "complete",
        _ => "degraded",
    };
    let entry = Entry::new(EntryKind::Coverage, cluster, if is_late { "late" } else { what })
        .at(EventTime::from_micros(hour.saturating_mul(HOUR)))
        .count("events", seen.events)
        .count("cut", seen.cut)
        .count("dead_letters", seen.dead_letters)
        .count("shed", seen.shed)
        .count("lost", seen.lost);
    if seen.below == 0 {
        return entry;
    }
    entry.count("below", seen.below).fact("below", &seen.below_what)
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
        let progress = Progress { partition, next_offset: 1, time_max: Some(time), records: 1 };
        let seen = SeenHour {
            cluster: Some("c".into()),
            hour: 1_000 + hours,
            events: 1,
            ..SeenHour::default()
        };
        DetectionBatch {
            progress: vec![progress],
            time_min: Some(time),
            hours: vec![seen],
            ..DetectionBatch::default()
        }
    }

    #[test]
    fn hours_between_what_was_read_and_where_it_goes_on_are_lost() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.ended(HOURS), [], "nothing was told before");
        coverage.add(&batch("a", 0));
        coverage.lost("a/0", Some(HOURS), 7);
        coverage.add(&batch("b", 5));
        assert_eq!(coverage.lost.len(), 1, "another partition says nothing of it");
        coverage.add(&batch("a", 2));
        let lost: Vec<(i64, u64)> = coverage
            .hours
            .iter()
            .filter(|(_, hour)| hour.lost > 0)
            .map(|((hour, _), seen)| (*hour, seen.lost))
            .collect();
        assert_eq!(lost, [(1_000, 7), (1_001, 7), (1_002, 7)]);
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
            coverage.add(&batch("a", hours));
        }
        let entries = coverage.ended(at(4));
        assert_eq!(
            told(&entries),
            [(0, "complete"), (1, "complete"), (2, "silent"), (3, "silent")]
        );
        assert_eq!(coverage.ended(at(4)), [], "once");
        coverage.add(&batch("a", 2));
        assert_eq!(told(&coverage.ended(at(4))), [(2, "late")]);
        assert_eq!(told(&coverage.ended(at(6))), [(4, "complete"), (5, "silent")]);
        // After a day nobody expects it any more.
        let silent = coverage.ended(at(100));
        assert_eq!((silent.len(), silent.last().map(|(hour, _)| hour - 1_000)), (23, Some(28)));
        coverage.add(&batch("a", 100));
        assert_eq!(told(&coverage.ended(at(101))), [(100, "complete")]);
    }

    #[test]
    fn the_end_tells_what_is_open_and_another_run_adds_to_it() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.finish(), []);
        coverage.add(&batch("a", 0));
        coverage.add(&batch("a", 1));
        assert_eq!(told(&coverage.ended(at(1))), [(0, "complete")]);
        let end = coverage.finish();
        assert_eq!(told(&end), [(1, "complete")]);
        assert!(end[0].1.fact_of(INPUT_ENDED).is_some(), "it may be a part of the hour");
        assert_eq!(coverage.take_changed().last(), Some(&((1_001, "c".into()), None)));
        coverage.add(&batch("a", 1));
        coverage.add(&batch("a", 3));
        assert_eq!(told(&coverage.ended(at(3))), [(1, "complete"), (2, "silent")]);
    }

    #[test]
    fn an_hour_is_read_as_it_was_stored_before() {
        let before = postcard::to_stdvec(&(7_u64, 1_u64, 2_u64)).unwrap();
        let hour = Hour { events: 7, cut: 1, dead_letters: 2, ..Hour::default() };
        assert_eq!(Hour::from_bytes(&before), Some(hour.clone()));
        let before = postcard::to_stdvec(&(7_u64, 1_u64, 2_u64, 0_u64, 0_u64)).unwrap();
        assert_eq!(Hour::from_bytes(&before), Some(hour.clone()));
        assert_eq!(Hour::from_bytes(&postcard::to_stdvec(&hour).unwrap()), Some(hour));
        assert_eq!(Hour::from_bytes(&[]), None);
    }
}
