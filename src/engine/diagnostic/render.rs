//! The text for people, like rustc's: what is wrong, the lines where it is, underlined, and help.
//!
//! Only the lines that are shown are handed to the renderer, and of very long ones a piece, so that
//! the cost of a message does not grow with its file.

use std::{ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, DiagnosticLevel, Place, SourceText};
use crate::engine::text::printable;

/// Lines between two places of one file that still share an excerpt.
const LINES_BETWEEN_MAX: usize = 100;
/// Lines of one place. Of a longer one only the first line is underlined.
const LINES_MAX: usize = 50;
/// Bytes of a line that is shown as it is. Of a longer one a piece around the place is shown.
const LINE_BYTES_MAX: usize = 2_000;
/// Bytes of a long line that are shown on each side of a place.
const AROUND: usize = 200;

impl Diagnostic {
    /// The text for people, like rustc's, with a newline at its end.
    pub fn render(&self, colours: bool) -> String {
        let level = match self.level {
            DiagnosticLevel::Error => Level::ERROR,
            DiagnosticLevel::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.title.as_str()).id(self.code));
        // Places in the same file that are near share one excerpt.
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            self.related.iter().partition(|(related, _)| self.is_near(related));
        if let Some(place) = &self.place {
            let mut marks = vec![Mark { place, text: &self.label, primary: true }];
            marks.extend(here.iter().map(|(place, text)| Mark { place, text, primary: false }));
            group = with_excerpt(group, &marks);
        }
        for (place, text) in elsewhere {
            group = with_excerpt(group, &[Mark { place, text, primary: false }]);
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        format!("{}\n", renderer.render(&[group]))
    }

    fn is_near(&self, related: &Place) -> bool {
        self.place.as_ref().is_some_and(|place| {
            let line = |place: &Place| place.source.line_index(place.span.start);
            Arc::ptr_eq(&place.source, &related.source)
                && line(place).abs_diff(line(related)) <= LINES_BETWEEN_MAX
        })
    }
}

/// Something to underline.
struct Mark<'d> {
    place: &'d Place,
    text: &'d str,
    primary: bool,
}

impl Mark<'_> {
    /// The span to underline: an empty one is widened to the character after it, since the renderer
    /// does not reserve room for the line number of an empty span. A long one is its first line.
    fn span(&self) -> Range<usize> {
        let source = &self.place.source;
        let (start, end) = (self.place.span.start, self.place.span.end);
        let next = source.text.get(start..).and_then(|rest| rest.chars().next());
        match next {
            Some(c) if start == end && c != '\n' => return start..start + c.len_utf8(),
            _ => {}
        }
        let first = source.line_index(start);
        if source.line_index(end) > first + LINES_MAX {
            return start..source.line_start(first + 1).saturating_sub(1).max(start);
        }
        start..end
    }
}

/// Adds the excerpt of one file in which all of these lie; the first of them decides what it is of.
fn with_excerpt<'d>(group: Group<'d>, marks: &[Mark<'d>]) -> Group<'d> {
    let Some(first) = marks.first() else { return group };
    let source = &first.place.source;
    let name = printable(&source.name);
    let spans: Vec<Range<usize>> = marks.iter().map(Mark::span).collect();
    let from = spans.iter().map(|span| source.line_index(span.start)).min().unwrap_or(0);
    let to = spans.iter().map(|span| source.line_index(span.end)).max().unwrap_or(0);
    let lines = source.line_start(from)..source.line_start(to + 1);
    let is_long =
        |line: usize| source.line_start(line + 1) - source.line_start(line) > LINE_BYTES_MAX;
    if (from..=to).any(is_long) {
        return with_piece(group, source, first, name.into_owned());
    }
    let annotations = marks
        .iter()
        .zip(spans)
        .map(|(mark, span)| annotation(mark, span.start - lines.start..span.end - lines.start));
    let text = source.text.get(lines.clone()).unwrap_or("");
    let text = if source.text.len() > lines.end { text.trim_end_matches('\n') } else { text };
    group.element(
        Snippet::source(text.to_owned())
            .path(name.into_owned())
            .line_start(from + 1)
            .annotations(annotations),
    )
}

/// Adds a piece of a very long line.
fn with_piece<'d>(
    group: Group<'d>,
    source: &SourceText,
    mark: &Mark<'d>,
    name: String,
) -> Group<'d> {
    let start = mark.span().start;
    let line = source.line_index(start);
    let (line_start, line_end) = (source.line_start(line), source.line_start(line + 1));
    let end = source.boundary(mark.span().end.min(start + AROUND).min(line_end));
    let piece = source.boundary(start.saturating_sub(AROUND).max(line_start))
        ..source.boundary((end + AROUND).min(line_end));
    let before = if piece.start > line_start { "…" } else { "" };
    let after = if piece.end < line_end { "…" } else { "" };
    let offset = before.len();
    let span = start - piece.start + offset..end - piece.start + offset;
    let text = source.text.get(piece).unwrap_or("").trim_end_matches('\n');
    let (number, column) = source.line_column(start);
    group.element(Origin::path(name).line(number).char_column(column)).element(
        Snippet::source(format!("{before}{text}{after}"))
            .line_start(number)
            .annotation(annotation(mark, span)),
    )
}

