//! Kinds that compare one number of a window with a threshold: how the number is measured is all that
//! tells them apart.

use std::{fmt::Debug, sync::Arc};

use super::{
    Frame, Kind, KindEntry, KindSyntax, Parameters, ResolveContext, RuleState, Sample,
    distinct::{self, fresh_distinct},
    window::{Repeats, Window, WindowEvent, WindowShape, count},
    windowed::{Verdict, Windowed, fresh_windows, oldest},
};
use crate::engine::{
    duration::written,
    limits,
    syntax::threshold::{Numbers, Threshold},
};

/// How a number is measured.
pub(super) trait Measure: Clone + Debug + Send + Sync + 'static {
    /// Its line of the table.
    fn entry(&self) -> &'static KindEntry;

    /// The greatest number that a window tells, if it is one of things that are counted.
    fn most(&self) -> Option<usize> {
        None
    }

    /// Whether it is made of the numbers of a field.
    fn wants_number(&self) -> bool {
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

    /// When an event says nothing that a later one does not.
    fn repeats(&self) -> Repeats {
        Repeats::Counted
    }

    /// Whether something can stand for several events of nearly the same time.
    fn joins(&self) -> bool {
        false
    }

    /// Whether different values are counted, of which nothing can stand for several.
    fn tells_apart(&self) -> bool {
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
    /// From which numbers on its alerts are of another severity.
    levels: Vec<f64>,
}

impl<M: Measure> Parameters for Measured<M> {
    fn resolve(&self, context: &ResolveContext<'_>) -> Option<Arc<dyn Kind>> {
        Some(Arc::new(Measured { levels: context.levels.clone(), ..self.clone() }))
    }
}

/// Ends the reading of a condition that measures a field.
pub(super) fn of_field<M: Measure>(mut numbers: Numbers<'_>, measure: M) -> Option<KindSyntax> {
    let wants_number = measure.wants_number();
    let fields = numbers.fields();
    if wants_number && fields.len() > 1 {
        numbers
            .wrong("numbers are those of one field", "keep one, and write a rule for each other");
    }
    if measure.tells_apart() {
        numbers.are_estimated_above(limits::WINDOW_EVENTS_MAX);
    }
    let threshold = numbers.threshold(measure.most())?;
    let parameters = Box::new(Measured { measure, threshold, levels: Vec::new() });
    Some(KindSyntax { fields, wants_number, ..KindSyntax::new(parameters) })
}

/// Ends the reading of a condition that measures events.
pub(super) fn of_events<M: Measure>(mut numbers: Numbers<'_>, measure: M) -> Option<KindSyntax> {
    numbers.no_fields();
    let threshold = numbers.threshold(measure.most())?;
    Some(KindSyntax::new(Box::new(Measured { measure, threshold, levels: Vec::new() })))
}

impl<M: Measure> Kind for Measured<M> {
    fn entry(&self) -> &'static KindEntry {
        self.measure.entry()
    }

    fn describe(&self, frame: &Frame) -> String {
        let (threshold, unit) = (self.threshold.describe(), self.measure.unit());
        let error = if self.is_approximate() {
            let how =
                if self.measure.tells_apart() { "estimated to about" } else { "counted within" };
            format!(", {how} {} %", 100 / limits::COUNT_ERROR_PARTS)
        } else {
            String::new()
        };
        format!("{threshold} {unit} in {}{error}", written(frame.timespan))
    }

    fn needs_end(&self) -> bool {
        !self.threshold.fires_at_once()
    }

    fn state_parameters(&self, _: &Frame) -> String {
        let keeps_no_events = self.is_approximate() && self.measure.tells_apart();
        if keeps_no_events {
            distinct::state_parameters(&self.threshold, self.greatest())
        } else {
            String::new()
        }
    }

    fn counts_events(&self) -> bool {
        // A value that two inputs find is one in any case.
        !self.measure.tells_apart()
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        if self.is_approximate() && self.measure.tells_apart() {
            let compared = (self.least(), self.greatest());
            return fresh_distinct(&self.threshold, compared, frame);
        }
        fresh_windows(self, frame)
    }
}

impl<M: Measure> Measured<M> {
    /// Whether its threshold is above what is counted one by one.
    fn is_approximate(&self) -> bool {
        // More values than a window holds would be none; more events are joined.
        let compared =
            if self.measure.tells_apart() { self.greatest() } else { self.threshold.lowest() };
        self.measure.most().is_some() && compared > count(limits::WINDOW_EVENTS_MAX)
    }

