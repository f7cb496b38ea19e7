//! What a body must be to be taken: whole, and of audit events. What is in the events is the decoder's.

use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;

use crate::engine::{
    detector::{ControlMessage, Detector},
    record::{PartitionName, RecordBatch},
    rule::RuleSet,
    shard::EngineSettings,
    time::WallTime,
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
    /// it so, and hide what else is in the batch.
    pub(super) fn refuses(&self, body: &[u8]) -> Option<String> {
        if body.trim_ascii().is_empty() {
            return Some("the body is empty; it should be an EventList".to_owned());
        }
        if !is_whole(body) {
            return Some(
                "the body is not whole: its JSON has no end, or goes on behind it".to_owned(),
            );
        }
        let mut batch = RecordBatch::default();
        batch.push(&self.partition, 0, None, Some(body));
        let mut detector = self.detector.lock().unwrap_or_else(PoisonError::into_inner);
        let found = detector.detect(WallTime::from_micros(0), &batch);
        // An empty list may be one of anything.
        let controls = found.counts.control_messages.iter();
        let controls = controls.filter(|(message, _)| *message != ControlMessage::Empty);
        let controls: u64 = controls.map(|(_, count)| count).sum();
        if found.counts.events > 0 || controls > 0 || is_list(body) {
            return None;
        }
        let why = found.dead_letters.first().map(|letter| letter.detail.as_str());
        Some(format!(
            "the body is no EventList of audit.k8s.io, and has no audit event in it: {}",
            why.unwrap_or("nothing came of it")
        ))
    }
}

/// Whether the API server means it as a list of events, whatever is in it.
fn is_list(body: &[u8]) -> bool {
    memmem::find(body, b"\"EventList\"").is_some() && memmem::find(body, b"\"items\"").is_some()
}

/// Whether all brackets of a JSON text are closed, and nothing but further such texts stands behind. What
/// begins as no JSON (compressed, say) is taken for whole: the decoder sees what it is.
fn is_whole(body: &[u8]) -> bool {
    let text = body.trim_ascii();
    if !matches!(text.first(), Some(b'{' | b'[')) {
        return true;
    }
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
            let refused = judge.refuses(body.as_bytes()).unwrap_or_default();
            assert!(refused.contains(why), "{body:.300}: {refused}");
        }
    }
}
