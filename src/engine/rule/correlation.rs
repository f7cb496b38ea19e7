//! Reads `correlation:`: type, rules, key, window, condition, aliases.

use std::{collections::BTreeSet, time::Duration};

use super::{
    code,
    condition::Condition,
    document::parse_condition,
    extension::required_texts,
    read::{Text, text, texts, timespan},
    set::{Comparison, CorrelationKind, Threshold},
};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    limits::{CORRELATION_INPUTS_MAX, KEY_PARTS_MAX, WINDOW_EVENTS_MAX},
    yaml::{NodeKind, Section},
};

/// A correlation as it is written.
#[derive(Debug)]
pub(super) struct CorrelationSyntax {
    /// What it looks for.
    pub(super) kind: KindSyntax,
    /// `rules`: ids or names.
    pub(super) rules: Vec<Text>,
    /// `group-by`
    pub(super) group_by: Vec<Text>,
    /// `timespan`
    pub(super) timespan: Duration,
    /// `condition.field`
    pub(super) fields: Vec<Text>,
    /// `aliases`: the alias, and for each rule its field.
    pub(super) aliases: Vec<Alias>,
    /// `generate` inside the correlation.
    pub(super) generate: Option<bool>,
}

/// One alias.
#[derive(Debug)]
pub(super) struct Alias {
    /// The name that stands in `group-by`.
    pub(super) name: Text,
    /// For each rule its field.
    pub(super) fields: Vec<(Text, Text)>,
}

/// What a correlation looks for, before its rules are known.
#[derive(Debug)]
pub(super) enum KindSyntax {
    /// Everything is said.
    Plain(CorrelationKind),
    /// Which rules must be seen.
    Temporal {
        /// In the order of `rules`.
        ordered: bool,
        /// As numbers, or as an expression over rules.
        condition: TemporalSyntax,
    },
}

/// The condition of a temporal correlation.
#[derive(Debug)]
pub(super) enum TemporalSyntax {
    /// None: all rules.
    Everything,
    /// How many.
    Count(Threshold),
    /// SEP-198.
    Expression(Condition, Text),
}

/// What the condition of a type is made of.
#[derive(Clone, Copy)]
enum Shape {
    /// A threshold on a number of events.
    Count,
    /// A threshold on a number of different values.
    Distinct,
    /// A threshold on something about a field.
    Field(fn(Threshold) -> CorrelationKind),
    /// A threshold on a percentile of a field.
    Percentile,
    /// Rules.
    Temporal { ordered: bool },
}

/// One correlation type.
pub(super) struct CorrelationEntry {
    /// The word.
    pub(super) name: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    shape: Shape,
}

/// Every correlation type; sorted.
pub(super) const CORRELATIONS: &[CorrelationEntry] = &[
    CorrelationEntry { name: "event_count", summary: "How many events.", shape: Shape::Count },
    CorrelationEntry {
        name: "temporal",
        summary: "Several rules, in any order.",
        shape: Shape::Temporal { ordered: false },
    },
    CorrelationEntry {
        name: "temporal_ordered",
        summary: "Several rules, in the order of `rules`.",
        shape: Shape::Temporal { ordered: true },
    },
    CorrelationEntry {
        name: "value_avg",
        summary: "The mean of a numeric field.",
        shape: Shape::Field(CorrelationKind::ValueAvg),
    },
    CorrelationEntry {
        name: "value_count",
        summary: "How many different values of a field, or tuples of several fields.",
        shape: Shape::Distinct,
    },
    CorrelationEntry {
        name: "value_median",
        summary: "The median of a numeric field.",
        shape: Shape::Field(CorrelationKind::ValueMedian),
    },
    CorrelationEntry {
        name: "value_percentile",
        summary: "A percentile of a numeric field.",
        shape: Shape::Percentile,
    },
    CorrelationEntry {
        name: "value_sum",
        summary: "The sum of a numeric field.",
        shape: Shape::Field(CorrelationKind::ValueSum),
    },
];

/// Reads the mapping. `None` if it is unusable; that is reported.
pub(super) fn read_correlation(section: Section<'_>) -> Option<CorrelationSyntax> {
    let shape = read_type(&section);
    let span = timespan(&section, "timespan");
    if !section.has("timespan") {
        section.missing("timespan", "how long the window is: `timespan: 5m`");
    }
    let group_by = texts(&section, "group-by").unwrap_or_default();
    bounded(&section, "group-by", group_by.len(), KEY_PARTS_MAX);
    unique(&section, &group_by);
    let aliases = read_aliases(&section);
    let generate = section.boolean("generate");
    section.has("condition");
    let condition = shape.and_then(|shape| read_condition(&section, shape));
    let rules = match &condition {
        Some((
            KindSyntax::Temporal { condition: TemporalSyntax::Expression(tree, text), .. },
            _,
        )) if section.node("rules").is_none() => {
            let mut rules = Vec::new();
            names_of(tree, text, &mut rules);
            rules
        }
        _ => required_texts(&section, "rules", "name the rules whose events are correlated"),
    };
    bounded(&section, "rules", rules.len(), CORRELATION_INPUTS_MAX);
    unique(&section, &rules);
    section.finish();
    let (kind, fields) = condition?;
    if rules.is_empty() {
        return None;
    }
    Some(CorrelationSyntax { kind, rules, group_by, timespan: span?, fields, aliases, generate })
}

