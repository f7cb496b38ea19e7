//! Events of a window that say nothing new are left out, so that who does the same all day costs no more than who does
//! it now and then.
//!
//! Of events that say the same, only the last counts in a window that ends behind all of them, and each that comes in
//! time ends behind what lies before the watermark. Events that come later than that find one in place of
//! several which is at most a 64th of the timespan younger than each, and so does the time of the first event that
//! people are shown.

use std::time::Duration;

use hashbrown::HashSet;

use super::Window;
use crate::engine::time::EventTime;

/// When an event says nothing that a later one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::kind) enum Repeats {
    /// Never: each counts.
    Counted,
    /// When one of the same hash follows: what is counted are different ones.
    Anywhere,
    /// When one of the same input follows next: what counts is their order.
    InARow,
}

/// Events of which none is left out: 64.
const FEW: usize = 64;

/// Parts of the timespan within which one stands for others.
const PARTS: u32 = 64;

/// How often within the timespan a window is looked through.
const TURNS: u32 = 16;

impl Window {
    /// Leaves out what says nothing new, before an event of this time is put in; how many are gone. Cost: the length of
    /// the window, 16 times within its timespan at most, by event time.
    pub(in crate::engine::kind) fn leave_out_repeats(
        &mut self,
        repeats: Repeats,
        timespan: Duration,
        time: EventTime,
        watermark: EventTime,
    ) -> usize {
        let turn = |time| part(time, timespan / TURNS);
        let is_due = self.last_time().is_some_and(|last| turn(last) < turn(time));
        if repeats == Repeats::Counted || self.len() <= FEW || !is_due {
            return 0;
        }
        let is_said_again = self.said_again(repeats, timespan / PARTS, watermark);
        self.keep(|at| !is_said_again.get(at).is_some_and(|is_said_again| *is_said_again))
    }

    /// Of each event before the watermark, whether a later one within the same part says the same.
    fn said_again(&self, repeats: Repeats, length: Duration, watermark: EventTime) -> Vec<bool> {
        let settled = self.count_before(watermark);
        let mut said_again = vec![false; settled];
        let (mut next, mut said) = (None, HashSet::new());
        for (at, is_said_again) in said_again.iter_mut().enumerate().rev() {
            let Some(entry) = self.get(at) else { continue };
            let this = (part(entry.time, length), entry.input);
            let before = next.replace(this);
            if before.is_some_and(|(part, _)| part != this.0) {
                said.clear();
            }
            *is_said_again = match repeats {
                Repeats::Counted => false,
                Repeats::Anywhere => !said.insert((entry.input, entry.hash)),
                Repeats::InARow => before == Some(this),
            };
        }
        said_again
    }
}

/// Which part of this length, aligned to the epoch, holds a time.
fn part(time: EventTime, length: Duration) -> i64 {
    time.micros().div_euclid(i64::try_from(length.as_micros()).unwrap_or(i64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{super::WindowEvent, *};
    use crate::engine::kind::window::WindowShape;

    const SPAN: Duration = Duration::from_secs(64);

    fn event(micros: i64, input: u16, hash: u64) -> WindowEvent {
        let time = EventTime::from_micros(micros);
        let (number, text, found, captured) = (0.0, None, false, None);
        WindowEvent { time, input, hash, number, text, found, captured }
    }

    /// Inputs one after the other, of which those that come again at once count once.
    fn runs(mut inputs: Vec<u16>) -> Vec<u16> {
        inputs.dedup();
        inputs
    }

    proptest! {
        /// Events come late, but in time: every window that they are part of has the same values, and the same inputs in
        /// the same order, as if nothing had been left out. What it begins with is at most a part younger.
        #[test]
        fn what_comes_in_time_finds_the_same(
            seed in any::<u64>(),
            inputs in 1..5_u64,
            apart in 1_000..900_000_u64,
            late in 0..9_000_000_u64,
            anywhere in any::<bool>(),
        ) {
            let mut random = seed;
            let mut below = |most: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % most
            };
            let repeats = if anywhere { Repeats::Anywhere } else { Repeats::InARow };
            let (mut window, mut all) = (Window::default(), Vec::new());
            let (mut now, mut gone) = (1_700_000_000_000_000_i64, 0);
            for _ in 0..600 {
                now += i64::try_from(below(2 * apart)).unwrap();
                let time = now - i64::try_from(below(late + 1)).unwrap();
                let watermark = EventTime::from_micros(now - i64::try_from(late).unwrap());
                let input = u16::try_from(below(inputs)).unwrap();
                gone += window.leave_out_repeats(repeats, SPAN, EventTime::from_micros(time), watermark);
                let added = event(time, input, u64::from(input));
                all.push((time, input));
                let at = window.insert(added);
                all.sort_by_key(|(time, input)| (*time, *input));
                for end_index in at..window.len() {
                    let (start, end) = window.bounds(WindowShape::Sliding, SPAN, end_index);
                    let last = window.get(end_index).unwrap();
                    let span = i64::try_from(SPAN.as_micros()).unwrap();
                    // Of one moment no more than up to this input.
                    let within = all.iter().filter(|(time, input)| {
                        *time > last.time.micros() - span
                            && (*time, *input) <= (last.time.micros(), last.input)
                    });
                    let exact: Vec<(i64, u16)> = within.copied().collect();
                    let first = window.get(start).unwrap().time.micros();
                    let younger = first - exact[0].0;
                    prop_assert!((0..=1_000_000).contains(&younger), "{younger}");
                    let exact: Vec<u16> = exact.into_iter().map(|(_, input)| input).collect();
                    let told: Vec<u16> = window.range(start, end).map(|event| event.input).collect();
                    if anywhere {
                        let different: BTreeSet<u16> = exact.into_iter().collect();
                        prop_assert_eq!(window.distinct(start, end), different.len());
                    } else {
                        prop_assert_eq!(runs(told), runs(exact));
                    }
                }
                window.prune(watermark, SPAN);
            }
            prop_assert!(inputs > 1 || apart > 500_000 || late > 6_000_000 || gone > 0);
        }
    }

    #[test]
    fn who_does_the_same_all_day_has_a_short_window() {
        let mut window = Window::default();
        let mut longest = 0;
        for micros in (0..200_000_000).step_by(10_000) {
            let time = EventTime::from_micros(micros);
            let watermark = EventTime::from_micros(micros - 1_000_000);
            window.leave_out_repeats(Repeats::InARow, SPAN, time, watermark);
            window.insert(event(micros, 0, 0));
            window.prune(watermark, SPAN);
            longest = longest.max(window.len());
        }
        // 6,400 came within the timespan: one of each part, and those of some seconds.
        assert!(longest < 700, "{longest}");
        let counted =
            window.leave_out_repeats(Repeats::Counted, SPAN, EventTime::MAX, EventTime::MAX);
        assert_eq!(counted, 0, "where each counts nothing is left out");
    }
}
