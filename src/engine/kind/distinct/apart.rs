//! Windows of many values that stand apart: those aligned to the epoch, and sessions. The mark of a value has a bit for
//! each window that is open, so what comes again in the next one is still in the one before.

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

/// One window that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Span {
    /// Its bit.
    bit: u8,
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

    /// How many values, or cells, it has.
    pub(super) fn count(&self, marks: &Marks) -> u32 {
        marks.count_where(|mark| mark & self.bit > 0)
    }
}

/// The windows of one key that are open, by time: 6 at most.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Apart {
    #[serde(deserialize_with = "read_spans")]
    pub(super) spans: Vec<Span>,
}

/// Reads windows, each of which must have a bit of its own.
fn read_spans<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Span>, D::Error> {
    let spans = Vec::<Span>::deserialize(deserializer)?;
    let mut free = MARK_MAX;
    for Span { bit, .. } in &spans {
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
    /// It is in the window with this number. For it so many values of an earlier one were forgotten.
    In { at: usize, dropped: u32 },
    /// Its window had ended.
    TooLate,
    /// Too many later windows are open.
    NoRoom,
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
            return Placed::In { at, dropped: 0 };
        }
        let mut span = Span { bit: 0, first: time, last: time, captured: Arc::default() };
        if watermark.is_some_and(|watermark| span.end(frame) <= watermark) {
            return Placed::TooLate;
        }
        let mut dropped = 0;
        if self.spans.len() >= MARK_BITS as usize {
            if self.spans.first().is_some_and(|first| time < first.first) {
                return Placed::NoRoom;
            }
            dropped = self.spans.first().map_or(0, |first| first.count(marks));
            self.close(marks, 0);
        }
        let used = self.spans.iter().fold(0, |used, span| used | span.bit);
        span.bit = 1 << (!used).trailing_zeros();
        let at = self.spans.partition_point(|span| span.first <= time);
        self.spans.insert(at, span);
        Placed::In { at, dropped }
    }

    /// Joins a session with the next, if an event came between the two.
    fn join_next(&mut self, marks: &mut Marks, at: usize, frame: Frame) {
        let (Some(span), Some(next)) = (self.spans.get(at), self.spans.get(at + 1)) else { return };
        let (bit, next_bit, last) = (span.bit, next.bit, span.last.max(next.last));
        let is_one = matches!(frame.window, WindowShape::Session { gap } if next.first.since(span.last) < gap)
            && last.since(span.first) < frame.timespan;
        if !is_one {
            return;
        }
        marks.relabel(|mark| if mark & next_bit > 0 { mark & !next_bit | bit } else { mark });
        let next = self.spans.remove(at + 1);
        if let Some(span) = self.spans.get_mut(at) {
            (span.last, span.captured) = (last, next.captured);
        }
    }

    /// A value was seen in a window; whether that says something new.
    pub(super) fn see(&self, marks: &mut Marks, hash: u64, at: usize) -> bool {
        let bit = self.spans.get(at).map_or(0, |span| span.bit);
        marks.change(hash, |mark| mark | bit).is_some_and(|(before, after)| before != after)
    }

    /// Forgets a window.
    pub(super) fn close(&mut self, marks: &mut Marks, at: usize) -> Option<Span> {
        if at >= self.spans.len() {
            return None;
        }
        let span = self.spans.remove(at);
        marks.relabel(|mark| mark & !span.bit);
        Some(span)
    }

    /// The window that ends first, and when.
    pub(super) fn first_end(&self, frame: Frame) -> Option<(EventTime, usize)> {
        (0..).zip(&self.spans).map(|(at, span)| (span.end(frame), at)).min()
    }
}
