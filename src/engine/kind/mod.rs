//! The kinds of correlation: what rules can look for over time.
//!
//! A kind is one file and one line in [`KINDS`]. Its file has everything of it: how rule files say it,
//! what is kept of each key, when it fires, and its documentation for people who write rules. It knows
//! nothing of rules, detections or alerts: samples go in, hits come out. What state of any kind needs,
//! to be stored and handed over, is in `state`.
//!
//! Order of arrival within `grace` does not decide: samples carry their event time, and whatever needs
//! an end is decided by the watermark.

mod absence;
mod calendar;
mod distinct;
mod event_count;
mod first_seen;
mod keyed;
mod life;
mod measured;
mod memory;
mod rarity;
mod risk;
mod several;
mod spike;
mod state;
mod step_counts;
mod temporal;
mod temporal_condition;
mod temporal_ordered;
mod value_count;
mod value_number;
mod window;
mod windowed;

use std::{fmt::Debug, sync::Arc, time::Duration};

pub(in crate::engine) use self::{
    calendar::Calendar,
    risk::{Risk, read_risk},
};
pub use self::{
    life::{Life, ONE_EVENT},
    state::{Captures, Losses, RuleState, StateKey, Taken},
    window::WindowShape,
};
use super::{
    diagnostic::{Place, Problems},
    syntax::read::Text,
    time::EventTime,
    value::Captured,
    yaml::Section,
};

/// Every kind. Sorted by name; one line each.
pub const KINDS: &[&KindEntry] = &[
    &absence::ENTRY,
    &event_count::ENTRY,
    &first_seen::ENTRY,
    &rarity::ENTRY,
    &risk::ENTRY,
    &spike::ENTRY,
    &temporal::ENTRY,
    &temporal_ordered::ENTRY,
    &value_number::AVG,
    &value_count::ENTRY,
    &value_number::MEDIAN,
    &value_number::PERCENTILE,
    &value_number::SUM,
];

/// One line of [`KINDS`].
#[derive(Debug)]
pub struct KindEntry {
    /// The word in rule files.
    pub name: &'static str,
    /// Where rule files say it.
    pub written: Written,
    /// What it looks for, in a sentence.
    pub summary: &'static str,
    /// For people who write rules: what counts, when it fires, when it ends. Markdown.
    pub doc: &'static str,
    /// How its alerts live: a line for each way.
    pub lives: &'static [Life],
    /// A whole rule file that uses it.
    pub example: &'static str,
    /// JSON Schema of what it adds to rule files; for a correlation type, of `condition`.
    pub schema: fn() -> serde_json::Value,
    /// Reads it, for types and keys.
    pub(in crate::engine) read: Option<Read>,
}

/// Reads what a kind is given. The section is `correlation:` for a type, else the kind's own mapping.
/// `None` if it is unusable; that is reported.
pub(in crate::engine) type Read = fn(&Section<'_>) -> Option<KindSyntax>;

/// Where rule files say a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// `correlation: {type: …}`, as Sigma has it.
    Type,
    /// A key under `tripline:` of a detection rule, which then fires by it.
    Key,
    /// A key under `tripline:` of any rule, whose findings then also count for one rule over all.
    Contribution,
}

/// The entry of a name.
pub fn find(name: &str) -> Option<&'static KindEntry> {
    KINDS.iter().copied().find(|entry| entry.name == name)
}

/// The kinds that are written in one way, sorted.
pub fn written(written: Written) -> impl Iterator<Item = &'static KindEntry> {
    KINDS.iter().copied().filter(move |entry| entry.written == written)
}

