//! Sliding windows of many values: by its mark each value is known to be last seen within one of 63 stretches of time.
//!
//! Each stretch consists of steps in which as many values were seen; a window that begins or ends within a stretch is
//! told to have as much of its values as of what came in it. So that a step is some 250th of what is compared with, the
//! least of neighbours are joined when there are too many.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::marks::{MARK_MAX, MARKS, Marks};
use crate::engine::{kind::memory, time::EventTime};

/// Steps of one stretch: 4.
const STEPS_PER_STRETCH: usize = 4;

/// Steps of all: 256, of 24 B each; more than full stretches have.
const STEPS_MAX: usize = 256;

/// A part of a window without values, behind which a new step begins.
const PAUSE_PARTS: u32 = 64;

/// Steps of a window with as many values as are compared with.
pub(super) const STEPS_WANTED: f64 = 240.0;

/// A time within which some values were seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Step {
    /// When it begins. It lasts until the next one begins.
    since: EventTime,
    /// When the last of them came.
    until: EventTime,
    /// How many came within it; once stretches were joined, how many of these were not seen again since.
    came: f32,
    /// The mark of its stretch.
    mark: u8,
}

impl Step {
    fn new(since: EventTime, until: EventTime, mark: u8) -> Step {
        Step { since, until, came: 0.0, mark }
    }

    /// How many values stand at another time if this step is joined with the next, at most; and a part of all, so that
    /// no step becomes much greater than others.
    fn wrong_if_joined(&self, next: &Step) -> f32 {
        let all = self.came + next.came;
        let joined = Step { since: self.since, until: next.until, came: all, mark: self.mark };
        let told = |time: EventTime| all * joined.part_within(EventTime::MIN, time);
        let off = |time: EventTime| (told(time) - self.came).abs();
        off(self.until).max(off(next.since)) * 8.0 + all
    }

    /// Which part of what came in it came within `(after, until]`, if it came evenly.
    fn part_within(&self, after: EventTime, until: EventTime) -> f32 {
        if self.since > after && self.until <= until {
            return 1.0;
        }
        if self.until <= after || self.since > until {
            return 0.0;
        }
        let within = self.until.min(until).since(self.since.max(after));
        within.as_secs_f32() / self.until.since(self.since).as_secs_f32()
    }
}

/// The last times of the values of one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Panes {
    /// By time; marks begin with 1, and are as many as there are stretches.
    #[serde(deserialize_with = "read_steps")]
    steps: VecDeque<Step>,
    /// When the last value was seen.
    last: EventTime,
    /// Whether the window that ends with it has been found.
    pub(super) is_found: bool,
}

/// Reads steps, which must be such as are made here.
fn read_steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VecDeque<Step>, D::Error> {
    let steps = VecDeque::<Step>::deserialize(deserializer)?;
    let follows = |(step, next): (&Step, &Step)| {
        step.since <= next.since && (step.mark..=step.mark.saturating_add(1)).contains(&next.mark)
    };
    let is_sound = |step: &Step| step.since <= step.until && step.came.is_finite();
    let marks =
        (steps.front().map_or(1, |step| step.mark), steps.back().map_or(1, |step| step.mark));
    let fits = steps.len() <= STEPS_MAX && marks.0 == 1 && marks.1 <= MARK_MAX;
    if fits && steps.iter().all(is_sound) && steps.iter().zip(steps.iter().skip(1)).all(follows) {
        Ok(steps)
    } else {
        Err(D::Error::custom("it does not fit"))
    }
}

/// What a step lasts for: how long windows are, how many values a step should have at least and at most, and up to when
/// nothing matters any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) span: Duration,
    pub(super) step: (f32, f32),
    pub(super) watermark: Option<EventTime>,
}

impl Default for Panes {
    fn default() -> Panes {
        Panes { steps: VecDeque::new(), last: EventTime::MIN, is_found: false }
    }
}

