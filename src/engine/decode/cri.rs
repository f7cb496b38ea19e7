//! Lines that container runtimes split: what is longer than 16 KiB is written as several, marked `P` (a part)
//! and, the last one, `F`.
//!
//! `2026-03-02T10:00:00.2Z stdout P {"kind":…`, `2026-03-02T10:00:00.2Z stdout F …}`. Where the parts stand together
//! in one record, they are put together before anything else is looked at, since a part may even end
//! within a character. Standard output and error have parts of their own, one between the other.

use crate::engine::limits::{PART_LINES_BETWEEN_MAX, RECORD_BYTES_MAX};

/// What dead letters say of a part alone.
pub(super) const ALONE: &str = "a part of a line that a container runtime split (`P`), without the others; \
                                let the shipper put them together, see docs/intake.md";

/// One line of a container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The time and the name of the stream, with the space behind each.
    lead: &'a [u8],
    /// Written to standard error.
    pub(super) is_error: bool,
    /// More of it follows on a later line.
    pub(super) is_part: bool,
    /// What was written.
    pub(super) content: &'a [u8],
}

/// Takes a line apart, without its line break.
pub(super) fn read(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let time_end = memchr::memchr(b' ', line.get(..TIME_BYTES_MAX.min(line.len()))?)?;
    let (time, rest) = line.split_at_checked(time_end + 1)?;
    let [b'0'..=b'9', _, _, _, b'-', _, _, b'-', _, _, b'T', ..] = time else { return None };
    let (is_error, rest) = match rest.strip_prefix(b"stdout ") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix(b"stderr ")?),
    };
    let lead = line.get(..line.len() - rest.len())?;
    // Further tags may follow behind colons; a line without content may lack its last space.
    let (is_part, rest) = match rest {
        [b'P', rest @ ..] => (true, rest),
        [b'F', rest @ ..] => (false, rest),
        _ => return None,
    };
    let content = match rest {
        [] => rest,
        [b' ', content @ ..] => content,
        [b':', ..] => rest.get(memchr::memchr(b' ', rest)? + 1..)?,
        _ => return None,
    };
    Some(Line { lead, is_error, is_part, content })
}

/// Bytes in which a line has its time: 48. RFC 3339 needs 35 with nanoseconds.
const TIME_BYTES_MAX: usize = 48;

impl Line<'_> {
    /// What was written, as text.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(self.content).unwrap_or("")
    }

    /// What stands in front, as text.
    pub(super) fn lead(&self) -> &str {
        std::str::from_utf8(self.lead).unwrap_or("")
    }

    /// Whether it looks like the last part of an event.
    pub(super) fn is_rest(&self) -> bool {
        let content = self.content.trim_ascii();
        let begins = matches!(content, [b'{' | b'[' | b'"', ..]);
        !self.is_part && !begins && content.ends_with(b"}") && content.contains(&b'"')
    }
}

/// Whether bytes begin as lines of a container runtime do, and some line among them may be a part.
pub(super) fn may_have_parts(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_digit)
        && [&b" stdout P"[..], b" stderr P"]
            .iter()
            .any(|part| memchr::memmem::find(bytes, part).is_some())
}

/// Lines whose parts were put together: each whole line where its last part stood, what is without its end
/// still as a part, at the place of its last one. `None` if no two parts belong together. Cost: a copy.
pub(super) fn joined(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut waiting: [Option<Vec<u8>>; 2] = [None, None];
    let mut is_joined = false;
    for whole in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = whole.strip_suffix(b"\n").unwrap_or(whole);
        let Some(line) = read(text) else {
            let_go(&mut waiting, &mut out);
            out.extend_from_slice(whole);
            continue;
        };
        let parts = of_stream(&mut waiting, line);
        is_joined |= parts.is_some();
        match (parts.take(), line.is_part) {
            (None, false) => out.extend_from_slice(whole),
            (Some(before), false) => {
                // The time at which it began.
                out.extend(before);
                out.extend_from_slice(line.content);
                out.push(b'\n');
            }
            (None, true) => *parts = Some([line.lead, b"F ", line.content].concat()),
            (Some(mut before), true) => {
                before.extend_from_slice(line.content);
                *parts = Some(before);
            }
        }
    }
    let_go(&mut waiting, &mut out);
    is_joined.then_some(out)
}

/// What is kept for the stream of a line.
fn of_stream<'k, T>([output, error]: &'k mut [T; 2], line: Line<'_>) -> &'k mut T {
    if line.is_error { error } else { output }
}

/// Writes down parts whose end does not come.
fn let_go(waiting: &mut [Option<Vec<u8>>], out: &mut Vec<u8>) {
    for mut parts in waiting.iter_mut().filter_map(Option::take) {
        if let Some(tag) = read(&parts).map(|line| line.lead.len())
            && let Some(tag) = parts.get_mut(tag)
        {
            *tag = b'P';
        }
        out.extend(parts);
        out.push(b'\n');
    }
}

/// Follows lines of a log that is read line by line, to see which of them belong into one record.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartLines {
    /// Streams of which an event has begun, and not ended.
    open: [bool; 2],
    bytes: usize,
    lines_between: usize,
}

