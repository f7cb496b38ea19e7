//! Several rules that must be seen: what `temporal` and `temporal_ordered` have in common.

use std::sync::Arc;

use super::{
    Frame, Kind, KindEntry, KindSyntax, Parameters, ResolveContext, RuleState, Sample,
    temporal_condition::{self, TemporalCondition, TemporalSyntax},
    window::{Repeats, Window, WindowEvent, WindowShape},
    windowed::{Verdict, Windowed, fresh_windows},
};
use crate::engine::{duration::written, yaml::Section};

/// In what manner they must be seen: what one of the two kinds has of its own.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) entry: &'static KindEntry,
    /// Which events say nothing new.
    pub(super) repeats: Repeats,
    /// For people, behind the condition.
    pub(super) words: &'static str,
    /// Whether a range of a window is enough.
    pub(super) evaluate: fn(&Several, &mut Window, usize, usize) -> Verdict,
    /// Which of the range that is enough it needs; see [`Windowed::steps`].
    pub(super) steps: fn(&Several, &Window, usize, usize) -> Vec<usize>,
    /// What a window that is full can do without; see [`Windowed::make_room`].
    pub(super) make_room: fn(&Several, &mut Window, usize, Frame) -> usize,
}

/// Reads `condition`.
pub(super) fn read(section: &Section<'_>, manner: &'static Manner) -> Option<KindSyntax> {
    let condition = temporal_condition::read(section)?;
    let syntax = |condition| Box::new(Syntax { condition, manner }) as Box<dyn Parameters>;
    Some(temporal_condition::syntax_of(condition, syntax))
}

#[derive(Debug)]
struct Syntax {
    condition: TemporalSyntax,
    manner: &'static Manner,
}

impl Parameters for Syntax {
    fn resolve(&self, context: &ResolveContext<'_>) -> Option<Arc<dyn Kind>> {
        let inputs = context.rules.len();
        let condition = self.condition.resolve(context)?;
        let words = format!("{}{}", self.condition.describe(inputs), self.manner.words);
        let required = condition.required(inputs);
        Some(Arc::new(Several { words, condition, required, inputs, manner: self.manner }))
    }
}

/// The rules of one correlation.
#[derive(Clone, Debug)]
pub(super) struct Several {
    /// The condition, for people.
    words: String,
    pub(super) condition: TemporalCondition,
    /// Inputs that it asks for, sorted.
    pub(super) required: Vec<usize>,
    inputs: usize,
    manner: &'static Manner,
}

impl Several {
    /// Which inputs a range has events of.
    pub(super) fn seen(&self, window: &mut Window, start: usize, end: usize) -> Vec<bool> {
        (0..self.inputs as u64).map(|input| window.has(start, end, input)).collect()
    }
}

impl Kind for Several {
    fn entry(&self) -> &'static KindEntry {
        self.manner.entry
    }

    fn describe(&self, frame: &Frame) -> String {
        format!("{} within {}", self.words, written(frame.timespan))
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        fresh_windows(self, frame)
    }
}

impl Windowed for Several {
    fn fires_at_once(&self, _: WindowShape) -> bool {
        self.condition.fires_at_once()
    }

    fn begins_with_first(&self) -> bool {
        true
    }

    fn grows(&self) -> bool {
        self.condition.fires_at_once()
    }

    fn opens(&self, event: &WindowEvent) -> bool {
        self.condition.asks_for(usize::from(event.input))
    }

    /// Inputs are told apart as values are, so that those of a range are known without a look at each of
    /// its events.
    fn entry(&self, sample: &Sample<'_>, _: &[&str]) -> Option<WindowEvent> {
        Some(WindowEvent { hash: u64::from(sample.input), ..WindowEvent::of(sample) })
    }

    fn make_room(&self, window: &mut Window, index: usize, frame: Frame) -> usize {
        (self.manner.make_room)(self, window, index, frame)
    }

    fn repeats(&self) -> Repeats {
        self.manner.repeats
    }

    fn has_steps(&self) -> bool {
        true
    }

    fn steps(&self, window: &Window, start: usize, end: usize) -> Vec<usize> {
        (self.manner.steps)(self, window, start, end)
    }

    fn evaluate(&self, window: &mut Window, start: usize, end: usize) -> Verdict {
        (self.manner.evaluate)(self, window, start, end)
    }
}
