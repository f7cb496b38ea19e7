//! What the fuzz targets do with their input. Each body panics when something is wrong. The targets
//! in `tests/fuzz` call them under libFuzzer; the tests here replay the corpus, and what property
//! tests make up, on stable.

use std::{fmt, sync::Arc};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tripline::engine::{
    detector::{DeadLetterReason, DetectionBatch, Detector},
    diagnostic::SourceText,
    event::{FieldTable, redact},
    record::{PartitionName, RecordBatch},
    rule::{
        DetectionRule, Expression, LoadOptions, Rule, RuleMeta, RuleSet, RuleSources, RuleSteps,
        load,
    },
    shard::EngineSettings,
    time::WallTime,
    value::Captured,
};

/// Fields that the bodies extract: with keys that hold dots, and one inside of another.
const PATHS: &[&str] = &["x", "x.a", "x.a.b", "x.a.b.c", "x.b", "x.ö", "x.c"];

/// The extracted values of an event with any JSON in it are those that a plain walk over a parsed
/// document finds, and it is refused exactly if `serde_json` refuses it.
pub(crate) fn audit_json(body: &[u8]) {
    let Ok(body) = str::from_utf8(body) else { return };
    let payload = format!(
        r#"{{"auditID":"a","stage":"Panic","verb":"get","stageTimestamp":"2026-01-05T22:14:01Z","x":{body}}}"#
    );
    let out = detect(payload.as_bytes());
    if deepest(&payload) > 100 {
        return; // serde_json has a limit of its own.
    }
    if serde_json::from_str::<IgnoredAny>(&payload).is_err() {
        // The body may close the event and go on with nonsense.
        assert!(!out.dead_letters.is_empty(), "accepted: {payload}");
        return;
    }
    // What serde_json skips but does not read: lone surrogates, numbers beyond any float.
    let Ok(document) = serde_json::from_str::<Node>(&payload) else { return };
    let Node::Object(members) = &document else { panic!("an object") };
    let plain = ["auditID", "stage", "verb", "stageTimestamp", "x"];
    if members.iter().map(|(key, _)| key.as_str()).ne(plain) {
        return; // The body closed `x` and added members that have a meaning.
    }
    assert!(out.dead_letters.is_empty(), "{:?}: {payload}", out.dead_letters);
    let [detection] = out.detections.as_slice() else { panic!("{out:?}") };
    for (path, captured) in PATHS.iter().zip(&*detection.captured) {
        let mut expected = Vec::new();
        document.walk(path, &mut expected);
        let found = texts(captured);
        // A detection keeps so many values, of so many bytes.
        let kept = expected.iter().flatten().take(32);
        assert!(
            found.len() == kept.clone().count()
                && found.iter().zip(kept).all(|(found, expected)| same(found, expected)),
            "{path} of {payload}: {found:?} is not {expected:?}"
        );
    }
}

/// Any bytes are events or dead letters, the same each time, and what is kept of them is bounded.
pub(crate) fn record(payload: &[u8]) {
    let out = detect(payload);
    assert_eq!(out.counts.records, 1);
    let controls: u64 = out.counts.control_messages.iter().map(|(_, count)| count).sum();
    assert!(
        out.counts.events > 0 || controls > 0 || !out.dead_letters.is_empty(),
        "nothing came of {payload:?}"
    );
    let again = detect(payload);
    assert_eq!(out.detections, again.detections);
    assert_eq!(out.dead_letters, again.dead_letters);
    for letter in &out.dead_letters {
        assert_ne!(letter.reason, DeadLetterReason::Unaccounted, "a part of {payload:?}");
        assert!(letter.detail.len() <= 200, "{}", letter.detail);
        assert!(letter.payload.len() <= 1 << 20);
    }
}

/// A password is redacted whatever stands before it, and the text grows by the marks only.
pub(crate) fn redact_text(text: &[u8]) {
    let text = format!("{} --password=hunter2 -v", String::from_utf8_lossy(text));
    let redacted = redact(&text);
    assert!(!redacted.contains("hunter2 -v"), "{text} became {redacted}");
    let marks = redacted.matches("[redacted]").count();
    assert!(redacted.len() <= text.len() + marks * "[redacted]".len(), "{text} became {redacted}");
}