impl Panes {
    /// When the last value was seen.
    pub(super) const fn last(&self) -> EventTime {
        self.last
    }

    /// Whether no value was seen.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What they take in memory beside their own size.
    pub(super) fn bytes(&self) -> usize {
        memory::list(self.steps.len(), size_of::<Step>())
    }

    /// When the first one was seen that is still known.
    pub(super) fn first(&self) -> EventTime {
        self.steps.front().map_or(EventTime::MAX, |step| step.since)
    }

    /// A value was seen; whether it was not known in its stretch.
    pub(super) fn see(
        &mut self,
        marks: &mut Marks,
        hash: u64,
        time: EventTime,
        pace: Pace,
    ) -> bool {
        let at = self.step_at(marks, time, pace);
        self.last = self.last.max(time);
        let is_last = at + 1 == self.steps.len();
        let Some(step) = self.steps.get_mut(at) else { return false };
        let (own, is_late) = (step.mark, time < step.until);
        step.until = step.until.max(time);
        let changed = marks.change(hash, |mark| mark.max(own));
        let is_new = changed.is_some_and(|(before, after)| after > before);
        if is_new {
            step.came += 1.0;
        } else if is_last && !is_late && changed.is_some_and(|(before, _)| before == own) {
            self.move_up(at, own);
        }
        is_new
    }

    /// One of the values of a stretch came again, in this step: nobody knows in which of them it came before.
    fn move_up(&mut self, at: usize, mark: u8) {
        let of_stretch = || self.steps.iter().rev().take_while(|step| step.mark == mark);
        let all: f32 = of_stretch().map(|step| step.came).sum();
        let left = (1.0 - 1.0 / all.max(1.0)).max(0.0);
        let stretch = self.steps.iter_mut().rev().take_while(|step| step.mark == mark);
        stretch.for_each(|step| step.came *= left);
        if let Some(step) = self.steps.get_mut(at) {
            step.came += 1.0;
        }
    }

    /// Of all that came before only a share is looked at from now on.
    pub(super) fn thin(&mut self, share: u8, of: u8) {
        for step in &mut self.steps {
            step.came *= f32::from(share) / f32::from(of);
        }
    }

    /// The step of a time; one that is full, or ended in a pause, is followed by another, which begins then.
    fn step_at(&mut self, marks: &mut Marks, time: EventTime, pace: Pace) -> usize {
        let pause = pace.span / PAUSE_PARTS;
        let Some(first) = self.steps.front_mut() else {
            self.steps.push_front(Step::new(time, time, 1));
            return 0;
        };
        let is_before = first.since.since(time) > pause;
        if !is_before {
            first.since = first.since.min(time);
            let at = self.place_of(time);
            let has_room =
                |step: &Step| time.since(step.until) <= pause && !self.is_full(step, pace);
            if self.steps.get(at).is_some_and(has_room) {
                return at;
            }
        }
        if self.steps.len() >= STEPS_MAX {
            self.join_longest();
        }
        if self.stretches() == MARK_MAX && (is_before || self.begins_stretch(time, pause)) {
            self.make_room(marks, time, pace);
        }
        if is_before {
            self.open_stretch(marks, 0);
            self.steps.push_front(Step::new(time, time, 1));
            return 0;
        }
        let at = self.place_of(time);
        let begins_stretch = self.begins_stretch(time, pause);
        let mut mark = self.steps.get(at).map_or(1, |step| step.mark);
        if begins_stretch {
            self.open_stretch(marks, mark);
            mark += 1;
        }
        // What is still to come behind all that came goes into it, and what comes late does not.
        let is_last = at + 1 == self.steps.len();
        let since = if is_last { time.max(self.last) } else { time };
        let mut next = Step::new(since, since, mark);
        if let Some(step) = self.steps.get_mut(at).filter(|_| !begins_stretch && !is_last) {
            next.came = step.came * step.part_within(time, EventTime::MAX);
            step.came -= next.came;
            next.until = step.until.max(time);
            step.until = step.until.min(time);
        }
        self.steps.insert(at + 1, next);
        if since <= time { at + 1 } else { at }
    }

