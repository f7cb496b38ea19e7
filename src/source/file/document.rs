//! JSON that goes over many lines: what `jq`, `kubectl` and the consoles of clouds write.
//!
//! A document is cut into what matters in it, so that a list of a million events is a million records
//! and not one that is too large: the items of an EventList (or of what is like one), the members of an
//! array, or else the document itself. A document that breaks off ends where the next one begins. Nothing is
//! judged here; that is the decoder's.

/// Keys at the top of an object whose array holds what matters: `items` of an EventList, `events` of
/// CloudWatch's `filter-log-events`.
const LISTS: [&[u8]; 2] = [b"items", b"events"];

/// Bytes of a key that are looked at: one more than the longest of [`LISTS`] has.
const KEY_BYTES_MAX: usize = 7;

/// Brackets whose kind is remembered, to see where a document breaks off: 1,024.
const KINDS_MAX: usize = 1_024;

/// Whether a document begins on this line and goes on over the next one.
///
/// One event a line is told by its ends; other lines are read. One that was cut within a text does not go
/// on.
pub(super) fn goes_on(line: &[u8]) -> bool {
    match (line.first(), line.last()) {
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) => return false,
        (Some(b'{' | b'['), _) => {}
        _ => return false,
    }
    let mut cutter = Cutter::default();
    for byte in line {
        while cutter.push(*byte) == Cut::Before {}
    }
    !cutter.in_string && !cutter.is_complete()
}

/// What one byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A part of what is being read.
    Inside,
    /// Its last part.
    Last,
    /// No part of it; it is complete. The byte must be pushed again.
    Before,
    /// No part of it; it breaks off here, with all that it is in. The byte must be pushed again.
    Broken,
    /// No part of anything.
    Outside,
    /// A part of what is being read, which goes on behind a list that is read now.
    ListBegins,
    /// The end of that list: a part of what surrounds it.
    ListEnds,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    Nothing,
    Object,
    /// A number or a string where an object should be: a dead letter.
    Scalar,
}

/// Cuts a stream of documents. Fed byte by byte.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    /// Brackets that are open.
    depth: usize,
    /// Of the outer ones: whether it is one of an object.
    kinds: Vec<bool>,
    /// Brackets that are open around what matters.
    base: usize,
    reading: Reading,
    in_string: bool,
    is_escaped: bool,
    /// At the top of a document: the string that was read last, if only its colon came after it.
    key: Vec<u8>,
    /// The last byte that is neither white space nor within a string.
    before: u8,
    /// Nothing but white space was read on this line.
    at_line_start: bool,
}

impl Cutter {
    /// Whether the stream may end here.
    pub(super) fn is_complete(&self) -> bool {
        self.depth == 0
    }