/// Any text is a rule file or a list of mistakes with places inside of it.
pub(crate) fn rule_text(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let source = SourceText::new("fuzz.yaml", &*text);
    let sources = RuleSources { rules: vec![source], ..RuleSources::default() };
    let loaded = load(&sources, &LoadOptions::default());
    for diagnostic in &loaded.diagnostics {
        assert!(!diagnostic.render(false).is_empty());
        assert!(diagnostic.place.as_ref().is_none_or(|place| place.span.end <= text.len()));
    }
    if let Some(rules) = loaded.rules {
        drop(Detector::new(Arc::new(rules), 0, &EngineSettings::default()));
    }
}

/// Any text is a condition, or a mistake with a place; parentheses around a whole condition change
/// nothing.
pub(crate) fn condition(text: &[u8]) {
    let text: String =
        String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(200).collect();
    let plan = |condition: &str| {
        let rule = serde_json::json!({
            "title": "fuzz",
            "logsource": {"product": "kubernetes", "service": "audit"},
            "detection": {
                "a": {"verb": "get"}, "b1": {"user.username": "eve"}, "b2": {"level": "Request"},
                "condition": condition,
            },
        });
        rule_text(rule.to_string().as_bytes());
        let source = SourceText::new("fuzz.yaml", rule.to_string());
        let sources = RuleSources { rules: vec![source], ..RuleSources::default() };
        let rules = load(&sources, &LoadOptions::default()).rules?;
        let plans: Vec<String> = rules.rules.iter().map(|rule| rules.describe_rule(rule)).collect();
        Some(plans.concat())
    };
    if let Some(plain) = plan(&text) {
        assert_eq!(plan(&format!("({text})")), Some(plain), "{text}");
    }
}

/// What a rule that matches every event and captures [`PATHS`] makes of one record.
fn detect(payload: &[u8]) -> DetectionBatch {
    let mut fields = FieldTable::new();
    let rule = Rule::Detection(DetectionRule {
        meta: RuleMeta::default(),
        expression: Expression::Constant(true),
        steps: RuleSteps::All,
        capture: PATHS.iter().map(|path| fields.intern(path)).collect(),
        capture_names: PATHS.iter().map(|path| (*path).to_owned()).collect(),
        record: None,
    });
    let mut rules = RuleSet::new(vec![rule]);
    rules.fields = fields;
    let mut detector = Detector::new(Arc::new(rules), 0, &EngineSettings::default());
    let partition = Arc::new(PartitionName::new("fuzz", 0));
    let mut batch = RecordBatch::default();
    batch.push(&partition, 0, None, Some(payload));
    let out = detector.detect(WallTime::from_micros(0), &batch);
    let reused = detector.detect(WallTime::from_micros(0), &batch);
    assert_eq!(out.detections, reused.detections, "the second time is different");
    out
}

fn texts(captured: &Captured) -> Vec<&str> {
    match captured {
        Captured::Absent | Captured::Event(_) => Vec::new(),
        Captured::One(text) => vec![text],
        Captured::Many(texts) => texts.iter().map(|text| &**text).collect(),
    }
}

/// The same text; cut, if it was long; the same number, if it is one with a fraction.
fn same(found: &str, expected: &str) -> bool {
    if let Some(beginning) = found.strip_suffix('…')
        && expected.len() > 1_024
    {
        return expected.starts_with(beginning);
    }
    let close = |found: f64, expected: f64| (found - expected).abs() <= expected.abs() * 1e-12;
    found == expected || matches!((found.parse(), expected.parse()), (Ok(a), Ok(b)) if close(a, b))
}

