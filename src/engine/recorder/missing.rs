//! What is missing of partitions, and in which hours it may be.
//!
//! Nobody knows when that happened which was deleted, or cannot be read: not before what came before it in its
//! partition, nor after what comes next there, nor after it was read. It is missing in every hour between.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::engine::{
    detector::{DetectionBatch, Unread},
    record::{PartitionName, Progress},
    shard::watermark::Clocks,
    time::{EventTime, WallTime},
};

/// Hours beside each other that something is missing in at most: a month. Of a longer time these are the earliest, and those that
/// events of the same batch are of.
const HOURS_MAX: i64 = 31 * 24;

/// Losses, and partitions with records that cannot be read, of which the end is not known: 1,000 each.
const OPEN_MAX: usize = 1_000;

/// Of what sort something is that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Records that could not be read.
    Unread,
    /// Records that were deleted before they were read.
    Lost,
    /// Accesses that were not recorded.
    Shed,
    /// Events that are not counted.
    Uncounted,
}

/// Something is missing, some of it perhaps in each of some hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The first and the last of the hours, since 1970.
    pub(super) hours: (i64, i64),
    /// The cluster; `None` if nobody knows it.
    pub(super) cluster: Option<Arc<str>>,
    pub(super) sort: Sort,
    pub(super) count: u64,
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

/// Records of a partition that could not be read, while it is not known yet when it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenUnread {
    /// The name of the partition.
    partition: String,
    /// What its source says.
    cluster: Option<Arc<str>>,
    /// The first hour that is not told yet; `None` if nothing came before.
    from: Option<i64>,
    /// The hour in which they were read.
    until: i64,
    count: u64,
}

/// What is missing of which the end is not known.
#[derive(Debug, Default)]
pub(super) struct Open {
    lost: Vec<Lost>,
    lost_changed: bool,
    unread: Vec<OpenUnread>,
    unread_changed: bool,
}

impl Open {
    /// Records of a partition were deleted before they were read; event time had come so far there.
    pub(super) fn lose(&mut self, partition: &str, from: Option<EventTime>, records: u64) {
        if self.lost.len() < OPEN_MAX {
            self.lost.push(Lost { partition: partition.to_owned(), from, records });
            self.lost_changed = true;
        }
    }

    /// What a batch shows to be missing. `clocks`: how far partitions had come before it. `told`: the hour that event time has
    /// come to.
    pub(super) fn of_batch(
        &mut self,
        batch: &DetectionBatch,
        clocks: &Clocks,
        told: Option<i64>,
    ) -> Vec<Missing> {
        let mut found = Vec::new();
        for progress in &batch.progress {
            if let Some((first, _)) = hours_of(progress) {
                self.end(&progress.partition, first, &mut found);
            }
        }
        for unread in &batch.unread {
            self.begin(batch, unread, (clocks, told), &mut found);
        }
        if let Some(uncounted) = batch.hours.uncounted() {
            let hours = (uncounted.first, uncounted.last);
            let (sort, count) = (Sort::Uncounted, uncounted.events);
            found.push(Missing { hours, cluster: None, sort, count });
        }
        let far: Vec<Missing> =
            found.iter_mut().flat_map(|missing| shorten(missing, batch)).collect();
        found.extend(far);
        found
    }

    /// A partition goes on: what was missing of it ends.
    fn end(&mut self, partition: &PartitionName, first: i64, found: &mut Vec<Missing>) {
        if self.lost.is_empty() && self.unread.is_empty() {
            return;
        }
        let name = partition.to_string();
        for Lost { from, records, .. } in self.lost.extract_if(.., |one| one.partition == name) {
            self.lost_changed = true;
            let from = from.map_or(first, EventTime::hour);
            let hours = (from.min(first), first);
            found.push(Missing { hours, cluster: None, sort: Sort::Lost, count: records });
        }
        for one in self.unread.extract_if(.., |one| one.partition == name) {
            self.unread_changed = true;
            let hours = (one.from.unwrap_or(first), first.min(one.until));
            let (sort, count) = (Sort::Unread, one.count);
            found.push(Missing { hours, cluster: one.cluster, sort, count });
        }
    }

