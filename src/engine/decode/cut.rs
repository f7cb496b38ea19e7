//! Events that were cut off on their way: what stands before the cut, closed so that it is JSON again.
//!
//! AKS cuts an event at 16 KiB, EKS at 10,000 characters, syslog and container runtimes at sizes of their
//! own. Whoever may create a pod may make it long, so a cut must hide nothing that stands before it. Of a
//! value that was cut itself only a part is known: it counts where a part says something (the path of the
//! request, texts within bodies), and is left out where it could be taken for the whole (a name).

use super::{
    bytes,
    promise::{AUDIT_EVENT, begins_event, is_promising},
    scan::Fault,
};

/// Key by which every object that was open at the cut is marked. No serializer of Kubernetes writes such
/// a key, and it counts only within what was closed here.
pub(super) const MARK: &str = "(cut)";

/// What is put where a long line is cut, in lower case.
const MARKS: [&str; 5] =
    ["[truncated...]", "...[truncated]", "[truncated]", "...truncated", "<truncated>"];

/// Keys whose texts, and all texts below them, say something even if only a part is there.
const PARTS_COUNT: [&str; 3] = ["requestObject", "requestURI", "responseObject"];

/// Where the mark of a cut begins, if a text ends with one.
pub(super) fn mark_in(text: &str) -> Option<usize> {
    let text = text.trim_end();
    let tail = |mark: &str| text.len().checked_sub(mark.len()).and_then(|at| text.get(at..));
    let mark =
        MARKS.iter().find(|mark| tail(mark).is_some_and(|end| end.eq_ignore_ascii_case(mark)));
    mark.map(|mark| text.len() - mark.len())
}

/// Whether a text ends where reading stopped, so that the end is what is wrong with it.
pub(super) fn is_cut(fault: Fault, rest_of_line: &str) -> bool {
    fault == Fault::Truncated || rest_of_line.trim().is_empty()
}

/// A bracket that is open.
#[derive(Debug)]
struct Open<'a> {
    is_object: bool,
    /// Nothing is in it yet.
    is_empty: bool,
    /// Of an object: the key whose value is being read; empty before it.
    key: &'a str,
    /// Of an object: a value comes next, not a key.
    awaits_value: bool,
}

/// Reads a text that begins an object and was cut somewhere.
struct Reader<'a> {
    text: &'a str,
    /// What is open. Every bracket makes a place where the text can be closed, so this is also what is
    /// open at the last of these places.
    open: Vec<Open<'a>>,
    /// Up to where the text can be closed.
    safe: usize,
}

/// Closes a text that begins an object and was cut somewhere. `None` if nothing of it is left.
///
/// Cost: its length. It must be JSON up to the cut.
pub(super) fn repair(text: &str) -> Option<String> {
    let mut reader = Reader { text, open: Vec::new(), safe: 0 };
    let part = reader.read();
    let mut out = String::with_capacity(text.len() + 64);
    match part {
        Some(end) => {
            out.push_str(text.get(..end)?);
            out.push('"');
            reader.value_ends(end);
        }
        None => out.push_str(text.get(..reader.safe)?),
    }
    if reader.open.is_empty() {
        return None;
    }
    if reader.is_within_groups() {
        // What stands for the rest is no group, so that nobody takes the others for all.
        out.push_str(",{}");
    }
    for (index, open) in reader.open.iter().rev().enumerate() {
        // Around what is open there is something at least.
        match (open.is_object, open.is_empty && index == 0) {
            (true, true) => out.push_str("\"(cut)\":true}"),
            (true, false) => out.push_str(",\"(cut)\":true}"),
            (false, _) => out.push(']'),
        }
    }
    Some(out)
}

/// What may stand between documents: byte order marks of files that were put together, record separators,
/// zeros that a log that was cut left.
pub(super) const FILLERS: [char; 3] = ['\u{feff}', '\u{1e}', '\0'];

/// Bytes of a line by which the next one is known to be of the same kind: 256. Its first key is within them.
const HEAD_BYTES_MAX: usize = 256;

/// A document that was not written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    /// Where what there is of it ends.
    pub(super) end: usize,
    /// Where the next one begins.
    pub(super) next: usize,
}

