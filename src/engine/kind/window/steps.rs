//! What events of a window carried, for hits that ask for several: of few of them it is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Window, WindowEvent};
use crate::engine::{
    time::EventTime,
    value::{Captured, event_of},
};

/// Events of which it is kept what they carried, beside the first of each input and the last before the watermark: 32 of a
/// key, and at most twice as many. Of runs of one input only the last one, once nothing can come between them any more.
const STEPS_KEPT_MAX: usize = 32;

impl Window {
    /// Keeps what the entry at `at` carried, in case it is a step of several; where it stands then. Events of one
    /// moment and input stand in the order of their hashes, whichever came first. Cost: seldom some
    /// hundred steps.
    pub(in crate::engine::kind) fn keep_step(
        &mut self,
        at: usize,
        captured: &Arc<[Captured]>,
        watermark: Option<EventTime>,
    ) -> usize {
        if self.is_done_without(at, watermark) {
            return at;
        }
        self.set_captured(at, Some(Arc::clone(captured)));
        let at = self.ordered(at);
        let entries = &self.entries;
        let kept = *self.steps_kept.get_or_insert_with(|| {
            let kept = entries.iter().filter(|entry| entry.captured.is_some()).count();
            u32::try_from(kept).unwrap_or(u32::MAX)
        });
        if kept as usize > 2 * STEPS_KEPT_MAX {
            self.forget_steps(kept as usize, watermark);
        }
        at
    }

    /// Moves an entry before those of its moment and input whose hash is greater; where it stands then.
    fn ordered(&mut self, mut at: usize) -> usize {
        let hash = |entry: &WindowEvent| Some(event_of(entry.captured.as_ref()?)?.event_hash.get());
        while let Some(before) = at.checked_sub(1)
            && let (Some(earlier), Some(entry)) = (self.get(before), self.get(at))
            && earlier.place() == entry.place()
            && let Some(own) = hash(entry)
            && hash(earlier) > Some(own)
        {
            self.entries.swap(before, at);
            at = before;
        }
        at
    }

    /// Whether one of the same input follows, and nothing can come between the two any more.
    fn is_done_without(&self, at: usize, watermark: Option<EventTime>) -> bool {
        let (Some(entry), Some(next)) = (self.get(at), self.get(at + 1)) else { return false };
        next.input == entry.input && watermark.is_some_and(|watermark| next.time < watermark)
    }

    /// Forgets what is done without of the `kept` entries that know what they carried, and if that is too little what
    /// others of its input follow, and what is oldest.
    fn forget_steps(&mut self, kept: usize, watermark: Option<EventTime>) {
        let (mut firsts, mut further) = (BTreeSet::new(), Vec::new());
        // An event that is still to come has the last of each input before the watermark behind it.
        let mut settled = BTreeMap::new();
        for at in self.kept_steps(kept) {
            let Some((time, input)) = self.get(at).map(WindowEvent::place) else { continue };
            if watermark.is_some_and(|watermark| time < watermark) {
                settled.insert(input, at);
            }
            if self.is_done_without(at, watermark) {
                self.set_captured(at, None);
            } else if !firsts.insert(input) {
                let is_last = self.get(at + 1).is_none_or(|next| next.input != input);
                further.push((is_last, at));
            }
        }
        further.retain(|(_, at)| settled.values().all(|settled| settled != at));
        further.sort_unstable();
        let too_many = further.len().saturating_sub(STEPS_KEPT_MAX);
        further.into_iter().take(too_many).for_each(|(_, at)| self.set_captured(at, None));
    }

    /// The entries that know what they carried, which are so many. They are looked for from both ends: most are the latest,
    /// and some the first of their inputs.
    fn kept_steps(&self, kept: usize) -> Vec<usize> {
        let is_kept = |at: &usize| self.get(*at).is_some_and(|entry| entry.captured.is_some());
        let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
        let (mut start, mut end) = (0, self.len());
        while start < end && firsts.len() + lasts.len() < kept {
            end -= 1;
            lasts.extend(Some(end).filter(is_kept));
            if start < end {
                firsts.extend(Some(start).filter(is_kept));
                start += 1;
            }
        }
        firsts.extend(lasts.into_iter().rev());
        firsts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seconds: i64, input: u16) -> WindowEvent {
        let time = EventTime::from_micros(seconds * 1_000_000);
        let (hash, number, text, found, captured) = (u64::from(input), 0.0, None, false, None);
        WindowEvent { time, input, hash, number, text, found, captured }
    }

    #[test]
    fn how_many_steps_are_kept_is_known_whatever_happens_to_a_window() {
        let mut window = Window::default();
        let mut random = 3_u64;
        let mut below = |most: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % most
        };
        let carried: Arc<[Captured]> = Arc::from([Captured::Absent]);
        for second in 0..3_000_i64 {
            let late = i64::try_from(below(4)).unwrap();
            let at = window.insert(entry(second - late, u16::try_from(below(3)).unwrap()));
            let watermark = EventTime::from_micros((second - 3) * 1_000_000);
            window.keep_step(at, &carried, Some(watermark));
            let any = usize::try_from(below(window.len() as u64)).unwrap();
            match below(40) {
                0 => window.set_captured(any, None),
                1 => window.remove(any),
                2 => _ = window.keep(|at| at % 7 > 0),
                _ => {}
            }
            let kept = window.entries.iter().filter(|entry| entry.captured.is_some()).count();
            assert!(kept <= 2 * STEPS_KEPT_MAX + 3);
            assert!(window.steps_kept.is_none_or(|known| known as usize == kept), "{second}");
            let known = window.kept_steps(kept);
            let each = (0..window.len()).filter(|at| window.entries[*at].captured.is_some());
            assert_eq!(known, each.collect::<Vec<_>>());
        }
    }
}
