//! Which requests a rule has counted already.
//!
//! Webhooks retry whole batches and shippers resend, and a long-running request comes in two stages.
//! All copies of a request have one identity; each rule counts it once. An identity is remembered by
//! event time: for as long as any window could still hold it, and a day for requests whose second
//! stage may come hours later.
//!
//! Late events count wherever that is possible, so a copy that was stuck in a partition for an hour would
//! count again. Identities therefore outlive their time while some partition may still hold older events
//! ([`Watermark::slowest`]), as long as they are few ([`IDENTITIES_HELD_MAX`]).
//!
//! Most events that some rule counts are seen here, so both memory and store take them in runs. What ends
//! within the same [`STEP`] stands together and is forgotten together, and each checkpoint adds one
//! [`Run`] of a rule and step, whatever the number of requests. Which one leaves when there are too many
//! depends on the order in which they came, so the store keeps that, too.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::watermark::Watermark;
use crate::engine::{
    detect::Detection,
    event::{RequestIdentity, Stage},
    limits::{IDENTITIES_HELD_MAX, IDENTITY_SPAN_MAX},
    time::EventTime,
};

/// How long the identity of a request is remembered whose end may come much later: one day.
const LONG_RUNNING: Duration = Duration::from_secs(86_400);

/// Identities are remembered until the end of a step: one minute. They outlive their time by less.
const STEP: Duration = Duration::from_secs(60);

/// What identifies a detection of one rule: the request, and the stage if the rule sees all stages.
pub(in crate::engine) type IdentityKey = [u8; 17];

/// Name of a piece of stored identities of one rule. They are the value: the keys one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::engine) struct Run {
    /// When they are forgotten.
    pub(super) until: EventTime,
    /// Where among those of its time it stands: greater than that of each run that came before.
    pub(super) number: u64,
}

/// The identities of one rule.
#[derive(Debug)]
pub(in crate::engine) struct Identities {
    /// For how long after its event time one is remembered at least.
    keep: Duration,
    /// How many are remembered at most.
    room: usize,
    known: HashSet<IdentityKey>,
    steps: BTreeMap<EventTime, StepIdentities>,
    /// Runs to delete from the store.
    gone: Vec<Run>,
}

/// The identities that are forgotten at one time.
#[derive(Debug, Default)]
struct StepIdentities {
    /// In the order in which they came.
    keys: VecDeque<IdentityKey>,
    /// How many of the latest are not stored yet.
    fresh: usize,
    /// The runs that hold the others, in the same order.
    runs: VecDeque<StoredRun>,
    /// The first run has fewer by now than the store has of it.
    shortened: bool,
}

/// A run that is stored.
#[derive(Clone, Copy, Debug)]
struct StoredRun {
    number: u64,
    /// How many of the keys are its own; at least one.
    length: usize,
}

/// What looking at an identity came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Seen {
    /// It is new and remembered from now on.
    New,
    /// The same; an older one was forgotten to make room.
    NewForOld,
    /// It was counted before.
    Before,
}

/// The key of a detection.
fn key_of(detection: &Detection) -> IdentityKey {
    let mut key = [0; 17];
    for (to, from) in key.iter_mut().zip(detection.identity.0) {
        *to = from;
    }
    if detection.every_stage {
        key[16] = 1 + match detection.stage {
            Stage::RequestReceived => 0,
            Stage::ResponseStarted => 1,
            Stage::ResponseComplete => 2,
            Stage::Panic => 3,
            Stage::Unfinished => 4,
        };
    }
    key
}

/// The end of the step in which a time lies.
fn step_end(time: EventTime) -> EventTime {
    let step = i64::try_from(STEP.as_micros()).unwrap_or(i64::MAX);
    let start = time.micros().div_euclid(step).saturating_mul(step);
    EventTime::from_micros(start.saturating_add(step))
}

impl StepIdentities {
    /// Forgets the oldest. The number of its run, if that has no others.
    fn pop(&mut self) -> (Option<IdentityKey>, Option<u64>) {
        let key = self.keys.pop_front();
        let Some(run) = self.runs.front_mut() else {
            self.fresh = self.keys.len();
            return (key, None);
        };
        run.length -= 1;
        self.shortened = run.length > 0;
        let emptied = if self.shortened { None } else { self.runs.pop_front() };
        (key, emptied.map(|run| run.number))
    }

