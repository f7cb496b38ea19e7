//! Properties of selections and conditions: the engine with its index, the slow evaluation without it,
//! and the naive reading of the specification find the same events.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};
use tripline::engine::{
    detect::explain_record,
    detector::Detector,
    diagnostic::SourceText,
    record::{PartitionName, RecordBatch},
    rule::{LoadOptions, RuleIndex, RuleSet, RuleSources, load},
    shard::EngineSettings,
    time::WallTime,
};

use super::sigma_model::{
    Compare, Condition, Encoding, How, Item, OTHER, PEOPLE, Relation, Selection, base64,
    condition_holds, item_holds,
};

/// Fields with one value, several, or any JSON.
const FIELDS: [&str; 5] =
    ["requestObject.a", "requestObject.b", "requestObject.c.d", "user.username", "user.groups"];

const TEXTS: &[&str] = &[
    "", "a", "aB", "AB", "ab\nB", "b", "bab", "*", "?", "a*", r"a\", r"a\b", r"\*", "403", "4",
    "true", "TRUE", "-b", "a -b", "a/b", "–b", "ö", "Ö",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => select(TEXTS).prop_map(str::to_owned),
        1 => r"[aB*?\\/-]{0,4}",
    ]
}

/// A value in an event.
fn leaf() -> impl Strategy<Value = Value> {
    let encoded =
        (select(&["", "x", "xy"][..]), select(&["secret", "token", "bc"][..]), 0..3_usize)
            .prop_map(|(before, text, encoding)| {
                let encoding = [Encoding::Utf8, Encoding::Wide, Encoding::Utf16Be][encoding];
                let bytes = [before.as_bytes(), &encoding.bytes(text), b"yz"].concat();
                json!(base64(&bytes))
            });
    prop_oneof![
        6 => text().prop_map(Value::from),
        2 => select(vec![json!(403), json!(4), json!(0), json!(-4), json!(0.5)]),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!({})),
        1 => Just(json!([])),
        2 => encoded,
        2 => select(&["10.0.0.7", "10.1.0.1", "::ffff:10.0.0.7", "fd00::1", "10.0.0.300"][..])
            .prop_map(Value::from),
        1 => select(&["2024-12-31T23:59:59Z", "2026-01-05T22:14:01.5Z", "2026-01-05T00:30:00+01:00"][..])
            .prop_map(Value::from),
    ]
}

fn values() -> impl Strategy<Value = Option<Value>> {
    option::weighted(0.8, prop_oneof![2 => leaf(), 1 => vec(leaf(), 0..4).prop_map(Value::from)])
}

fn event() -> impl Strategy<Value = Value> {
    (values(), values(), values(), text(), vec(text(), 0..3)).prop_map(|(a, b, d, user, groups)| {
        let mut body = json!({"c": [{}]});
        for (name, value) in [("a", a), ("b", b)] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        if let Some(value) = d {
            body["c"][0]["d"] = value;
        }
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request",
            "auditID": "id", "stage": "ResponseComplete", "verb": "get", "requestURI": "/",
            "user": {"username": user, "groups": groups}, "requestObject": body,
            "requestReceivedTimestamp": "2026-01-05T22:14:01.000000Z",
            "stageTimestamp": "2026-01-05T22:14:01.000000Z",
        })
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    select(vec![Compare::Lt, Compare::Lte, Compare::Gt, Compare::Gte])
}