/// Whether, and where, a document that begins at `open` was not written to its end, if reading it stopped at `at` and
/// another one begins before the next line does. Those are:
/// - a line that begins as this one did, and was read as a value of it: whoever writes one a line writes no line breaks
///   within;
/// - an event on the same line as a value of it, unless below one of its bodies: that is whatever a client sent;
/// - what stands behind zeros, which no JSON has within;
/// - an event where reading stopped, at once or behind the quote that ended a text of this one.
///
/// `bytes_left`: how much may still be read again. Values may be nested as often as a record is long, and with each of
/// them all that is behind it would be.
pub(super) fn torn(text: &str, open: usize, at: usize, bytes_left: &mut usize) -> Option<Torn> {
    let begins = |start: usize| text.as_bytes().get(start..).is_some_and(begins_event);
    let mut may_read_again = |start: usize| {
        let left = bytes_left.checked_sub(at - start);
        *bytes_left = left.unwrap_or(*bytes_left);
        left.is_some()
    };
    let read = text.get(open..at)?;
    let as_line = || {
        let end = open + memchr::memchr(b'\n', read.as_bytes())?;
        let next = behind_fillers(text, end + 1);
        let head = read.as_bytes().get(..HEAD_BYTES_MAX.min(end - open))?;
        let head = head.get(..=memchr::memchr(b':', head)?)?;
        let is_alike = text.as_bytes().get(next..)?.starts_with(head);
        is_alike.then_some(Torn { end, next })
    };
    if let Some(torn) = as_line().filter(|torn| may_read_again(torn.end)) {
        return Some(torn);
    }
    let as_value = || {
        let read = read.get(1..).filter(|_| begins(open))?;
        let next = open + 1 + memchr::memmem::find(read.as_bytes(), AUDIT_EVENT)?;
        Some(Torn { end: next, next })
    };
    if let Some(torn) = as_value()
        && may_read_again(open)
        && !goes_on_in_body(text.get(open..torn.next)?)
    {
        return Some(torn);
    }
    // A word, a number or an escape may be torn itself.
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '\\');
    let rest = text.get(at..)?.trim_start_matches(is_word);
    if rest.starts_with('\0') {
        let end = text.len() - rest.len();
        return Some(Torn { end, next: behind_fillers(text, end) });
    }
    let next =
        [at, at.saturating_sub(2)].into_iter().find(|start| *start > open && begins(*start))?;
    Some(Torn { end: next, next })
}

/// Where something stands that is no filler, from `at` on.
fn behind_fillers(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or("");
    text.len() - rest.trim_start_matches(FILLERS).len()
}

/// Whether a text that begins an event, and is JSON as far as it goes, goes on below one of its bodies.
fn goes_on_in_body(text: &str) -> bool {
    let mut reader = Reader { text, open: Vec::new(), safe: 0 };
    reader.read();
    reader.open.first().is_some_and(|open| matches!(open.key, "requestObject" | "responseObject"))
}

impl Reader<'_> {
    /// Reads all; the end of a text that was cut, and of which the part counts.
    fn read(&mut self) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'{' | b'[' => {
                    let is_object = *byte == b'{';
                    let open = Open { is_object, is_empty: true, key: "", awaits_value: false };
                    self.open.push(open);
                    at += 1;
                    self.safe = at;
                }
                b'}' | b']' => {
                    self.open.pop();
                    at += 1;
                    self.value_ends(at);
                }
                b':' => {
                    if let Some(open) = self.open.last_mut() {
                        open.awaits_value = true;
                    }
                    at += 1;
                }
                b'"' => {
                    let is_key =
                        self.open.last().is_some_and(|open| open.is_object && !open.awaits_value);
                    let end = match string_end(bytes, at + 1) {
                        Ok(end) => end,
                        Err(end) => return (!is_key && self.part_counts(at)).then_some(end),
                    };
                    match self.open.last_mut().filter(|_| is_key) {
                        Some(open) => open.key = self.text.get(at + 1..end - 1).unwrap_or(""),
                        None => self.value_ends(end),
                    }
                    at = end;
                }
                b',' | b' ' | b'\n' | b'\r' | b'\t' => at += 1,
                _ => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    let length = rest
                        .iter()
                        .take_while(|byte| {
                            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
                        })
                        .count();
                    at += length.max(1);
                    // The last digits of a number may be missing.
                    if at < bytes.len() {
                        self.value_ends(at);
                    }
                }
            }
        }
        None
    }

    /// Whether a part of the text that begins here counts.
    fn part_counts(&self, start: usize) -> bool {
        let below = |open: &Open<'_>| open.is_object && PARTS_COUNT.contains(&open.key);
        // A shipper's text with an event in it.
        let holds = |text: &str| {
            let value = text.as_bytes().get(1..).unwrap_or_default();
            is_promising(text) || bytes::begins_base64(value) && bytes::may_be_base64(value)
        };
        self.open.iter().any(below) || self.text.get(start..).is_some_and(holds)
    }

    /// Whether some of the groups of a user are there, and maybe not all.
    fn is_within_groups(&self) -> bool {
        let [.., user, groups, list] = self.open.as_slice() else { return false };
        user.key == "user" && groups.key == "groups" && !list.is_object && !list.is_empty
    }

    /// A value ends here, so the text can be closed here.
    fn value_ends(&mut self, at: usize) {
        if let Some(open) = self.open.last_mut() {
            open.is_empty = false;
            open.awaits_value = false;
            open.key = "";
        }
        self.safe = at;
    }
}

