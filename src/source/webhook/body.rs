//! What a body must be to be taken: whole, and of audit events. What is in the events is the decoder's.

use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;

use crate::engine::{
    dead_letter::{ControlMessage, DeadLetter, DeadLetterReason},
    decode::{NOT_TO_ITS_END, REST_NOT_READ, begins_event},
    detector::Detector,
    limits::{EVENTS_PER_RECORD_MAX, UNWRAPPED_BYTES_MAX},
    record::{PartitionName, RecordBatch},
    rule::RuleSet,
    shard::EngineSettings,
    time::{EventTime, WallTime},
};

/// Looks at bodies. Keeps memory from one to the next.
pub(super) struct Judge {
    detector: Mutex<Detector>,
    partition: Arc<PartitionName>,
}

impl Judge {
    pub(super) fn new() -> Judge {
        let detector = Detector::new(Arc::new(RuleSet::default()), 0, &EngineSettings::default());
        Judge {
            detector: Mutex::new(detector),
            partition: Arc::new(PartitionName::new("webhook", 0)),
        }
    }

    /// Why a body is not taken. Of one that is a list of events, or holds an event in whatever is around
    /// it, nothing that is wrong inside is a reason: whoever may send requests to the API server could make
    /// it so, and hide what else is in the batch. That a part of it was not read is one: what is answered with 200
    /// nobody sends again.
    pub(super) fn refuses(&self, body: &[u8]) -> Option<Unfit> {
        let no_events = |why: &str| Some(Unfit::NoEvents(why.to_owned()));
        if body.trim_ascii().is_empty() {
            return no_events("the body is empty; it should be an EventList");
        }
        if breaks_off(body) {
            return no_events("the body is not whole: its JSON has no end, or goes on behind it");
        }
        let mut batch = RecordBatch::default();
        // An event that was cut takes its time from what surrounds it.
        let time = Some(EventTime::from_micros(1_767_225_600_000_000));
        batch.push_at(&self.partition, 0, None, time, Some(body));
        let mut detector = self.detector.lock().unwrap_or_else(PoisonError::into_inner);
        let found = detector.detect(WallTime::from_micros(0), &batch);
        for DeadLetter { reason, detail, .. } in &found.dead_letters {
            if *reason == DeadLetterReason::TooManyEvents && detail == REST_NOT_READ {
                return Some(Unfit::TooMany(format!(
                    "the body has more than {EVENTS_PER_RECORD_MAX} events; make smaller batches"
                )));
            }
            if is_compressed(body) && detail.ends_with(NOT_TO_ITS_END) {
                return match reason {
                    DeadLetterReason::TooLarge => Some(Unfit::TooMany(format!(
                        "the body is larger than {UNWRAPPED_BYTES_MAX} bytes once it is not compressed; make smaller batches"
                    ))),
                    _ => no_events(&format!("the body is not whole: {detail}")),
                };
            }
        }
        // An empty list may be one of anything.
        let controls = found.counts.control_messages.iter();
        let controls = controls.filter(|(message, _)| *message != ControlMessage::Empty);
        let controls: u64 = controls.map(|(_, count)| count).sum();
        if found.counts.events > 0 || controls > 0 || is_list(body) {
            return None;
        }
        let why = found.dead_letters.first().map(|letter| letter.detail.as_str());
        Some(Unfit::NoEvents(format!(
            "the body is no EventList of audit.k8s.io, and has no audit event in it: {}",
            why.unwrap_or("nothing came of it")
        )))
    }
}

/// Why a body is not taken, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has no events, or not all of those that it had.
    NoEvents(String),
    /// It has more than are read of one body.
    TooMany(String),
}

/// Whether the API server means it as a list of events, whatever is in it.
fn is_list(body: &[u8]) -> bool {
    memmem::find(body, b"\"EventList\"").is_some() && memmem::find(body, b"\"items\"").is_some()
}

