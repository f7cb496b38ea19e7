//! Text from files made fit to be shown: nothing that moves the cursor, nothing without end.
//!
//! A key of a rule file may hold the escape sequences of a terminal, or characters that turn the
//! direction of writing, and a message that quotes it would carry them on to whoever looks at it.

use std::{borrow::Cow, fmt::Write as _};

/// Characters of one message: 400. Of a longer one the middle is left out.
const MESSAGE_CHARS_MAX: usize = 400;
/// Of these, so many stand at its end.
const TAIL_CHARS: usize = 80;

/// A message as it may be shown: on one line, without control characters, of bounded length.
pub(super) fn message(text: impl Into<String>) -> String {
    let text = text.into();
    let at = |count: usize| text.char_indices().nth(count).map(|(at, _)| at);
    let shorter = if at(MESSAGE_CHARS_MAX).is_some() {
        let head = at(MESSAGE_CHARS_MAX - TAIL_CHARS - 1).unwrap_or(0);
        let tail = text.char_indices().rev().nth(TAIL_CHARS - 1).map_or(0, |(at, _)| at);
        format!("{}…{}", text.get(..head).unwrap_or(""), text.get(tail..).unwrap_or(""))
    } else {
        text
    };
    match printable(&shorter) {
        Cow::Borrowed(_) => shorter,
        Cow::Owned(changed) => changed,
    }
}

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
    fn long_messages_keep_both_ends() {
        let long = message(format!("`verb` is never `{}`", "é".repeat(1_000_000)));
        assert_eq!(long.chars().count(), MESSAGE_CHARS_MAX);
        assert!(long.starts_with("`verb` is never `é") && long.ends_with("é`"), "{long}");
        let short = "x".repeat(MESSAGE_CHARS_MAX);
        assert_eq!(message(short.clone()), short);
    }
}