fn read_type(section: &Section<'_>) -> Option<Shape> {
    let Some(word) = text(section, "type") else {
        if !section.has("type") {
            let names: Vec<&str> = CORRELATIONS.iter().map(|entry| entry.name).collect();
            section.missing("type", format!("it is one of: {}", names.join(", ")));
        }
        return None;
    };
    if let Some(entry) = CORRELATIONS.iter().find(|entry| entry.name == word.value) {
        return Some(entry.shape);
    }
    let names: Vec<&str> = CORRELATIONS.iter().map(|entry| entry.name).collect();
    let title = format!("there is no correlation type `{}`", word.value);
    let mut diagnostic = Diagnostic::error(code::UNKNOWN_CORRELATION, word.place, title)
        .suggest(&word.value, names.iter().copied());
    if super::state::STATES.iter().any(|state| state.name == word.value) {
        let help = format!("write `tripline: {{{}: …}}` on the detection rule", word.value);
        diagnostic = diagnostic.help(help);
    } else {
        diagnostic = diagnostic.help(format!("it is one of: {}", names.join(", ")));
    }
    section.report(diagnostic);
    None
}

fn bounded(section: &Section<'_>, key: &str, count: usize, most: usize) {
    if count > most {
        let title = format!("{} has {count} entries; at most {most} work", section.path_of(key));
        section.report(Diagnostic::error(code::TOO_MANY, section.place_of(key), title));
    }
}

fn unique(section: &Section<'_>, texts: &[Text]) {
    let mut seen: Vec<&Text> = Vec::new();
    for text in texts {
        if let Some(first) = seen.iter().find(|seen| seen.value == text.value) {
            let title = format!("`{}` is named twice", text.value);
            section.report(
                Diagnostic::error(code::TWICE, text.place.clone(), title)
                    .related(first.place.clone(), "first here"),
            );
        }
        seen.push(text);
    }
}

fn read_aliases(section: &Section<'_>) -> Vec<Alias> {
    let Some(inner) = section.section("aliases") else { return Vec::new() };
    let mut aliases = Vec::new();
    for name in inner.keys() {
        let Some(fields) = inner.section(name) else { continue };
        let pairs = fields.keys().filter_map(|rule| {
            let field = text(&fields, rule)?;
            Some((Text { value: rule.to_owned(), place: fields.place_of_key(rule) }, field))
        });
        let pairs: Vec<(Text, Text)> = pairs.collect();
        let name = Text { value: name.to_owned(), place: inner.place_of_key(name) };
        aliases.push(Alias { name, fields: pairs });
    }
    aliases
}