    /// Whether a step has as many values as it should: of many in the window more than of few.
    fn is_full(&self, step: &Step, Pace { span, step: (least, most), .. }: Pace) -> bool {
        if step.came < least || step.came >= most {
            return step.came >= most;
        }
        let since = self.last.minus(span);
        let within = self.steps.iter().filter(|step| step.until > since);
        let within: f32 = within.map(|step| step.came).sum();
        f64::from(step.came) * STEPS_WANTED >= f64::from(within)
    }

    /// Makes place for a stretch behind one.
    fn open_stretch(&mut self, marks: &mut Marks, behind: u8) {
        if behind < self.stretches() {
            marks.relabel(|mark| if mark > behind { mark + 1 } else { mark });
            self.steps.iter_mut().filter(|step| step.mark > behind).for_each(|step| step.mark += 1);
        }
    }

    /// Where the step of a time stands; the first one if it is earlier than all.
    fn place_of(&self, time: EventTime) -> usize {
        self.steps.partition_point(|step| step.since <= time).saturating_sub(1)
    }

    /// Whether a step that begins at a time belongs to another stretch than the one before it: that is the last of its
    /// own, which is full or ended in a pause.
    fn begins_stretch(&self, time: EventTime, pause: Duration) -> bool {
        let at = self.place_of(time);
        let mark_at = |at: usize| self.steps.get(at).map(|step| step.mark);
        let own = mark_at(at);
        let is_paused = self.steps.get(at).is_some_and(|step| time.since(step.until) > pause);
        let is_full =
            at.checked_sub(STEPS_PER_STRETCH - 1).is_some_and(|first| mark_at(first) == own);
        own != mark_at(at + 1) && (is_full || is_paused)
    }

    /// How many stretches there are: the mark of the last one.
    fn stretches(&self) -> u8 {
        self.steps.back().map_or(0, |step| step.mark)
    }

    /// Forgets stretches that no window needs any more, and joins the two neighbours that have the fewest values.
    /// What no window does that ends now or later counts for nothing.
    fn make_room(&mut self, marks: &mut Marks, time: EventTime, pace: Pace) {
        let passed = |panes: &Panes, time: EventTime| {
            // The stretch in which the first step lies that is still needed is needed as a whole.
            let needed = panes.steps.iter().find(|step| step.until.plus(pace.span) > time);
            needed.map_or(0, |step| step.mark - 1)
        };
        let forgotten = pace.watermark.map_or(0, |watermark| passed(self, watermark));
        if forgotten > 0 {
            marks.relabel(|mark| mark.saturating_sub(forgotten));
            self.steps.retain(|step| step.mark > forgotten);
            for step in &mut self.steps {
                step.mark -= forgotten;
            }
            return;
        }
        let unneeded = passed(self, self.last.min(time));
        let weight = |mark: u8| if mark <= unneeded { 0 } else { marks.count(mark) };
        // What is needed is not mixed with what is not: how much of each is left would not be known.
        let pairs = (1..self.stretches()).filter(|mark| *mark != unneeded);
        let least = pairs.min_by_key(|mark| weight(*mark) + weight(mark + 1));
        let Some(joined) = least else { return };
        self.settle(marks, joined);
        self.settle(marks, joined + 1);
        marks.relabel(|mark| if mark > joined { mark - 1 } else { mark });
        self.steps.iter_mut().filter(|step| step.mark > joined).for_each(|step| step.mark -= 1);
        self.join_steps(joined);
    }

