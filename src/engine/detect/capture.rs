//! What a detection takes along of its event: values of the fields that keys, evidence and templates
//! need, cut to size, with secrets redacted.

use std::{borrow::Cow, cell::RefCell, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::test::{self, Scratch};
use crate::engine::{
    digest::{Digest, hex},
    event::{Event, FieldId, FieldTable, known_field, redact},
    limits,
    rule::{Expression, Predicate, RuleSet},
    value::{Captured, Value},
};

/// How many values of a field are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// As many as people are shown.
    Shown,
    /// As many as count of one event, and one more by which it is known that there are more. Those that are
    /// different come first.
    Counted,
}

impl Keep {
    /// What a value needs that counts, or does not.
    pub(super) const fn of(counts: bool) -> Keep {
        if counts { Keep::Counted } else { Keep::Shown }
    }

    const fn values_max(self) -> usize {
        match self {
            Keep::Shown => limits::CAPTURED_VALUES_MAX,
            Keep::Counted => limits::KEYS_PER_EVENT_MAX + 1,
        }
    }
}

/// Which fields of a table hold free text, or may: those that nobody knows. What is captured of them is
/// redacted, also if it becomes part of a key: keys end up in labels. Values that differ only by the
/// secret then count as one.
#[derive(Debug)]
pub(super) struct FreeText {
    fields: Vec<bool>,
    known: RefCell<Known>,
}

/// Texts that were captured before: names of users, addresses and agents come again and again, and whatever
/// holds them (windows, alerts, evidence) holds them once. Nothing but memory and time depends on it.
#[derive(Debug, Default)]
struct Known {
    texts: HashSet<Arc<str>>,
    /// What is left of free texts without their secrets.
    redacted: HashMap<Arc<str>, Arc<str>>,
    /// For each field what was captured last, and of which text: rules that find the same event take the same along, and
    /// the next event often has it, too.
    last: Vec<Option<(Arc<str>, Arc<str>)>>,
}

/// Texts that are known at most: 8,192. With another one all are forgotten.
const KNOWN_MAX: usize = 8_192;

/// Bytes of a text that is known at most: 256. Longer ones seldom come again.
const KNOWN_BYTES_MAX: usize = 256;

impl Known {
    /// A text that is short enough to be known, shared.
    fn shared(&mut self, text: &str) -> Arc<str> {
        if self.texts.len() >= KNOWN_MAX && !self.texts.contains(text) {
            self.texts.clear();
        }
        Arc::clone(self.texts.get_or_insert_with(text, |text| Arc::from(text)))
    }

    /// The same of a free text, with what is left of it without its secrets.
    fn redacted(&mut self, text: &str) -> (Arc<str>, Arc<str>) {
        if let Some((known, harmless)) = self.redacted.get_key_value(text) {
            return (Arc::clone(known), Arc::clone(harmless));
        }
        if self.redacted.len() >= KNOWN_MAX {
            self.redacted.clear();
        }
        let known = (Arc::from(text), redacted(text));
        self.redacted.insert(Arc::clone(&known.0), Arc::clone(&known.1));
        known
    }

    /// What is captured of the text of a field, which is free or not.
    #[inline]
    fn captured(&mut self, field: FieldId, is_free: bool, text: &str) -> Arc<str> {
        if text.len() > KNOWN_BYTES_MAX {
            return if is_free { redacted(text) } else { shortened(text) };
        }
        if let Some(Some((known, captured))) = self.last.get(field.index())
            && **known == *text
        {
            return Arc::clone(captured);
        }
        let (known, captured) = if is_free {
            self.redacted(text)
        } else {
            let shared = self.shared(text);
            (Arc::clone(&shared), shared)
        };
        if let Some(last) = self.last.get_mut(field.index()) {
            *last = Some((known, Arc::clone(&captured)));
        }
        captured
    }
}

impl FreeText {
    pub(super) fn new(fields: &FieldTable) -> FreeText {
        let free = |path: &String| known_field(path).is_none_or(|field| field.is_free_text);
        let fields: Vec<bool> = fields.paths().iter().map(free).collect();
        let known = Known { last: vec![None; fields.len()], ..Known::default() };
        FreeText { fields, known: RefCell::new(known) }
    }

    /// The values of a field, for a detection; where of more values than are kept those come first that let a condition hold: what
    /// matters must not be lost among what does not.
    pub(super) fn capture_deciding(
        &self,
        event: &Event<'_>,
        field: FieldId,
        keep: Keep,
        rules: &RuleSet,
        condition: &Expression,
    ) -> Captured {
        let count = event.count(field);
        match (count, event.first(field)) {
            (0, _) => return Captured::Absent,
            // As nearly always.
            (1, Some(Value::Str(text))) => return Captured::One(self.text(field, text)),
            _ if count <= keep.values_max() => return self.capture_by(event, field, keep, &[]),
            _ => {}
        }
        let mut predicates = Vec::new();
        predicates_of(condition, rules, &mut predicates);
        predicates.retain(|predicate| predicate.field == field);
        self.capture_by(event, field, keep, &predicates)
    }

