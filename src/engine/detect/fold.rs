//! Text as it is compared when case does not count.

use std::fmt::Write as _;

use crate::engine::value::Value;

/// Memory for folding one text at a time.
#[derive(Debug, Default)]
pub(super) struct Fold {
    folded: String,
    number: String,
}

impl Fold {
    /// The text with each character lower-cased by itself, without regard to its neighbours, so that
    /// parts of a text fold like the whole. Most text of audit events needs no copy.
    #[inline]
    pub(super) fn fold<'t>(&'t mut self, text: &'t str) -> &'t str {
        if is_folded(text) { text } else { fold_into(&mut self.folded, text) }
    }

    /// A value as text, folded unless `cased`. `None` for null and objects.
    #[inline]
    pub(super) fn text<'t>(&'t mut self, value: &'t Value<'_>, cased: bool) -> Option<&'t str> {
        match value {
            Value::Str(text) if cased => Some(text),
            Value::Str(text) => Some(self.fold(text)),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Int(number) => {
                self.number.clear();
                let _ = write!(self.number, "{number}");
                Some(&self.number)
            }
            Value::Float(number) => {
                self.number.clear();
                let _ = write!(self.number, "{number}");
                Some(if cased { &self.number } else { fold_into(&mut self.folded, &self.number) })
            }
            Value::Null | Value::Composite => None,
        }
    }
}

/// Whether a text is ASCII without upper case; nearly all are.
#[inline]
pub(super) fn is_folded(text: &str) -> bool {
    // Without a branch in the loop the compiler makes this a few vector instructions.
    text.bytes().fold(true, |folded, byte| folded & byte.is_ascii() & !byte.is_ascii_uppercase())
}

fn fold_into<'t>(into: &'t mut String, text: &str) -> &'t str {
    into.clear();
    if text.is_ascii() {
        into.push_str(text);
        into.make_ascii_lowercase();
    } else {
        into.extend(text.chars().flat_map(char::to_lowercase));
    }
    into
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_lower_case_character_by_character() {
        let mut fold = Fold::default();
        for (text, folded) in [
            ("pods", "pods"),
            ("Pods", "pods"),
            ("ÖL", "öl"),
            ("ΑΣ", "ασ"),
            ("İ", "i\u{307}"),
            ("", ""),
        ] {
            assert_eq!(fold.fold(text), folded);
        }
        assert_eq!(fold.text(&Value::Int(-403), false), Some("-403"));
        assert_eq!(fold.text(&Value::Float(1.5), false), Some("1.5"));
        assert_eq!(fold.text(&Value::Null, false), None);
    }
}
