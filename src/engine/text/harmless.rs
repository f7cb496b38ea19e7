//! Text that others chose, made fit to be shown: nothing that acts, nothing without end.
//!
//! User agents, names and URIs in audit events are chosen by whoever is watched, and a key of a rule
//! file may hold the escape sequences of a terminal. Control characters (a terminal obeys them), those
//! that turn the direction of writing (a reader is fooled by them) and those that take no room are never
//! shown. Messages about events put U+FFFD in their place; tools, whose reader has to find and change
//! them in a file, write them out.

use std::{borrow::Cow, fmt::Write as _};

use crate::engine::digest::{Digest, hex};

/// The text with what would not stand where it is, or would act on a terminal, as `\u{…}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            c if acts(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", u32::from(c));
            }
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// One line, at most `characters_max` characters, `…` at the end if it was longer.
pub fn one_line(text: &str, characters_max: usize) -> String {
    bounded(text.chars().map(|c| if c == '\n' { ' ' } else { shown(c) }), characters_max)
}

/// Like [`one_line`], but keeps line breaks.
pub fn lines(text: &str, characters_max: usize) -> String {
    bounded(text.chars().map(shown), characters_max)
}

/// Like [`one_line`], but bounded by bytes, for what is stored. A line break is written out, so that two
/// values that differ by it stay apart.
pub fn bounded_line(text: &str, bytes_max: usize) -> String {
    within_line(text, bytes_max).into_owned()
}

/// [`bounded_line`], without a copy of a text that is one.
pub fn within_line(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if is_plain(text, bytes_max) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(bounded_lines(&text.replace('\n', "\\n"), bytes_max))
}

/// [`within_line`], for what is known by it: a text that is not shown as it is ends with `~` and 16 digits of a digest of
/// the whole, so that two that look alike stay apart. So does one that ends as if it were such a text.
pub fn distinct_line(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let line = within_line(text, bytes_max);
    let mark = text.len().checked_sub(MARK_BYTES);
    let has_mark = mark.and_then(|mark| text.as_bytes().get(mark)) == Some(&b'~');
    if *line == *text && !has_mark {
        return line;
    }
    let digest: [u8; (MARK_BYTES - 1) / 2] = Digest::of([text]).first();
    Cow::Owned(format!("{}~{}", within_line(text, bytes_max - MARK_BYTES), hex(&digest)))
}

/// What stands behind a text that is not shown as it is: 17 bytes.
const MARK_BYTES: usize = 17;

/// Like [`lines`], but bounded by bytes, for what is stored.
pub fn bounded_lines(text: &str, bytes_max: usize) -> String {
    if is_plain(text, bytes_max) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for c in text.chars().map(shown) {
        if out.len() + c.len_utf8() + '…'.len_utf8() > bytes_max {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

/// Whether a text is short enough, and ASCII in which nothing acts. Nearly all are.
fn is_plain(text: &str, bytes_max: usize) -> bool {
    let is_short = text.len() + '…'.len_utf8() <= bytes_max;
    // Without a branch in the loop the compiler makes this a few vector instructions.
    is_short && text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
}

/// Cuts a text to so many characters, at a line break if there is one in its last quarter.
pub fn cut(text: &str, characters_max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(characters_max.saturating_sub(1)) else {
        return text.to_owned();
    };
    if text.chars().nth(characters_max).is_none() {
        return text.to_owned();
    }
    let head = text.get(..end).unwrap_or(text);
    let head = match head.rfind('\n') {
        Some(line) if line >= end / 4 * 3 => head.get(..=line).unwrap_or(head),
        _ => head,
    };
    format!("{head}…")
}

fn bounded(mut characters: impl Iterator<Item = char>, characters_max: usize) -> String {
    let mut out: String = characters.by_ref().take(characters_max).collect();
    if characters.next().is_some() {
        out.pop();
        out.push('…');
    }
    out
}

/// What stands in a message for a character. Line breaks are left to the caller.
fn shown(c: char) -> char {
    match c {
        '\n' => '\n',
        '\r' | '\t' => ' ',
        c if acts(c) => '\u{fffd}',
        c => c,
    }
}

/// Control characters, those that turn the direction of writing, and those that take no room.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_out() {
        assert_eq!(printable("ver\u{1b}[31mb\u{202e}\u{7}"), r"ver\u{1b}[31mb\u{202e}\u{7}");
        assert_eq!(printable("a\nb\tc\u{200b}"), r"a\nb\tc\u{200b}");
        for text in ["plain", "مفتاح", "😀", "é ß"] {
            assert!(matches!(printable(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn terminals_and_readers_are_not_fooled() {
        assert_eq!(one_line("a\u{1b}[31mb\u{202e}c\r\nd\u{7}", 99), "a�[31mb�c  d�");
        assert_eq!(lines("a\nb\r", 99), "a\nb ");
        assert_eq!(bounded_line("a\nResolved", 99), r"a\nResolved");
        assert_eq!(bounded_line("a\u{7f}b\tc", 99), "a�b c");
    }

    #[test]
    fn what_looks_alike_stays_apart() {
        let alike = [
            "a b",
            "a\tb",
            "a\rb",
            "a\u{200b}b",
            "a\u{200c}b",
            "a\u{1b}b",
            "a\u{fffd}b",
            "a\nb",
            r"a\nb",
        ];
        let mut texts: Vec<String> = alike.map(str::to_owned).to_vec();
        texts.extend([1, 2].map(|end| format!("{}{end}", "long".repeat(50))));
        // Somebody takes what another one is shown as for a name.
        let shown: Vec<_> = texts.iter().map(|text| distinct_line(text, 99).into_owned()).collect();
        texts.extend(shown);
        let distinct: BTreeSet<_> = texts.iter().map(|text| distinct_line(text, 99)).collect();
        let different: BTreeSet<_> = texts.iter().collect();
        assert_eq!(distinct.len(), different.len(), "{distinct:?}");
        assert!(distinct.iter().all(|text| text.len() <= 99 && printable(text) == *text));
        for plain in ["", "a b", "anna@example.org", "jürgen", "~"] {
            assert_eq!(distinct_line(plain, 99), plain);
        }
    }

    #[test]
    fn plain_texts_are_cut_where_others_are() {
        // Which is what the other one has of the same length, but for the last character.
        for bytes_max in 4..12 {
            for length in 0..16 {
                let (plain, other) =
                    ("x".repeat(length), "x".repeat(length.saturating_sub(1)) + "\t");
                let cut = |text: &str| bounded_line(text, bytes_max).replace(' ', "x");
                let other = if length == 0 { String::new() } else { cut(&other) };
                assert_eq!(cut(&plain), other, "{length} of {bytes_max}");
            }
        }
    }

    #[test]
    fn all_forms_agree_on_what_acts() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| !"\n\r\t".contains(*c)) {
            let text = c.to_string();
            let is_kept = [one_line(&text, 9), lines(&text, 9), bounded_lines(&text, 99)];
            assert!(
                is_kept.iter().all(|kept| (*kept == text) == (printable(&text) == text)),
                "{c:?}"
            );
        }
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(bounded_lines("abcdefg", 6), "abc…");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("aaaaaaaa\nbbb", 11), "aaaaaaaa\n…");
        assert_eq!(cut("éééé", 3), "éé…");
    }
}
