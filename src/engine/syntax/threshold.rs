//! Comparisons of numbers, and how the `condition` of a correlation says them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    code,
    key::{Key, Shape, properties},
    read::{Text, texts},
};
use crate::engine::{
    diagnostic::{Diagnostic, Place},
    yaml::{NodeKind, Section},
};

/// How a number relates to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `≠`
    NotEqual,
    /// `<`
    Less,
    /// `≤`
    LessOrEqual,
    /// `>`
    Greater,
    /// `≥`
    GreaterOrEqual,
}

impl Comparison {
    /// Whether `left ∘ right` holds.
    pub fn holds<N: PartialOrd>(self, left: N, right: N) -> bool {
        match left.partial_cmp(&right) {
            None => self == Comparison::NotEqual,
            Some(order) => match self {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            },
        }
    }

    /// The sign people know.
    pub const fn sign(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "≠",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "≤",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => "≥",
        }
    }
}

/// One or two comparisons (a range), all of which must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Not empty.
    pub comparisons: Vec<(Comparison, f64)>,
}

impl Threshold {
    /// Whether a value passes.
    pub fn holds(&self, value: f64) -> bool {
        self.comparisons.iter().all(|(comparison, bound)| comparison.holds(value, *bound))
    }

    /// Whether only `gt` and `gte` are used: then it fires the moment it is reached. Otherwise it is
    /// decided when its (tumbling) window closes.
    pub fn fires_at_once(&self) -> bool {
        self.comparisons.iter().all(|(comparison, _)| {
            matches!(comparison, Comparison::Greater | Comparison::GreaterOrEqual)
        })
    }