/// A kind as it is written, before lists and the names of rules are known.
#[derive(Debug)]
pub(in crate::engine) struct KindSyntax {
    /// The fields whose values it looks at; empty if it counts events.
    pub(in crate::engine) fields: Vec<Text>,
    /// Length of its window, if it says so itself; a correlation type has `timespan` beside it.
    pub(in crate::engine) timespan: Option<Duration>,
    /// Rules that its condition names, in order, for when `rules` is left out.
    pub(in crate::engine) named_rules: Vec<Text>,
    /// Whether a schedule, and the end of the rule, say when it is looked for, and not which events count.
    pub(in crate::engine) has_calendar: bool,
    /// Whether the values of its fields must be numbers.
    pub(in crate::engine) wants_number: bool,
    /// The rest.
    pub(in crate::engine) parameters: Box<dyn Parameters>,
}

impl KindSyntax {
    /// Of a kind that looks at no field.
    fn new(parameters: Box<dyn Parameters>) -> KindSyntax {
        KindSyntax {
            fields: Vec::new(),
            timespan: None,
            named_rules: Vec::new(),
            has_calendar: false,
            wants_number: false,
            parameters,
        }
    }
}

/// Parameters of a kind that are still to be checked against the rest of the rule set.
pub(in crate::engine) trait Parameters: Debug {
    /// `None` if they do not fit; that is reported.
    fn resolve(&self, context: &ResolveContext<'_>) -> Option<Arc<dyn Kind>>;
}

/// Parameters that fit anything.
#[derive(Debug)]
struct Ready<K>(K);

impl<K: Kind + Clone + 'static> Parameters for Ready<K> {
    fn resolve(&self, _: &ResolveContext<'_>) -> Option<Arc<dyn Kind>> {
        Some(Arc::new(self.0.clone()))
    }
}

/// What parameters are checked against.
pub(in crate::engine) struct ResolveContext<'a> {
    /// The rules that the kind sees, in order.
    pub(in crate::engine) rules: &'a [Text],
    /// How many parts the key has.
    pub(in crate::engine) key_parts: usize,
    /// When it is looked for, if not always.
    pub(in crate::engine) calendar: Option<Arc<dyn Calendar>>,
    /// From when on it is not looked for any more.
    pub(in crate::engine) expires: Option<EventTime>,
    /// From which numbers on its alerts are of another severity.
    pub(in crate::engine) levels: Vec<f64>,
    /// Where the document begins.
    pub(in crate::engine) place: &'a Place,
    /// The values of a list, with the time from which on each does not count any more; an unknown list
    /// is reported.
    pub(in crate::engine) list: &'a ListValues<'a>,
    /// Where problems go.
    pub(in crate::engine) problems: &'a Problems,
}

/// Looks a list up.
pub(in crate::engine) type ListValues<'a> =
    dyn Fn(&Text) -> Option<Vec<(String, Option<EventTime>)>> + 'a;

/// Values of `group-by`, in order.
pub type CorrelationKey = Box<[Arc<str>]>;

/// The window of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its length; for a kind with a memory, how long that lasts.
    pub timespan: Duration,
    /// Its shape.
    pub window: WindowShape,
}

/// One thing that counts.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    /// When it happened.
    pub time: EventTime,
    /// When its event claims to have happened, if that could not be when it was read.
    pub claimed: Option<EventTime>,
    /// Which of the rule's inputs it is a finding of.
    pub input: u16,
    /// The values of the fields that the kind looks at, in order; one combination of them behind the
    /// other, if a field has several.
    pub values: &'a [&'a str],
    /// How many fields that are.
    pub fields: usize,
    /// What the rule's own finding would carry.
    pub captured: Arc<[Captured]>,
}

impl<'a> Sample<'a> {
    /// Each combination of values; one without values if the kind looks at none.
    fn combinations(&self) -> impl Iterator<Item = &'a [&'a str]> + use<'a> {
        let empty: Option<&[&str]> = (self.fields == 0).then_some(&[]);
        empty.into_iter().chain(self.values.chunks_exact(self.fields.max(1)))
    }

    /// A key with the values behind it.
    fn with_values(&self, key: &CorrelationKey) -> CorrelationKey {
        key.iter().cloned().chain(self.values.iter().map(|value| Arc::from(*value))).collect()
    }
}

