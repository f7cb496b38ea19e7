//! Text in front of an event on a line: what container runtimes, syslog, kubectl and stern write there.
//!
//! `2026-03-02T10:00:00.2Z stdout F {…}`, `<134>1 2026-03-02T10:00:00Z cp-1 audit - - - {…}`,
//! `[pod/kube-apiserver-0/kube-apiserver] {…}`, `time=… msg="{\"kind\":…}"`. Not a list of these is known,
//! but how JSON begins.

use std::borrow::Cow;

use super::{
    clients, clock,
    promise::{AUDIT_EVENT, is_promising},
    scan::Scanner,
};
use crate::engine::{
    time::EventTime,
    value::{Value, unescape},
};

/// Places on a line that are tried: 16. Brackets in front of an event are rare.
const PLACES_MAX: usize = 16;

/// Words in front of an event that are tried as a time: 8.
const WORDS_MAX: usize = 8;

/// What was found on a line.
#[derive(Debug, PartialEq)]
pub(super) struct Led<'a> {
    /// The event, and what may follow it.
    pub(super) content: Cow<'a, str>,
    /// What stands in front.
    pub(super) lead: &'a str,
}

impl Led<'_> {
    /// The time that stands in front.
    pub(super) fn time(&self) -> Option<EventTime> {
        let words = self.lead.split_whitespace().take(WORDS_MAX);
        words
            .map(|word| word.rsplit_once('=').map_or(word, |(_, value)| value))
            .map(|word| word.trim_matches(['[', ']', '"', '<', '>', '|']))
            // A number may be anything: of a process, of a priority.
            .filter(|word| word.len() >= "2026-03-02T10:00:00".len() && word.contains('T'))
            .find_map(|word| clock::read_time(&Value::Str(Cow::Borrowed(word))))
    }
}

/// Whether a text that begins with this bracket may be JSON, by what follows.
pub(super) fn begins_json(text: &str) -> bool {
    let inside = |rest: &str| rest.trim_ascii_start().bytes().next();
    match text.as_bytes().first() {
        Some(b'{') => {
            matches!(inside(text.get(1..).unwrap_or("")), None | Some(b'"' | b'}'))
        }
        Some(b'[') => {
            matches!(inside(text.get(1..).unwrap_or("")), None | Some(b'{' | b'[' | b'"' | b']'))
        }
        _ => false,
    }
}

/// Where JSON begins behind something else on a line, and goes on over the lines that follow.
pub(super) fn find_spread(line: &str, rest: &str) -> Option<usize> {
    let line = line.trim_ascii_end();
    let is_open = line.ends_with('{') || line.ends_with(',');
    if !is_open || !rest.starts_with([' ', '\t', '"', '\r', '\n']) {
        return None;
    }
    let at = memchr::memchr(b'{', line.as_bytes())?;
    let inside = line.get(at + 1..)?.trim_ascii_start();
    (at > 0 && (inside.is_empty() || inside.starts_with('"'))).then_some(at)
}

/// Finds what begins like JSON behind something else on a line: the first that may hold an event, else the
/// first.
pub(super) fn find(line: &str) -> Option<Led<'_>> {
    if begins_json(line) {
        return None;
    }
    let places = memchr::memchr_iter(b'{', line.as_bytes()).take(PLACES_MAX);
    let mut first = None;
    let led_at = |at| led_at(line, at).filter(|led| !clients::is_told_of(led.lead));
    for led in places.filter_map(led_at) {
        if is_promising(&led.content) {
            return Some(led);
        }
        first.get_or_insert(led);
    }
    // Whoever can write text in front of an event may write many brackets.
    let event = memchr::memmem::find(line.as_bytes(), AUDIT_EVENT);
    event.filter(|at| *at > 0).and_then(led_at).or(first)
}

/// What begins at a bracket, behind something else.
fn led_at(line: &str, at: usize) -> Option<Led<'_>> {
    let rest = line.get(at + 1..).unwrap_or("").trim_ascii_start();
    // Lists begin before their first item.
    let mut start = at;
    while let Some(before) = line.get(..start).and_then(|b| b.trim_ascii_end().strip_suffix('[')) {
        start = before.len();
    }
    let lead = line.get(..start).unwrap_or("");
    if let Some(content) = undoubled(line.get(start..)?).or_else(|| unmarked(line.get(start..)?)) {
        return Some(Led { content: Cow::Owned(content), lead });
    }
    if rest.starts_with(['"', '}']) {
        let content = line.get(start..).map(Cow::Borrowed)?;
        return (!lead.is_empty()).then_some(Led { content, lead });
    }
    let escaped = rest.trim_start_matches('\\');
    if escaped.len() == rest.len() || !escaped.starts_with('"') {
        return None;
    }
    // A string with JSON in it, perhaps behind more text: `msg="{\"kind\":…}"`; or its quotes were lost.
    let Some(quote) = opening_quote(line, at) else {
        let mut content = String::new();
        unescape(line.get(start..)?, &mut content);
        return Some(Led { content: Cow::Owned(content), lead });
    };
    let lead = line.get(..=quote).unwrap_or("");
    let mut scanner = Scanner::new(line);
    scanner.move_to(quote);
    let raw = match scanner.string() {
        Ok(raw) => raw.text,
        Err(_) => line.get(quote + 1..)?,
    };
    let mut content = String::with_capacity(raw.len());
    unescape(raw, &mut content);
    Some(Led { content: Cow::Owned(content), lead })
}

