//! A JSON scalar as rules see it, borrowed from the record's bytes where it can be.

use std::borrow::Cow;

/// One value of a field. A field has none, one, or many (arrays have any-member meaning).
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// JSON `null`.
    Null,
    /// JSON `true` or `false`.
    Bool(bool),
    /// A JSON number without fraction or exponent that fits; resource versions stay exact.
    Int(i64),
    /// Every other JSON number.
    Float(f64),
    /// A string; owned only if it had escapes or is derived.
    Str(Cow<'a, str>),
    /// The path ends at an object or an empty array: it exists, and equals nothing.
    Composite,
}

impl Value<'_> {
    /// The value as text, the way keys, labels and evidence show it. `None` for [`Value::Null`] and
    /// [`Value::Composite`]: these cannot identify anybody.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Null | Value::Composite => None,
            Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Value::Int(value) => Some(Cow::Owned(value.to_string())),
            Value::Float(value) => Some(Cow::Owned(value.to_string())),
            Value::Str(value) => Some(Cow::Borrowed(value)),
        }
    }

    /// The value as a number: JSON numbers, and strings that are nothing but one.
    pub fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "rule thresholds are far below 2^53")]
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Str(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            Value::Null | Value::Bool(_) | Value::Composite => None,
        }
    }
}
