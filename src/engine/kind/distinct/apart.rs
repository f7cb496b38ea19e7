//! Windows of many values that stand apart: those aligned to the epoch, and sessions. The mark of a value has a bit for
//! each window that is open, so what comes again in the next one is still in the one before.
//!
//! There are six bits. A further window gets that of the earliest, of which only the number of its values is known from
//! then on: by that it is decided, and events that still come to it count for nothing.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::marks::{MARK_BITS, MARK_MAX, Marks};
use crate::engine::{
    kind::{
        Frame,
        window::{WindowShape, aligned},
    },
    time::EventTime,
    value::Captured,
};

/// Windows of one key that are open: 128.
pub(super) const SPANS_MAX: usize = 128;

/// What is known of the values of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
enum Held {
    /// Which they are, by the bit that their marks have.
    Bit(u8),
    /// How many they were when a later window got the bit.
    Number(u32),
}

/// Numbers of values are stored behind the bits, which stand as they did when there was nothing else.
const NUMBERS: u64 = 1 << MARK_BITS;

impl From<Held> for u64 {
    fn from(held: Held) -> u64 {
        match held {
            Held::Bit(bit) => u64::from(bit),
            Held::Number(number) => NUMBERS + u64::from(number),
        }
    }
}

impl TryFrom<u64> for Held {
    type Error = std::num::TryFromIntError;

    fn try_from(stored: u64) -> Result<Held, Self::Error> {
        match stored.checked_sub(NUMBERS) {
            Some(number) => u32::try_from(number).map(Held::Number),
            None => u8::try_from(stored).map(Held::Bit),
        }
    }
}

/// One window that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Span {
    /// Its values.
    held: Held,
    /// When its first event was.
    pub(super) first: EventTime,
    /// When its last event was.
    pub(super) last: EventTime,
    /// What that one carried, if the window is decided when it ends.
    pub(super) captured: Arc<[Captured]>,
}

impl Span {
    /// When it ends.
    pub(super) fn end(&self, frame: Frame) -> EventTime {
        match frame.window {
            WindowShape::Session { gap } => {
                self.last.plus(gap).min(self.first.plus(frame.timespan))
            }
            WindowShape::Sliding | WindowShape::Tumbling => aligned(self.first, frame.timespan).1,
        }
    }

    /// Whether an event of this time belongs to it.
    fn takes(&self, time: EventTime, frame: Frame) -> bool {
        match frame.window {
            WindowShape::Session { gap } => {
                let (first, last) = (self.first.min(time), self.last.max(time));
                let is_near = time.since(self.last) < gap && self.first.since(time) < gap;
                is_near && last.since(first) < frame.timespan
            }
            WindowShape::Sliding | WindowShape::Tumbling => {
                aligned(self.first, frame.timespan) == aligned(time, frame.timespan)
            }
        }
    }

    /// How many values it has.
    pub(super) fn value(&self, marks: &Marks) -> f64 {
        match self.held {
            Held::Bit(bit) => {
                marks.estimate(f64::from(marks.count_where(|mark| mark & bit > 0)), 0.0)
            }
            Held::Number(number) => f64::from(number),
        }
    }

    /// The bit of its values, as long as it has one.
    const fn bit(&self) -> Option<u8> {
        match self.held {
            Held::Bit(bit) => Some(bit),
            Held::Number(_) => None,
        }
    }

    /// The same as a whole number, which it is.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "estimates are whole, and far below 2^32"
    )]
    fn number(&self, marks: &Marks) -> u32 {
        self.value(marks) as u32
    }

    /// From now on only the number of its values is known: at least so many.
    fn settle(&mut self, marks: &mut Marks, least: u32) {
        let number = self.number(marks).max(least);
        if let Some(bit) = self.bit() {
            marks.relabel(|mark| mark & !bit);
        }
        self.held = Held::Number(number);
    }
}

/// The windows of one key that are open, by time: [`SPANS_MAX`] at most.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Apart {
    #[serde(deserialize_with = "read_spans")]
    pub(super) spans: Vec<Span>,
}

/// Reads windows, each of which must have a bit of its own.
fn read_spans<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Span>, D::Error> {
    let spans = Vec::<Span>::deserialize(deserializer)?;
    let mut free = MARK_MAX;
    for bit in spans.iter().filter_map(Span::bit) {
        if bit.count_ones() != 1 || free & bit == 0 {
            return Err(D::Error::custom("it does not fit"));
        }
        free &= !bit;
    }
    Ok(spans)
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is in the window with this number. So many events were lost for it: itself, if of the values of that window only
    /// the number is known; or as many as the window had values that was forgotten.
    In { at: usize, lost: u64 },
    /// Its window had ended.
    TooLate,
}