fn read_condition(section: &Section<'_>, shape: Shape) -> Option<(KindSyntax, Vec<Text>)> {
    let Some(node) = section.node("condition") else {
        if let Shape::Temporal { ordered } = shape {
            let kind = KindSyntax::Temporal { ordered, condition: TemporalSyntax::Everything };
            return Some((kind, Vec::new()));
        }
        section.missing("condition", "from which number on: `condition: {gte: 10}`");
        return None;
    };
    match (&node.kind, shape) {
        (NodeKind::Map(_), _) => read_numbers(section, shape),
        (_, Shape::Temporal { ordered }) => {
            let words = text(section, "condition")?;
            let problems = Problems::new();
            let tree = parse_condition(&problems, &words, false);
            for mut problem in problems.into_sorted() {
                problem.code = code::CORRELATION_CONDITION;
                section.report(problem);
            }
            let condition = TemporalSyntax::Expression(tree?, words);
            Some((KindSyntax::Temporal { ordered, condition }, Vec::new()))
        }
        _ => {
            let title = format!("the condition must be a mapping, not {}", node.kind_name());
            section.report(
                Diagnostic::error(
                    code::CORRELATION_CONDITION,
                    section.place_of("condition"),
                    title,
                )
                .help("write a comparison: `condition: {gte: 10}`"),
            );
            None
        }
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

fn read_numbers(section: &Section<'_>, shape: Shape) -> Option<(KindSyntax, Vec<Text>)> {
    let inner = section.section("condition")?;
    let place = section.place_of_key("condition");
    let wrong = |title: &str, help: &str| {
        let diagnostic = Diagnostic::error(code::CORRELATION_CONDITION, place.clone(), title);
        section.report(diagnostic.help(help));
    };
    let mut comparisons = Vec::new();
    let mut usable = true;
    for (word, comparison) in COMPARISONS {
        if !inner.has(word) {
            continue;
        }
        match inner.number(word) {
            Some(bound) if bound.is_finite() => comparisons.push((comparison, bound)),
            _ => usable = false,
        }
    }
    let fields = texts(&inner, "field").unwrap_or_default();
    let percentile = read_percentile(&inner, &place, shape, &comparisons);
    match (shape, fields.is_empty()) {
        (Shape::Distinct | Shape::Field(_) | Shape::Percentile, true) => {
            wrong(
                "the condition names no field",
                "add the field: `condition: {field: …, gte: 10}`",
            );
            usable = false;
        }
        (Shape::Count | Shape::Temporal { .. }, false) => {
            wrong("only the `value_…` types have a field", "remove `field`, or change the type");
            usable = false;
        }
        _ => {}
    }
    inner.finish();
    if comparisons.is_empty() && usable {
        wrong("the condition compares with nothing", "write a comparison such as `gte: 10`");
        return None;
    }
    if comparisons.len() > 2 {
        wrong("a range has two ends at most", "keep two of the comparisons");
        usable = false;
    }
    if !usable {
        return None;
    }
    let threshold = Threshold { comparisons };
    check_reachable(section, &place, shape, &threshold);
    let kind = match shape {
        Shape::Count => KindSyntax::Plain(CorrelationKind::EventCount(threshold)),
        Shape::Distinct => KindSyntax::Plain(CorrelationKind::ValueCount(threshold)),
        Shape::Field(make) => KindSyntax::Plain(make(threshold)),
        Shape::Percentile => {
            KindSyntax::Plain(CorrelationKind::ValuePercentile(percentile?, threshold))
        }
        Shape::Temporal { ordered } => {
            KindSyntax::Temporal { ordered, condition: TemporalSyntax::Count(threshold) }
        }
    };
    Some((kind, fields))
}

fn read_percentile(
    inner: &Section<'_>,
    place: &Place,
    shape: Shape,
    comparisons: &[(Comparison, f64)],
) -> Option<f64> {
    if !matches!(shape, Shape::Percentile) {
        return None;
    }
    if !inner.has("percentile") {
        let rarity = comparisons.iter().all(|(_, bound)| (0.0..=1.0).contains(bound));
        let place = place.clone();
        let diagnostic = if rarity && !comparisons.is_empty() {
            let title =
                "the rarity form of `value_percentile` is not defined well enough to honour";
            Diagnostic::error(code::UNSUPPORTED, place, title).help(
                "write `tripline: {rarity: {of: […], max_share: 0.01}}` on the detection rule",
            )
        } else {
            let title = "the condition names no percentile";
            Diagnostic::error(code::CORRELATION_CONDITION, place, title)
                .help("add it: `condition: {field: …, percentile: 95, gte: 10}`")
        };
        inner.report(diagnostic);
        return None;
    }
    let percentile = inner.number("percentile")?;
    if !(0.0..=100.0).contains(&percentile) {
        inner.invalid("percentile", format!("there is no percentile {percentile}"), "0 to 100");
        return None;
    }
    Some(percentile)
}

/// A count cannot pass what a window holds, and a range must not be empty.
fn check_reachable(section: &Section<'_>, place: &Place, shape: Shape, threshold: &Threshold) {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let lowest = threshold
        .comparisons
        .iter()
        .filter(|(comparison, _)| matches!(comparison, Greater | GreaterOrEqual | Equal))
        .map(|(_, bound)| *bound)
        .fold(f64::NEG_INFINITY, f64::max);
    let highest = threshold
        .comparisons
        .iter()
        .filter(|(comparison, _)| matches!(comparison, Less | LessOrEqual | Equal))
        .map(|(_, bound)| *bound)
        .fold(f64::INFINITY, f64::min);
    #[expect(clippy::cast_precision_loss, reason = "the limit is far below 2^53")]
    let most = WINDOW_EVENTS_MAX as f64;
    if matches!(shape, Shape::Count | Shape::Distinct) && lowest > most {
        let title = format!("a window holds at most {WINDOW_EVENTS_MAX} events");
        let help = "lower the threshold, or shorten `timespan`";
        section
            .report(Diagnostic::error(code::THRESHOLD_TOO_LARGE, place.clone(), title).help(help));
    }
    if lowest > highest {
        let title = format!("no number is {}", threshold.describe());
        section.report(Diagnostic::error(code::CORRELATION_CONDITION, place.clone(), title));
    }
}

/// The rules that an expression names, each once, in order.
fn names_of(condition: &Condition, text: &Text, rules: &mut Vec<Text>) {
    match condition {
        Condition::Name(name, at) => {
            if rules.iter().all(|rule| rule.value != *name) {
                rules.push(Text { value: name.clone(), place: text.place_of(at.clone()) });
            }
        }
        Condition::Of { .. } => {}
        Condition::Not(inner) => names_of(inner, text, rules),
        Condition::All(parts) | Condition::Any(parts) => {
            for part in parts {
                names_of(part, text, rules);
            }
        }
    }
}

/// Names in an expression, for comparing them with `rules`.
pub(super) fn expression_names(condition: &Condition) -> BTreeSet<&str> {
    match condition {
        Condition::Name(name, _) => BTreeSet::from([name.as_str()]),
        Condition::Of { .. } => BTreeSet::new(),
        Condition::Not(inner) => expression_names(inner),
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().flat_map(expression_names).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_explained() {
        assert!(CORRELATIONS.is_sorted_by_key(|entry| entry.name));
        assert!(CORRELATIONS.iter().all(|entry| entry.summary.ends_with('.')));
    }
}
