//! Keys of mappings in rule files. Each is written once, in a table, with what it is for and how it is
//! read: reading, hints for keys that nobody knows, and the JSON Schema come from the same table.

use serde_json::{Map, Value, json};

use crate::engine::yaml::Section;

/// A key of a mapping that is read into a `T`.
pub(in crate::engine) struct Key<T> {
    /// The word in rule files.
    pub(in crate::engine) name: &'static str,
    shape: Shape,
    /// What it says, for people; empty where its name says it all.
    doc: &'static str,
    /// What to write if it is missing. Of an empty text the reader says so itself.
    required: Option<&'static str>,
    read: Read<T>,
}

/// Reads the value of a key, and reports what is wrong with it.
pub(in crate::engine) type Read<T> = fn(&Section<'_>, &'static str, &mut T);

/// What may stand behind a key.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Shape {
    /// A text.
    Text,
    /// A text, or a list of them.
    Texts,
    /// The path of a field.
    Field,
    /// The path of a field, or a list of them.
    Fields,
    /// How long.
    Timespan,
    /// A day.
    Day,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A number from the first to the second.
    Within(f64, f64),
    /// A severity.
    Severity,
    /// Something else: its JSON Schema.
    Is(fn() -> Value),
}

impl Shape {
    fn schema(self) -> Value {
        match self {
            Shape::Text => json!({"type": "string"}),
            Shape::Texts => json!({"$ref": "#/$defs/texts"}),
            Shape::Field => json!({"$ref": "#/$defs/field"}),
            Shape::Fields => json!({"$ref": "#/$defs/fields"}),
            Shape::Timespan => json!({"$ref": "#/$defs/timespan"}),
            Shape::Day => json!({"type": "string", "format": "date"}),
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Number => json!({"type": "number"}),
            Shape::Within(least, most) => {
                json!({"type": "number", "minimum": least, "maximum": most})
            }
            Shape::Severity => json!({"$ref": "#/$defs/severity"}),
            Shape::Is(schema) => schema(),
        }
    }
}

impl<T> Key<T> {
    /// A key that may be left out.
    pub(in crate::engine) const fn new(
        name: &'static str,
        shape: Shape,
        doc: &'static str,
        read: Read<T>,
    ) -> Key<T> {
        Key { name, shape, doc, required: None, read }
    }

    /// A key that must be there. Without a `help` its reader reports its absence.
    pub(in crate::engine) const fn required(
        name: &'static str,
        shape: Shape,
        doc: &'static str,
        help: &'static str,
        read: Read<T>,
    ) -> Key<T> {
        Key { name, shape, doc, required: Some(help), read }
    }

    /// Reads the key of a section. With nothing behind it, it is reported: it would be read as if it were
    /// not there, which its author did not mean.
    pub(in crate::engine) fn read(&self, section: &Section<'_>, to: &mut T) {
        if self.required.is_none() && section.is_empty(self.name) {
            section.empty(self.name);
        } else {
            self.read_lenient(section, to);
        }
    }

    fn read_lenient(&self, section: &Section<'_>, to: &mut T) {
        match self.required {
            Some(help) if !help.is_empty() && section.node(self.name).is_none() => {
                section.missing(self.name, help);
            }
            _ => (self.read)(section, self.name, to),
        }
    }
}

/// Reads all keys of a table that are Sigma's own. Rules from elsewhere leave those empty of which they
/// have nothing to say.
pub(in crate::engine) fn read_keys_of_sigma<T>(keys: &[Key<T>], section: &Section<'_>, to: &mut T) {
    for key in keys {
        key.read_lenient(section, to);
    }
}

/// Reads all keys of a table, in its order.
pub(in crate::engine) fn read_keys<T>(keys: &[Key<T>], section: &Section<'_>, to: &mut T) {
    for key in keys {
        key.read(section, to);
    }
}

/// Reads a mapping that has the keys of a table and no other.
pub(in crate::engine) fn read_all<T: Default>(keys: &[Key<T>], section: Section<'_>) -> T {
    let mut to = T::default();
    read_keys(keys, &section, &mut to);
    section.finish();
    to
}

/// JSON Schema of the keys of a table, by name.
pub(in crate::engine) fn properties<T>(keys: &[Key<T>]) -> Map<String, Value> {
    let property = |key: &Key<T>| {
        let mut schema = key.shape.schema();
        if let (Some(schema), false) = (schema.as_object_mut(), key.doc.is_empty()) {
            schema.insert("description".to_owned(), key.doc.into());
        }
        (key.name.to_owned(), schema)
    };
    keys.iter().map(property).collect()
}

/// JSON Schema of a mapping that has the keys of a table and no other.
pub(in crate::engine) fn mapping<T>(keys: &[Key<T>]) -> Value {
    let needed = |key: &&Key<T>| key.required.is_some();
    let required: Vec<&str> = keys.iter().filter(needed).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties(keys),
    });
    if let (Some(schema), false) = (schema.as_object_mut(), required.is_empty()) {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}
