//! Which rules an event can satisfy at all, found without looking at the rules.
//!
//! For each of the fields that tell rules apart best (resource, verb, user …) the index knows, for
//! every value that some rule names, which rules that value does not rule out; and the same for
//! all other values, for null, and for absence. It is made by evaluating each condition with that
//! one field known and everything else unknown: what is false then is false whatever the rest of the
//! event says. So it understands `not`, wildcards and numbers as well as plain equality. An event's
//! candidates are the intersection over the fields. It never leaves out a rule that holds.

use std::{borrow::Cow, collections::BTreeMap};

use hashbrown::{HashMap, HashSet};

use super::{
    bits::Bits,
    fold::{Fold, is_folded},
    matcher::Derivations,
    test,
};
use crate::engine::{
    event::{Event, FieldId, Stage, derived::is_derived, well_known},
    limits,
    rule::{DetectionRule, Expression, Predicate, RuleIndex, RuleSet, RuleSteps, StringKind, Test},
    value::Value,
};

/// Fields that are indexed at most. More would cost every event more than they save.
const FIELDS_INDEXED_MAX: usize = 8;

/// Fields of a rule that are looked for together at most: 64. A rule that needs one of more fields is
/// looked at for every event.
const FIELDS_TOGETHER_MAX: usize = 64;

/// Derived fields that are cheap enough to be computed for every event.
const CHEAP_DERIVED: [&str; 3] = ["actor.human", "actor.kind", "outcome"];

/// Whether a field is there only once it was computed. The decoder itself fills in the cluster.
fn is_computed(path: &str) -> bool {
    is_derived(path) && path != "cluster"
}

/// An index over the detection rules of one rule set.
#[derive(Debug)]
pub(super) struct Index {
    /// The rules, by their number in the sets.
    rules: Vec<RuleIndex>,
    /// Rules that see canonical events: all.
    all: Bits,
    /// Rules that see every stage.
    every_stage: Bits,
    fields: Vec<FieldIndex>,
    /// For each of the other fields, the rules that its absence does not rule out: most fields of
    /// bodies and annotations are absent from most events.
    presence: Vec<(FieldId, Bits)>,
    /// The same for several fields, any of which would do: the rules left when all are absent.
    together: Vec<(Vec<FieldId>, Bits)>,
    derivations: Derivations,
}

/// What one field says about the rules.
#[derive(Debug)]
struct FieldIndex {
    field: FieldId,
    derived: bool,
    absent: Bits,
    null: Bits,
    other: Bits,
    by_text: HashMap<Box<str>, Known>,
}

/// What one value that is known says about the rules.
#[derive(Debug)]
struct Known {
    /// For the text as it stands here.
    exact: Bits,
    /// For texts that differ from it in case.
    folded: Bits,
}

