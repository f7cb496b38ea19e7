//! How far event time has come.
//!
//! A partition's watermark is the highest event time that it has shown, minus `grace`; the stream's is
//! the least of them. A partition that has been silent for `idle_after` of the operator's clock stops
//! holding the others back. When all are silent, event time goes on at the speed of the operator's
//! clock from where it was, so that open windows still close; it does not jump to "now", since a
//! stream that is being read again after an outage is older than that. If none of them ever showed anything but
//! what seemed to come from the future, it goes on from when the first of that was read.
//!
//! A partition that cannot be read, while others can, holds the watermark back for `away_max`: what piles
//! up in it meanwhile still counts. Then windows are closed without it.
//!
//! Silence means something only while somebody listens. While no source can be read, event time
//! stands still; when one can be read (again), the silence of all its partitions begins anew, those
//! included that have shown nothing yet. So what piled up meanwhile is not late.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::engine::{
    record::{PartitionName, Progress},
    settings::EngineSettings,
    time::{EventTime, WallTime},
};

/// One partition's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionClock {
    /// Highest event time seen; [`EventTime::MIN`] before the first event.
    pub time_max: EventTime,
    /// When, by the operator's clock, an event last came or its source began to listen.
    pub heard_at: WallTime,
}

/// The clocks of all partitions that were heard of.
pub type Clocks = BTreeMap<Arc<PartitionName>, PartitionClock>;

/// A partition that cannot be read.
#[derive(Clone, Copy, Debug)]
struct Away {
    since: WallTime,
    /// Windows are not kept open for it any more.
    is_given_up: bool,
}

/// The clocks of all partitions, and the watermark of the stream.
#[derive(Debug)]
pub struct Watermark {
    grace: std::time::Duration,
    idle_after: std::time::Duration,
    away_max: std::time::Duration,
    /// Partitions that cannot be read, each with since when.
    away: BTreeMap<Arc<PartitionName>, Away>,
    /// Times that windows were no longer kept open for a partition that could not be read.
    given_up: u64,
    partitions: Clocks,
    merged: Option<EventTime>,
    /// As when an event was taken that claimed to come from the future, and when by the operator's clock; as
    /// long as nothing better is known.
    assumed: Option<(EventTime, WallTime)>,
    /// The next checkpoint must have it.
    assumed_moved: bool,
    /// What the last checkpoint has of it.
    stored: Option<EventTime>,
    /// The next checkpoint must have the clocks of partitions.
    partitions_moved: bool,
    /// Nobody listens.
    deaf: bool,
    /// What the operator's clock said when time last went on; `None` since somebody began to listen.
    looked_at: Option<WallTime>,
}

impl Watermark {
    pub(crate) fn new(settings: &EngineSettings) -> Watermark {
        Watermark {
            grace: settings.grace,
            idle_after: settings.idle_after,
            away_max: settings.away_max,
            away: BTreeMap::new(),
            given_up: 0,
            partitions: BTreeMap::new(),
            merged: None,
            assumed: None,
            assumed_moved: false,
            stored: None,
            partitions_moved: false,
            deaf: false,
            looked_at: None,
        }
    }

    /// Takes a batch's progress.
    pub(crate) fn observe(&mut self, now: WallTime, progress: &Progress) {
        if let Some(time) = progress.time_max {
            self.heard(now, &progress.partition, time);
        }
    }

    fn heard(&mut self, now: WallTime, partition: &Arc<PartitionName>, time: EventTime) {
        let clock = self
            .partitions
            .entry(Arc::clone(partition))
            .or_insert(PartitionClock { time_max: EventTime::MIN, heard_at: WallTime::MIN });
        self.partitions_moved |= clock.heard_at < now || clock.time_max < time;
        clock.heard_at = clock.heard_at.max(now);
        clock.time_max = clock.time_max.max(time);
    }

