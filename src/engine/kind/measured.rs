//! Kinds that compare one number of a window with a threshold: how the number is measured is all that
//! tells them apart.

use std::fmt::Debug;

use super::{
    Frame, Kind, KindEntry, KindSyntax, Ready, RuleState, Sample,
    window::{Window, WindowEvent, WindowShape, count},
    windowed::{Verdict, Windowed, fresh_windows, oldest},
};
use crate::engine::{
    duration::written,
    syntax::threshold::{Numbers, Threshold},
};

/// How a number is measured.
pub(super) trait Measure: Clone + Debug + Send + Sync + 'static {
    /// Its line of the table.
    fn entry(&self) -> &'static KindEntry;

    /// Whether it is a number of events, which a window bounds.
    fn is_count(&self) -> bool {
        false
    }

    /// Whether further events can only make it greater.
    fn grows(&self) -> bool {
        true
    }

    /// What the number is, for people: `events`, `on average`.
    fn unit(&self) -> String;

    /// The sample as an event of a window. `None` if a value is no number where one is needed.
    fn event(&self, sample: &Sample<'_>, values: &[&str]) -> Option<WindowEvent>;

    /// Whether something can stand for several events of nearly the same time.
    fn joins(&self) -> bool {
        false
    }

    /// What stands for two of them.
    fn joined(&self, earlier: &WindowEvent, later: WindowEvent) -> Option<WindowEvent> {
        later.with(earlier)
    }

    /// The event that a full window can do without best, if none can be joined; see
    /// [`Windowed::make_room`].
    fn spare(&self, window: &mut Window, _index: usize, ends: bool) -> usize {
        oldest(window, ends)
    }

    /// The number of entries `start..end`; at least one.
    fn measure(&self, window: &mut Window, start: usize, end: usize) -> f64;
}

/// A measured number and what it is compared with.
#[derive(Clone, Debug)]
struct Measured<M> {
    measure: M,
    threshold: Threshold,
}

/// Ends the reading of a condition that measures a field.
pub(super) fn of_field<M: Measure>(mut numbers: Numbers<'_>, measure: M) -> Option<KindSyntax> {
    let fields = numbers.fields();
    let threshold = numbers.threshold(measure.is_count())?;
    let parameters = Box::new(Ready(Measured { measure, threshold }));
    Some(KindSyntax { fields, ..KindSyntax::new(parameters) })
}

/// Ends the reading of a condition that measures events.
pub(super) fn of_events<M: Measure>(mut numbers: Numbers<'_>, measure: M) -> Option<KindSyntax> {
    numbers.no_fields();
    let threshold = numbers.threshold(measure.is_count())?;
    Some(KindSyntax::new(Box::new(Ready(Measured { measure, threshold }))))
}

impl<M: Measure> Kind for Measured<M> {
    fn entry(&self) -> &'static KindEntry {
        self.measure.entry()
    }

    fn describe(&self, frame: &Frame) -> String {
        let (threshold, unit) = (self.threshold.describe(), self.measure.unit());
        format!("{threshold} {unit} in {}", written(frame.timespan))
    }

    fn needs_end(&self) -> bool {
        !self.threshold.fires_at_once()
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        fresh_windows(self, frame)
    }
}

impl<M: Measure> Windowed for Measured<M> {
    fn fires_at_once(&self, window: WindowShape) -> bool {
        // A mean can pass a threshold and fall below it again before its window has ended.
        self.threshold.fires_at_once() && (self.measure.grows() || window == WindowShape::Sliding)
    }

    fn grows(&self) -> bool {
        self.measure.is_count() && self.threshold.fires_at_once()
    }

    fn entry(&self, sample: &Sample<'_>, values: &[&str]) -> Option<WindowEvent> {
        self.measure.event(sample, values)
    }

    fn progress(&self, window: &mut Window, frame: Frame) -> f64 {
        let all = window.len();
        let verdict = self.evaluate(window, 0, all);
        if !self.fires_at_once(frame.window) && verdict.holds {
            f64::INFINITY
        } else if self.measure.grows() {
            verdict.value
        } else {
            // Of a mean the first event says no less than the last.
            count(all)
        }
    }

    fn make_room(&self, window: &mut Window, index: usize, frame: Frame) -> usize {
        if self.measure.joins() {
            let join =
                |earlier: &WindowEvent, later: WindowEvent| self.measure.joined(earlier, later);
            let joined = window.join_neighbours(frame, join);
            if joined > 0 {
                return joined;
            }
        }
        let spare = self.measure.spare(window, index, self.ends(frame));
        window.remove(spare);
        1
    }

    fn evaluate(&self, window: &mut Window, start: usize, end: usize) -> Verdict {
        let value = self.measure.measure(window, start, end);
        Verdict { holds: self.threshold.holds(value), value }
    }
}
