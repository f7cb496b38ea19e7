//! JSON that goes over many lines: what `jq`, `kubectl` and the consoles of clouds write.
//!
//! A document is cut into what matters in it, so that a list of a million events is a million records
//! and not one that is too large: the items of an EventList (or of what is like one), the members of an
//! array, or else the document itself. Nothing is judged here; that is the decoder's.

/// Keys at the top of an object whose array holds what matters: `items` of an EventList, `events` of
/// CloudWatch's `filter-log-events`.
const LISTS: [&[u8]; 2] = [b"items", b"events"];

/// Bytes of a key that are looked at: one more than the longest of [`LISTS`] has.
const KEY_BYTES_MAX: usize = 7;

/// Of [`Cutter::base`]: nothing matters until the end of the document.
const NOTHING: usize = usize::MAX;

/// Whether a file that begins with this line goes over many lines. One event a line never begins so.
pub(super) fn begins_document(first_line: &[u8]) -> bool {
    matches!(first_line, b"{" | b"[" | b"[{")
}

/// What one byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A part of what is being read.
    Inside,
    /// Its last part.
    Last,
    /// No part of it; it is complete.
    After,
    /// No part of anything.
    Outside,
    /// No part of anything, and what was read is none either: it only surrounds a list.
    Restart,
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
    /// Brackets that are open around what matters.
    base: usize,
    reading: Reading,
    in_string: bool,
    is_escaped: bool,
    /// At the top of a document: the string that was read last, if only its colon came after it.
    key: Vec<u8>,
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
        if self.in_string {
            self.push_string(byte);
            return self.place();
        }
        match byte {
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.close(),
            b',' | b'\n' if self.reading == Reading::Scalar => self.end(Cut::After),
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
        }
    }

    fn place(&self) -> Cut {
        if self.is_reading() { Cut::Inside } else { Cut::Outside }
    }

    fn end(&mut self, cut: Cut) -> Cut {
        self.reading = Reading::Nothing;
        cut
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
        if is_list {
            self.base = 2;
            return self.end(Cut::Restart);
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
        let cut = match self.reading {
            Reading::Object if self.depth == self.base => return self.end(Cut::Last),
            Reading::Scalar => self.end(Cut::After),
            Reading::Object | Reading::Nothing => self.place(),
        };
        if self.depth == 0 {
            self.base = 0;
        } else if self.depth < self.base {
            self.base = NOTHING;
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let mut cutter = Cutter::default();
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        for byte in text.bytes() {
            let cut = cutter.push(byte);
            if matches!(cut, Cut::Inside | Cut::Last) {
                part.push(byte);
            }
            if matches!(cut, Cut::Last | Cut::After | Cut::Restart) {
                let done = String::from_utf8(std::mem::take(&mut part)).unwrap();
                parts.extend((cut != Cut::Restart).then_some(done));
            }
        }
        assert_eq!(cutter.is_complete() && !cutter.is_reading(), part.is_empty());
        parts
    }

    #[test]
    fn documents_and_members_of_arrays_and_lists_are_cut_out() {
        assert_eq!(cut("{\n \"a\": {\"b\": [1]}\n}\n{}\n"), ["{\n \"a\": {\"b\": [1]}\n}", "{}"]);
        assert_eq!(
            cut("[\n {\"a\":1},\n {\"b\":[2]}\n]\n[{}]"),
            ["{\"a\":1}", "{\"b\":[2]}", "{}"]
        );
        let list =
            "{\n\"kind\": \"List\",\n\"items\" : [\n{\"a\": 1}, {}\n],\n\"m\": {\"x\": [{}]}}";
        assert_eq!(cut(&[list, "\n", list].concat()), ["{\"a\": 1}", "{}", "{\"a\": 1}", "{}"]);
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
        assert_eq!(cut("{}\noops\n{}"), ["{}", "oops", "{}"]);
        assert_eq!(cut("]}{}"), ["{}"]);
    }
}