    /// Notes of the steps of a stretch how many of their values are left, if as many are gone of each.
    #[expect(clippy::cast_precision_loss, reason = "it says how exact it is")]
    fn settle(&mut self, marks: &Marks, mark: u8) {
        let of_stretch = |step: &&mut Step| step.mark == mark;
        let all: f32 =
            self.steps.iter().filter(|step| step.mark == mark).map(|step| step.came).sum();
        if all > 0.0 {
            let left = marks.count(mark) as f32 / all;
            self.steps.iter_mut().filter(of_stretch).for_each(|step| step.came *= left);
        }
    }

    /// Joins the steps of the stretch that has most: events that come late make more of them than it should have.
    fn join_longest(&mut self) {
        let mut steps = [0_usize; MARKS];
        for step in &self.steps {
            if let Some(of_stretch) = steps.get_mut(usize::from(step.mark)) {
                *of_stretch += 1;
            }
        }
        let most =
            (0..MARK_MAX).map(|mark| mark + 1).max_by_key(|mark| steps.get(usize::from(*mark)));
        self.join_steps(most.unwrap_or(1));
    }

    /// Joins neighbours among the steps of a stretch that has too many, those first of which what is joined says least
    /// that is wrong.
    fn join_steps(&mut self, mark: u8) {
        let first = self.steps.partition_point(|step| step.mark < mark);
        let mut end = self.steps.partition_point(|step| step.mark <= mark);
        while end - first > STEPS_PER_STRETCH {
            let wrong = |at: &usize| {
                let pair = self.steps.get(*at).zip(self.steps.get(at + 1));
                pair.map_or(f32::MAX, |(step, next)| step.wrong_if_joined(next))
            };
            let least = (first..end - 1).min_by(|a, b| wrong(a).total_cmp(&wrong(b)));
            let at = least.unwrap_or(first);
            if let Some(next) = self.steps.remove(at + 1)
                && let Some(step) = self.steps.get_mut(at)
            {
                step.came += next.came;
                step.until = next.until;
            }
            end -= 1;
        }
    }

    /// The values, or cells, that were last seen within `(after, until]`.
    pub(super) fn count(&self, marks: &Marks, after: EventTime, until: EventTime) -> Counted {
        let mut counted = Counted { within: 0.0, later: 0.0, first: until };
        let mut steps = self.steps.iter().peekable();
        while let Some(mark) = steps.peek().map(|step| step.mark) {
            let (mut all, mut within, mut later) = (0.0, 0.0, 0.0);
            while let Some(step) = steps.next_if(|step| step.mark == mark) {
                let (came, part) = (f64::from(step.came), step.part_within(after, until));
                all += came;
                within += came * f64::from(part);
                later += came * f64::from(step.part_within(until, EventTime::MAX));
                if part > 0.0 {
                    let next = after.plus(Duration::from_micros(1));
                    counted.first = counted.first.min(step.since.max(next));
                }
            }
            if all > 0.0 {
                let values = f64::from(marks.count(mark));
                counted.within += values * within / all;
                counted.later += values * later / all;
            }
        }
        counted
    }

    /// What was counted of each window that ends with a step, from a time on until a window's length behind it; with
    /// when it ends. Cost: the number of steps.
    pub(super) fn count_behind(
        &self,
        marks: &Marks,
        time: EventTime,
        span: Duration,
    ) -> impl Iterator<Item = (EventTime, Counted)> {
        // Of each step how many of its values are left, if as many are gone of each of a stretch, and of all before it.
        let mut came = [0.0; MARKS];
        for step in &self.steps {
            if let Some(all) = came.get_mut(usize::from(step.mark)) {
                *all += f64::from(step.came);
            }
        }
        let left = |step: &Step| {
            let all = came.get(usize::from(step.mark)).copied().unwrap_or(0.0);
            let part = if all > 0.0 { f64::from(step.came) / all } else { 0.0 };
            part * f64::from(marks.count(step.mark))
        };
        let mut all = 0.0;
        let steps: Vec<(&Step, f64, f64)> = self
            .steps
            .iter()
            .map(|step| {
                let (before, own) = (all, left(step));
                all += own;
                (step, own, before)
            })
            .collect();
        let mut first = 0;
        let ends = steps
            .clone()
            .into_iter()
            .filter(move |(step, ..)| (time..time.plus(span)).contains(&step.until));
        ends.map(move |(end, own, before)| {
            let after = end.until.minus(span);
            while steps.get(first).is_some_and(|(step, ..)| step.until <= after) {
                first += 1;
            }
            let begins = steps.get(first).map_or((0.0, end.since), |(step, own, before)| {
                let passed = 1.0 - f64::from(step.part_within(after, EventTime::MAX));
                (before + own * passed, step.since.max(after.plus(Duration::from_micros(1))))
            });
            let until = before + own;
            let (within, later) = (until - begins.0, all - until);
            (end.until, Counted { within, later, first: begins.1 })
        })
    }
}

