//! What is said with a question: names and texts, read with the mistakes in them.

use std::{collections::BTreeMap, time::Duration};

use super::{Mistake, PAGE_ROWS, PAGE_ROWS_MAX};
use crate::{
    archive::Cursor,
    engine::{
        diagnostic::nearest,
        duration::parse_duration,
        text::{printable, thousands},
    },
};

/// What a parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Any text.
    Text,
    /// A number from 1 on.
    Number,
    /// `true` or `false`.
    Flag,
    /// A time: RFC 3339, or a date with or without a time of the zone.
    Time,
    /// A span of time: `90m`, `24h`, `30d`.
    Span,
    /// A place between two rows, as an answer said it.
    Cursor,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// A parameter that a question has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ParameterKind,
    /// What it does, for people.
    pub about: &'static str,
    /// Without it there is no question.
    pub is_required: bool,
}

impl Parameter {
    /// A text.
    pub const fn text(name: &'static str, about: &'static str) -> Parameter {
        Parameter::of(ParameterKind::Text, name, about)
    }

    /// Of a kind.
    pub const fn of(kind: ParameterKind, name: &'static str, about: &'static str) -> Parameter {
        Parameter { name, kind, about, is_required: false }
    }

    /// The same, needed.
    #[must_use]
    pub const fn required(mut self) -> Parameter {
        self.is_required = true;
        self
    }
}

/// What was given, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// These.
    pub const fn new(given: BTreeMap<String, String>) -> Params {
        Params(given)
    }

    /// With one more, if it has a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<impl Into<String>>) -> Params {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Those that are known; any other is a mistake, and so is a needed one that is missing.
    ///
    /// # Errors
    /// Which one, and which there are.
    pub fn check(&self, known: &[&[Parameter]]) -> Result<(), Mistake> {
        let known = || known.iter().copied().flatten();
        let names = || known().map(|parameter| parameter.name);
        if let Some(name) = self.0.keys().find(|name| names().all(|known| known != *name)) {
            let list = match names().collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => "there are none here".to_owned(),
                list => format!("there are: {list}"),
            };
            let hint = nearest(name, names())
                .map_or(list.clone(), |near| format!("did you mean `{near}`? {list}"));
            return Err(Mistake {
                code: "unknown_parameter",
                message: format!("no parameter `{}`", printable(name)),
                hint,
            });
        }
        if let Some(missing) = known().find(|one| one.is_required && !self.0.contains_key(one.name))
        {
            let message = format!("`{}` is missing", missing.name);
            return Err(Mistake::bad(message, missing.about));
        }
        Ok(())
    }

    /// A text; one without characters is none.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The same, of its own.
    pub fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// `true` or `false`; a name without a value means yes.
    ///
    /// # Errors
    /// It is another word.
    pub fn flag(&self, name: &str) -> Result<bool, Mistake> {
        match self.0.get(name).map(String::as_str) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => {
                let message = format!("`{}` is no value of `{name}`", printable(other));
                Err(Mistake::bad(message, "write true or false"))
            }
        }
    }

    /// A span of time.
    ///
    /// # Errors
    /// It is none.
    pub fn span(&self, name: &str) -> Result<Option<Duration>, Mistake> {
        self.text(name).map(span_of).transpose()
    }

    /// `limit`: how many rows.
    ///
    /// # Errors
    /// It is no number, or too large a one.
    pub fn limit(&self) -> Result<usize, Mistake> {
        let Some(text) = self.text("limit") else { return Ok(PAGE_ROWS) };
        match text.parse::<usize>() {
            Ok(limit) if (1..=PAGE_ROWS_MAX).contains(&limit) => Ok(limit),
            _ => Err(Mistake::bad(
                format!("`limit` is not a number from 1 to {}", thousands(PAGE_ROWS_MAX as u64)),
                "ask for the next page with `after`",
            )),
        }
    }

    /// `after`: where to go on.
    ///
    /// # Errors
    /// It is no cursor.
    pub fn after(&self) -> Result<Option<Cursor>, Mistake> {
        let Some(text) = self.text("after") else { return Ok(None) };
        Cursor::parse(text).map(Some).ok_or_else(|| {
            let message = format!("`{}` is no cursor", printable(text));
            Mistake::bad(message, "take the one that a page ends with")
        })
    }

    /// One of some words.
    ///
    /// # Errors
    /// It is another one.
    pub fn one_of<T: Copy>(
        &self,
        name: &str,
        words: &[(&'static str, T)],
    ) -> Result<Option<T>, Mistake> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.map(Some).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("no {name} `{}`", printable(text));
            Mistake::bad(message, format!("there are: {}", words.join(", ")))
        })
    }
}

/// `90m`, `24h`, `30d`.
pub(super) fn span_of(text: &str) -> Result<Duration, Mistake> {
    parse_duration(text).ok_or_else(|| {
        let message = format!("`{}` is not a span of time", printable(text));
        Mistake::bad(message, "write 90m, 24h or 30d")
    })
}
