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
    ledger::{Entry, EntryKind},
    limits::{COVERAGE_CLUSTERS_MAX, COVERAGE_HOURS_MAX},
    time::EventTime,
};

/// An hour since 1970, and a cluster; empty if nobody names it.
pub(super) type CoverageKey = (i64, Arc<str>);

/// For how many hours a cluster is expected that nothing was heard of: a day.
const EXPECTED_HOURS: i64 = 24;

/// What was seen of an hour and not told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hour {
    events: u64,
    cut: u64,
    dead_letters: u64,
}

/// Clusters, and what was told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clusters {
    /// The last hour in which each was heard of.
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
}

impl Coverage {
    /// Adds what a batch shows.
    pub(super) fn add(&mut self, batch: &DetectionBatch) {
        for seen in &batch.hours {
            self.add_hour(seen);
        }
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

    fn add_hour(&mut self, seen: &SeenHour) {
        let name = seen.cluster.clone().unwrap_or_else(|| "".into());
        let is_known = self.clusters.heard.contains_key(&name);
        let name = if is_known || self.clusters.heard.len() < COVERAGE_CLUSTERS_MAX {
            name
        } else {
            "".into()
        };
        if seen.events > 0 {
            let heard = self.clusters.heard.entry(Arc::clone(&name)).or_insert(i64::MIN);
            if seen.hour > *heard {
                *heard = seen.hour;
                self.clusters_changed = true;
            }
        }
        let key = (seen.hour, name);
        if !self.hours.contains_key(&key) && self.hours.len() >= COVERAGE_HOURS_MAX {
            return;
        }
        let hour = self.hours.entry(key.clone()).or_default();
        hour.events += seen.events;
        hour.cut += seen.cut;
        self.changed.insert(key);
    }

    /// Entries for what event time has passed, each with its hour.
    pub(super) fn ended(&mut self, watermark: EventTime) -> Vec<(i64, Entry)> {
        let current = watermark.micros().div_euclid(HOUR);
        let mut entries = Vec::new();
        let told = self.clusters.told.unwrap_or(current);
        while let Some(((hour, _), _)) = self.hours.first_key_value()
            && *hour < current
            && let Some((key, hour)) = self.hours.pop_first()
        {
            entries.push((key.0, entry_of(&key, hour, key.0 < told)));
            self.changed.insert(key);
        }
        if self.clusters.told != Some(current) && current >= told {
            self.tell_silent(told..current, &mut entries);
            self.clusters.told = Some(current);
            self.clusters_changed = true;
            let expected =
                |_: &Arc<str>, heard: &mut i64| heard.saturating_add(EXPECTED_HOURS) >= current;
            self.clusters.heard.retain(expected);
        }
        entries
    }

    /// Hours in which a cluster that is known said nothing, while event time went on.
    fn tell_silent(&self, hours: std::ops::Range<i64>, entries: &mut Vec<(i64, Entry)>) {
        let last = hours.end.min(hours.start.saturating_add(EXPECTED_HOURS));
        for hour in hours.start..last {
            for (cluster, heard) in &self.clusters.heard {
                if *heard < hour
                    && heard.saturating_add(EXPECTED_HOURS) >= hour
                    && !cluster.is_empty()
                {
                    let key = (hour, Arc::clone(cluster));
                    entries.push((hour, entry_of(&key, Hour::default(), false)));
                }
            }
        }
    }

    /// What changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<(CoverageKey, Option<Hour>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.map(|key| (key.clone(), self.hours.get(&key).copied())).collect()
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

fn entry_of((hour, cluster): &CoverageKey, seen: Hour, is_late: bool) -> Entry {
    let what = match seen {
        Hour { cut: 0, dead_letters: 0, events: 0 } => "silent",
        Hour { cut: 0, dead_letters: 0, .. } => "complete",
        _ => "degraded",
    };
    Entry::new(EntryKind::Coverage, cluster, if is_late { "late" } else { what })
        .at(EventTime::from_micros(hour.saturating_mul(HOUR)))
        .count("events", seen.events)
        .count("cut", seen.cut)
        .count("dead_letters", seen.dead_letters)
}