    /// Records of a batch could not be read.
    fn begin(
        &mut self,
        batch: &DetectionBatch,
        unread: &Unread,
        (clocks, told): (&Clocks, Option<i64>),
        found: &mut Vec<Missing>,
    ) {
        let Unread { partition, cluster, count } = unread;
        let own = batch.progress.iter().find(|progress| progress.partition == *partition);
        let own = own.and_then(hours_of);
        let before = clocks.get(partition).map(|clock| clock.time_max);
        let before = before.filter(|time| *time > EventTime::MIN).map(EventTime::hour);
        let from = match own {
            Some((first, _)) => Some(before.map_or(first, |before| before.min(first))),
            None => before.or(told),
        };
        let read = batch.detected_at.map_or(i64::MAX, WallTime::hour);
        let mut next = None;
        if let Some(from) = from {
            let last = own.map_or(from, |(_, last)| last.max(from));
            // Read as it happens: there is no more to wait for.
            let is_live = read <= last.max(told.unwrap_or(last)).saturating_add(1);
            let until = if is_live { read.max(last) } else { last };
            let (cluster, hours) = (cluster.clone(), (from, until));
            found.push(Missing { hours, cluster, sort: Sort::Unread, count: *count });
            next = Some(until.saturating_add(1));
        }
        if next.is_some_and(|next| next > read) {
            return;
        }
        let name = partition.to_string();
        let is_it = |one: &&mut OpenUnread| one.partition == name && one.cluster == *cluster;
        if let Some(one) = self.unread.iter_mut().find(is_it) {
            one.until = one.until.max(read);
            one.count += count;
        } else if self.unread.len() < OPEN_MAX {
            let (cluster, count) = (cluster.clone(), *count);
            self.unread.push(OpenUnread {
                partition: name,
                cluster,
                from: next,
                until: read,
                count,
            });
        }
        self.unread_changed = true;
    }

    /// Nothing more comes: what could not be read may be of any hour up to the last.
    pub(super) fn finish(&mut self, last: i64) -> Vec<Missing> {
        let mut found = Vec::new();
        for one in &mut self.unread {
            let Some(from) = one.from else { continue };
            let hours = (from, last.min(one.until).min(from.saturating_add(HOURS_MAX)));
            if from <= hours.1 {
                let (cluster, sort, count) = (one.cluster.clone(), Sort::Unread, one.count);
                found.push(Missing { hours, cluster, sort, count });
                one.from = Some(hours.1 + 1);
                self.unread_changed = true;
            }
        }
        found
    }

    /// Losses of which the end is not known, if they changed since the last call.
    pub(super) fn take_lost(&mut self) -> Option<&Vec<Lost>> {
        std::mem::take(&mut self.lost_changed).then_some(&self.lost)
    }

    /// What could not be read and has no end yet, if it changed since the last call.
    pub(super) fn take_unread(&mut self) -> Option<&Vec<OpenUnread>> {
        std::mem::take(&mut self.unread_changed).then_some(&self.unread)
    }

    pub(super) fn restore_lost(&mut self, lost: Vec<Lost>) {
        self.lost = lost;
    }

    pub(super) fn restore_unread(&mut self, unread: Vec<OpenUnread>) {
        self.unread = unread;
    }
}

/// The first and the last hour that a batch has of a partition.
fn hours_of(progress: &Progress) -> Option<(i64, i64)> {
    let first = progress.time_min?;
    let last = progress.time_max.map_or(first, |last| last.max(first));
    Some((first.hour(), last.hour()))
}