    /// The greatest number that is compared with.
    fn greatest(&self) -> f64 {
        self.levels.iter().copied().fold(self.threshold.greatest(), f64::max)
    }

    /// The least number that is compared with.
    fn least(&self) -> f64 {
        let bounds = self.threshold.comparisons.iter().map(|(_, bound)| *bound);
        bounds.chain(self.levels.iter().copied()).fold(f64::INFINITY, f64::min)
    }
}

impl<M: Measure> Windowed for Measured<M> {
    fn entries_max(&self) -> usize {
        if self.is_approximate() {
            limits::COUNTING_ENTRIES_MAX
        } else {
            // Of different values one more tells whether there are more than that.
            limits::WINDOW_EVENTS_MAX + usize::from(self.measure.tells_apart())
        }
    }

    fn fires_at_once(&self, window: WindowShape) -> bool {
        // A mean can pass a threshold and fall below it again before its window has ended.
        self.threshold.fires_at_once() && (self.measure.grows() || window == WindowShape::Sliding)
    }

    fn grows(&self) -> bool {
        self.measure.most().is_some() && self.threshold.fires_at_once()
    }

    fn repeats(&self) -> Repeats {
        self.measure.repeats()
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
            let joined = if self.is_approximate() {
                window.join_to(frame, self.threshold.lowest(), join)
            } else {
                window.join_neighbours(frame, join)
            };
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

/// A kind for tests.
#[cfg(test)]
pub(super) fn with<M: Measure>(measure: M, threshold: Threshold) -> impl Kind + Windowed {
    Measured { measure, threshold, levels: Vec::new() }
}

/// State for tests that counts exactly, whatever it compares with.
#[cfg(test)]
pub(super) fn fresh_exact<M: Measure>(
    measure: M,
    threshold: &Threshold,
    frame: Frame,
) -> Box<dyn RuleState> {
    fresh_windows(&with(measure, threshold.clone()), frame)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::{
        kind::event_count::EventCount, syntax::threshold::Comparison, time::EventTime,
    };

    const SPAN: Duration = Duration::from_secs(600);

    fn counted(compared: f64) -> Measured<EventCount> {
        let comparisons = vec![(Comparison::GreaterOrEqual, compared)];
        Measured { measure: EventCount, threshold: Threshold { comparisons }, levels: Vec::new() }
    }

    fn event(micros: i64) -> WindowEvent {
        let time = EventTime::from_micros(micros);
        WindowEvent {
            time,
            input: 0,
            hash: 0,
            number: 0.0,
            text: None,
            found: false,
            captured: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever comes in which order: a count is off by at most a 100th of what it is compared with, or of itself.
        #[test]
        fn many_are_counted_within_their_error(
            // Bursts: how many, how far apart, after which pause.
            bursts in prop::collection::vec((1..6_000_i64, 0..40_000_i64, 0..300_000_000_i64), 1..20),
            late in 0..5_000_000_i64,
        ) {
            let compared = 12_000.0;
            let kind = counted(compared);
            let frame = Frame { timespan: SPAN, window: WindowShape::Sliding };
            let (mut window, mut times) = (Window::default(), Vec::new());
            let mut now = 0;
            for (number, apart, pause) in bursts {
                now += pause;
                for nth in 0..number {
                    now += apart;
                    let time = if nth % 7 == 0 { now - late } else { now };
                    window.insert(event(time));
                    times.push(time);
                    if window.len() > kind.entries_max() {
                        kind.make_room(&mut window, 0, frame);
                    }
                    prop_assert!(window.len() <= kind.entries_max());
                }
                let end = window.len();
                let (from, to) = window.bounds(WindowShape::Sliding, SPAN, end - 1);
                let told = window.events(from, to);
                let last = window.last_time().map_or(0, EventTime::micros);
                let span = i64::try_from(SPAN.as_micros()).unwrap();
                let exact = count(times.iter().filter(|time| **time > last - span).count());
                let most = exact.max(compared) / 100.0;
                prop_assert!((told - exact).abs() <= most, "{told} for {exact}");
            }
        }
    }

    #[test]
    fn what_is_not_exact_says_so() {
        let frame = Frame { timespan: SPAN, window: WindowShape::Sliding };
        assert_eq!(counted(10_000.0).describe(&frame), "≥ 10000 events in 10m");
        assert_eq!(counted(50_000.0).describe(&frame), "≥ 50000 events in 10m, counted within 1 %");
        assert_eq!(counted(50_000.0).entries_max(), limits::COUNTING_ENTRIES_MAX);
    }
}