/// Where a string ends, behind its quote; or, if it does not, where its last whole character does.
fn string_end(bytes: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return Ok(at + 1);
        }
        let length = if bytes.get(at + 1) == Some(&b'u') { 6 } else { 2 };
        if at + length > bytes.len() {
            return Err(at);
        }
        at += length;
    }
    Err(bytes.len())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_stands_before_the_cut_is_closed() {
        for (text, expected) in [
            ("{", r#"{"(cut)":true}"#),
            (r#"{"a"#, r#"{"(cut)":true}"#),
            (r#"{"a":"#, r#"{"(cut)":true}"#),
            (r#"{"a":1"#, r#"{"(cut)":true}"#),
            (r#"{"user":{"groups":["#, r#"{"user":{"groups":[],"(cut)":true},"(cut)":true}"#),
            (
                r#"{"user":{"groups":["a","b"#,
                r#"{"user":{"groups":["a",{}],"(cut)":true},"(cut)":true}"#,
            ),
            (
                r#"{"user":{"groups":["a"]"#,
                r#"{"user":{"groups":["a"],"(cut)":true},"(cut)":true}"#,
            ),
            (r#"{"groups":["a","#, r#"{"groups":["a"],"(cut)":true}"#),
            (r#"{"a":1,"#, r#"{"a":1,"(cut)":true}"#),
            (r#"{"a":"b"#, r#"{"(cut)":true}"#),
            (r#"{"a":"b""#, r#"{"a":"b","(cut)":true}"#),
            (r#"{"a":{"b":"c","d":["#, r#"{"a":{"b":"c","d":[],"(cut)":true},"(cut)":true}"#),
            (r#"{"a":["x","y"#, r#"{"a":["x"],"(cut)":true}"#),
            (r#"{"a":["x"],"b":tr"#, r#"{"a":["x"],"(cut)":true}"#),
            (r#"{"requestURI":"/api/v1?x=\u00e"#, r#"{"requestURI":"/api/v1?x=","(cut)":true}"#),
            (
                r#"{"requestObject":{"a":{"b":"xx\"#,
                r#"{"requestObject":{"a":{"b":"xx","(cut)":true},"(cut)":true},"(cut)":true}"#,
            ),
            (r#"{"log":"{\"auditID\":\"a"#, r#"{"log":"{\"auditID\":\"a","(cut)":true}"#),
        ] {
            assert_eq!(repair(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(repair(""), None);
    }

    #[test]
    fn every_cut_of_an_event_can_be_read() {
        let whole = r#"{"kind":"Event","a":[1,{"b":"c\u00e9"},[],{}],"n":-1.5e3,"t":true,"x":null,"requestObject":{"m":{"n":"ö\"\\"},"l":["p","q"]}}"#;
        for end in (1..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            let text = repair(&whole[..end]).unwrap();
            let value: Value = serde_json::from_str(&text).expect(&text);
            assert_eq!(value[MARK], true, "{text}");
        }
    }

    #[test]
    fn marks_of_cuts_are_known() {
        assert_eq!(mark_in("{\"a\":\"b[Truncated...]\n"), Some(7));
        assert_eq!(mark_in("abc...[TRUNCATED]"), Some(3));
        assert_eq!(mark_in("{\"a\":1}"), None);
        assert_eq!(mark_in("ö"), None);
    }
}