/// Leaves out what is far behind the beginning. Returns those of the hours left out that events of the batch are of.
fn shorten(missing: &mut Missing, batch: &DetectionBatch) -> Vec<Missing> {
    let (from, until) = missing.hours;
    let end = from.saturating_add(HOURS_MAX);
    if until <= end {
        return Vec::new();
    }
    missing.hours = (from, end);
    let hours: BTreeSet<i64> = batch.hours.iter().map(|seen| seen.hour).collect();
    let far = hours.into_iter().filter(|hour| (end + 1..=until).contains(hour));
    far.map(|hour| Missing { hours: (hour, hour), ..missing.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::flood::HOUR, *};
    use crate::engine::{seen::SeenHour, shard::watermark::PartitionClock};

    fn partition() -> Arc<PartitionName> {
        Arc::new(PartitionName::new("a", 0))
    }

    /// Of a partition: hours of events, and how many records could not be read by the end of an hour.
    fn batch(hours: &[i64], count: u64, read: i64) -> DetectionBatch {
        let time = |hour: Option<&i64>| Some(EventTime::from_micros(hour? * HOUR));
        let progress = Progress {
            partition: partition(),
            next_offset: 1,
            time_min: time(hours.iter().min()),
            time_max: time(hours.iter().max()),
            records: 1,
        };
        let unread = Unread { partition: partition(), cluster: None, count };
        let seen = hours.iter().map(|hour| SeenHour { hour: *hour, ..SeenHour::default() });
        DetectionBatch {
            progress: vec![progress],
            unread: if count == 0 { Vec::new() } else { vec![unread] },
            hours: seen.collect(),
            detected_at: time(Some(&read)).map(EventTime::as_wall),
            ..DetectionBatch::default()
        }
    }

    /// What is missing of a batch, while the partition had come to an hour.
    fn told(open: &mut Open, reached: i64, batch: &DetectionBatch) -> Vec<(i64, i64, u64)> {
        let time_max = EventTime::from_micros(reached * HOUR);
        let clock = PartitionClock { time_max, heard_at: WallTime::MIN };
        let found = open.of_batch(batch, &Clocks::from([(partition(), clock)]), None);
        found.iter().map(|one| (one.hours.0, one.hours.1, one.count)).collect()
    }

    #[test]
    fn what_cannot_be_read_is_between_what_came_before_and_what_comes_next() {
        let mut open = Open::default();
        assert_eq!(told(&mut open, 1, &batch(&[5], 0, 90)), []);
        assert_eq!(told(&mut open, 5, &batch(&[], 1, 90)), [(5, 5, 1)]);
        assert_eq!(told(&mut open, 5, &batch(&[], 2, 90)), [(5, 5, 2)]);
        // As it is stored, and read again.
        let stored = postcard::to_stdvec(open.take_unread().unwrap()).unwrap();
        assert_eq!(open.take_unread(), None);
        let mut open = Open::default();
        open.restore_unread(postcard::from_bytes(&stored).unwrap());
        assert_eq!(told(&mut open, 5, &batch(&[8, 9], 0, 90)), [(6, 8, 3)]);
        assert_eq!(told(&mut open, 9, &batch(&[10], 0, 90)), []);
        // At the end nothing comes next, and then something does after all.
        assert_eq!(told(&mut open, 10, &batch(&[11, 12], 1, 90)), [(10, 12, 1)]);
        let end = |open: &mut Open, last| -> Vec<_> {
            open.finish(last).into_iter().map(|one| one.hours).collect()
        };
        assert_eq!(end(&mut open, 12), []);
        assert_eq!(end(&mut open, 20), [(13, 20)]);
        assert_eq!(told(&mut open, 12, &batch(&[22], 0, 90)), [(21, 22, 1)]);
        // What is read as it happens needs no end.
        assert_eq!(told(&mut open, 22, &batch(&[], 1, 23)), [(22, 23, 1)]);
        assert_eq!(told(&mut open, 22, &batch(&[30], 0, 30)), []);
    }

    #[test]
    fn a_long_time_is_told_in_part() {
        let mut open = Open::default();
        let far = batch(&[0, 5_000, 9_000], 1, 90_000);
        assert_eq!(
            told(&mut open, 0, &far),
            [(0, HOURS_MAX, 1), (5_000, 5_000, 1), (9_000, 9_000, 1)]
        );
        assert_eq!(
            told(&mut open, 9_000, &batch(&[50_000], 0, 90_000))[0],
            (9_001, 9_001 + HOURS_MAX, 1)
        );
    }
}
