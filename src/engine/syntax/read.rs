//! Small helpers for reading rule documents: texts with their places, dates, timespans.

use std::{ops::Range, sync::Arc, time::Duration};

use super::code;
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, SourceText},
    duration::parse_timespan,
    time::EventTime,
    yaml::{Node, NodeKind, Section, SectionCodes},
};

/// The codes under which sections of rule files report.
pub(in crate::engine) const RULE_CODES: SectionCodes = SectionCodes {
    unknown: code::UNKNOWN_KEY,
    missing: code::MISSING_KEY,
    wrong_type: code::WRONG_TYPE,
    invalid: code::INVALID_VALUE,
    twice: code::TWICE,
};

/// A text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Text {
    /// What it says.
    pub(in crate::engine) value: String,
    /// Where it stands.
    pub(in crate::engine) place: Place,
}

impl Text {
    /// The place of a part of the text, by bytes of `value`. If the file writes it otherwise (escapes,
    /// folded lines), the place of the whole.
    pub(in crate::engine) fn place_of(&self, part: Range<usize>) -> Place {
        let whole = &self.place.span;
        let written = self.place.source.text.get(whole.clone()).unwrap_or("");
        let Some(offset) = written.find(&self.value) else { return self.place.clone() };
        // Whoever counts in bytes may mean one of several of a character.
        let start = self.value.floor_char_boundary(part.start);
        let end = self.value.ceil_char_boundary(part.end);
        let (start, end) = (whole.start + offset + start, whole.start + offset + end);
        Place { source: Arc::clone(&self.place.source), span: start..end.max(start) }
    }
}

/// A document being read: its file, and where problems go.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Context<'a> {
    /// The file.
    pub(in crate::engine) source: &'a Arc<SourceText>,
    /// Where problems go.
    pub(in crate::engine) problems: &'a Problems,
}

impl<'a> Context<'a> {
    /// A place in the file.
    pub(in crate::engine) fn place(&self, span: &Range<usize>) -> Place {
        Place { source: Arc::clone(self.source), span: span.clone() }
    }

    /// A section of a document in this file.
    pub(in crate::engine) fn section(
        &self,
        node: &'a Node,
        path: impl Into<String>,
    ) -> Section<'a> {
        Section::with_codes(&RULE_CODES, self.source, self.problems, node, path)
    }

    /// Reports an error.
    pub(in crate::engine) fn error(
        &self,
        code: &'static str,
        span: &Range<usize>,
        title: impl Into<String>,
    ) {
        self.problems.push(Diagnostic::error(code, self.place(span), title));
    }

    /// Reports that a value is of the wrong kind.
    pub(in crate::engine) fn wrong_type(&self, what: &str, wanted: &str, node: &Node) {
        let title = format!("{what} must be {wanted}, not {}", node.kind_name());
        self.error(code::WRONG_TYPE, &node.span, title);
    }
}

/// A text of a section, with its place. Numbers and booleans are taken as written.
pub(in crate::engine) fn text(section: &Section<'_>, key: &str) -> Option<Text> {
    let value = section.string(key)?;
    Some(Text { value, place: section.place_of(key) })
}

/// A text of a section of which somebody chose the keys: one with nothing behind it is reported.
pub(in crate::engine) fn chosen_text(section: &Section<'_>, key: &str) -> Option<Text> {
    if section.is_empty(key) {
        section.empty(key);
    }
    text(section, key)
}

/// A list of texts with their places; one text alone is a list of one.
pub(in crate::engine) fn texts(section: &Section<'_>, key: &str) -> Option<Vec<Text>> {
    let values = section.strings(key)?;
    let node = section.node(key)?;
    let spans: Vec<Range<usize>> = match node.as_list() {
        Some(items) => items
            .iter()
            .filter(|item| item.scalar_text().is_some())
            .map(|item| item.span.clone())
            .collect(),
        None => vec![node.span.clone()],
    };
    let text = |(value, span)| Text { value, place: section.place_of_span(span) };
    Some(values.into_iter().zip(spans).map(text).collect())
}