fn annotation<'d>(mark: &Mark<'d>, span: Range<usize>) -> annotate_snippets::Annotation<'d> {
    let kind = if mark.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    kind.span(span).label(mark.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source: &Arc<SourceText>, text: &str) -> Place {
        let start = source.text.find(text).unwrap();
        Place { source: Arc::clone(source), span: start..start + text.len() }
    }

    #[test]
    fn a_diagnostic_looks_like_rustcs() {
        let source = SourceText::new("rules/a.yaml", "detection:\n  objectRef.resourse: pods\n");
        let text = Diagnostic::error("R012", place(&source, "objectRef.resourse"), "unknown field")
            .label("audit events have no such field")
            .suggest("objectRef.resourse", ["objectRef.resource"])
            .render(false);
        assert!(text.starts_with("error[R012]: unknown field\n"), "{text}");
        assert!(text.contains("--> rules/a.yaml:2:3"), "{text}");
        assert!(text.contains("did you mean `objectRef.resource`?"), "{text}");
    }

    #[test]
    fn an_empty_place_keeps_the_margin_straight() {
        let source = SourceText::new("t.yaml", format!("{}last: x\n", "a: 1\n".repeat(9)));
        let place = Place { source, span: 45..45 };
        let text = Diagnostic::error("C002", place, "something is missing").render(false);
        assert!(text.contains("\n10 | last: x\n"), "{text}");
    }

    #[test]
    fn of_a_long_line_a_piece_is_shown_with_its_true_place() {
        let long = format!(
            "a: [{}]\nb: {}here{}\n",
            "x, ".repeat(9),
            "é".repeat(500_000),
            "z".repeat(500_000)
        );
        let source = SourceText::new("t.yaml", long);
        let text =
            Diagnostic::error("R001", place(&source, "here"), "no").label("this").render(false);
        assert!(text.contains("--> t.yaml:2:500004\n"), "{text}");
        assert!(text.contains("éééhere") && text.contains("^^^^ this"), "{text}");
        assert!(text.len() < 3_000, "{} bytes", text.len());
        let whole = Place { source, span: 0..1_500_000 };
        assert!(Diagnostic::error("R001", whole, "no").render(false).len() < 3_000);
    }

    #[test]
    fn places_far_apart_are_shown_one_by_one() {
        let text = format!("first: 1\n{}second: 2\n", "x: 1\n".repeat(1_000_000));
        let source = SourceText::new("t.yaml", text);
        let text = Diagnostic::error("R005", place(&source, "second"), "twice")
            .related(place(&source, "first"), "first here")
            .render(false);
        assert!(text.contains("--> t.yaml:1000002:1"), "{text}");
        assert!(text.contains("::: t.yaml:1:1") && text.contains("----- first here"), "{text}");
    }

    #[test]
    fn what_acts_on_a_terminal_is_not_passed_on() {
        let source = SourceText::new("a\u{1b}[31m.yaml", "ver\u{1b}[31mb: \u{202e}x\n");
        let text = Diagnostic::error("R012", place(&source, "ver\u{1b}[31mb"), "no `\u{1b}[31m`")
            .label("\u{7}")
            .help("\u{1b}]0;x\u{7}")
            .related(place(&source, "x"), "\u{9b}")
            .render(false);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.contains('\u{202e}'), "{text:?}");
    }

    #[test]
    fn a_file_that_was_not_read_has_a_first_line() {
        let text = Diagnostic::error("R010", Place::of_file("rules/x.yaml"), "not a file")
            .help("remove it")
            .render(false);
        assert!(text.contains("--> rules/x.yaml:1:1\n"), "{text}");
    }
}
