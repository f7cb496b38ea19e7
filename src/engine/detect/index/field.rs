//! What the values of one field say about the rules, that is, about the alternatives of their conditions.

use std::{borrow::Cow, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{
    alternative::Alternative,
    class::{Class, possible},
    cost::{Cost, cost_of},
    learned::Learned,
    prefixes::{PrefixMatch, Prefixes},
    uses::Uses,
};
use crate::engine::{
    detect::{
        bits::Bits,
        fold::{Fold, is_folded},
    },
    event::{Event, FieldId, Parts, well_known},
    kubernetes::{stages::STAGE_WORDS, verbs::RESOURCE_VERBS},
    limits,
    rule::{Expression, Predicate, RuleSet},
    text_table::TextTable,
    value::{Value, unescape},
};

/// Values of one field that are looked at one by one: 16.
const SEVERAL_MAX: usize = 16;

/// For each class of values of one field, the rules that it does not rule out.
#[derive(Debug)]
pub(super) struct FieldIndex {
    pub(super) field: FieldId,
    pub(super) cost: Cost,
    /// The parts of an event that it comes from.
    pub(super) parts: Parts,
    /// The rules that some class rules out. The others need no look at the field.
    pub(super) decides: Bits,
    absent: Bits,
    present: Bits,
    null: Bits,
    by_text: TextTable<Known>,
    /// For integers whose text is known.
    by_integer: HashMap<i64, Arc<Bits>>,
    /// For other texts that begin with what rules look for.
    prefixes: Prefixes,
    /// For other texts that do not.
    other: Bits,
    /// For other texts of which it is not clear.
    unclear: Bits,
    /// The rules that have one test at most on the field: of several values one lets it pass, or none.
    simple: Bits,
    /// What patterns say of texts that came before.
    learned: Learned,
    /// The same of texts with the escapes of JSON; for what may be looked at before it is read.
    learned_as_written: Learned,
    /// What is left for several values.
    several: Bits,
}

/// What one text that is known says about the rules. Hundreds of texts say the same.
#[derive(Debug)]
struct Known {
    /// For the text as it stands here.
    exact: Arc<Bits>,
    /// For texts that differ from it in case.
    folded: Arc<Bits>,
}

impl FieldIndex {
    /// `None` if it would take too much memory.
    pub(super) fn new(
        rules: &RuleSet,
        alternatives: &[Alternative<'_>],
        uses: &Uses<'_>,
    ) -> Option<FieldIndex> {
        let field = uses.field;
        let mut texts: HashSet<Cow<'_, str>> = vocabulary(field).collect();
        for (_, named) in &uses.by_rule {
            texts.extend(named.texts.iter().map(|text| Cow::Borrowed(*text)));
            if texts.len() > limits::INDEX_VALUES_MAX {
                return None;
            }
        }
        let mut fold = Fold::default();
        let mut possible = |number: usize, class: Class<'_>| {
            let Some(one) = alternatives.get(number) else { return false };
            let mut known = |predicate: &Predicate| (predicate.field == field).then_some(class);
            possible(rules, &one.condition, &mut known, &mut fold) != Some(false)
        };
        let mut left = |class: Class<'_>| {
            let mut bits = Bits::none(alternatives.len());
            (0..alternatives.len()).for_each(|number| bits.set(number, possible(number, class)));
            bits
        };
        let absent = left(Class::Absent);
        let present = left(Class::Present);
        let null = left(Class::Null);
        let unclear = left(Class::Other { prefix: None });
        // With too many prefixes nothing is known of the prefix of a text.
        let few = uses.prefixes.len() <= limits::INDEX_VALUES_MAX;
        let prefix = few.then_some("");
        let other = left(Class::Other { prefix });
        let prefixes: Vec<&str> = uses.prefixes.iter().copied().filter(|_| few).collect();
        let prefixes = Prefixes::new(&prefixes, |prefix| {
            let mut left = other.clone();
            for (number, named) in &uses.by_rule {
                if named.patterns {
                    let class = Class::Other { prefix: Some(prefix) };
                    left.set(*number, possible(*number, class));
                }
            }
            left
        });
        let mut by_text: Vec<(Box<[u8]>, Known)> = Vec::new();
        let mut by_integer = HashMap::new();
        let mut folding = Fold::default();
        let mut said: HashSet<Arc<Bits>> = HashSet::new();
        let mut shared =
            |bits: Bits| Arc::clone(said.get_or_insert_with(&bits, |bits| Arc::new(bits.clone())));
        for text in texts {
            let (mut exact, mut folded) = (other.clone(), other.clone());
            for (number, named) in &uses.by_rule {
                // A rule that only compares with other texts, in whatever case, treats this one like
                // any other.
                if named.patterns
                    || named.texts.contains(&*text)
                    || named.texts.contains(folding.fold(&text))
                {
                    exact.set(*number, possible(*number, Class::Exact(&text)));
                    folded.set(*number, possible(*number, Class::Folded(&text)));
                }
            }
            let known = Known { exact: shared(exact), folded: shared(folded) };
            let integer = text.parse().ok().filter(|integer: &i64| integer.to_string() == *text);
            if let Some(integer) = integer {
                by_integer.insert(integer, Arc::clone(&known.exact));
            }
            by_text.push((text.as_bytes().into(), known));
        }
        let mut simple = Bits::all(alternatives.len());
        for (number, named) in &uses.by_rule {
            simple.set(*number, named.tests.len() <= 1);
        }
        let patterns = uses.by_rule.iter().filter(|(_, named)| named.patterns);
        let learned =
            Learned::new(patterns.map(|(number, _)| *number).collect(), alternatives.len());
        let parts = Parts::of(rules.fields.path(field));
        let mut index = FieldIndex {
            simple,
            learned_as_written: match parts {
                Parts::REASON => learned.clone(),
                _ => Learned::default(),
            },
            learned,
            several: Bits::default(),
            field,
            cost: cost_of(rules.fields.path(field)),
            parts,
            decides: Bits::none(alternatives.len()),
            absent,
            present,
            null,
            by_integer,
            by_text: TextTable::new(by_text),
            prefixes,
            other,
            unclear,
        };
        index.decides = index.ruled_out_by_any(alternatives.len());
        Some(index)
    }

    fn ruled_out_by_any(&self, count: usize) -> Bits {
        let texts = self.by_text.values().flat_map(|known| [&*known.exact, &*known.folded]);
        let classes =
            [&self.absent, &self.present, &self.null, &self.other, &self.unclear].into_iter();
        let mut always = Bits::all(count);
        for left in classes.chain(texts).chain(self.prefixes.each()) {
            always.keep(left);
        }
        let mut decides = Bits::none(count);
        (0..count).for_each(|number| decides.set(number, !always.has(number)));
        self.learned.patterns().for_each(|number| decides.set(number, true));
        decides
    }

    /// The rules that some usual value of the field, or its absence, rules out.
    pub(super) fn often_ruled_out(&self, count: usize) -> Bits {
        let mut bits = Bits::none(count);
        let many = self.by_text.values().count() / 2;
        for number in 0..count {
            let by_text = || {
                let texts = self.by_text.values();
                texts.filter(|known| !known.exact.has(number)).count() > many
            };
            let ruled_out = !self.absent.has(number)
                || !self.present.has(number)
                || !self.other.has(number)
                || by_text();
            bits.set(number, ruled_out);
        }
        bits
    }

    /// Keeps the rules that the event's values do not rule out. False: nothing.
    #[inline]
    pub(super) fn keep(
        &mut self,
        rules: &RuleSet,
        conditions: &[Expression],
        event: &Event<'_>,
        fold: &mut Fold,
        candidates: &mut Bits,
    ) -> bool {
        let value = match (event.count(self.field), event.first(self.field)) {
            (0, _) => return candidates.keep(&self.absent),
            (1, Some(value)) => value,
            _ => return self.keep_of_several(event, fold, candidates),
        };
        let Value::Str(text) = value else { return candidates.keep(self.left(value, fold)) };
        // Of a text that rules name it is known what patterns say, too.
        if let Some(known) = self.by_text.get(text.as_bytes()) {
            return candidates.keep(&known.exact);
        }
        if !self.learned.is_worth_it(text, candidates) {
            return candidates.keep(self.left_for_other(text, fold));
        }
        let hash = self.learned.hash(text);
        if let Some(left) = self.learned.find(hash, text) {
            return candidates.keep(left);
        }
        let came_before = self.learned.came_before(hash);
        let left = self.left_for_other(text, fold);
        if !came_before {
            return candidates.keep(left);
        }
        let left = left.clone();
        let is_possible = is_possible(self.field, text, rules, conditions, fold);
        candidates.keep(self.learned.learn(hash, text, left, is_possible))
    }

    /// Keeps what is not ruled out by the one value that the field would have, of which this is written in JSON. Of a long
    /// text nothing is said, and unless `is_thorough` of one that came for the first time. False: nothing.
    pub(super) fn keep_as_written(
        &mut self,
        (rules, conditions): (&RuleSet, &[Expression]),
        written: &str,
        is_thorough: bool,
        fold: &mut Fold,
        candidates: &mut Bits,
    ) -> bool {
        if !self.learned_as_written.is_worth_it(written, candidates) {
            return true;
        }
        let hash = self.learned_as_written.hash(written);
        if let Some(left) = self.learned_as_written.find(hash, written) {
            return candidates.keep(left);
        }
        if !self.learned_as_written.came_before(hash) && !is_thorough {
            return true;
        }
        let mut text = String::with_capacity(written.len());
        unescape(written, &mut text);
        let left = self.left_for(&text, fold).clone();
        let is_possible = is_possible(self.field, &text, rules, conditions, fold);
        candidates.keep(self.learned_as_written.learn(hash, written, left, is_possible))
    }

    /// Of several values one may pass one test, and another another; where there is one test only, what none of
    /// them lets pass is ruled out.
    fn keep_of_several(
        &mut self,
        event: &Event<'_>,
        fold: &mut Fold,
        candidates: &mut Bits,
    ) -> bool {
        if !candidates.keep(&self.present) {
            return false;
        }
        if !candidates.meets(&self.simple) || event.count(self.field) > SEVERAL_MAX {
            return true;
        }
        let mut several = std::mem::take(&mut self.several);
        several.copy_from(&self.simple);
        several.flip();
        for value in event.values(self.field) {
            several.add(self.left(value, fold));
        }
        let left = candidates.keep(&several);
        self.several = several;
        left
    }

    /// The rules that one value does not rule out.
    #[inline]
    fn left(&self, value: &Value<'_>, fold: &mut Fold) -> &Bits {
        match value {
            Value::Str(text) => self.left_for(text, fold),
            Value::Bool(value) => self.left_for(if *value { "true" } else { "false" }, fold),
            Value::Int(integer) => match self.by_integer.get(integer) {
                Some(left) => left,
                None if self.prefixes.is_empty() => &self.other,
                None => self.left_for(&integer.to_string(), fold),
            },
            Value::Null => &self.null,
            // The text of a number may mean another number, or none: 1e999.
            Value::Float(_) | Value::Composite => &self.present,
        }
    }

    #[inline]
    fn left_for(&self, text: &str, fold: &mut Fold) -> &Bits {
        match self.by_text.get(text.as_bytes()) {
            Some(known) => &known.exact,
            None => self.left_for_other(text, fold),
        }
    }

    /// The rules that a text does not rule out that no rule names as it stands.
    fn left_for_other(&self, text: &str, fold: &mut Fold) -> &Bits {
        // In lower case it is what was just looked for.
        if !self.by_text.is_empty()
            && !is_folded(text)
            && let Some(known) = self.by_text.get(fold.fold(text).as_bytes())
        {
            return &known.folded;
        }
        if self.prefixes.is_empty() {
            return &self.other;
        }
        match self.prefixes.find(text, fold) {
            PrefixMatch::Known(left) => left,
            PrefixMatch::Other => &self.other,
            PrefixMatch::Unclear => &self.unclear,
        }
    }
}