impl Apart {
    /// Opens the window of a time, unless it is open. If too many are, the first is forgotten.
    pub(super) fn open(
        &mut self,
        marks: &mut Marks,
        time: EventTime,
        frame: Frame,
        watermark: Option<EventTime>,
    ) -> Placed {
        if let Some(at) = self.spans.iter().position(|span| span.takes(time, frame)) {
            if let Some(span) = self.spans.get_mut(at) {
                span.first = span.first.min(time);
                span.last = span.last.max(time);
            }
            self.join_next(marks, at, frame);
            let knows_values = self.spans.get(at).is_some_and(|span| span.bit().is_some());
            return Placed::In { at, lost: u64::from(!knows_values) };
        }
        let held = Held::Number(0);
        let mut span = Span { held, first: time, last: time, captured: Arc::default() };
        if watermark.is_some_and(|watermark| span.end(frame) <= watermark) {
            return Placed::TooLate;
        }
        let mut lost = 0;
        if self.spans.len() >= SPANS_MAX {
            lost = self.spans.first().map_or(0, |first| u64::from(first.number(marks)));
            self.close(marks, 0);
        }
        span.held = Held::Bit(self.free_bit(marks));
        let at = self.spans.partition_point(|span| span.first <= time);
        self.spans.insert(at, span);
        Placed::In { at, lost }
    }

    /// A bit that no window has; the earliest that has one gives it up if need be.
    fn free_bit(&mut self, marks: &mut Marks) -> u8 {
        let used =
            |spans: &[Span]| spans.iter().filter_map(Span::bit).fold(0, |used, bit| used | bit);
        if used(&self.spans) == MARK_MAX
            && let Some(earliest) = self.spans.iter_mut().find(|span| span.bit().is_some())
        {
            earliest.settle(marks, 0);
        }
        1 << (!used(&self.spans)).trailing_zeros()
    }

    /// Joins a session with the next, if an event came between the two.
    fn join_next(&mut self, marks: &mut Marks, at: usize, frame: Frame) {
        let (Some(span), Some(next)) = (self.spans.get(at), self.spans.get(at + 1)) else { return };
        let last = span.last.max(next.last);
        let is_one = matches!(frame.window, WindowShape::Session { gap } if next.first.since(span.last) < gap)
            && last.since(span.first) < frame.timespan;
        if !is_one {
            return;
        }
        let bits = span.bit().zip(next.bit());
        let mut next = self.spans.remove(at + 1);
        let Some(span) = self.spans.get_mut(at) else { return };
        (span.last, span.captured) = (last, Arc::clone(&next.captured));
        if let Some((bit, next_bit)) = bits {
            marks.relabel(|mark| if mark & next_bit > 0 { mark & !next_bit | bit } else { mark });
        } else {
            // Which values both have is not known.
            let least = next.number(marks);
            next.settle(marks, 0);
            span.settle(marks, least);
        }
    }

    /// A value was seen in a window; whether that says something new.
    pub(super) fn see(&self, marks: &mut Marks, hash: u64, at: usize) -> bool {
        let Some(bit) = self.spans.get(at).and_then(Span::bit) else { return false };
        marks.change(hash, |mark| mark | bit).is_some_and(|(before, after)| before != after)
    }

    /// Forgets a window.
    pub(super) fn close(&mut self, marks: &mut Marks, at: usize) -> Option<Span> {
        if at >= self.spans.len() {
            return None;
        }
        let span = self.spans.remove(at);
        if let Some(bit) = span.bit() {
            marks.relabel(|mark| mark & !bit);
        }
        Some(span)
    }

    /// The window that ends first, and when.
    pub(super) fn first_end(&self, frame: Frame) -> Option<(EventTime, usize)> {
        (0..).zip(&self.spans).map(|(at, span)| (span.end(frame), at)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::encode::encode;

    #[test]
    fn windows_are_read_as_they_were_stored_when_each_had_a_bit() {
        let captured: Arc<[Captured]> = [Captured::One("eve".into())].into();
        let (first, last) = (EventTime::from_micros(-7), EventTime::from_micros(1 << 50));
        let before = encode(&(4_u8, first, last, &captured));
        let mut span: Span = postcard::from_bytes(&before).unwrap();
        assert_eq!((span.held, span.first, span.last), (Held::Bit(4), first, last));
        assert_eq!(encode(&span), before);
        for number in [0, 1, 70_000, u32::MAX] {
            span.held = Held::Number(number);
            let read: Span = postcard::from_bytes(&encode(&span)).unwrap();
            assert_eq!(read.held, span.held);
        }
        assert!(postcard::from_bytes::<Held>(&encode(&u64::MAX)).is_err());
    }
}