fn deepest(text: &str) -> usize {
    let mut depth: usize = 0;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// A JSON document as it is written: keys may be there twice.
#[derive(Debug)]
enum Node {
    /// Text of a scalar; `None` for null.
    Scalar(Option<String>),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The values at a dotted path, however it is cut into keys, in the order of the document.
    fn walk(&self, path: &str, out: &mut Vec<Option<String>>) {
        match self {
            Node::Scalar(_) => {}
            Node::Array(items) => items.iter().for_each(|item| item.walk(path, out)),
            Node::Object(members) => {
                for (key, value) in members {
                    if key == path {
                        value.leaves(out);
                    } else if let Some(rest) =
                        path.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix('.'))
                    {
                        value.walk(rest, out);
                    }
                }
            }
        }
    }

    fn leaves(&self, out: &mut Vec<Option<String>>) {
        match self {
            Node::Scalar(text) => out.push(text.clone()),
            Node::Array(items) => items.iter().for_each(|item| item.leaves(out)),
            Node::Object(_) => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        struct Build;
        impl<'de> Visitor<'de> for Build {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(None))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(Some(value.to_string())))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(Some(value.to_string())))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(Some(value.to_string())))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(Some(value.to_string())))
            }
            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Scalar(Some(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(item) = items.next_element()? {
                    nodes.push(item);
                }
                Ok(Node::Array(nodes))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(member) = members.next_entry()? {
                    nodes.push(member);
                }
                Ok(Node::Object(nodes))
            }
        }
        deserializer.deserialize_any(Build)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    /// Calls a body with every file of its corpus.
    pub(crate) fn replay(name: &str, body: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz").join(name);
        let mut count = 0;
        for entry in fs::read_dir(&directory).unwrap() {
            body(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", directory.display());
    }

    #[test]
    fn the_corpus_passes() {
        replay("audit_json", audit_json);
        replay("record", record);
        replay("redact", redact_text);
        replay("rule_text", rule_text);
        replay("condition", condition);
    }

    /// Pieces of JSON, which together are JSON often enough.
    fn json() -> impl Strategy<Value = String> {
        let key =
            prop::sample::select(&["a", "b", "c", "a.b", "b.c", "a.b.c", "ö", "\\u0061", ""][..]);
        let scalar = prop_oneof![
            prop::sample::select(
                &[
                    "null",
                    "true",
                    "false",
                    "0",
                    "-0",
                    "7",
                    "-1.5e3",
                    "9007199254740993",
                    "1e400",
                    "18446744073709551616",
                    "\"\"",
                    "\"text\"",
                    "\"a\\n\\u00e9\\\"\"",
                    "\"ö\u{2028}\"",
                    "\"\\ud83d\\ude00\"",
                    "\"\\ud83d\"",
                    "01",
                    "+1",
                    "nul",
                    "\"\u{1}\"",
                    "\"\\x\"",
                    "1.",
                ][..]
            )
            .prop_map(str::to_owned),
            any::<f64>().prop_map(|number| format!("{number:e}")),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        scalar.prop_recursive(5, 40, 5, move |inner| {
            let space = prop::sample::select(&["", " ", "\n\t"][..]);
            prop_oneof![
                (prop::collection::vec(inner.clone(), 0..5), space.clone()).prop_map(
                    |(items, space)| format!(
                        "[{space}{}{space}]",
                        items.join(&format!("{space},{space}"))
                    )
                ),
                (prop::collection::vec((key.clone(), inner), 0..5), space).prop_map(
                    |(members, space)| {
                        let members: Vec<String> = members
                            .into_iter()
                            .map(|(key, value)| format!("\"{key}\"{space}:{space}{value}"))
                            .collect();
                        format!("{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
                    }
                ),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        #[test]
        fn extracted_values_are_those_of_a_plain_walk(
            text in json(),
            cut in any::<prop::sample::Index>(),
            damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            audit_json(text.as_bytes());
            let mut damaged = text.clone().into_bytes();
            if let Some((at, byte)) = damage && !damaged.is_empty() {
                let at = at.index(damaged.len());
                damaged[at] = byte;
            }
            audit_json(&damaged);
            damaged.truncate(cut.index(damaged.len() + 1));
            audit_json(&damaged);
            record(&damaged);
        }

        #[test]
        fn a_password_is_redacted_behind_any_text(
            parts in prop::collection::vec(
                prop::sample::select(&[
                    "password", "=", ":", " ", "&command=", "%3D", "--token", "-p", "mysql", "curl",
                    "-u", "bob", "Bearer", "abcdefgh", "://", "@", "\"", "'", "%20", "+", "[redacted]",
                    "Authorization", "eyJabcdefgh.abcdefgh", "…", "AKIAABCDEFGHIJKLMNOP", "…",
                ][..]),
                0..12,
            )
        ) {
            redact_text(parts.concat().as_bytes());
        }
    }
}