    /// The number of the next run.
    fn next_number(&self) -> u64 {
        self.runs.back().map_or(0, |run| run.number.saturating_add(run.length as u64))
    }
}

impl Identities {
    /// None yet. Each will be remembered for `keep` after its event time, up to `room` of them.
    pub(in crate::engine) fn new(keep: Duration, room: usize) -> Identities {
        Identities { keep, room, known: HashSet::new(), steps: BTreeMap::new(), gone: Vec::new() }
    }

    /// These, but of which further ones are remembered as long as those of `other`.
    pub(super) fn kept_like(self, other: &Identities) -> Identities {
        Identities { keep: other.keep, ..self }
    }

    /// Whether a key is remembered.
    pub(in crate::engine) fn knows_key(&self, key: &IdentityKey) -> bool {
        self.known.contains(key)
    }

    /// Whether a request is remembered, whatever its stage.
    pub(super) fn knows(&self, request: RequestIdentity) -> bool {
        let mut key = [0; 17];
        for (to, from) in key.iter_mut().zip(request.0) {
            *to = from;
        }
        self.knows_key(&key)
    }

    /// Remembers a detection.
    pub(super) fn see(&mut self, detection: &Detection) -> Seen {
        let long = detection.stage == Stage::ResponseStarted && !detection.every_stage;
        self.see_key(key_of(detection), detection.time, long)
    }

    /// Remembers a key; for a day if more of it may come hours later.
    pub(in crate::engine) fn see_key(
        &mut self,
        key: IdentityKey,
        time: EventTime,
        long: bool,
    ) -> Seen {
        if !self.known.insert(key) {
            return Seen::Before;
        }
        let keep = if long { self.keep.max(LONG_RUNNING) } else { self.keep };
        let full = self.known.len() > self.room;
        self.make_room();
        let step = self.steps.entry(step_end(time.plus(keep))).or_default();
        step.keys.push_back(key);
        step.fresh += 1;
        if full { Seen::NewForOld } else { Seen::New }
    }

    /// Forgets what ends first while there are too many.
    fn make_room(&mut self) {
        while self.known.len() > self.room
            && let Some(mut first) = self.steps.first_entry()
        {
            let until = *first.key();
            let step = first.get_mut();
            let (key, emptied) = step.pop();
            if let Some(key) = key {
                self.known.remove(&key);
            }
            self.gone.extend(emptied.map(|number| Run { until, number }));
            if step.keys.is_empty() {
                self.forget_first();
            }
        }
    }

    /// Forgets what ended before the watermark, but for a few that a slower partition may repeat.
    pub(in crate::engine) fn expire(&mut self, watermark: EventTime, slowest: EventTime) {
        let slowest = slowest.max(watermark.minus(IDENTITY_SPAN_MAX));
        while let Some((until, _)) = self.steps.first_key_value()
            && *until <= watermark
            && (*until <= slowest || self.known.len() > IDENTITIES_HELD_MAX)
        {
            self.forget_first();
        }
    }

    /// Forgets the step that ends first, with what is stored of it.
    fn forget_first(&mut self) {
        let Some((until, step)) = self.steps.pop_first() else { return };
        for key in step.keys {
            self.known.remove(&key);
        }
        self.gone.extend(step.runs.into_iter().map(|run| Run { until, number: run.number }));
    }

    /// What changed since the last call, with its stored form; `None` if it is gone.
    pub(in crate::engine) fn take_changed(&mut self, mut out: impl FnMut(Run, Option<Vec<u8>>)) {
        for run in self.gone.drain(..) {
            out(run, None);
        }
        for (until, step) in &mut self.steps {
            let until = *until;
            if std::mem::take(&mut step.shortened)
                && let Some(run) = step.runs.front()
            {
                let bytes = step.keys.range(..run.length).flatten().copied().collect();
                out(Run { until, number: run.number }, Some(bytes));
            }
            let length = std::mem::take(&mut step.fresh);
            if length > 0 {
                let number = step.next_number();
                step.runs.push_back(StoredRun { number, length });
                let stored = step.keys.len() - length;
                let bytes = step.keys.range(stored..).flatten().copied().collect();
                out(Run { until, number }, Some(bytes));
            }
        }
    }