/// What is known of the value of the field in question.
#[derive(Clone, Copy)]
enum Class<'t> {
    Absent,
    Null,
    /// A text that no rule names.
    Other,
    /// This text.
    Exact(&'t str),
    /// A text that folds to this one.
    Folded(&'t str),
}

impl Index {
    pub(super) fn new(rules: &RuleSet) -> Index {
        let detections: Vec<(RuleIndex, &DetectionRule)> = rules.detections().collect();
        let count = detections.len();
        let mut all = Bits::none(count);
        let mut every_stage = Bits::none(count);
        for (number, (_, rule)) in detections.iter().enumerate() {
            all.set(number, rule.expression != Expression::Constant(false));
            every_stage.set(number, rule.steps == RuleSteps::All);
        }
        let known: Vec<FieldIndex> = Uses::of(rules, &detections)
            .into_iter()
            .filter_map(|uses| FieldIndex::new(rules, &detections, &uses))
            .collect();
        let (fields, rest) = choose(known, count);
        Index {
            rules: detections.iter().map(|(index, _)| *index).collect(),
            all,
            every_stage,
            fields,
            presence: rest.into_iter().map(|index| (index.field, index.absent)).collect(),
            together: together(rules, &detections),
            derivations: Derivations::new(rules),
        }
    }

    /// The rules that the event can satisfy, into `candidates`. False: none.
    pub(super) fn candidates(
        &self,
        event: &mut Event<'_>,
        fold: &mut Fold,
        candidates: &mut Bits,
    ) -> bool {
        candidates.copy_from(match event.stage {
            Stage::RequestReceived => &self.every_stage,
            _ => &self.all,
        });
        for index in &self.fields {
            self.derivations.derive(event, index.field);
            let Some(bits) = index.bits(event, fold) else { continue };
            if !candidates.keep(bits) {
                return false;
            }
        }
        for (field, absent) in &self.presence {
            if !event.has(*field) && !candidates.keep(absent) {
                return false;
            }
        }
        for (fields, left) in &self.together {
            if !fields.iter().any(|field| event.has(*field)) && !candidates.keep(left) {
                return false;
            }
        }
        true
    }

    /// The rule with a number of [`Index::candidates`].
    pub(super) fn rule(&self, number: usize) -> Option<RuleIndex> {
        self.rules.get(number).copied()
    }
}

/// Chooses the fields whose values are looked up, the sharpest first; the rest comes second.
///
/// A rule wants to be ruled out by one field at least, better by two, since no field rules it out of
/// every event. So in each step the field that does most for the rules served least is taken.
fn choose(mut known: Vec<FieldIndex>, count: usize) -> (Vec<FieldIndex>, Vec<FieldIndex>) {
    let ruled_out: Vec<Bits> = known.iter().map(|index| index.often_ruled_out(count)).collect();
    let mut ruled_out: Vec<(Bits, FieldId)> =
        ruled_out.into_iter().zip(known.iter().map(|index| index.field)).collect();
    let mut served = vec![0_u32; count];
    let mut chosen = Vec::new();
    while chosen.len() < FIELDS_INDEXED_MAX {
        let gain = |bits: &Bits| -> u32 {
            bits.iter()
                .map(|number| match served.get(number) {
                    Some(0) => 9,
                    Some(1) => 3,
                    Some(2) => 1,
                    _ => 0,
                })
                .sum()
        };
        let best = ruled_out
            .iter()
            .enumerate()
            .map(|(at, (bits, _))| (gain(bits), at))
            .max_by_key(|(gain, at)| (*gain, std::cmp::Reverse(*at)));
        let Some((1.., at)) = best else { break };
        let (bits, field) = ruled_out.remove(at);
        for number in bits.iter() {
            if let Some(served) = served.get_mut(number) {
                *served += 1;
            }
        }
        if let Some(at) = known.iter().position(|index| index.field == field) {
            chosen.push(known.remove(at));
        }
    }
    known.retain(|index| !index.derived && index.absent.len() < count);
    (chosen, known)
}

impl FieldIndex {
    /// The rules that some usual value of the field, or its absence, rules out.
    fn often_ruled_out(&self, count: usize) -> Bits {
        let mut bits = Bits::none(count);
        let many = self.by_text.len() / 2;
        for number in 0..count {
            let by_text =
                || self.by_text.values().filter(|known| !known.exact.has(number)).count() > many;
            let ruled_out = !self.absent.has(number) || !self.other.has(number) || by_text();
            bits.set(number, ruled_out);
        }
        bits
    }

    /// `None` if it would take too much memory.
    fn new(
        rules: &RuleSet,
        detections: &[(RuleIndex, &DetectionRule)],
        uses: &Uses<'_>,
    ) -> Option<FieldIndex> {
        let count = detections.len();
        let field = uses.field;
        let mut index = FieldIndex {
            field,
            derived: is_computed(rules.fields.path(field)),
            absent: Bits::none(count),
            null: Bits::none(count),
            other: Bits::none(count),
            by_text: HashMap::new(),
        };
        let mut fold = Fold::default();
        let mut possible = |number: usize, class: Class<'_>| {
            let Some((_, rule)) = detections.get(number) else { return false };
            let mut known = |predicate: &Predicate| (predicate.field == field).then_some(class);
            possible(rules, &rule.expression, &mut known, &mut fold) != Some(false)
        };
        for number in 0..count {
            index.absent.set(number, possible(number, Class::Absent));
            index.null.set(number, possible(number, Class::Null));
            index.other.set(number, possible(number, Class::Other));
        }
        let mut folding = Fold::default();
        let mut texts: HashSet<Cow<'_, str>> = vocabulary(field).collect();
        for (_, named) in &uses.by_rule {
            texts.extend(named.texts.iter().map(|text| Cow::Borrowed(*text)));
            if texts.len() > limits::INDEX_VALUES_MAX {
                return None;
            }
        }
        for text in texts {
            let mut known = Known { exact: index.other.clone(), folded: index.other.clone() };
            for (number, named) in &uses.by_rule {
                // A rule that only compares with other texts, in whatever case, treats this one like
                // any other.
                if named.patterns
                    || named.texts.contains(&*text)
                    || named.texts.contains(folding.fold(&text))
                {
                    known.exact.set(*number, possible(*number, Class::Exact(&text)));
                    known.folded.set(*number, possible(*number, Class::Folded(&text)));
                }
            }
            index.by_text.insert(text.into(), known);
        }
        Some(index)
    }

    /// The rules that the event's value does not rule out. `None`: it says nothing.
    fn bits(&self, event: &Event<'_>, fold: &mut Fold) -> Option<&Bits> {
        let value = match event.count(self.field) {
            0 => return Some(&self.absent),
            1 => event.first(self.field)?,
            // Of several values one may pass one test, and another another.
            _ => return None,
        };
        match value {
            Value::Null => return Some(&self.null),
            // Its text may mean another number, or none: 1e999.
            Value::Float(_) => return None,
            _ => {}
        }
        let text = fold.text(value, true)?;
        if let Some(known) = self.by_text.get(text) {
            return Some(&known.exact);
        }
        match value {
            Value::Str(text) if !is_folded(text) => {
                let known = self.by_text.get(fold.fold(text));
                Some(known.map_or(&self.other, |known| &known.folded))
            }
            // In lower case it is what was just looked for.
            _ => Some(&self.other),
        }
    }
}