/// JSON with its quotes doubled, as CSV has it: up to the quote that stands alone.
fn undoubled(text: &str) -> Option<String> {
    let inner = text.trim_start_matches(['[', ' ']).strip_prefix('{')?.trim_start();
    // A key that is empty looks alike.
    if !inner.strip_prefix("\"\"").is_some_and(|key| key.starts_with(|c: char| c.is_alphabetic())) {
        return None;
    }
    let mut content = String::with_capacity(text.len());
    let mut parts = text.split('"');
    content.push_str(parts.next()?);
    while let Some(between) = parts.next() {
        let Some(after) = parts.next().filter(|_| between.is_empty()) else { break };
        content.push('"');
        content.push_str(after);
    }
    Some(content)
}

/// JSON with entities in the place of its quotes, as XML and HTML have it: up to the next mark.
fn unmarked(text: &str) -> Option<String> {
    let inner = text.trim_start_matches(['[', ' ']).strip_prefix('{')?.trim_start();
    if !["&quot;", "&#34;"].iter().any(|quote| inner.starts_with(quote)) {
        return None;
    }
    let text = text.split('<').next()?;
    let entities = [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ];
    let content =
        entities.iter().fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c));
    Some(content.replace("&amp;", "&"))
}

/// Where the string begins in which something stands: at a quote that is not escaped itself.
fn opening_quote(line: &str, at: usize) -> Option<usize> {
    let before = line.as_bytes().get(..at)?;
    memchr::memrchr_iter(b'"', before).find(|quote| {
        let escapes = before.get(..*quote).unwrap_or_default().iter().rev();
        escapes.take_while(|byte| **byte == b'\\').count() % 2 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_behind_what_stands_in_front() {
        for (line, content, time) in [
            (
                r#"2026-03-02T10:00:00.200000000Z stdout F {"a":1}"#,
                r#"{"a":1}"#,
                Some("2026-03-02T10:00:00.200000Z"),
            ),
            (r#"2026-03-02T10:00:00Z {"a":1}"#, r#"{"a":1}"#, Some("2026-03-02T10:00:00.000000Z")),
            (r#"<134>Mar  2 10:00:00 cp-1 kube-apiserver[12]: {"a":1}"#, r#"{"a":1}"#, None),
            (
                r#"<134>1 2026-03-02T10:00:00Z cp-1 audit 12 - [x@1 a="{b}"] {"a":1}"#,
                r#"{"a":1}"#,
                Some("2026-03-02T10:00:00.000000Z"),
            ),
            (r#"[pod/kube-apiserver-0/kube-apiserver] {"a":1}"#, r#"{"a":1}"#, None),
            (r#"apiserver-1  | [{"a":1}, {}]"#, r#"[{"a":1}, {}]"#, None),
            (r#"{main} {"a":1}"#, r#"{"a":1}"#, None),
            (r#"x F [ [[{"a":1}]]]"#, r#"[ [[{"a":1}]]]"#, None),
            (r#"x F "[{\"a\":1}]""#, r#"[{"a":1}]"#, None),
            (r#"x "y z F {\"a\":1}""#, r#"y z F {"a":1}"#, None),
            (r#"x "\"{\\\"a\\\":1}\"""#, r#""{\"a\":1}""#, None),
            (r#"@cee: { "a":1}"#, r#"{ "a":1}"#, None),
            (r#"2026,"{""a"":""b, c"",""d"":""""}",7"#, r#"{"a":"b, c","d":""}"#, None),
            ("<m>{&quot;a&quot;:&quot;b &amp;lt; c&quot;}</m>", r#"{"a":"b &lt; c"}"#, None),
            (r#"<134>Mar  2 audit: {\"a\":\"b\"}"#, r#"{"a":"b"}"#, None),
            // The first that may hold an event.
            (r#"x [y k="{\"a\":1}"] {"auditID":1}"#, r#"{"auditID":1}"#, None),
            (
                r#"time="2026-03-02T10:00:00Z" level=info msg="{\"a\":\"b\\n\"}" x=y"#,
                r#"{"a":"b\n"}"#,
                Some("2026-03-02T10:00:00.000000Z"),
            ),
        ] {
            let led = find(line).expect(line);
            assert_eq!(led.content, content, "{line}");
            assert_eq!(led.time().map(EventTime::rfc3339).as_deref(), time, "{line}");
        }
    }

    #[test]
    fn an_event_is_found_behind_many_brackets() {
        let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a"}"#;
        let line = format!("{} {event}", "{x}".repeat(100));
        assert_eq!(find(&line).map(|led| led.content), Some(Cow::Borrowed(event)));
    }

    #[test]
    fn json_may_go_on_over_the_lines_that_follow() {
        for (line, rest, at) in [
            ("<134>{", "  \"a\": 1\n}", Some(5)),
            ("x {\"a\": 1,", "\t\"b\": 2}", Some(2)),
            ("{", "  \"a\": 1\n}", None),
            ("x {", "{\"a\":1}", None),
            ("x {y} {", " z", None),
            ("x {\"a\":1}", "  y", None),
        ] {
            assert_eq!(find_spread(line, rest), at, "{line}");
        }
    }

    #[test]
    fn what_begins_no_json_is_none() {
        for line in ["", "hello", "a {b} c", "I0302 x.go:1] {go struct}", "{\"a\":1}"] {
            assert_eq!(find(line), None, "{line}");
        }
        for (text, is) in [
            ("{", true),
            ("{x} {}", false),
            ("[ {", true),
            ("[]", true),
            ("[pod/x]", false),
            ("[2026", false),
        ] {
            assert_eq!(begins_json(text), is, "{text}");
        }
    }
}