impl PartLines {
    /// Takes the next line, without its line break; whether the one behind it belongs to the same record. That
    /// is so from the first part of what may be an event up to its last part; but not for more than
    /// [`RECORD_BYTES_MAX`], nor for [`PART_LINES_BETWEEN_MAX`] lines of something else.
    pub fn go_on(&mut self, line: &[u8]) -> bool {
        let is_first = self.bytes == 0;
        if is_first && !line.first().is_some_and(u8::is_ascii_digit) {
            return false;
        }
        self.bytes = self.bytes.saturating_add(line.len() + 1);
        let Some(line) = read(line) else { return false };
        let open = of_stream(&mut self.open, line);
        let begins = matches!(line.content.trim_ascii_start(), [b'{' | b'[', ..]);
        if !*open {
            self.lines_between += usize::from(!is_first);
        }
        *open = line.is_part && (*open || begins);
        self.open.contains(&true)
            && self.bytes <= RECORD_BYTES_MAX
            && self.lines_between < PART_LINES_BETWEEN_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-03-02T10:00:00.200000000Z";

    /// Lines of a container runtime, each with its stream, tag and content.
    fn lines(of: &[(&str, &str, &str)]) -> String {
        let lines =
            of.iter().map(|(stream, tag, text)| [TIME, " ", stream, " ", tag, " ", text, "\n"]);
        lines.flatten().collect()
    }

    fn join(text: &str) -> Option<String> {
        joined(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn lines_are_taken_apart() {
        for (tag, is_part) in [("P", true), ("F", false), ("P:x", true), ("F:x:y", false)] {
            let line = format!("{TIME} stderr {tag}  a b\r");
            let read = read(line.as_bytes()).unwrap();
            assert_eq!((read.is_part, read.text()), (is_part, " a b"), "{line}");
            assert_eq!(read.lead(), format!("{TIME} stderr "));
        }
        assert_eq!(read(format!("{TIME} stdout P").as_bytes()).unwrap().text(), "");
        for line in [
            "",
            "2026-03-02T10:00:00Z",
            "2026-03-02T10:00:00Z stdout",
            "2026-03-02T10:00:00Z stdin P x",
            "2026-03-02T10:00:00Z stdout Px",
            "2026-03-02T10:00:00Z stdout Q x",
            "2026-03-02T10:00:00Z stdout P:x",
            "2026-03-02 stdout P x",
            "a stdout P x",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn parts_that_stand_together_become_one_line() {
        let parts = [("stdout", "P", "{a "), ("stdout", "P", " b"), ("stdout", "F", "c}")];
        assert_eq!(join(&lines(&parts)), Some(lines(&[("stdout", "F", "{a  bc}")])));
        // Each stream has its own, and other lines stand where they stood.
        let mixed = [
            ("stdout", "P", "{a"),
            ("stderr", "F", "x"),
            ("stderr", "P", "y"),
            ("stdout", "F", "b}"),
            ("stderr", "F", "z"),
            ("stdout", "F", "{}"),
        ];
        let expected = [
            ("stderr", "F", "x"),
            ("stdout", "F", "{ab}"),
            ("stderr", "F", "yz"),
            ("stdout", "F", "{}"),
        ];
        assert_eq!(join(&lines(&mixed)), Some(lines(&expected)));
        // What is without its end stays a part, and another text lets go of all.
        let open = lines(&[("stdout", "P", "{a"), ("stdout", "P", "b")]);
        let still = lines(&[("stdout", "P", "{ab")]);
        assert_eq!(join(&open), Some(still.clone()));
        assert_eq!(join(&format!("{open}hello\n")), Some(format!("{still}hello\n")));
        for alone in
            ["hello", &lines(&[("stdout", "P", "{a")]), &lines(&[("stdout", "F", "a P b")])]
        {
            assert_eq!(join(alone), None, "{alone}");
        }
    }

    #[test]
    fn a_record_goes_on_from_the_first_part_of_an_event_to_its_last() {
        let count = |of: &[(&str, &str, &str)]| {
            let mut parts = PartLines::default();
            let text = lines(of);
            1 + text.lines().take_while(|line| parts.go_on(line.as_bytes())).count()
        };
        assert_eq!(count(&[("stdout", "P", "{a"), ("stdout", "P", "b"), ("stdout", "F", "c}")]), 3);
        assert_eq!(count(&[("stdout", "P", "{a"), ("stderr", "F", "b"), ("stdout", "F", "c}")]), 3);
        // Other logs are not waited for.
        assert_eq!(count(&[("stderr", "P", "I0302 a"), ("stderr", "F", "b")]), 1);
        assert_eq!(count(&[("stdout", "F", "{}"), ("stdout", "F", "{}")]), 1);
        // An end that never comes is waited for only so long.
        let between = vec![("stderr", "F", "x"); 2 * PART_LINES_BETWEEN_MAX];
        let lines = [&[("stdout", "P", "{a")][..], &between].concat();
        assert_eq!(count(&lines), 1 + PART_LINES_BETWEEN_MAX);
        let long = "x".repeat(1 << 20);
        let endless = vec![("stdout", "P", long.as_str()); 20];
        assert_eq!(count(&[&[("stdout", "P", "{a")][..], &endless].concat()), 17);
        assert!(!PartLines::default().go_on(b"{\"kind\":\"Event\"}"));
    }
}
