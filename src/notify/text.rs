//! Text that attackers chose, made fit to be shown.
//!
//! User agents, names and URIs in audit events are chosen by whoever is watched. Before any of them
//! is shown, control characters (a terminal obeys them) and characters that reorder text (a reader is
//! fooled by them) are replaced, and the length is bounded.

/// Stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// One line, at most `characters_max` characters, `…` at the end if it was longer.
pub fn one_line(text: &str, characters_max: usize) -> String {
    shown(text, characters_max, false)
}

/// Like [`one_line`], but keeps line breaks.
pub(super) fn lines(text: &str, characters_max: usize) -> String {
    shown(text, characters_max, true)
}

fn shown(text: &str, characters_max: usize, keep_lines: bool) -> String {
    let mut out = String::with_capacity(text.len().min(4 * characters_max));
    for (count, character) in text.chars().enumerate() {
        if count + 1 >= characters_max && text.chars().nth(characters_max).is_some() {
            out.push('…');
            break;
        }
        out.push(match character {
            '\n' if keep_lines => '\n',
            '\n' | '\r' | '\t' => ' ',
            hidden if is_hidden(hidden) => REPLACEMENT,
            other => other,
        });
    }
    out
}

/// Control characters, and those that only change how others are shown.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Cuts a text to so many characters, at a line break if there is one in its last quarter.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_and_readers_are_not_fooled() {
        assert_eq!(one_line("a\u{1b}[31mb\u{202e}c\r\nd\u{7}", 99), "a�[31mb�c  d�");
        assert_eq!(lines("a\nb\r", 99), "a\nb ");
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("aaaaaaaa\nbbb", 11), "aaaaaaaa\n…");
        assert_eq!(cut("éééé", 3), "éé…");
    }
}