/// Values worth knowing even if no rule names them plainly, so that wildcards, regular expressions
/// and comparisons are decided when rules are loaded.
fn vocabulary(field: FieldId) -> impl Iterator<Item = Cow<'static, str>> {
    let words: &[&'static str] = match field {
        well_known::VERB => {
            &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", ""]
        }
        well_known::STAGE => &["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"],
        _ => &[],
    };
    let codes = if field == well_known::RESPONSE_CODE { 100..600 } else { 0..0 };
    words
        .iter()
        .map(|word| Cow::Borrowed(*word))
        .chain(codes.map(|code: u16| Cow::Owned(code.to_string())))
}

/// Sets of two fields or more without which a rule cannot hold, as is usual for rules about one of
/// several annotations: for each the rules that do without.
fn together(
    rules: &RuleSet,
    detections: &[(RuleIndex, &DetectionRule)],
) -> Vec<(Vec<FieldId>, Bits)> {
    let mut fold = Fold::default();
    let mut found: BTreeMap<Vec<FieldId>, Bits> = BTreeMap::new();
    for (number, (_, rule)) in detections.iter().enumerate() {
        let mut needed: Vec<FieldId> = Vec::new();
        rule.expression.for_each_predicate(&mut |id| {
            let field = rules.predicates.get(id.0 as usize).map(|predicate| predicate.field);
            // A derived field is there only once it was computed.
            needed.extend(field.filter(|field| !is_computed(rules.fields.path(*field))));
        });
        needed.sort_unstable();
        needed.dedup();
        let mut cannot_hold = |without: &[FieldId]| {
            let mut known =
                |predicate: &Predicate| without.contains(&predicate.field).then_some(Class::Absent);
            possible(rules, &rule.expression, &mut known, &mut fold) == Some(false)
        };
        if needed.len() > FIELDS_TOGETHER_MAX || !cannot_hold(&needed) {
            continue;
        }
        // What nearly every event has goes first; so what is left tells most.
        for field in needed.clone() {
            let without: Vec<FieldId> =
                needed.iter().copied().filter(|other| *other != field).collect();
            if cannot_hold(&without) {
                needed = without;
            }
        }
        if needed.len() > 1 {
            let left = found.entry(needed).or_insert_with(|| {
                let mut left = Bits::none(detections.len());
                (0..detections.len()).for_each(|number| left.set(number, true));
                left
            });
            left.set(number, false);
        }
    }
    found.into_iter().collect()
}