    /// A source can be read: the silence of its partitions begins now.
    pub(crate) fn listen(&mut self, now: WallTime, partitions: &[Arc<PartitionName>]) {
        self.looked_at = None;
        if std::mem::take(&mut self.deaf) {
            // Time stood still, so nobody was waited for.
            for away in self.away.values_mut() {
                *away = Away { since: now, is_given_up: false };
            }
        }
        if let Some((_, at)) = &mut self.assumed {
            *at = now;
        }
        for partition in partitions {
            self.away.remove(partition);
            self.heard(now, partition, EventTime::MIN);
        }
    }

    /// Nobody has looked for a while: nobody was waited for meanwhile, those neither that cannot be read.
    pub(crate) fn resume(&mut self, now: WallTime) {
        for (name, away) in &mut self.away {
            if !away.is_given_up {
                away.since = now;
            }
            if let Some(clock) = self.partitions.get_mut(name) {
                clock.heard_at = now;
                self.partitions_moved = true;
            }
        }
    }

    /// An event that claims to come from the future was taken as of this time. It moves no clock; but if all
    /// are silent that never showed another, time goes on from here.
    pub(crate) fn assume(&mut self, now: WallTime, time: EventTime) {
        if self.merged.is_none() && self.assumed.is_none() {
            (self.assumed, self.assumed_moved) = (Some((time, now)), true);
        }
    }

    /// Puts it back as it was stored.
    pub(crate) fn restore_assumed(&mut self, time: EventTime) {
        self.assumed = Some((time, WallTime::MAX));
    }

    /// What was assumed since the last call.
    pub(crate) fn take_assumed(&mut self) -> Option<EventTime> {
        let moved = std::mem::take(&mut self.assumed_moved);
        self.assumed.filter(|_| moved).map(|(time, _)| time)
    }

    /// These partitions cannot be read from now on, until [`Watermark::listen`] names them.
    pub(crate) fn leave(&mut self, now: WallTime, partitions: &[Arc<PartitionName>]) {
        for partition in partitions {
            let away = Away { since: now, is_given_up: false };
            self.away.entry(Arc::clone(partition)).or_insert(away);
        }
    }

