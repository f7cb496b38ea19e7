//! Sliding windows of many values: by its mark each value is known to be last seen within one of 31 stretches of time.
//!
//! Each stretch consists of steps in which as many values were seen; a window that begins or ends within a stretch is
//! told to have as much of its values as of what came in it. So that a step is some 250th of what is compared with, the
//! least of neighbours are joined when there are too many.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::marks::{MARK_MAX, MARKS, Marks};
use crate::engine::{kind::memory, time::EventTime};

/// Steps of one stretch: 8.
const STEPS_PER_STRETCH: usize = 8;

/// Steps of all: 256, of 16 B each; more than full stretches have.
const STEPS_MAX: usize = 256;

/// Steps of a window with as many values as are compared with.
pub(super) const STEPS_WANTED: f64 = 240.0;

/// A time within which some values were seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Step {
    /// When it begins. It lasts until the next one begins.
    since: EventTime,
    /// How many came within it.
    came: u32,
    /// The mark of its stretch.
    mark: u8,
}

/// The last times of the values of one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Panes {
    /// By time; marks begin with 1, and are as many as there are stretches.
    steps: VecDeque<Step>,
    /// When the last value was seen.
    last: EventTime,
    /// Whether the window that ends with it has been found.
    pub(super) is_found: bool,
}