    /// The same for what lets some predicate hold.
    pub(super) fn capture_by(
        &self,
        event: &Event<'_>,
        field: FieldId,
        keep: Keep,
        predicates: &[&Predicate],
    ) -> Captured {
        if event.count(field) <= keep.values_max() {
            return self.texts(field, event.values(field), keep);
        }
        let mut scratch = Scratch::default();
        let mut decides = |value: &Value<'_>| {
            predicates.iter().any(|one| test::is_decisive(one, event, value, &mut scratch))
        };
        let room = keep.values_max() - 1;
        let mut chosen: Vec<&Value<'_>> =
            event.values(field).filter(|value| decides(value)).take(room).collect();
        let is_in = |chosen: &[&Value<'_>], value: &Value<'_>| {
            chosen.iter().any(|one| std::ptr::eq(*one, value))
        };
        let is_shown = |value: &&Value<'_>| !matches!(value, Value::Null | Value::Composite);
        if keep == Keep::Counted {
            let mut seen: HashSet<Cow<'_, str>> =
                chosen.iter().filter_map(|value| value.text()).collect();
            for value in event.values(field) {
                if chosen.len() >= room {
                    break;
                }
                if value.text().is_some_and(|text| seen.insert(text)) {
                    chosen.push(value);
                }
            }
        }
        for value in event.values(field).filter(is_shown).take(room) {
            if chosen.len() < room && !is_in(&chosen, value) {
                chosen.push(value);
            }
        }
        let last = event.last(field).filter(|last| !is_in(&chosen, last));
        chosen.extend(last);
        self.texts(field, chosen.into_iter(), keep)
    }

    /// One text of a field.
    #[inline]
    fn text(&self, field: FieldId, text: &str) -> Arc<str> {
        let is_free = self.fields.get(field.index()).copied().unwrap_or(true);
        self.known.borrow_mut().captured(field, is_free, text)
    }

    fn texts<'e, 'a: 'e>(
        &self,
        field: FieldId,
        values: impl Iterator<Item = &'e Value<'a>>,
        keep: Keep,
    ) -> Captured {
        let texts = values.filter_map(Value::text).map(|text| self.text(field, &text));
        let mut texts = texts.take(keep.values_max());
        let Some(first) = texts.next() else { return Captured::Absent };
        let Some(second) = texts.next() else { return Captured::One(first) };
        Captured::Many([first, second].into_iter().chain(texts).collect())
    }
}

/// All predicates of a condition, those about one element of an array too. Recursion is bounded by the depth
/// of conditions.
fn predicates_of<'r>(condition: &Expression, rules: &'r RuleSet, found: &mut Vec<&'r Predicate>) {
    match condition {
        Expression::Predicate(id) => found.extend(rules.predicates.get(id.0 as usize)),
        Expression::Not(inner) => predicates_of(inner, rules, found),
        Expression::All(parts) | Expression::Any(parts) => {
            for part in parts.iter() {
                predicates_of(part, rules, found);
            }
        }
        Expression::SameElement(same) => predicates_of(&same.condition, rules, found),
        Expression::Constant(_) | Expression::Inside(_) | Expression::Before(_) => {}
    }
}

/// A text that nobody writes freely. One that is cut ends with a digest of the whole: keys and counted
/// values that begin alike stay apart.
fn shortened(text: &str) -> Arc<str> {
    if text.len() <= limits::CAPTURED_VALUE_BYTES_MAX {
        return Arc::from(text);
    }
    let room = limits::CAPTURED_VALUE_BYTES_MAX - '…'.len_utf8() - DIGEST_DIGITS;
    let digest: [u8; DIGEST_DIGITS / 2] = Digest::of([text]).first();
    Arc::from(format!("{}…{}", &text[..text.floor_char_boundary(room)], hex(&digest)))
}

/// Digits of the digest of a text that is cut.
const DIGEST_DIGITS: usize = 32;

fn redacted(text: &str) -> Arc<str> {
    // What lies beyond the cut is dropped before it is searched; a secret that is cut in two is still
    // recognised by its beginning.
    Arc::from(&*cut(&redact(&cut(text))))
}

/// The text, or its beginning with `…` behind it.
fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= limits::CAPTURED_VALUE_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let room = limits::CAPTURED_VALUE_BYTES_MAX - '…'.len_utf8();
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(room)]))
}