/// A key of a section as texts, reporting its absence.
pub(in crate::engine) fn required_texts(section: &Section<'_>, key: &str, help: &str) -> Vec<Text> {
    match section.node(key) {
        None => {
            section.missing(key, help);
            Vec::new()
        }
        Some(node) if matches!(&node.kind, NodeKind::List(items) if items.is_empty()) => {
            section.invalid(key, format!("{} is empty", section.path_of(key)), help);
            Vec::new()
        }
        Some(_) => texts(section, key).unwrap_or_default(),
    }
}

/// Whether a list or a mapping has at most so many entries; more are reported.
pub(in crate::engine) fn bounded(
    section: &Section<'_>,
    key: &str,
    count: usize,
    most: usize,
) -> bool {
    if count > most {
        let title = format!("{} has {count} entries; at most {most} work", section.path_of(key));
        section.report(Diagnostic::error(code::TOO_MANY, section.place_of(key), title));
    }
    count <= most
}

/// A number of a section within a range.
pub(in crate::engine) fn number_within(
    section: &Section<'_>,
    key: &str,
    range: std::ops::RangeInclusive<f64>,
) -> Option<f64> {
    let number = section.number(key)?;
    if range.contains(&number) {
        return Some(number);
    }
    let title = format!("{} is {number}", section.path_of(key));
    section.invalid(key, title, format!("it may be {} to {}", range.start(), range.end()));
    None
}

/// A date as the first moment after it in UTC: what is said to hold until a date holds on that day.
pub(in crate::engine) fn end_of_date(section: &Section<'_>, key: &str) -> Option<EventTime> {
    let value = section.string(key)?;
    let end = parse_date(&value).and_then(|date| {
        let next = date.tomorrow().ok()?;
        let start = next.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?;
        Some(EventTime::from_micros(start.timestamp().as_microsecond()))
    });
    if end.is_none() {
        let title = format!("`{value}` is not a date");
        section.invalid(key, title, "write year, month and day: 2027-01-31");
    }
    end
}

/// `YYYY-MM-DD`, and nothing else.
pub(in crate::engine) fn parse_date(text: &str) -> Option<jiff::civil::Date> {
    (text.len() == 10).then(|| text.parse().ok())?
}

/// A timespan of a section that must be longer than nothing and at most ten years.
pub(in crate::engine) fn timespan(section: &Section<'_>, key: &str) -> Option<Duration> {
    let value = section.string(key)?;
    let span = parse_timespan(&value)
        .filter(|span| !span.is_zero() && *span <= Duration::from_secs(10 * 31_556_952));
    if span.is_none() {
        let title = format!("`{value}` is not a timespan");
        let diagnostic = Diagnostic::error(code::BAD_TIMESPAN, section.place_of(key), title)
            .help("write a number above zero and a unit: `30s`, `5m`, `2h`, `1d`, `1w`");
        section.report(diagnostic);
    }
    span
}

/// A timespan that may also be nothing: `0s`.
pub(in crate::engine) fn timespan_or_none(section: &Section<'_>, key: &str) -> Option<Duration> {
    let is_none = |text: String| parse_timespan(&text).is_some_and(|span| span.is_zero());
    if section.string(key).is_some_and(is_none) {
        return Some(Duration::ZERO);
    }
    timespan(section, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_text_has_a_place_of_its_own() {
        let source = SourceText::new("t", "condition: 'a and b'\n");
        let place = Place { source, span: 11..20 };
        let text = Text { value: "a and b".to_owned(), place };
        assert_eq!(text.place_of(6..7).span, 18..19);
        let source = SourceText::new("t", "summary: 'é'\n");
        let place = Place { source, span: 9..13 };
        let text = Text { value: "é".to_owned(), place };
        assert_eq!(text.place_of(0..1).span, 10..12, "the whole character");
    }
}