    /// Below which no number passes; minus infinity if there is no such bound.
    pub fn lowest(&self) -> f64 {
        use Comparison::{Equal, Greater, GreaterOrEqual};
        let bounds = self
            .comparisons
            .iter()
            .filter(|(comparison, _)| matches!(comparison, Greater | GreaterOrEqual | Equal));
        bounds.map(|(_, bound)| *bound).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The greatest number that is compared with.
    pub fn greatest(&self) -> f64 {
        self.comparisons.iter().map(|(_, bound)| *bound).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Whether any number passes, or any that something comes to that is counted: whole ones from one on.
    fn passes_some(&self, is_count: bool) -> bool {
        let bounds = || self.comparisons.iter().map(|(_, bound)| *bound);
        // Whether a number passes changes at the bounds alone: one on each side of them tells.
        let near = bounds().flat_map(|bound| {
            let whole = [bound.floor() - 1.0, bound.floor(), bound.ceil(), bound.ceil() + 1.0];
            let between = bounds().map(move |other| f64::midpoint(bound, other));
            whole.into_iter().chain(between.filter(move |_| !is_count))
        });
        let mut candidates = near.chain([1.0]);
        candidates.any(|number| self.holds(number) && (!is_count || number >= 1.0))
    }

    /// For people: `≥ 5`, `> 3 and < 9`.
    pub fn describe(&self) -> String {
        let parts: Vec<String> =
            self.comparisons.iter().map(|(c, bound)| format!("{} {bound}", c.sign())).collect();
        parts.join(" and ")
    }
}

const COMPARISONS: [(&str, Comparison); 6] = [
    ("gt", Comparison::Greater),
    ("gte", Comparison::GreaterOrEqual),
    ("lt", Comparison::Less),
    ("lte", Comparison::LessOrEqual),
    ("eq", Comparison::Equal),
    ("neq", Comparison::NotEqual),
];

/// The key of a correlation that says what must hold.
pub(in crate::engine) const CONDITION: &str = "condition";

/// The fields whose values a condition is about.
pub(in crate::engine) const FIELD: Key<Vec<Text>> =
    Key::required("field", Shape::Fields, "", "", |s, key, to| {
        *to = texts(s, key).unwrap_or_default();
    });

/// Which percentile a condition is about.
pub(in crate::engine) const PERCENTILE: Key<Option<f64>> =
    Key::required("percentile", Shape::Within(0.0, 100.0), "", "", |s, key, to| {
        *to = s.number(key);
        if to.is_some_and(|percentile| !(0.0..=100.0).contains(&percentile)) {
            let title = format!("there is no percentile {}", to.take().unwrap_or_default());
            s.invalid(key, title, "0 to 100");
        }
    });

/// JSON Schema of a `condition` that compares numbers.
pub(in crate::engine) fn schema_of_numbers() -> Value {
    schema_with(Map::new())
}

/// JSON Schema of a `condition` that compares what is made of fields.
pub(in crate::engine) fn schema_of_fields() -> Value {
    schema_with(properties(&[FIELD]))
}

/// JSON Schema of a `condition` that compares a percentile of a field.
pub(in crate::engine) fn schema_of_percentile() -> Value {
    schema_with(properties(&[FIELD]).into_iter().chain(properties(&[PERCENTILE])).collect())
}

fn schema_with(further: Map<String, Value>) -> Value {
    let required: Vec<String> = further.keys().cloned().collect();
    let mut properties = further;
    for (word, _) in COMPARISONS {
        properties.insert(word.to_owned(), json!({"type": "number"}));
    }
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// Parts of an estimated number that a range of such must have: a fiftieth, twice what may be wrong.
const RANGE_PARTS: f64 = 50.0;

/// The `condition` of a correlation as a mapping, while it is being read.
pub(in crate::engine) struct Numbers<'s> {
    outer: &'s Section<'s>,
    inner: Section<'s>,
    place: Place,
    comparisons: Vec<(Comparison, f64)>,
    usable: bool,
}

impl<'s> Numbers<'s> {
    /// Opens the condition. Its absence, or another shape, is reported.
    pub(in crate::engine) fn open(section: &'s Section<'s>) -> Option<Numbers<'s>> {
        let Some(node) = section.node(CONDITION) else {
            section.missing(CONDITION, "from which number on: `condition: {gte: 10}`");
            return None;
        };
        if !matches!(node.kind, NodeKind::Map(_)) {
            let title = format!("the condition must be a mapping, not {}", node.kind_name());
            let place = section.place_of(CONDITION);
            section.report(
                Diagnostic::error(code::CORRELATION_CONDITION, place, title)
                    .help("write a comparison: `condition: {gte: 10}`"),
            );
            return None;
        }
        let inner = section.section(CONDITION)?;
        let (mut comparisons, mut usable) = (Vec::new(), true);
        for (word, comparison) in COMPARISONS {
            if !inner.has(word) {
                continue;
            }
            if inner.node(word).is_none() {
                inner.missing(word, format!("which number: `{word}: 10`"));
            }
            match inner.number(word) {
                Some(bound) if bound.is_finite() => comparisons.push((comparison, bound)),
                _ => usable = false,
            }
        }
        let place = section.place_of_key(CONDITION);
        Some(Numbers { outer: section, inner, place, comparisons, usable })
    }

    /// Reports the condition as one that cannot be taken.
    pub(in crate::engine) fn wrong(&mut self, title: &str, help: &str) {
        let place = self.place.clone();
        let diagnostic = Diagnostic::error(code::CORRELATION_CONDITION, place, title);
        self.outer.report(diagnostic.help(help));
        self.usable = false;
    }

    /// `field`, which must be there.
    pub(in crate::engine) fn fields(&mut self) -> Vec<Text> {
        let mut fields = Vec::new();
        FIELD.read(&self.inner, &mut fields);
        if fields.is_empty() {
            let help = "add the field: `condition: {field: …, gte: 10}`";
            self.wrong("the condition names no field", help);
        }
        fields
    }

    /// `field` must not be there: nothing about a field is counted.
    pub(in crate::engine) fn no_fields(&mut self) {
        let mut fields = Vec::new();
        FIELD.read(&self.inner, &mut fields);
        if !fields.is_empty() {
            let help = "remove `field`, or change the type";
            self.wrong("only the `value_…` types have a field", help);
        }
    }

    /// `percentile`, which must be there and lie between 0 and 100.
    pub(in crate::engine) fn percentile(&mut self) -> Option<f64> {
        if self.inner.node(PERCENTILE.name).is_none() {
            let is_share = |(_, bound): &(Comparison, f64)| (0.0..=1.0).contains(bound);
            if !self.comparisons.is_empty() && self.comparisons.iter().all(is_share) {
                let title =
                    "the rarity form of `value_percentile` is not defined well enough to honour";
                self.outer.report(
                    Diagnostic::error(code::UNSUPPORTED, self.place.clone(), title).help(
                        "write `tripline: {rarity: {of: […], max_share: 0.01}}` on the detection \
                         rule",
                    ),
                );
                self.usable = false;
            } else {
                let help = "add it: `condition: {field: …, percentile: 95, gte: 10}`";
                self.wrong("the condition names no percentile", help);
            }
            return None;
        }
        let mut percentile = None;
        PERCENTILE.read(&self.inner, &mut percentile);
        percentile
    }

    /// Numbers above this are estimated: what asks for just one of them, or for few, hardly ever says what it should.
    pub(in crate::engine) fn are_estimated_above(&self, exact: usize) {
        use Comparison::{Equal, NotEqual};
        let threshold = Threshold { comparisons: self.comparisons.clone() };
        #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
        let is_estimated = |bound: f64| bound > exact as f64;
        let one = self.comparisons.iter().find(|(comparison, bound)| {
            matches!(comparison, Equal | NotEqual) && is_estimated(*bound)
        });
        let (lowest, greatest) = (threshold.lowest(), threshold.greatest());
        let is_narrow = !threshold.fires_at_once()
            && is_estimated(greatest)
            && (0.0..greatest / RANGE_PARTS).contains(&(greatest - lowest));
        let title = match one {
            Some((Equal, bound)) => format!("the number is hardly ever told as just {bound}"),
            Some((_, bound)) => format!("the number is nearly always told as another than {bound}"),
            None if is_narrow => {
                format!("the number is hardly ever told as {}", threshold.describe())
            }
            None => return,
        };
        let place = self.place.clone();
        let diagnostic = Diagnostic::warning(code::CORRELATION_CONDITION, place, title)
            .label(format!("above {exact} it is an estimate, to about 1 %"))
            .help("write `gte` alone, or a wider range");
        self.outer.report(diagnostic);
    }

    /// Ends the reading. `most`: the greatest number that a window tells, if there is one.
    pub(in crate::engine) fn threshold(mut self, most: Option<usize>) -> Option<Threshold> {
        if self.comparisons.is_empty() && self.usable {
            self.wrong(
                "the condition compares with nothing",
                "write a comparison such as `gte: 10`",
            );
        }
        if self.comparisons.len() > 2 {
            self.wrong("a range has two ends at most", "keep two of the comparisons");
        }
        let Numbers { outer, inner, place, comparisons, usable } = self;
        inner.finish();
        if !usable {
            return None;
        }
        let threshold = Threshold { comparisons };
        check_reachable(outer, &place, most, &threshold);
        Some(threshold)
    }
}

/// A count cannot pass what a window holds, and a range must not be empty.
fn check_reachable(
    section: &Section<'_>,
    place: &Place,
    most: Option<usize>,
    threshold: &Threshold,
) {
    let lowest = threshold.lowest();
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
    let is_out_of_reach = most.is_some_and(|most| lowest > most as f64);
    if let Some(most) = most.filter(|_| is_out_of_reach) {
        let title = format!("a window tells at most {most} apart");
        let help = "lower the threshold, or shorten `timespan`";
        section
            .report(Diagnostic::error(code::THRESHOLD_TOO_LARGE, place.clone(), title).help(help));
    } else if !threshold.passes_some(most.is_some()) {
        let what = if most.is_some() && threshold.passes_some(false) { "count" } else { "number" };
        let title = format!("no {what} is {}", threshold.describe());
        let mut diagnostic = Diagnostic::error(code::CORRELATION_CONDITION, place.clone(), title);
        if most.is_some() && threshold.holds(0.0) {
            diagnostic = diagnostic
                .label("a window without any event is not looked at")
                .help("for silence there is `tripline: {absence: …}` on the detection rule");
        }
        section.report(diagnostic);
    }
}
