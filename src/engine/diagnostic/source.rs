//! Input files, and places in them.

use std::{
    hash::{Hash, Hasher},
    ops::Range,
    sync::{Arc, OnceLock},
};

/// One input file, kept for as long as something may point into it.
#[derive(Debug)]
pub struct SourceText {
    /// The path as the user would type it.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Where each line begins; made when a line is first asked for.
    line_starts: OnceLock<Vec<usize>>,
}

impl PartialEq for SourceText {
    fn eq(&self, other: &SourceText) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for SourceText {}

impl Hash for SourceText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.text.hash(state);
    }
}

impl SourceText {
    /// Wraps a text for sharing.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<SourceText> {
        let line_starts = OnceLock::new();
        Arc::new(SourceText { name: name.into(), text: text.into(), line_starts })
    }

    /// Line and column of a byte offset, both from 1; columns count characters. Cost: the length of
    /// the line; the first time that of the text.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let end = self.boundary(offset);
        let line = self.line_index(end);
        let head = self.text.get(self.line_start(line)..end).unwrap_or("");
        (line + 1, head.chars().count() + 1)
    }

    /// The line that an offset lies in, from 0.
    pub(super) fn line_index(&self, offset: usize) -> usize {
        self.line_starts().partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The offset at which a line begins, counted from 0; the end of the text past the last one.
    pub(super) fn line_start(&self, line: usize) -> usize {
        self.line_starts().get(line).copied().unwrap_or(self.text.len())
    }

    /// The character boundary at or before an offset.
    pub(super) fn boundary(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset)
    }

    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| {
            let after_breaks = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after_breaks).collect()
        })
    }
}

/// A place in a source text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub source: Arc<SourceText>,
    /// Byte offsets into its text; never past its end.
    pub span: Range<usize>,
}

impl Place {
    /// The beginning of a file of which nothing was read, or nothing that could be shown.
    pub fn of_file(name: impl Into<String>) -> Place {
        Place { source: SourceText::new(name, ""), span: 0..0 }
    }

    /// `file:line:column` of the place's start.
    pub fn location(&self) -> String {
        let (line, column) = self.source.line_column(self.span.start);
        format!("{}:{line}:{column}", self.source.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = SourceText::new("t.yaml", "é: 1\r\n\nä😀b");
        let at = |text: &str| source.line_column(source.text.find(text).unwrap());
        assert_eq!(at("é"), (1, 1));
        assert_eq!(at(":"), (1, 2));
        assert_eq!(at("ä"), (3, 1));
        assert_eq!(at("b"), (3, 3));
        assert_eq!(source.line_column(1), (1, 1), "within a character");
        assert_eq!(source.line_column(1_000), (3, 4), "past the end");
        assert_eq!(SourceText::new("t.yaml", "").line_column(0), (1, 1));
    }
}