    /// Whether something is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.reading != Reading::Nothing
    }

    /// Takes the next byte.
    pub(super) fn push(&mut self, byte: u8) -> Cut {
        if self.breaks(byte) {
            *self = Cutter { at_line_start: self.at_line_start, ..Cutter::default() };
            return Cut::Broken;
        }
        if self.in_string {
            self.push_string(byte);
            return self.place();
        }
        let ends_scalar = matches!(byte, b',' | b'\n' | b'}' | b']' | b'{' | b'[');
        if ends_scalar && self.reading == Reading::Scalar {
            self.reading = Reading::Nothing;
            return Cut::Before;
        }
        let cut = match byte {
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.close(),
            b',' => self.place(),
            b':' if self.depth > self.base => self.place(),
            _ if byte.is_ascii_whitespace() => self.place(),
            _ => {
                self.key.clear();
                self.in_string = byte == b'"';
                if self.depth == self.base && !self.is_reading() {
                    self.reading = Reading::Scalar;
                }
                self.place()
            }
        };
        if !byte.is_ascii_whitespace() {
            self.before = byte;
        }
        self.at_line_start = byte == b'\n' || self.at_line_start && byte.is_ascii_whitespace();
        cut
    }

    /// Whether what is read cannot go on like this: a line that ends within a text, or one that begins
    /// with a bracket where none can be. The line before it was cut.
    fn breaks(&self, byte: u8) -> bool {
        if self.in_string {
            return byte == b'\n' && self.depth > 0;
        }
        if self.depth == 0 || !self.at_line_start || !matches!(byte, b'{' | b'[') {
            return false;
        }
        match self.before {
            b':' | b'[' => false,
            b',' => self.kinds.get(self.depth - 1).copied().unwrap_or(false),
            _ => true,
        }
    }

    fn place(&self) -> Cut {
        if self.is_reading() { Cut::Inside } else { Cut::Outside }
    }

    fn push_string(&mut self, byte: u8) {
        if self.depth == 1 && self.key.len() < KEY_BYTES_MAX && (byte != b'"' || self.is_escaped) {
            self.key.push(byte);
        }
        self.in_string = self.is_escaped || byte != b'"';
        self.is_escaped = !self.is_escaped && byte == b'\\';
    }

    fn open(&mut self, byte: u8) -> Cut {
        let is_top = (self.depth, self.base) == (1, 0) && self.reading == Reading::Object;
        let is_list = is_top && byte == b'[' && LISTS.contains(&self.key.as_slice());
        self.key.clear();
        self.depth += 1;
        if self.kinds.len() < KINDS_MAX {
            self.kinds.push(byte == b'{');
        }
        if is_list {
            self.base = 2;
            self.reading = Reading::Nothing;
            return Cut::ListBegins;
        }
        if self.depth == 1 && byte == b'[' {
            self.base = 1;
        } else if self.depth == self.base + 1 && !self.is_reading() {
            self.reading = Reading::Object;
        }
        self.place()
    }

    fn close(&mut self) -> Cut {
        self.key.clear();
        self.depth = self.depth.saturating_sub(1);
        self.kinds.truncate(self.depth);
        if self.reading == Reading::Object && self.depth == self.base {
            self.reading = Reading::Nothing;
            return Cut::Last;
        }
        if self.depth == 1 && self.base == 2 {
            self.base = 0;
            self.reading = Reading::Object;
            return Cut::ListEnds;
        }
        if self.depth == 0 {
            self.base = 0;
        }
        self.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a text, those around lists too.
    fn cut(text: &str) -> Vec<String> {
        let mut cutter = Cutter::default();
        let (mut parts, mut part, mut around) = (Vec::new(), Vec::new(), Vec::new());
        let utf8 = |part: &mut Vec<u8>| String::from_utf8(std::mem::take(part)).unwrap();
        for byte in text.bytes() {
            loop {
                let cut = cutter.push(byte);
                match cut {
                    Cut::Inside => part.push(byte),
                    Cut::Last => {
                        part.push(byte);
                        parts.push(utf8(&mut part));
                    }
                    Cut::Before => {
                        parts.push(utf8(&mut part));
                        continue;
                    }
                    Cut::Broken => {
                        around.clear();
                        parts.push(utf8(&mut part));
                        continue;
                    }
                    Cut::Outside => {}
                    Cut::ListBegins => {
                        part.push(byte);
                        around = std::mem::take(&mut part);
                    }
                    Cut::ListEnds => {
                        part = std::mem::take(&mut around);
                        part.push(byte);
                    }
                }
                break;
            }
        }
        parts.extend((!part.is_empty()).then(|| utf8(&mut part)));
        parts
    }

    #[test]
    fn documents_and_members_of_arrays_and_lists_are_cut_out() {
        assert_eq!(cut("{\n \"a\": {\"b\": [1]}\n}\n{}\n"), ["{\n \"a\": {\"b\": [1]}\n}", "{}"]);
        assert_eq!(
            cut("[\n {\"a\":1},\n {\"b\":[2]}\n]\n[{}]"),
            ["{\"a\":1}", "{\"b\":[2]}", "{}"]
        );
        let list = "{\n\"items\" : [\n{\"a\": 1}, {}\n],\n\"m\": {\"x\": [{}]}}";
        let around = "{\n\"items\" : [],\n\"m\": {\"x\": [{}]}}";
        let parts = ["{\"a\": 1}", "{}", around];
        assert_eq!(cut(&[list, "\n", list].concat()), [parts, parts].concat());
        assert_eq!(cut("{\"items\":[1, 2]}"), ["1", "2", "{\"items\":[]}"]);
    }

    #[test]
    fn only_the_top_of_a_document_is_a_list() {
        let event = "{\"kind\":\"Event\",\"requestObject\":{\"items\":[{\"a\":1}]}}";
        assert_eq!(cut(event), [event]);
        // A value, a key with an escape and a key that only begins like one are none.
        for event in [
            r#"{"a":"items","b":[{}]}"#,
            r#"{"\u0069tems":[{}]}"#,
            r#"{"itemsize":[{}]}"#,
            r#"{"items\"":[{}]}"#,
            r#"{"items":{"a":[{}]}}"#,
            r#"{"items":[],"a":1}"#,
        ] {
            assert_eq!(cut(event), [event]);
        }
    }

    #[test]
    fn brackets_within_strings_mean_nothing() {
        let event = r#"{"a":"}\\\"]","b":"{["}"#;
        assert_eq!(cut(&format!("[{event},\n{event}]")), [event, event]);
    }

    #[test]
    fn what_should_be_an_object_is_not_lost() {
        assert_eq!(cut("[1, \"a,b\"\n, {}, true]"), ["1", "\"a,b\"", "{}", "true"]);
        assert_eq!(cut("[1]{}"), ["1", "{}"]);
        assert_eq!(cut("{}\noops\n{}"), ["{}", "oops", "{}"]);
        assert_eq!(cut("]}{}"), ["{}"]);
    }

    #[test]
    fn what_breaks_off_ends_where_the_next_begins() {
        let next = "{\n\"b\": [\n{}, [\n{}]]}";
        for broken in [
            "{\"a\": \"x",
            "{\"a\": \"x\"",
            "{\"a\": \"x\",",
            "{",
            "{\"a\": [{\"b\": 1}",
            "{\"a\": {\"b\": 1}",
        ] {
            let parts = cut(&format!("{broken}\n{next}"));
            let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
            assert_eq!(parts, [broken, next]);
        }
    }

    #[test]
    fn lines_that_go_on_are_told_from_those_that_were_cut() {
        for (line, goes) in [
            (r#"{"kind": "Event"}"#, false),
            (r#"{ "kind": "Event","#, true),
            ("{", true),
            ("[", true),
            (r#"[{"a":1},"#, true),
            (r#"[{"a":1}"#, true),
            (r#"[{"a":1}]"#, false),
            (r#"{"kind":"Event","requestURI":"/api"#, false),
            (r#"[pod/a/b] {"a":1}"#, false),
            ("2026-03-02T10:00:00Z {", false),
        ] {
            assert_eq!(goes_on(line.as_bytes()), goes, "{line}");
        }
    }
}