/// Whether a condition may hold of an event in which this text is the only value of a field.
fn is_possible<'t>(
    field: FieldId,
    text: &'t str,
    rules: &'t RuleSet,
    conditions: &'t [Expression],
    fold: &'t mut Fold,
) -> impl FnMut(usize) -> bool + 't {
    move |number| {
        let mut known =
            |predicate: &Predicate| (predicate.field == field).then_some(Class::Exact(text));
        let condition = conditions.get(number);
        condition.is_none_or(|one| possible(rules, one, &mut known, fold) != Some(false))
    }
}

/// Values worth knowing even if no rule names them plainly, so that wildcards, regular expressions
/// and comparisons are decided when rules are loaded.
fn vocabulary(field: FieldId) -> impl Iterator<Item = Cow<'static, str>> {
    let words: &[&'static str] = match field {
        well_known::VERB => &RESOURCE_VERBS,
        well_known::STAGE => STAGE_WORDS,
        _ => &[],
    };
    // Odd HTTP methods have an empty verb.
    let empty = (field == well_known::VERB).then_some("");
    let codes = if field == well_known::RESPONSE_CODE { 100..600 } else { 0..0 };
    words
        .iter()
        .copied()
        .chain(empty)
        .map(Cow::Borrowed)
        .chain(codes.map(|code: u16| Cow::Owned(code.to_string())))
}