/// What a condition comes to when `known` tells of which class the values of some fields are, and
/// everything else is not known. `None`: it depends.
fn possible<'t>(
    rules: &RuleSet,
    expression: &Expression,
    known: &mut dyn FnMut(&Predicate) -> Option<Class<'t>>,
    fold: &mut Fold,
) -> Option<bool> {
    match expression {
        Expression::Constant(value) => Some(*value),
        Expression::Inside(_) | Expression::Before(_) | Expression::SameElement(_) => None,
        Expression::Predicate(id) => {
            let predicate = rules.predicates.get(id.0 as usize)?;
            decided(predicate, known(predicate)?, fold)
        }
        Expression::Not(inner) => possible(rules, inner, known, fold).map(|value| !value),
        Expression::All(parts) => {
            combined(parts.iter().map(|part| possible(rules, part, known, fold)), false)
        }
        Expression::Any(parts) => {
            combined(parts.iter().map(|part| possible(rules, part, known, fold)), true)
        }
    }
}

/// All or any of three-valued parts: `absorbing` decides as soon as it appears.
fn combined(parts: impl Iterator<Item = Option<bool>>, absorbing: bool) -> Option<bool> {
    let mut result = Some(!absorbing);
    for part in parts {
        match part {
            Some(value) if value == absorbing => return Some(absorbing),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// Whether a predicate holds for a value of which only the class is known. `None`: it depends.
fn decided(predicate: &Predicate, class: Class<'_>, fold: &mut Fold) -> Option<bool> {
    match (&predicate.test, class) {
        (Test::Null, Class::Absent) => Some(true),
        (_, Class::Absent) => Some(false),
        (Test::FieldRef { .. }, _) => None,
        (test, Class::Null) => Some(test::passes(test, &Value::Null, fold)),
        (Test::Exists, _) => Some(true),
        (Test::Null, _) => Some(false),
        (test, Class::Exact(text)) => {
            Some(test::passes(test, &Value::Str(Cow::Borrowed(text)), fold))
        }
        (test, Class::Folded(text)) if !minds_case(test) => {
            Some(test::passes(test, &Value::Str(Cow::Borrowed(text)), fold))
        }
        (_, Class::Folded(_)) => None,
        (test, Class::Other) => named_texts(test).map(|_| false),
    }
}

/// Whether texts that differ in case can differ in the result.
const fn minds_case(test: &Test) -> bool {
    match test {
        Test::OneOf { cased, .. } | Test::Text { cased, .. } => *cased,
        Test::Number(..) | Test::Bool(_) | Test::Cidr(_) => false,
        _ => true,
    }
}

/// The texts without which a test is false; `None` if it is not of that sort.
fn named_texts(test: &Test) -> Option<Vec<&str>> {
    match test {
        Test::OneOf { texts, .. } if texts.len() <= limits::INDEX_TEXTS_PER_TEST_MAX => {
            Some(texts.iter().map(String::as_str).collect())
        }
        Test::Text { kind: StringKind::Equals, pattern, .. } => Some(vec![pattern]),
        Test::Bool(true) => Some(vec!["true"]),
        Test::Bool(false) => Some(vec!["false"]),
        _ => None,
    }
}

/// How the rules use one field.
struct Uses<'r> {
    field: FieldId,
    /// By the number of the rule.
    by_rule: Vec<(usize, Named<'r>)>,
}

/// What one rule says about one field.
#[derive(Default)]
struct Named<'r> {
    texts: HashSet<&'r str>,
    /// It also has tests that are more than a list of texts.
    patterns: bool,
}

impl<'r> Uses<'r> {
    /// Of every field that can be indexed, by field.
    fn of(rules: &'r RuleSet, detections: &[(RuleIndex, &DetectionRule)]) -> Vec<Uses<'r>> {
        let mut by_field: BTreeMap<FieldId, Uses<'r>> = BTreeMap::new();
        for (number, (_, rule)) in detections.iter().enumerate() {
            rule.expression.for_each_predicate(&mut |id| {
                let Some(predicate) = rules.predicates.get(id.0 as usize) else { return };
                let path = rules.fields.path(predicate.field);
                if is_computed(path) && !CHEAP_DERIVED.contains(&path) {
                    return;
                }
                let uses = by_field
                    .entry(predicate.field)
                    .or_insert_with(|| Uses { field: predicate.field, by_rule: Vec::new() });
                if uses.by_rule.last().is_none_or(|(last, _)| *last != number) {
                    uses.by_rule.push((number, Named::default()));
                }
                let Some((_, named)) = uses.by_rule.last_mut() else { return };
                match named_texts(&predicate.test) {
                    Some(texts) => named.texts.extend(texts),
                    None => named.patterns |= !matches!(predicate.test, Test::Exists | Test::Null),
                }
            });
        }
        by_field.into_values().collect()
    }
}