/// A way of comparing, with values that go with it.
fn how() -> impl Strategy<Value = (How, Vec<Value>)> {
    let texts = || vec(text().prop_map(Value::from), 1..4);
    let words = |words: &'static [&'static str]| vec(select(words).prop_map(Value::from), 1..3);
    let numbers = || vec(select(vec![json!(403), json!(4), json!(0), json!(0.5)]), 1..3);
    let plain = prop_oneof![
        6 => text().prop_map(Value::from),
        2 => select(vec![json!(403), json!(4), json!(0.5)]),
        1 => any::<bool>().prop_map(Value::from),
    ];
    let time = (
        select(&["minute", "hour", "day", "week", "month", "year"][..]),
        option::of(compare()),
        select(vec![json!(0), json!(1), json!(5), json!(22), json!(31), json!(2026)]),
    );
    let relation =
        select(vec![Relation::Same, Relation::Contains, Relation::StartsWith, Relation::EndsWith]);
    let encoding = select(vec![Encoding::Utf8, Encoding::Wide, Encoding::Utf16Be]);
    let with = |how: How| move |values: Vec<Value>| (how.clone(), values);
    prop_oneof![
        4 => vec(plain, 1..4).prop_map(with(How::Plain)),
        1 => Just((How::Plain, vec![Value::Null])),
        2 => texts().prop_map(with(How::Contains)),
        2 => texts().prop_map(with(How::StartsWith)),
        2 => texts().prop_map(with(How::EndsWith)),
        2 => (select(&["", "i", "m", "s", "im", "is"][..]),
              words(&["^a", "B$", "a.b", "a|40", "^$", r"\\", "[^a]", "ö", "^b"]))
            .prop_map(|(flags, values)| (How::Regex(flags), values)),
        1 => words(&["10.0.0.0/8", "10.0.0.0/30", "fd00::/8", "0.0.0.0/0", "::ffff:0.0.0.0/96"])
            .prop_map(with(How::Cidr)),
        1 => any::<bool>().prop_map(|wanted| (How::Exists, vec![json!(wanted)])),
        2 => relation.prop_map(|relation| (How::FieldRef(relation), vec![json!(OTHER)])),
        2 => (compare(), numbers()).prop_map(|(compare, values)| (How::Number(compare), values)),
        1 => time.prop_map(|(part, compare, value)| (How::Time(part, compare), vec![value])),
        1 => (encoding, words(&["secret", "token", "bc", "et"]))
            .prop_map(|(encoding, values)| (How::Base64(encoding), values)),
        1 => words(&["xsecretyz", "secret", "xytok"]).prop_map(with(How::Base64Whole)),
        1 => words(&["-b", "/b", "a -b", "a-b", "-", "b /b"]).prop_map(with(How::Windash)),
        1 => Just((How::Expand, vec![json!("%people%")])),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    (select(FIELDS.to_vec()), how(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(field, (how, values), cased, all, neq)| {
            let is_text = values.iter().all(Value::is_string);
            let may_be_cased = matches!(
                how,
                How::Plain | How::Contains | How::StartsWith | How::EndsWith | How::FieldRef(_)
            ) && is_text;
            // What is in Base64 has a case of its own.
            let cased = cased && may_be_cased || matches!(how, How::Base64(_));
            Item { field, all: all && values.len() > 1, how, cased, neq, values }
        })
}

impl Item {
    /// `field|modifier|…`
    fn key(&self) -> String {
        let mut words = vec![self.field];
        let offset = ["base64offset", "contains"];
        match &self.how {
            How::Plain => {}
            How::Contains => words.push("contains"),
            How::StartsWith => words.push("startswith"),
            How::EndsWith => words.push("endswith"),
            How::Regex(flags) => {
                words.push("re");
                words.extend(flags.split("").filter(|flag| !flag.is_empty()));
            }
            How::Cidr => words.push("cidr"),
            How::Exists => words.push("exists"),
            How::FieldRef(relation) => {
                words.push("fieldref");
                match relation {
                    Relation::Same => {}
                    Relation::Contains => words.push("contains"),
                    Relation::StartsWith => words.push("startswith"),
                    Relation::EndsWith => words.push("endswith"),
                }
            }
            How::Number(compare) => words.push(compare.word()),
            How::Time(part, compare) => {
                words.push(part);
                words.extend(compare.map(Compare::word));
            }
            How::Base64(Encoding::Utf8) => words.extend(offset),
            How::Base64(Encoding::Wide) => words.extend(["wide"].into_iter().chain(offset)),
            How::Base64(Encoding::Utf16Be) => words.extend(["utf16be"].into_iter().chain(offset)),
            How::Base64Whole => words.extend(["base64", "contains"]),
            How::Windash => words.extend(["windash", "contains"]),
            How::Expand => words.push("expand"),
        }
        for (said, word) in [(self.cased, "cased"), (self.all, "all"), (self.neq, "neq")] {
            if said {
                words.push(word);
            }
        }
        words.join("|")
    }
}

fn map_of(items: &[Item]) -> Value {
    // A later item of the same key would take the place of the one before: the last one counts.
    items
        .iter()
        .map(|item| (item.key(), Value::from(item.values.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Without items whose key comes again behind them.
fn distinct(items: Vec<Item>) -> Vec<Item> {
    let keys: Vec<String> = items.iter().map(Item::key).collect();
    let last = |index: usize| !keys[index + 1..].contains(&keys[index]);
    items.into_iter().enumerate().filter(|(index, _)| last(*index)).map(|(_, item)| item).collect()
}

fn selection() -> impl Strategy<Value = Selection> {
    let map = || vec(item(), 1..3).prop_map(distinct);
    let keyword = select(&["secret", "aB", "get", "40", r"a\\b", "no such word", "*b", "a?"][..]);
    prop_oneof![
        5 => map().prop_map(Selection::All),
        2 => vec(map(), 1..3).prop_map(Selection::Any),
        1 => vec(keyword.prop_map(str::to_owned), 1..3).prop_map(Selection::Keywords),
    ]
}

const NAMES: [&str; 4] = ["sel_a", "sel_b", "other", "_hidden"];

fn condition() -> impl Strategy<Value = Condition> {
    let prefix = || select(vec![None, Some("sel_"), Some("o")]);
    let leaf = prop_oneof![
        4 => (0..NAMES.len()).prop_map(Condition::Name),
        1 => prefix().prop_map(Condition::OneOf),
        1 => prefix().prop_map(Condition::AllOf),
    ];
    leaf.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| Condition::Not(Box::new(part))),
            vec(inner.clone(), 2..4).prop_map(Condition::And),
            vec(inner, 2..4).prop_map(Condition::Or),
        ]
    })
}

impl Condition {
    /// With parentheses only where they are needed; `around` is the binding of what stands around it.
    fn written(&self, around: u8) -> String {
        let of = |word: &str, prefix: Option<&str>| match prefix {
            None => format!("{word} of them"),
            Some(prefix) => format!("{word} of {prefix}*"),
        };
        let join = |parts: &[Condition], word: &str, binding: u8| {
            let parts: Vec<String> = parts.iter().map(|part| part.written(binding)).collect();
            parts.join(word)
        };
        let (text, own) = match self {
            Condition::Name(index) => return NAMES[*index].to_owned(),
            Condition::OneOf(prefix) => return of("1", *prefix),
            Condition::AllOf(prefix) => return of("all", *prefix),
            Condition::Not(part) => (format!("not {}", part.written(2)), 2),
            Condition::And(parts) => (join(parts, " and ", 1), 1),
            Condition::Or(parts) => (join(parts, " or ", 0), 0),
        };
        if own < around { format!("({text})") } else { text }
    }
}

fn rules(detection: &Value) -> Arc<RuleSet> {
    let rule = json!({
        "title": "rule",
        "logsource": {"product": "kubernetes", "service": "audit"},
        "detection": detection,
        "tripline": {"needs": {"level": "Request"}},
    });
    let people = json!(PEOPLE).to_string();
    let sources = RuleSources {
        rules: vec![SourceText::new("rule.yaml", rule.to_string())],
        lists: vec![("people".to_owned(), SourceText::new("lists/people.yaml", people))],
        ..RuleSources::default()
    };
    let loaded = load(&sources, &LoadOptions::default());
    let words: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    Arc::new(loaded.rules.unwrap_or_else(|| panic!("{words}")))
}

/// The rules that a record satisfies: by the engine, and by the slow evaluation without an index.
fn found(rules: &Arc<RuleSet>, detector: &mut Detector, record: &[u8]) -> (Vec<u32>, Vec<u32>) {
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut batch = RecordBatch::default();
    batch.push(&partition, 0, None, Some(record));
    let fast = detector.detect(WallTime::from_micros(0), &batch);
    assert_eq!(fast.dead_letters, [], "{}", String::from_utf8_lossy(record));
    let all: Vec<RuleIndex> = rules.detections().map(|(index, _)| index).collect();
    let mut slow = Vec::new();
    for event in explain_record(rules, &all, record).events {
        let holds = all.iter().zip(event.rules).filter(|(_, rule)| rule.holds);
        slow.extend(holds.map(|(index, _)| index.0));
    }
    slow.sort_unstable();
    let mut fast: Vec<u32> = fast.detections.iter().map(|found| found.rule.0).collect();
    fast.sort_unstable();
    (fast, slow)
}

fn check(
    detection: &Value,
    events: &[Value],
    wanted: impl Fn(&Value) -> bool,
) -> Result<(), TestCaseError> {
    let rules = rules(detection);
    let mut detector = Detector::new(Arc::clone(&rules), 0, &EngineSettings::default());
    for event in events {
        let (fast, slow) = found(&rules, &mut detector, event.to_string().as_bytes());
        let wanted = if wanted(event) { vec![0] } else { Vec::new() };
        prop_assert_eq!(&fast, &wanted, "{} {}", detection, event);
        prop_assert_eq!(&slow, &wanted, "without index: {} {}", detection, event);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn modifiers_mean_what_sigma_says(item in item(), events in vec(event(), 1..5)) {
        let detection = json!({"selection": map_of(std::slice::from_ref(&item)), "condition": "selection"});
        check(&detection, &events, |event| item_holds(&item, event))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn conditions_mean_what_sigma_says(
        selections in vec(selection(), NAMES.len()),
        conditions in vec(condition(), 1..3),
        events in vec(event(), 1..5),
    ) {
        let selections: Vec<(&str, Selection)> = NAMES.into_iter().zip(selections).collect();
        let mut detection = json!({});
        for (name, selection) in &selections {
            detection[*name] = match selection {
                Selection::All(items) => map_of(items),
                Selection::Any(maps) => maps.iter().map(|items| map_of(items)).collect(),
                Selection::Keywords(words) => json!(words),
            };
        }
        let written: Vec<String> = conditions.iter().map(|one| one.written(0)).collect();
        detection["condition"] = if let [one] = written.as_slice() { json!(one) } else { json!(written) };
        check(&detection, &events, |event| {
            conditions.iter().any(|one| condition_holds(one, &selections, event))
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A condition that holds for what the API server takes of a body holds however many copies of keys
    /// stand before it; and explaining it says the same.
    #[test]
    fn copies_of_keys_that_are_ignored_change_nothing_that_holds(
        selections in vec(vec(item(), 1..3).prop_map(distinct), NAMES.len()),
        condition in condition(),
        events in vec((event(), vec((select(&["a", "b", "c", "c.d"][..]), leaf()), 1..4)), 1..5),
    ) {
        let selections: Vec<(&str, Selection)> =
            NAMES.into_iter().zip(selections.into_iter().map(Selection::All)).collect();
        let mut detection = json!({"condition": condition.written(0)});
        for (name, selection) in &selections {
            let Selection::All(items) = selection else { unreachable!() };
            detection[*name] = map_of(items);
        }
        let rules = rules(&detection);
        let mut detector = Detector::new(Arc::clone(&rules), 0, &EngineSettings::default());
        for (event, copies) in &events {
            // What has no other of its kind is no copy.
            let is_copy = |key: &str| key == "c.d" || event["requestObject"].get(key).is_some();
            let copies: String = copies
                .iter()
                .filter(|(key, _)| is_copy(key))
                .map(|(key, value)| match *key {
                    "c" => format!(r#""c":[{{"d":{value}}}],"#),
                    key => format!("\"{key}\":{value},"),
                })
                .collect();
            let body = r#""requestObject":{"#;
            let record = event.to_string().replace(body, &format!("{body}{copies}"));
            let (fast, slow) = found(&rules, &mut detector, record.as_bytes());
            prop_assert_eq!(&fast, &slow, "without index: {} {}", detection, record);
            if condition_holds(&condition, &selections, event) {
                prop_assert_eq!(&fast, &vec![0], "{} {}", detection, record);
            }
        }
    }
}