/// Whether it begins as gzip or zlib.
fn is_compressed(body: &[u8]) -> bool {
    match *body {
        [0x1F, 0x8B, ..] => true,
        [first, second, ..] => {
            first & 0x0F == 8 && u16::from_be_bytes([first, second]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// Whether what was sent is more than what came: JSON with open brackets, or with something behind it that is none. A
/// line a document are several: an odd one, or an event that was cut, hides none of the others. What begins as no JSON
/// (compressed, say) is the decoder's.
fn breaks_off(body: &[u8]) -> bool {
    let text = trimmed(body);
    if !begins_json(text) || is_whole(text) {
        return false;
    }
    let line_breaks = (memchr::memchr(b'\n', text), memchr::memrchr(b'\n', text));
    let first = line_breaks.0.and_then(|end| text.get(..end)).unwrap_or(text);
    let last = line_breaks.1.and_then(|start| text.get(start..)).unwrap_or(text);
    let stands_alone = |line: &[u8]| {
        let line = trimmed(line);
        let line = line.strip_suffix(b",").unwrap_or(line);
        begins_event(line) || begins_json(line) && is_whole(line)
    };
    !stands_alone(first) || begins_json(trimmed(last)) && !stands_alone(last)
}

fn begins_json(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'{' | b'['))
}

/// Without what may stand around documents: white space, byte order marks, record separators, zeros.
fn trimmed(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text.trim_ascii() {
            [0 | 0x1E, rest @ ..] | [rest @ .., 0 | 0x1E] | [0xEF, 0xBB, 0xBF, rest @ ..] => rest,
            text => return text,
        };
    }
}

/// Whether all brackets of a JSON text are closed, and nothing but further such texts stands behind.
fn is_whole(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return false,
            b'}' | b']' => depth -= 1,
            _ if depth == 0 && !byte.is_ascii_whitespace() => return false,
            _ => {}
        }
    }
    depth == 0 && !in_string
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"auditID":"a","verb":"get","stage":"ResponseComplete","requestReceivedTimestamp":"2026-01-05T10:00:00Z","user":{"username":"}]\\\""}}"#;

    #[test]
    fn lists_of_events_are_taken_whatever_is_in_them() {
        let judge = Judge::new();
        let list = |items: &str| {
            format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{items}]}}"#)
        };
        let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
        for body in [
            list(""),
            list(EVENT),
            list(&format!("{EVENT},{EVENT}")),
            list("{}"),
            list(&format!("{EVENT},{{\"auditID\":\"b\",\"requestObject\":{deep}}}")),
            EVENT.to_owned(),
            format!("[{EVENT}]\n"),
            format!("{EVENT}\n{EVENT}\n"),
        ] {
            assert_eq!(judge.refuses(body.as_bytes()), None, "{body:.300}");
        }
    }

    #[test]
    fn all_else_is_refused_with_a_reason() {
        let judge = Judge::new();
        let list = format!(r#"{{"kind":"EventList","items":[{EVENT}"#);
        for (body, why) in [
            ("", "empty"),
            (" \n", "empty"),
            ("hello", "no EventList"),
            ("{}", "no EventList"),
            ("[]x", "not whole"),
            ("null", "no EventList"),
            (r#"{"kind":"Pod","apiVersion":"v1","items":[]}"#, "no EventList"),
            (list.as_str(), "not whole"),
            ("{\"kind\":\"EventList\",\"items\":[]}}", "not whole"),
            ("\u{0}\u{1}\u{2}", "no EventList"),
        ] {
            let refused = judge.refuses(body.as_bytes());
            let is_it = matches!(&refused, Some(Unfit::NoEvents(said)) if said.contains(why));
            assert!(is_it, "{body:.300}: {refused:?}");
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn no_line_hides_its_neighbours() {
        let judge = Judge::new();
        let event = EVENT.replacen('{', r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#, 1);
        let cut = &event[..event.len() - 40];
        let klog = r#"I1202 19:00:00.000000 1 httplog.go:132] "HTTP" verb="GET" {["#;
        for body in [
            format!("{event}\n{klog}\n{event}"),
            format!("{klog}\n{event}\n{klog}"),
            format!("{event}\n{klog}"),
            format!("{event}\n{cut}\n{event}\n"),
            format!("{cut}\n{event}"),
            format!("{event}\n{cut}"),
            cut.to_owned(),
            format!("{event},\n{event},\n"),
            format!("{event}\n\u{feff}{event}\n"),
            format!("\u{feff}{event}\n{klog}\n\0{event}\n\0\0"),
            format!("\u{1e}{event}\n\u{1e}{event}\n"),
        ] {
            assert_eq!(judge.refuses(body.as_bytes()), None, "{body}");
            assert_eq!(judge.refuses(&gzip(body.as_bytes())), None, "{body}");
        }
        // What was a list had more in it, and so may a document behind others have had.
        for body in [
            format!("[\n{event},\n{event}\n"),
            format!("[{event},{event}"),
            format!("{{\"items\":[\n{event},\n{event}\n"),
            format!("{event}\n{{\"items\":[{event},"),
        ] {
            let refused = judge.refuses(body.as_bytes());
            assert!(matches!(refused, Some(Unfit::NoEvents(_))), "{body}: {refused:?}");
        }
    }

    #[test]
    fn what_was_not_read_is_not_taken() {
        let judge = Judge::new();
        let list = |count: usize| format!("[{}]", vec![EVENT; count].join(","));
        let most = list(EVENTS_PER_RECORD_MAX);
        let too_many = list(EVENTS_PER_RECORD_MAX + 1);
        for body in [too_many.as_bytes(), &gzip(too_many.as_bytes())] {
            let refused = judge.refuses(body);
            assert!(matches!(refused, Some(Unfit::TooMany(_))), "{refused:?}");
        }
        let large = format!("[{EVENT}]{}", " ".repeat(UNWRAPPED_BYTES_MAX));
        let refused = judge.refuses(&gzip(large.as_bytes()));
        assert!(matches!(refused, Some(Unfit::TooMany(_))), "{refused:?}");
        let packed = gzip(most.as_bytes());
        assert_eq!(judge.refuses(&packed), None);
        let mut damaged = packed.clone();
        damaged[packed.len() / 2..].fill(0xFF);
        for broken in [&packed[..packed.len() / 2], &packed[..packed.len() - 12], &damaged] {
            let refused = judge.refuses(broken);
            assert!(matches!(refused, Some(Unfit::NoEvents(_))), "{refused:?}");
        }
    }
}