/// A key for which the condition held.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// When it fired, by event time.
    pub time: EventTime,
    /// When its event claims to have happened, if that cannot be.
    pub claimed: Option<EventTime>,
    /// The first sample that counted.
    pub first: EventTime,
    /// The last sample that counted.
    pub last: EventTime,
    /// Events, distinct values, a sum, a share …
    pub value: f64,
    /// Some of the values that were counted, for people.
    pub values: Vec<String>,
    /// What the value usually is, for a kind that knows.
    pub usual: Option<f64>,
    /// What the finding carries: of the sample that decided, or of the last one.
    pub captured: Arc<[Captured]>,
    /// When that sample was. One that comes late may have decided about what happened since.
    pub captured_at: EventTime,
    /// What samples before that one carried without which it would not have held, if it asks for several: when
    /// each was, in that order. Those of which nothing is known any more are left out. If it holds still, they
    /// take the place of those that were found before.
    pub steps: Vec<(EventTime, Arc<[Captured]>)>,
    /// For how long.
    pub holds: Holds,
}

impl Hit {
    /// Of one event that is enough by itself.
    pub(in crate::engine) fn of_event(time: EventTime, captured: Arc<[Captured]>) -> Hit {
        Hit {
            time,
            claimed: None,
            first: time,
            last: time,
            value: 1.0,
            values: Vec::new(),
            usual: None,
            captured,
            captured_at: time,
            steps: Vec::new(),
            holds: Holds::Once,
        }
    }
}

/// For how long a condition holds that held once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holds {
    /// It held at that moment; the alert ends some time after the last such moment.
    #[default]
    Once,
    /// It was found before; this says more exactly what was found. Nothing new happened.
    Still,
    /// It goes on to hold until this time, unless another hit says otherwise.
    Until(EventTime),
    /// It holds no longer; nothing was found.
    Ended,
}

/// A kind with its parameters: what one rule looks for. Immutable and shared.
pub trait Kind: Debug + Send + Sync {
    /// Its line of the table.
    fn entry(&self) -> &'static KindEntry;

    /// What must hold, for people: `≥ 5 events in 5m`.
    fn describe(&self, frame: &Frame) -> String;

    /// Whether its window must have ended before it can be decided.
    fn needs_end(&self) -> bool {
        false
    }

    /// Those of its parameters that decide what its state means. Thresholds do not: they may change,
    /// and the state is kept.
    fn state_parameters(&self, _: &Frame) -> String {
        String::new()
    }

    /// Whether the values it looks at tell its alerts apart, beside the key. It is given one combination
    /// of them at a time.
    fn is_about_values(&self) -> bool {
        false
    }

    /// How long an alert fires after its condition last held [`Holds::Once`]. `None`: as long as that of a
    /// rule about one event.
    fn fires_for(&self, frame: &Frame) -> Option<Duration> {
        Some(frame.window.gap().unwrap_or(frame.timespan))
    }

    /// Whether it finds that nothing came. The event of its hits is then the last one before.
    fn is_about_silence(&self) -> bool {
        false
    }

    /// Whether it compares with what came before: alone, the events of what it finds do not make it.
    fn compares_with_before(&self) -> bool {
        self.is_about_silence()
    }

    /// Whether an event that comes twice may count twice. If not, nobody needs to know copies.
    fn minds_copies(&self) -> bool {
        true
    }

    /// Whether it counts events: one that several of its rules find is one event.
    fn counts_events(&self) -> bool {
        false
    }

    /// State of a rule that has seen nothing.
    fn fresh(&self, frame: Frame) -> Box<dyn RuleState>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_kind_is_explained() {
        assert!(KINDS.is_sorted_by_key(|entry| entry.name));
        for entry in KINDS {
            assert!(entry.summary.ends_with('.'), "{}", entry.name);
            assert!(entry.doc.len() > 100 && entry.doc.ends_with('.'), "{}", entry.name);
            assert!(entry.example.contains(entry.name), "{}", entry.name);
        }
    }
}