    /// Every run that is stored.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        let runs = self.steps.iter().flat_map(|(until, step)| {
            step.runs.iter().map(|run| Run { until: *until, number: run.number })
        });
        runs.chain(self.gone.iter().copied())
    }

    /// Puts a stored run back; in any order. `None` if it cannot be read.
    pub(in crate::engine) fn restore(&mut self, run: Run, bytes: &[u8]) -> Option<()> {
        let (keys, []) = bytes.as_chunks::<17>() else { return None };
        let is_step = step_end(run.until.minus(Duration::from_micros(1))) == run.until;
        if !is_step || run.number.checked_add(keys.len() as u64)? == u64::MAX {
            return None;
        }
        let keys: Vec<IdentityKey> =
            keys.iter().filter(|key| self.known.insert(**key)).copied().collect();
        if keys.is_empty() {
            self.gone.push(run);
            return Some(());
        }
        let step = self.steps.entry(run.until).or_default();
        let at = step.runs.partition_point(|known| known.number < run.number);
        let before = step.runs.iter().take(at).map(|known| known.length).sum();
        let mut behind = step.keys.split_off(before);
        step.runs.insert(at, StoredRun { number: run.number, length: keys.len() });
        step.keys.extend(keys);
        step.keys.append(&mut behind);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rule::RuleIndex;

    fn detection(number: u8, seconds: i64, stage: Stage) -> Detection {
        Detection {
            rule: RuleIndex(0),
            time: EventTime::from_micros(seconds * 1_000_000),
            claimed: None,
            identity: RequestIdentity([number; 16]),
            stage,
            every_stage: false,
            captured: [].into(),
        }
    }

    /// Few, so that some must go.
    const ROOM: usize = 40;

    /// What a store holds after some checkpoints.
    type Rows = BTreeMap<Run, Vec<u8>>;

    fn checkpoint(identities: &mut Identities, rows: &mut Rows) {
        identities.take_changed(|run, value| {
            let is_new = value.is_some();
            let before = match value {
                Some(value) => rows.insert(run, value),
                None => rows.remove(&run),
            };
            assert_ne!(is_new, before.is_some(), "{run:?} is stored once and deleted once");
        });
    }

    #[test]
    fn each_is_counted_once_until_its_time_and_over_restarts() {
        let keep = Duration::from_secs(100);
        let seen = |identities: &mut Identities, number, seconds, stage| {
            identities.see(&detection(number, seconds, stage))
        };
        let expire = |identities: &mut Identities, micros| {
            identities.expire(EventTime::from_micros(micros), EventTime::from_micros(micros));
        };
        let complete = Stage::ResponseComplete;
        let (mut identities, mut rows) = (Identities::new(keep, ROOM), Rows::new());
        assert_eq!(seen(&mut identities, 1, 10, complete), Seen::New);
        assert_eq!(seen(&mut identities, 1, 11, complete), Seen::Before);
        checkpoint(&mut identities, &mut rows);
        checkpoint(&mut identities, &mut rows);
        assert_eq!(rows.len(), 1);
        // The second stage of what runs long comes hours later.
        assert_eq!(seen(&mut identities, 2, 12, Stage::ResponseStarted), Seen::New);
        assert_eq!(seen(&mut identities, 3, 15, complete), Seen::New);
        checkpoint(&mut identities, &mut rows);
        assert_eq!(rows.len(), 3, "one run for each time of forgetting");

        let mut restored = Identities::new(keep, ROOM);
        for (run, bytes) in &rows {
            assert_eq!(restored.restore(*run, bytes), Some(()));
        }
        for identities in [&mut identities, &mut restored] {
            assert_eq!(seen(identities, 1, 50, complete), Seen::Before);
            expire(identities, 119_999_999);
            assert_eq!(seen(identities, 3, 50, complete), Seen::Before, "until the step's end");
            expire(identities, 120_000_000);
            let mut rows = rows.clone();
            checkpoint(identities, &mut rows);
            assert_eq!(rows.len(), 1);
            assert_eq!(seen(identities, 2, 7_200, complete), Seen::Before);
            assert_eq!(seen(identities, 3, 130, complete), Seen::New);
            checkpoint(identities, &mut rows);
            assert_eq!(rows.len(), 2);
        }
    }

    #[test]
    fn few_are_held_for_a_partition_that_is_behind_and_for_a_day_at_most() {
        let at = |seconds: i64| EventTime::from_micros(seconds * 1_000_000);
        let complete = Stage::ResponseComplete;
        let mut identities = Identities::new(STEP, ROOM);
        assert_eq!(identities.see(&detection(1, 0, complete)), Seen::New);
        identities.expire(at(3_600), EventTime::MIN);
        assert_eq!(identities.see(&detection(1, 0, complete)), Seen::Before);
        // Its step ends two minutes after it.
        identities.expire(at(86_400 + 119), EventTime::MIN);
        assert_eq!(identities.see(&detection(1, 0, complete)), Seen::Before);
        identities.expire(at(86_400 + 120), EventTime::MIN);
        assert_eq!(identities.see(&detection(1, 0, complete)), Seen::New);

        let mut identities = Identities::new(STEP, usize::MAX);
        for number in 0..=IDENTITIES_HELD_MAX {
            let mut detection = detection(0, 0, complete);
            for (to, from) in detection.identity.0.iter_mut().zip(number.to_le_bytes()) {
                *to = from;
            }
            assert_eq!(identities.see(&detection), Seen::New);
        }
        identities.expire(at(3_600), EventTime::MIN);
        assert_eq!(identities.see(&detection(0, 0, complete)), Seen::New, "they are too many");
    }

    #[test]
    fn what_ends_first_leaves_when_there_are_too_many() {
        let mut identities = Identities::new(STEP, ROOM);
        let mut seen = |number: u8, seconds: i64| {
            identities.see(&detection(number, seconds, Stage::ResponseComplete))
        };
        // The first is late, and so the last to be forgotten.
        assert_eq!(seen(0, 600), Seen::New);
        for number in 1..40 {
            assert_eq!(seen(number, 0), Seen::New);
        }
        assert_eq!(seen(40, 300), Seen::NewForOld);
        assert_eq!(seen(0, 600), Seen::Before);
        assert_eq!(seen(2, 0), Seen::Before);
        assert_eq!(seen(1, 0), Seen::NewForOld, "it was forgotten");
    }

    /// Two that are told the same, one of which is restored behind each checkpoint from rows in another
    /// order, always know the same, and store the same.
    #[test]
    fn a_restored_one_is_the_same() {
        let mut random = 1_u64;
        let mut dice = move |sides: u8| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u8::try_from((random >> 33) % u64::from(sides)).unwrap()
        };
        let keep = Duration::from_secs(100);
        let (mut whole, mut rows) = (Identities::new(keep, ROOM), Rows::new());
        let (mut restored, mut rows_of_restored) = (Identities::new(keep, ROOM), Rows::new());
        let mut counted = [0; 3];
        for now in 0..20_000_i64 {
            let late = if dice(3) == 0 { i64::from(dice(200)) } else { 0 };
            let detection = detection(dice(120), now - late, Stage::ResponseComplete);
            let seen = whole.see(&detection);
            assert_eq!(seen, restored.see(&detection), "at {now}");
            counted[seen as usize] += 1;
            if dice(9) == 0 {
                let watermark = EventTime::from_micros((now - 60) * 1_000_000);
                whole.expire(watermark, watermark);
                restored.expire(watermark, watermark);
            }
            if dice(5) == 0 {
                take(&mut whole, &mut rows);
                take(&mut restored, &mut rows_of_restored);
                assert_eq!(rows, rows_of_restored, "at {now}");
                restored = Identities::new(keep, ROOM);
                let mut shuffled: Vec<_> = rows.iter().collect();
                shuffled.sort_by_key(|(run, _)| run.number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                for (run, bytes) in shuffled {
                    assert_eq!(restored.restore(*run, bytes), Some(()));
                }
            }
        }
        assert!(counted.iter().all(|count| *count > 50), "{counted:?}");
    }

    fn take(identities: &mut Identities, rows: &mut Rows) {
        identities.take_changed(|run, value| {
            match value {
                Some(value) => rows.insert(run, value),
                None => rows.remove(&run),
            };
        });
    }

    #[test]
    fn what_no_checkpoint_wrote_is_not_read() {
        let mut identities = Identities::new(STEP, ROOM);
        let run = Run { until: EventTime::from_micros(60_000_000), number: 0 };
        assert_eq!(identities.restore(run, &[0; 16]), None, "not whole keys");
        let odd = Run { until: EventTime::from_micros(60_000_001), ..run };
        assert_eq!(identities.restore(odd, &[0; 17]), None, "not the end of a step");
        let last = Run { number: u64::MAX, ..run };
        assert_eq!(identities.restore(last, &[0; 17]), None, "no number is left");
        assert_eq!(identities.restore(run, &[0; 34]), Some(()));
    }
}
