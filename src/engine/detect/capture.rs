//! What a detection takes along of its event: values of the fields that keys, evidence and templates
//! need, cut to size, with secrets redacted.

use std::{borrow::Cow, sync::Arc};

use crate::engine::{
    event::{Event, FieldId, FieldTable, known_field, redact},
    limits,
    value::{Captured, Value},
};

/// Which fields of a table hold free text, or may: those that nobody knows. What is captured of them is
/// redacted, also if it becomes part of a key: keys end up in labels. Values that differ only by the
/// secret then count as one.
#[derive(Debug)]
pub(super) struct FreeText {
    fields: Vec<bool>,
}

impl FreeText {
    pub(super) fn new(fields: &FieldTable) -> FreeText {
        let free = |path: &String| known_field(path).is_none_or(|field| field.is_free_text);
        FreeText { fields: fields.paths().iter().map(free).collect() }
    }

    /// The values of a field, for a detection.
    pub(super) fn capture(&self, event: &Event<'_>, field: FieldId) -> Captured {
        let free = self.fields.get(field.index()).copied().unwrap_or(true);
        let captured = |text: Cow<'_, str>| {
            if free { redacted(&text) } else { Arc::from(&*cut(&text)) }
        };
        let mut texts = event.values(field).filter_map(Value::text);
        let Some(first) = texts.next() else { return Captured::Absent };
        let Some(second) = texts.next() else { return Captured::One(captured(first)) };
        let mut many = vec![captured(first), captured(second)];
        many.extend(texts.by_ref().take(limits::CAPTURED_VALUES_MAX - 3).map(captured));
        many.extend(texts.last().map(captured));
        Captured::Many(many.into())
    }
}

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