/// What was counted of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// Values, or cells, that were last seen in it.
    pub(super) within: f64,
    /// Those that were seen behind it.
    pub(super) later: f64,
    /// When the first of it was seen.
    pub(super) first: EventTime,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{
        super::marks::{SHARES, cells_of, share_for},
        *,
    };
    use crate::engine::kind::window::count;

    const SPAN: Duration = Duration::from_secs(600);
    const SPAN_MICROS: i64 = 600_000_000;

    /// Some values of a stream: how many come, how many different ones before they come again, how far apart, and
    /// after which pause.
    type Burst = (u64, u64, i64, i64);

    /// Hashes as BLAKE3 makes them, nearly (SplitMix64).
    fn hash(value: u64) -> u64 {
        let mut mixed = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// What is told of a stream, beside what is so.
    struct Pair {
        compared: f64,
        marks: Marks,
        panes: Panes,
        exact: HashMap<u64, i64>,
        newest: i64,
    }

    impl Pair {
        fn new(compared: f64) -> Pair {
            let (marks, panes) = (Marks::default(), Panes::default());
            Pair { compared, marks, panes, exact: HashMap::new(), newest: 0 }
        }

        fn see(&mut self, value: u64, micros: i64) {
            let share = share_for(self.compared);
            #[expect(clippy::cast_possible_truncation, reason = "a number is near enough")]
            let step = (cells_of(self.compared, share) / STEPS_WANTED).max(1.0) as f32;
            self.newest = self.newest.max(micros);
            let watermark = Some(EventTime::from_micros(self.newest).minus(SPAN / 10));
            let pace = Pace { span: SPAN, step: (step, step), watermark };
            self.panes.see(&mut self.marks, hash(value), EventTime::from_micros(micros), pace);
            if self.marks.spread(share, Ord::max) {
                self.panes.thin(share, SHARES);
            }
            let seen = self.exact.entry(value).or_insert(micros);
            *seen = micros.max(*seen);
        }

        /// Told and exact.
        fn counts(&self) -> (f64, f64) {
            let last = self.panes.last();
            assert_eq!(last.micros(), self.newest);
            let counted = self.panes.count(&self.marks, last.minus(SPAN), last);
            let since = last.minus(SPAN).micros();
            let exact = self.exact.values().filter(|seen| **seen > since).count();
            (self.marks.estimate(counted.within, counted.later), count(exact))
        }

        /// What no change may break.
        fn check(&self) {
            let steps = &self.panes.steps;
            assert!(steps.len() <= STEPS_MAX && self.panes.stretches() <= MARK_MAX);
            assert!(steps.iter().zip(steps.iter().skip(1)).all(|(step, next)| {
                step.since <= step.until
                    && step.since <= next.since
                    && (next.mark == step.mark || next.mark == step.mark + 1)
            }));
            assert_eq!(steps.front().map_or(1, |step| step.mark), 1);
            let known = self.panes.stretches();
            assert_eq!(self.marks.count_where(|mark| mark > known), 0);
        }
    }

    fn play(pair: &mut Pair, bursts: &[Burst], late: i64, mut look: impl FnMut(&Pair)) {
        let (mut now, mut number) = (0, 0_u64);
        for (events, values, apart, pause) in bursts {
            now += pause;
            let first = number;
            for nth in 0..*events {
                now += apart;
                number = first + nth % values;
                let back = i64::try_from(hash(nth) % 1_000).unwrap() * late / 1_000;
                pair.see(number, (now - back).max(0));
            }
            look(pair);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever comes, in pauses, again and late: what is told is off by less than a 100th of what is compared with,
        /// or of itself, and where values come again in an order of their own by less than two.
        #[test]
        fn values_are_counted_within_their_error(
            compared in prop::sample::select(vec![10_001.0, 12_000.0, 20_000.0]),
            bursts in prop::collection::vec(
                (1..9_000_u64, 1..12_000_u64, 1..60_000_i64, 0..100_000_000_i64),
                1..20,
            ),
            late in 0..20_000_000_i64,
        ) {
            let mut pair = Pair::new(compared);
            let mut off: Vec<f64> = Vec::new();
            play(&mut pair, &bursts, late, |pair| {
                let (told, exact) = pair.counts();
                off.push((told - exact) / exact.max(compared));
                pair.check();
                let bytes = pair.marks.bytes() + pair.panes.bytes();
                assert!(bytes <= 63 << 10, "{bytes}");
            });
            let few = off.iter().filter(|off| off.abs() > 0.01).count();
            prop_assert!(few <= 1 + off.len() / 5, "{off:?}");
            prop_assert!(off.iter().all(|off| off.abs() <= 0.02), "{off:?}");
        }
    }

    /// How much is off of many streams of so many different values, of which two in three are in the window: the
    /// standard error, and the most.
    fn errors(values: u32, streams: u64) -> (f64, f64) {
        let mut off: Vec<f64> = Vec::new();
        for stream in 0..streams {
            let mut pair = Pair::new(f64::from(values));
            let apart = SPAN_MICROS / i64::from(values);
            let mut at = 0;
            while at < SPAN_MICROS * 3 / 2 {
                pair.see(stream << 32 | at.unsigned_abs(), at);
                at += apart;
            }
            let (told, exact) = pair.counts();
            off.push(told / exact - 1.0);
        }
        let mean = off.iter().map(|one| one * one).sum::<f64>() / count(off.len());
        (mean.sqrt(), off.into_iter().map(f64::abs).fold(0.0, f64::max))
    }

    #[test]
    fn the_standard_error_is_what_was_worked_out() {
        for (compared, streams, standard, most) in
            [(10_001, 60, 0.003, 0.01), (100_000, 12, 0.004, 0.01), (1_000_000, 4, 0.006, 0.015)]
        {
            let (found, greatest) = errors(compared, streams);
            assert!(found <= standard && greatest <= most, "{compared}: {found}, {greatest}");
        }
    }

    #[test]
    fn what_is_behind_may_be_far_behind() {
        // One partition is hours ahead; what comes of another is looked at as if it came alone.
        let mut pair = Pair::new(12_000.0);
        for value in 0..12_000 {
            pair.see(1 << 40 | value, 36_000_000_000 + i64::try_from(value).unwrap() * 10_000);
        }
        let mut last = EventTime::MIN;
        for value in 0..30_000_u64 {
            last = EventTime::from_micros(i64::try_from(value).unwrap() * 40_000);
            let pace = Pace { span: SPAN, step: (45.0, 45.0), watermark: None };
            pair.panes.see(&mut pair.marks, hash(value), last, pace);
        }
        pair.check();
        let counted = pair.panes.count(&pair.marks, last.minus(SPAN), last);
        let told = pair.marks.estimate(counted.within, counted.later);
        assert!((told - 15_000.0).abs() <= 750.0, "{told}");
    }
}