    /// Partitions that cannot be read for so long that windows are closed without them.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = &Arc<PartitionName>> {
        self.away.iter().filter(|(_, away)| away.is_given_up).map(|(name, _)| name)
    }

    /// How often it came to that.
    pub(crate) const fn given_up_count(&self) -> u64 {
        self.given_up
    }

    /// No source can be read: event time stands still until [`Watermark::listen`].
    pub(crate) fn stop_listening(&mut self) {
        self.deaf = true;
        self.looked_at = None;
    }

    /// Puts a stored clock back.
    pub(crate) fn restore(&mut self, partition: PartitionName, clock: PartitionClock) {
        self.partitions.insert(Arc::new(partition), clock);
    }

    /// Puts the stored watermark of the stream back: it never goes back, over restarts either.
    pub(crate) fn restore_merged(&mut self, merged: EventTime) {
        self.merged = Some(merged);
        self.stored = self.merged;
    }

    /// Takes the names of sources apart from the topics of stored partitions.
    pub(crate) fn resolve(&mut self, sources: &[Arc<str>]) {
        let resolve = |(name, clock): (Arc<PartitionName>, _)| {
            (Arc::new(Arc::unwrap_or_clone(name).resolved(sources)), clock)
        };
        self.partitions = std::mem::take(&mut self.partitions).into_iter().map(resolve).collect();
    }

    /// Whether the clock of some partition has moved since the last call.
    pub(crate) fn take_partitions_moved(&mut self) -> bool {
        std::mem::take(&mut self.partitions_moved)
    }

    /// The watermark, if it has moved since the last call.
    pub(crate) fn take_moved(&mut self) -> Option<EventTime> {
        let moved = self.merged.filter(|merged| self.stored != Some(*merged))?;
        self.stored = Some(moved);
        Some(moved)
    }

    /// Computes the watermark for this time; it never goes back.
    pub(crate) fn advance(&mut self, now: WallTime) {
        if self.deaf {
            return;
        }
        let passed = self.looked_at.replace(now).map(|looked_at| now.since(looked_at));
        for clock in self.partitions.values_mut() {
            // The operator's clock was set back: silence is counted from there.
            self.partitions_moved |= clock.heard_at > now;
            clock.heard_at = clock.heard_at.min(now);
        }
        if let Some((_, at)) = &mut self.assumed {
            *at = now.min(*at);
        }
        for (name, away) in &mut self.away {
            away.since = away.since.min(now);
            // One that was never heard holds nothing back.
            let is_known = self.partitions.contains_key(name);
            if is_known && !away.is_given_up && now.since(away.since) >= self.away_max {
                away.is_given_up = true;
                self.given_up += 1;
            }
        }
        let awake = self
            .partitions
            .iter()
            .filter(|(name, clock)| now < self.idle_at(name, clock))
            .map(|(_, clock)| clock.time_max)
            .min();
        if awake == Some(EventTime::MIN) {
            // What it will show may be older than all that the others have shown.
            return;
        }
        let time = awake.or_else(|| {
            self.partitions
                .values()
                .filter(|clock| clock.time_max != EventTime::MIN)
                .map(|clock| clock.time_max.plus(now.since(clock.heard_at)))
                .max()
                .or_else(|| self.assumed.map(|(time, at)| time.plus(now.since(at))))
                // If the clock was set back, it goes on from where it was.
                .max(
                    self.merged
                        .zip(passed)
                        .map(|(merged, passed)| merged.plus(self.grace).plus(passed)),
                )
        });
        if let Some(time) = time {
            let candidate = time.minus(self.grace);
            self.merged = Some(self.merged.map_or(candidate, |merged| merged.max(candidate)));
        }
    }

    /// When it will have come to `time` if nothing more is heard; [`WallTime::MIN`] if it has. `None`:
    /// never.
    pub(crate) fn reaches(&self, time: EventTime) -> Option<WallTime> {
        if self.merged.is_some_and(|merged| merged >= time) {
            return Some(WallTime::MIN);
        }
        if self.deaf {
            return None;
        }
        let is_behind = |clock: &PartitionClock| {
            clock.time_max == EventTime::MIN || clock.time_max.minus(self.grace) < time
        };
        let idle_at = |is_meant: bool| {
            let meant = self.partitions.iter().filter(|(_, clock)| is_behind(clock) == is_meant);
            meant.map(|(name, clock)| self.idle_at(name, clock)).max()
        };
        let (behind, ahead) = (idle_at(true), idle_at(false));
        if ahead > behind {
            // Those that hold it back fall silent while another one is still heard.
            return Some(behind.unwrap_or(WallTime::MIN));
        }
        // Once all are silent it goes on with the operator's clock.
        let carried_on = |clock: &PartitionClock| {
            let missing = time.plus(self.grace).since(clock.time_max);
            clock.heard_at.plus(missing)
        };
        let heard = self.partitions.values().filter(|clock| clock.time_max != EventTime::MIN);
        let assumed = self
            .assumed
            .map(|(time_max, heard_at)| carried_on(&PartitionClock { time_max, heard_at }));
        let by_itself = self.looked_at.zip(self.merged);
        let by_itself = by_itself.map(|(at, merged)| at.plus(time.since(merged)));
        let at = heard.map(carried_on).min().or(assumed).into_iter().chain(by_itself).min()?;
        Some(at.max(behind.max(ahead).unwrap_or(at)))
    }

    /// Until when a partition holds the others back, if nothing is heard of it.
    fn idle_at(&self, name: &Arc<PartitionName>, clock: &PartitionClock) -> WallTime {
        match self.away.get(name) {
            Some(away) => away.since.plus(self.away_max),
            None => clock.heard_at.plus(self.idle_after),
        }
    }

    /// Moves it just past the latest event: nothing that was seen can come after it any more.
    pub(crate) fn catch_up(&mut self) {
        let latest = self.partitions.values().map(|clock| clock.time_max).max();
        if let Some(latest) = latest.filter(|latest| *latest != EventTime::MIN) {
            let latest = latest.plus(std::time::Duration::from_micros(1));
            self.merged = Some(self.merged.map_or(latest, |merged| merged.max(latest)));
        }
    }

    /// Moves it past everything that was seen: the stream has ended.
    pub(crate) fn finish(&mut self) {
        if self.merged.is_some() || !self.partitions.is_empty() {
            self.merged = Some(EventTime::MAX);
        }
    }

    /// How far every partition has come, the silent ones too: but for disorder within grace, none of
    /// them shows anything older. [`EventTime::MIN`] while one has shown nothing, or nobody listens.
    pub(crate) fn slowest(&self) -> EventTime {
        let clocks = self.partitions.values().filter(|_| !self.deaf);
        let slowest = clocks.map(|clock| clock.time_max).min().unwrap_or(EventTime::MIN);
        slowest.minus(self.grace)
    }

    /// The stream's watermark; `None` before the first event.
    pub const fn get(&self) -> Option<EventTime> {
        self.merged
    }

    /// The clocks, for metrics and checkpoints.
    pub const fn partitions(&self) -> &Clocks {
        &self.partitions
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::access::UsageMode;

    const SETTINGS: EngineSettings = EngineSettings {
        grace: Duration::from_secs(10),
        idle_after: Duration::from_secs(60),
        skew_max: Duration::from_secs(300),
        away_max: Duration::from_secs(900),
        alert_age_max: None,
        resolve_after: Duration::from_secs(300),
        memory: 0,
        truths: BTreeMap::new(),
        usage: UsageMode::Off,
    };

    fn wall(seconds: i64) -> WallTime {
        WallTime::from_micros(seconds * 1_000_000)
    }

    fn partition(number: i32) -> Arc<PartitionName> {
        Arc::new(PartitionName::new("audit", number))
    }

    fn seen(watermark: &mut Watermark, now: i64, number: i32, time: i64) {
        let time_max = Some(wall(time).as_event());
        let progress = Progress {
            partition: partition(number),
            next_offset: 1,
            time_min: time_max,
            time_max,
            records: 1,
        };
        watermark.observe(wall(now), &progress);
        watermark.advance(wall(now));
    }

    fn seconds(watermark: &Watermark) -> Option<i64> {
        watermark.get().map(|time| time.micros() / 1_000_000)
    }

    #[test]
    fn a_backlog_after_a_restart_is_not_late() {
        let mut watermark = Watermark::new(&SETTINGS);
        for number in 0..2 {
            let clock = PartitionClock { time_max: wall(1_000).as_event(), heard_at: wall(1_000) };
            watermark.restore((*partition(number)).clone(), clock);
        }
        watermark.stop_listening();
        // Down for an hour, and then the broker is away for a while.
        for now in [4_600, 4_700] {
            watermark.advance(wall(now));
            assert_eq!(seconds(&watermark), None);
        }
        watermark.listen(wall(4_800), &[partition(0), partition(1)]);
        seen(&mut watermark, 4_801, 0, 2_500);
        assert_eq!(seconds(&watermark), Some(990), "the other one may still be at 1,000");
        seen(&mut watermark, 4_802, 1, 1_700);
        assert_eq!(seconds(&watermark), Some(1_690));
    }

    #[test]
    fn a_partition_that_has_shown_nothing_is_waited_for_but_not_for_ever() {
        let mut watermark = Watermark::new(&SETTINGS);
        watermark.listen(wall(0), &[partition(0), partition(1)]);
        seen(&mut watermark, 1, 0, 500);
        assert_eq!(seconds(&watermark), None);
        seen(&mut watermark, 59, 0, 558);
        assert_eq!(seconds(&watermark), None);
        watermark.advance(wall(61));
        assert_eq!(seconds(&watermark), Some(548));
    }

    #[test]
    fn windows_wait_for_a_partition_that_cannot_be_read_but_not_for_ever() {
        let mut watermark = Watermark::new(&SETTINGS);
        watermark.listen(wall(0), &[partition(0), partition(1)]);
        seen(&mut watermark, 1, 0, 100);
        seen(&mut watermark, 1, 1, 100);
        watermark.leave(wall(100), &[partition(1)]);
        seen(&mut watermark, 800, 0, 800);
        assert_eq!(seconds(&watermark), Some(90));
        assert_eq!(watermark.given_up().count(), 0);
        seen(&mut watermark, 1_000, 0, 1_000);
        assert_eq!(seconds(&watermark), Some(990));
        assert_eq!((watermark.given_up().count(), watermark.given_up_count()), (1, 1));
        // It is read again, and what it shows is late.
        watermark.listen(wall(1_010), &[partition(1)]);
        seen(&mut watermark, 1_011, 1, 120);
        assert_eq!((seconds(&watermark), watermark.given_up().count()), (Some(990), 0));
    }

    #[test]
    fn a_partition_that_is_read_again_in_time_loses_nothing() {
        let mut watermark = Watermark::new(&SETTINGS);
        seen(&mut watermark, 1, 0, 100);
        seen(&mut watermark, 1, 1, 100);
        watermark.leave(wall(100), &[partition(1)]);
        // A clock that is set back does not make the wait longer.
        seen(&mut watermark, 50, 0, 500);
        assert_eq!(seconds(&watermark), Some(90));
        watermark.listen(wall(600), &[partition(1)]);
        seen(&mut watermark, 601, 1, 300);
        assert_eq!(seconds(&watermark), Some(290));
    }

    #[test]
    fn a_stream_that_showed_nothing_but_the_future_goes_on_from_when_that_was_read() {
        let mut watermark = Watermark::new(&SETTINGS);
        watermark.listen(wall(0), &[partition(0), partition(1)]);
        watermark.assume(wall(5), wall(5).as_event());
        watermark.advance(wall(59));
        assert_eq!(seconds(&watermark), None, "something older may come");
        assert_eq!(watermark.reaches(wall(65).as_event()), Some(wall(75)));
        watermark.advance(wall(75));
        assert_eq!(seconds(&watermark), Some(65));
        // What it shows after all decides.
        seen(&mut watermark, 80, 0, 1_000);
        assert_eq!(seconds(&watermark), Some(990));
    }

    #[test]
    fn a_pause_is_no_time_in_which_anybody_was_waited_for() {
        let mut watermark = Watermark::new(&SETTINGS);
        watermark.listen(wall(0), &[partition(0)]);
        seen(&mut watermark, 1, 0, 1);
        watermark.leave(wall(2), &[partition(0)]);
        // The clock is set forward, by more than `away_max`.
        watermark.listen(wall(5_000), &[]);
        watermark.resume(wall(5_000));
        watermark.advance(wall(5_890));
        assert_eq!(seconds(&watermark), Some(-9));
        watermark.advance(wall(5_900));
        assert_eq!(watermark.given_up_count(), 1);
        assert_eq!(seconds(&watermark), Some(891));
    }

    #[test]
    fn a_silent_stream_goes_on_from_where_it_was_when_the_clock_is_set_back() {
        let mut watermark = Watermark::new(&SETTINGS);
        watermark.listen(wall(10_000), &[partition(0)]);
        seen(&mut watermark, 10_001, 0, 10_000);
        watermark.advance(wall(10_601));
        assert_eq!(seconds(&watermark), Some(10_590));
        watermark.advance(wall(7_000));
        assert_eq!(watermark.reaches(EventTime::from_micros(10_690_000_000)), Some(wall(7_100)));
        watermark.advance(wall(7_100));
        assert_eq!(seconds(&watermark), Some(10_690));
    }

    #[test]
    fn time_stands_still_while_nobody_listens() {
        let mut watermark = Watermark::new(&SETTINGS);
        seen(&mut watermark, 0, 0, 100);
        watermark.stop_listening();
        watermark.advance(wall(10_000));
        assert_eq!(seconds(&watermark), Some(90));
        watermark.listen(wall(10_000), &[partition(0)]);
        watermark.advance(wall(10_030));
        assert_eq!(seconds(&watermark), Some(90));
        // Listened to and silent: the operator's clock carries it on from when that began.
        watermark.advance(wall(10_070));
        assert_eq!(seconds(&watermark), Some(160));
    }
}