/// What a step lasts for: how long windows are, how many values a step should have, and up to when nothing
/// matters any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) span: Duration,
    pub(super) step: u32,
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

    /// A value was seen; whether that says something new.
    pub(super) fn see(
        &mut self,
        marks: &mut Marks,
        hash: u64,
        time: EventTime,
        pace: Pace,
    ) -> bool {
        let at = self.step_at(marks, time, pace);
        self.last = self.last.max(time);
        let Some(step) = self.steps.get_mut(at) else { return false };
        let changed = marks.change(hash, |mark| mark.max(step.mark));
        let is_new = changed.is_some_and(|(before, after)| after > before);
        step.came += u32::from(is_new);
        is_new
    }

    /// Of all that came before only a share is looked at from now on.
    pub(super) fn thin(&mut self, share: u8, of: u8) {
        for step in &mut self.steps {
            step.came = step.came * u32::from(share) / u32::from(of);
        }
    }

    /// The step of a time; one that is full is followed by another, which begins then.
    fn step_at(&mut self, marks: &mut Marks, time: EventTime, pace: Pace) -> usize {
        let Some(mut at) = self.place_of(time) else {
            self.steps.push_front(Step { since: time, came: 0, mark: 1 });
            return 0;
        };
        if let Some(first) = self.steps.front_mut() {
            first.since = first.since.min(time);
        }
        if self.steps.get(at).is_some_and(|step| step.came < pace.step) {
            return at;
        }
        if self.steps.len() >= STEPS_MAX {
            self.join_longest();
        }
        at = self.place_of(time).unwrap_or_default();
        if self.begins_stretch(at) && self.stretches() == MARK_MAX {
            self.make_room(marks, pace);
        }
        at = self.place_of(time).unwrap_or_default();
        let begins_stretch = self.begins_stretch(at);
        let mut mark = self.steps.get(at).map_or(1, |step| step.mark);
        if begins_stretch {
            if mark < self.stretches() {
                marks.relabel(|one| if one > mark { one + 1 } else { one });
                self.steps.iter_mut().skip(at + 1).for_each(|step| step.mark += 1);
            }
            mark += 1;
        }
        self.steps.insert(at + 1, Step { since: time, came: 0, mark });
        at + 1
    }

    /// Where the step of a time stands; the first one if it is earlier than all.
    fn place_of(&self, time: EventTime) -> Option<usize> {
        let behind = self.steps.partition_point(|step| step.since <= time);
        (!self.steps.is_empty()).then(|| behind.saturating_sub(1))
    }

    /// Whether a step behind this one belongs to another stretch: this one is the last of its own, which is full.
    fn begins_stretch(&self, at: usize) -> bool {
        let mark_at = |at: usize| self.steps.get(at).map(|step| step.mark);
        let own = mark_at(at);
        own != mark_at(at + 1)
            && at.checked_sub(STEPS_PER_STRETCH - 1).is_some_and(|first| mark_at(first) == own)
    }

    /// How many stretches there are: the mark of the last one.
    fn stretches(&self) -> u8 {
        self.steps.back().map_or(0, |step| step.mark)
    }

    /// When a step ends.
    fn end_of(&self, at: usize) -> EventTime {
        self.steps.get(at + 1).map_or(self.last, |next| next.since)
    }

    /// Forgets stretches that no window needs any more, and joins the two neighbours that have the fewest values.
    /// What no window does that ends now or later counts for nothing.
    fn make_room(&mut self, marks: &mut Marks, pace: Pace) {
        let passed = |panes: &Panes, time: EventTime| {
            let is_passed = |at: &usize| panes.end_of(*at).plus(pace.span) <= time;
            let last = (0..panes.steps.len()).take_while(is_passed).last();
            // The stretch in which the first step lies that is still needed is needed as a whole.
            last.map_or(0, |at| panes.steps.get(at + 1).map_or(0, |step| step.mark - 1))
        };
        let forgotten = pace.watermark.map_or(0, |watermark| passed(self, watermark));
        if forgotten > 0 {
            marks.relabel(|mark| mark.saturating_sub(forgotten));
            self.steps.retain(|step| step.mark > forgotten);
            self.steps.iter_mut().for_each(|step| step.mark -= forgotten);
            return;
        }
        let unneeded = passed(self, self.last);
        let weight = |mark: u8| if mark <= unneeded { 0 } else { marks.count(mark) };
        let least = (1..self.stretches()).min_by_key(|mark| weight(*mark) + weight(mark + 1));
        let Some(joined) = least else { return };
        marks.relabel(|mark| if mark > joined { mark - 1 } else { mark });
        self.steps.iter_mut().filter(|step| step.mark > joined).for_each(|step| step.mark -= 1);
        self.join_steps(joined);
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

    /// Joins the steps of a stretch that has too many, two by two.
    fn join_steps(&mut self, mark: u8) {
        let first = self.steps.partition_point(|step| step.mark < mark);
        let end = self.steps.partition_point(|step| step.mark <= mark);
        let mut left = end - first;
        while left > STEPS_PER_STRETCH {
            let pairs = left / 2;
            for at in first..first + pairs {
                if let Some(second) = self.steps.remove(at + 1)
                    && let Some(step) = self.steps.get_mut(at)
                {
                    step.came += second.came;
                }
            }
            left -= pairs;
        }
    }

    /// How many values, or cells, were last seen within `(after, until]`; and when the first of them was seen.
    pub(super) fn count(
        &self,
        marks: &Marks,
        after: EventTime,
        until: EventTime,
    ) -> (f64, EventTime) {
        let (mut counted, mut first) = (0.0, until);
        let mut steps = (0..).zip(&self.steps).peekable();
        while let Some((_, Step { mark, .. })) = steps.peek() {
            let mark = *mark;
            let (mut all, mut within) = (0.0, 0.0);
            while let Some((at, step)) = steps.next_if(|(_, step)| step.mark == mark) {
                let part = part_within(step.since, self.end_of(at), after, until);
                all += f64::from(step.came);
                within += f64::from(step.came) * part;
                if part > 0.0 {
                    let next = after.plus(Duration::from_micros(1));
                    first = first.min(step.since.max(next));
                }
            }
            if within > 0.0 {
                counted += f64::from(marks.count(mark)) * within / all;
            }
        }
        (counted, first)
    }
}

/// Which part of what came from `since` to `end` came within `(after, until]`.
fn part_within(since: EventTime, end: EventTime, after: EventTime, until: EventTime) -> f64 {
    if since > after && end <= until {
        return 1.0;
    }
    if end <= after || since > until {
        return 0.0;
    }
    let within = end.min(until).since(since.max(after));
    within.as_secs_f64() / end.since(since).as_secs_f64()
}
