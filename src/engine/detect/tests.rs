//! Every operator against a naive reading of the rule language, and the index against no index.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    test::{Scratch, holds},
    *,
};
use crate::engine::{
    event::{FieldId, FieldTable, well_known},
    rule::{
        Comparison, DetectionRule, Expression, Predicate, PredicateId, RuleMeta, Schedule,
        ScheduleIndex, StringKind, Test, TimePart,
    },
    value::{Number, Value},
};

/// Texts that collide: in case, as numbers, as prefixes of each other.
const TEXTS: &[&str] = &[
    "",
    "get",
    "GET",
    "Get",
    "get list",
    "create",
    "you requested PartialObjectMetadata, but the requested object is a list",
    "list",
    "403",
    "403.0",
    "true",
    "TRUE",
    "10.0.0.7",
    "::ffff:10.0.0.7",
    "fd00::1",
    "öl",
    "ÖL",
    "\u{212a}",
    "k",
    "ab",
    "aXb",
    "2026-01-05T22:14:01.1Z",
    "inf",
    "NaN",
    "*",
    "pods",
    "Pods",
    "secrets",
];

/// Fields that are tested: single, many, derived.
const FIELDS: &[FieldId] = &[
    well_known::VERB,
    well_known::RESOURCE,
    well_known::RESPONSE_CODE,
    well_known::GROUPS,
    well_known::SOURCE_IPS,
    well_known::USERNAME,
    well_known::IMPERSONATED_USERNAME,
    well_known::USER_AGENT,
    FieldId(22),
    FieldId(23),
    FieldId(24),
    FieldId(25),
    FieldId(26),
    FieldId(27),
    FieldId(28),
];

/// Of these the ones that are derived.
const DERIVED: [FieldId; 4] = [FieldId(23), FieldId(25), FieldId(26), FieldId(27)];

fn table() -> FieldTable {
    let mut fields = FieldTable::new();
    assert_eq!(fields.intern("x"), FieldId(22));
    assert_eq!(fields.intern("outcome"), FieldId(23));
    assert_eq!(fields.intern("responseStatus.message"), FieldId(24), "what `outcome` needs");
    assert_eq!(fields.intern("source.public"), FieldId(25));
    assert_eq!(fields.intern("actor.kind"), FieldId(26));
    assert_eq!(fields.intern("actor.human"), FieldId(27));
    assert_eq!(fields.intern("annotations.authorization.k8s.io/reason"), FieldId(28));
    fields
}

fn value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        6 => select(TEXTS).prop_map(|text| Value::Str(Cow::Borrowed(text))),
        1 => Just(Value::Null),
        1 => Just(Value::Composite),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => select(&[403, 406, 200, 0, -1][..]).prop_map(Value::Int),
        1 => select(&[403.0, 0.5, f64::INFINITY][..]).prop_map(Value::Float),
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    select(&[Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual][..])
}

fn kind() -> impl Strategy<Value = StringKind> {
    use StringKind::{Contains, EndsWith, Equals, StartsWith};
    select(&[Equals, StartsWith, EndsWith, Contains][..])
}

fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn folded(text: &str, cased: bool) -> String {
    if cased { text.to_owned() } else { fold(text) }
}

/// Regular expressions, each with what it means.
type Meaning = fn(&str) -> bool;
const REGEXES: &[(&str, Meaning)] = &[
    ("(?i)^get$", |text| text.eq_ignore_ascii_case("get")),
    ("a.b", |text| text == "aXb"),
    ("^$", str::is_empty),
];

fn test() -> impl Strategy<Value = Test> {
    let texts = || vec(select(TEXTS), 1..4);
    prop_oneof![
        1 => Just(Test::Exists),
        1 => Just(Test::Null),
        4 => (texts(), any::<bool>()).prop_map(|(texts, cased)| Test::OneOf {
            texts: Arc::new(texts.into_iter().map(|text| folded(text, cased)).collect()),
            cased,
        }),
        3 => (kind(), select(TEXTS), any::<bool>()).prop_map(|(kind, text, cased)| Test::Text {
            kind,
            pattern: folded(text, cased),
            cased,
        }),
        1 => select(REGEXES).prop_map(|(regex, _)| {
            Test::Regex(Arc::new(regex::Regex::new(regex).unwrap()))
        }),
        1 => (texts(), any::<bool>()).prop_map(|(texts, cased)| {
            let texts: Vec<String> = texts
                .into_iter()
                .filter(|text| cased || text.is_ascii())
                .map(|text| folded(text, cased))
                .collect();
            let automaton = aho_corasick::AhoCorasick::builder()
                .ascii_case_insensitive(!cased)
                .build(&texts)
                .unwrap();
            Test::ContainsAny { texts: texts.into(), cased, automaton: Arc::new(automaton) }
        }),
        2 => (comparison(), select(&[403.0, 0.0, 200.0][..]))
            .prop_map(|(comparison, number)| Test::Number(comparison, Number::from(number))),
        1 => any::<bool>().prop_map(Test::Bool),
        1 => select(&["10.0.0.0/8", "fd00::/8", "0.0.0.0/0", "::ffff:10.0.0.0/104"][..])
            .prop_map(|network| Test::Cidr(network.parse().unwrap())),
        1 => (select(FIELDS), kind(), any::<bool>())
            .prop_map(|(other, kind, cased)| Test::FieldRef { other, kind, cased }),
        1 => (comparison(), select(&[22, 14, 2026][..])).prop_map(|(comparison, number)| {
            Test::TimePart(TimePart::Hour, comparison, number)
        }),
    ]
}

/// What a test means, said as plainly as possible.
fn naive(test: &Test, values: &[Value<'_>], others: &[Value<'_>]) -> bool {
    let compare = |comparison: Comparison, left: Number, right: Number| match comparison {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    };
    let relate = |kind: StringKind, text: &str, pattern: &str| match kind {
        StringKind::Equals => text == pattern,
        StringKind::StartsWith => text.starts_with(pattern),
        StringKind::EndsWith => text.ends_with(pattern),
        StringKind::Contains => text.contains(pattern),
    };
    let one = |value: &Value<'_>| {
        let text = value.text().map(Cow::into_owned);
        let as_text = |cased: bool| text.as_deref().map(|text| folded(text, cased));
        match test {
            Test::Exists => true,
            Test::Null => *value == Value::Null,
            Test::OneOf { texts, cased } => {
                as_text(*cased).is_some_and(|text| texts.iter().any(|known| *known == text))
            }
            Test::Text { kind, pattern, cased } => {
                as_text(*cased).is_some_and(|text| relate(*kind, &text, pattern))
            }
            Test::Regex(regex) => {
                let (_, meaning) =
                    REGEXES.iter().find(|(source, _)| *source == regex.as_str()).unwrap();
                as_text(true).is_some_and(|text| meaning(&text))
            }
            Test::ContainsAny { texts, cased, .. } => {
                as_text(*cased).is_some_and(|text| texts.iter().any(|known| text.contains(known)))
            }
            Test::Number(comparison, bound) => {
                value.number().is_some_and(|number| compare(*comparison, number, *bound))
            }
            Test::Bool(wanted) => {
                as_text(false).is_some_and(|text| text == wanted.to_string())
            }
            Test::Cidr(network) => text.is_some_and(|text| {
                text.parse::<std::net::IpAddr>().is_ok_and(|ip| {
                    network.contains(&ip) || network.contains(&ip.to_canonical())
                })
            }),
            Test::FieldRef { kind, cased, .. } => others.iter().any(|other| {
                let numeric = |value: &Value<'_>| matches!(value, Value::Int(_) | Value::Float(_));
                if *kind == StringKind::Equals
                    && (numeric(value) || numeric(other))
                    && let (Some(left), Some(right)) = (value.number(), other.number())
                {
                    return left == right;
                }
                let other = other.text().map(|text| folded(&text, *cased));
                matches!((as_text(*cased), other), (Some(text), Some(other)) if relate(*kind, &text, &other))
            }),
            // The only time among the texts is at 22 o'clock.
            Test::TimePart(_, comparison, bound) => {
                text.is_some_and(|text| text.starts_with("2026-"))
                    && compare(*comparison, Number::Whole(22), Number::Whole(i128::from(*bound)))
            }
        }
    };
    match test {
        Test::Null if values.is_empty() => true,
        _ => values.iter().any(one),
    }
}

fn expression(predicates: u32) -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        8 => (0..predicates).prop_map(|id| Expression::Predicate(PredicateId(id))),
        1 => Just(Expression::Inside(ScheduleIndex(0))),
        1 => any::<bool>().prop_map(|past| {
            Expression::Before(EventTime::from_micros(if past { -1 } else { 1 }))
        }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| Expression::Not(Arc::new(part))),
            vec(inner.clone(), 2..4).prop_map(|parts| Expression::All(parts.into())),
            vec(inner, 2..4).prop_map(|parts| Expression::Any(parts.into())),
        ]
    })
}

fn rule_set() -> impl Strategy<Value = RuleSet> {
    let predicates = vec((select(FIELDS), test()), 1..12);
    predicates.prop_flat_map(|predicates| {
        let count = u32::try_from(predicates.len()).unwrap();
        let rules = prop_oneof![
            9 => vec((expression(count), any::<bool>()), 1..9),
            1 => vec((expression(count), any::<bool>()), 60..70),
        ];
        (Just(predicates), rules).prop_map(|(predicates, rules)| RuleSet {
            fields: table(),
            predicates: predicates
                .into_iter()
                .map(|(field, test)| Predicate { field, test })
                .collect(),
            rules: rules.into_iter().map(|(expression, all)| rule(expression, all)).collect(),
            schedules: vec![Schedule {
                name: "never".to_owned(),
                zone: jiff::tz::TimeZone::UTC,
                minutes: Vec::new(),
                except: Vec::new(),
            }],
            ..RuleSet::default()
        })
    })
}

fn rule(expression: Expression, all_stages: bool) -> Rule {
    Rule::Detection(DetectionRule {
        meta: RuleMeta::default(),
        expression,
        steps: if all_stages { RuleSteps::All } else { RuleSteps::Canonical },
        capture: Vec::new(),
        capture_names: Vec::new(),
        record: None,
    })
}

/// Values by field, and the stage.
type Content = (Vec<(FieldId, Value<'static>)>, Stage);

fn content() -> impl Strategy<Value = Content> {
    let plain = FIELDS.iter().copied().filter(|field| !DERIVED.contains(field));
    let stages = [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete];
    let values = vec((select(plain.collect::<Vec<_>>()), value()), 0..8);
    // What is remembered of callers is that of those who have a name.
    let name = prop_oneof![Just(None), select(&["get", "k", "system:node:n"][..]).prop_map(Some)];
    (values, name, select(stages.to_vec())).prop_map(|(mut values, name, stage)| {
        values.extend(name.map(|name| (well_known::USERNAME, Value::Str(Cow::Borrowed(name)))));
        (values, stage)
    })
}

fn event((values, stage): &Content) -> Event<'static> {
    let mut event = Event::new(table().len());
    event.time = EventTime::from_micros(0);
    event.stage = *stage;
    for (field, value) in values {
        event.push(*field, value.clone());
    }
    event
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn operators_mean_what_the_rule_language_says(
        test in test(),
        values in vec(value(), 0..4),
        others in vec(value(), 0..3),
    ) {
        let mut event = Event::new(table().len());
        let (field, mut test) = (FieldId(22), test);
        if let Test::FieldRef { other, .. } = &mut test {
            *other = well_known::GROUPS;
        }
        for value in &values {
            event.push(field, value.clone());
        }
        for value in &others {
            event.push(well_known::GROUPS, value.clone());
        }
        let expected = naive(&test, &values, &others);
        let predicate = Predicate { field, test };
        let mut scratch = Scratch::default();
        prop_assert_eq!(holds(&predicate, &event, &mut scratch), expected, "{:?}", predicate);
        // And again, since the scratch memory is reused.
        prop_assert_eq!(holds(&predicate, &event, &mut scratch), expected);
    }
}

/// What a matcher says of an event that was read somewhere.
fn detect(matcher: &mut RuleMatcher, event: &mut Event<'_>, out: &mut Vec<Detection>) -> u64 {
    let topic = Arc::from("audit");
    matcher.detect(event, None, &mut Reference::new(&topic, 0, 0, 0), out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_index_leaves_out_no_rule_that_holds(
        rules in rule_set(),
        contents in vec(content(), 1..20),
    ) {
        let rules = Arc::new(rules);
        let mut matcher = RuleMatcher::new(Arc::clone(&rules));
        // What came twice is remembered, and known when it comes again.
        for content in contents.iter().cycle().take(3 * contents.len()) {
            let mut detections = Vec::new();
            detect(&mut matcher, &mut event(content), &mut detections);
            let found: BTreeSet<RuleIndex> = detections.iter().map(|found| found.rule).collect();
            let mut expected = BTreeSet::new();
            for (index, rule) in rules.detections() {
                let explanation = explain(&rules, index, &mut event(content)).unwrap();
                let seen = rule.steps == RuleSteps::All || content.1 != Stage::RequestReceived;
                if explanation.holds && seen {
                    expected.insert(index);
                }
            }
            prop_assert_eq!(found, expected, "{:?}", content);
        }
    }
}

/// A rule set of one rule for each expression over `verb` and a multi-valued field.
fn small(expressions: Vec<Expression>) -> Arc<RuleSet> {
    let one_of = |text: &str| Test::OneOf {
        texts: Arc::new([text.to_owned()].into_iter().collect()),
        cased: false,
    };
    Arc::new(RuleSet {
        fields: table(),
        predicates: vec![
            Predicate { field: well_known::VERB, test: one_of("get") },
            Predicate { field: well_known::RESOURCE, test: one_of("secrets") },
        ],
        rules: expressions.into_iter().map(|expression| rule(expression, false)).collect(),
        ..RuleSet::default()
    })
}

#[test]
fn a_rule_about_one_of_several_fields_is_not_looked_at_without_any_of_them() {
    let either = || {
        Expression::Any(Arc::new([
            Expression::Predicate(PredicateId(0)),
            Expression::Predicate(PredicateId(1)),
        ]))
    };
    let mut matcher = RuleMatcher::new(small(vec![either()]));
    let mut looked_at = |fields: &[FieldId]| {
        let mut event = Event::new(table().len());
        for field in fields {
            let value = if *field == well_known::RESOURCE { "secrets" } else { "get" };
            event.push(*field, Value::Str(Cow::Borrowed(value)));
        }
        detect(&mut matcher, &mut event, &mut Vec::new())
    };
    assert_eq!(looked_at(&[well_known::USERNAME]), 0);
    assert_eq!(looked_at(&[well_known::VERB]), 1);
    assert_eq!(looked_at(&[well_known::RESOURCE]), 1);
}

#[test]
fn beginnings_choices_and_fields_that_are_there_rule_out() {
    let test = |field, test| Predicate { field, test };
    let begins = |pattern: &str| Test::Text {
        kind: StringKind::StartsWith,
        pattern: pattern.to_owned(),
        cased: false,
    };
    let predicate = |id| Expression::Predicate(PredicateId(id));
    let not = |id| Expression::Not(Arc::new(predicate(id)));
    let rules = Arc::new(RuleSet {
        fields: table(),
        predicates: vec![
            test(well_known::USER_AGENT, begins("kubectl/")),
            test(well_known::USER_AGENT, begins("kube")),
            test(well_known::VERB, begins("get")),
            test(FieldId(22), Test::Exists),
        ],
        rules: [
            predicate(0),
            Expression::All(Arc::new([predicate(1), not(0)])),
            Expression::Any(Arc::new([
                Expression::All(Arc::new([predicate(0), predicate(2)])),
                Expression::All(Arc::new([not(1), predicate(3)])),
            ])),
        ]
        .into_iter()
        .map(|expression| rule(expression, false))
        .collect(),
        ..RuleSet::default()
    });
    let mut matcher = RuleMatcher::new(rules);
    let mut check = |agent: &'static str, verb: &'static str, with_x: bool, expected: &[u32]| {
        let text = |text| Value::Str(Cow::Borrowed(text));
        let mut values =
            vec![(well_known::USER_AGENT, text(agent)), (well_known::VERB, text(verb))];
        values.extend(with_x.then_some((FieldId(22), Value::Null)));
        let mut found = Vec::new();
        let looked_at =
            detect(&mut matcher, &mut event(&(values, Stage::ResponseComplete)), &mut found);
        let found: Vec<u32> = found.iter().map(|detection| detection.rule.0).collect();
        assert_eq!(found, expected, "{agent} {verb} {with_x}");
        assert_eq!(looked_at, expected.len() as u64, "{agent} {verb} {with_x}");
    };
    check("kubectl/v1", "list", false, &[0]);
    check("Kubectl/v1", "GET", false, &[0, 2]);
    check("kubelet/v1", "get", true, &[1]);
    check("curl/8", "get", true, &[2]);
    check("curl/8", "get", false, &[]);
    check("", "", false, &[]);
}

#[test]
fn an_event_that_no_rule_is_about_costs_no_rule() {
    let both = || {
        Expression::All(Arc::new([
            Expression::Predicate(PredicateId(0)),
            Expression::Predicate(PredicateId(1)),
        ]))
    };
    let mut matcher = RuleMatcher::new(small((0..200).map(|_| both()).collect()));
    let looked_at = |matcher: &mut RuleMatcher, verb, resource| {
        let text = |text| Value::Str(Cow::Borrowed(text));
        let content = vec![(well_known::VERB, text(verb)), (well_known::RESOURCE, text(resource))];
        detect(matcher, &mut event(&(content, Stage::ResponseComplete)), &mut Vec::new())
    };
    assert_eq!(looked_at(&mut matcher, "get", "pods"), 0);
    assert_eq!(looked_at(&mut matcher, "list", "secrets"), 0);
    assert_eq!(looked_at(&mut matcher, "GET", "secrets"), 200);
}

#[test]
fn what_is_remembered_of_an_outcome_minds_the_words_of_a_refusal() {
    let fields = table();
    let [outcome, message] = [23, 24].map(FieldId);
    let success =
        Test::OneOf { texts: Arc::new(["success".to_owned()].into_iter().collect()), cased: false };
    let rules = RuleSet {
        fields,
        predicates: vec![Predicate { field: outcome, test: success }],
        rules: vec![rule(Expression::Predicate(PredicateId(0)), false)],
        ..RuleSet::default()
    };
    let mut matcher = RuleMatcher::new(Arc::new(rules));
    let mut finds = |says: &'static str| {
        let text = |text| Value::Str(Cow::Borrowed(text));
        let status = [(well_known::RESPONSE_CODE, Value::Int(406)), (message, text(says))];
        let values = [vec![(well_known::VERB, text("create"))], status.to_vec()].concat();
        let mut found = Vec::new();
        detect(&mut matcher, &mut event(&(values, Stage::ResponseComplete)), &mut found);
        found.len()
    };
    // What came twice is remembered.
    for _ in 0..3 {
        assert_eq!(finds("admission webhook \"w\" denied the request"), 0);
    }
    for _ in 0..3 {
        assert_eq!(finds("you requested PartialObjectMetadataList, but it is not a list"), 1);
    }
}

#[test]
fn an_explanation_shows_every_part() {
    let rules = small(vec![Expression::All(Arc::new([
        Expression::Predicate(PredicateId(0)),
        Expression::Not(Arc::new(Expression::Predicate(PredicateId(1)))),
    ]))]);
    let payload = br#"{"auditID":"a","stage":"ResponseComplete","verb":"list","stageTimestamp":"2026-01-05T22:14:01Z"}"#;
    let record = explain_record(&rules, &[RuleIndex(0)], payload);
    let [event] = record.events.as_slice() else { panic!("{record:?}") };
    assert!(event.rules[0].unseen.is_none());
    assert_eq!(
        event.rules[0].condition.as_ref().unwrap().to_string(),
        "✗ all of\n  ✗ verb is \"get\"  (list)\n  ✓ not\n    ✗ objectRef.resource is \"secrets\"  (absent)\n"
    );
}

#[test]
fn captured_values_are_bounded() {
    let mut fields = table();
    let field = fields.intern("requestObject.long");
    let free_text = FreeText::new(&fields);
    let mut event = Event::new(fields.len());
    assert_eq!(free_text.capture_by(&event, field, Keep::Shown, &[]), Captured::Absent);
    event.push(field, Value::Null);
    assert_eq!(free_text.capture_by(&event, field, Keep::Shown, &[]), Captured::Absent);
    event.push(field, Value::Int(7));
    assert_eq!(free_text.capture_by(&event, field, Keep::Shown, &[]), Captured::One("7".into()));
    event.push(field, Value::Str(Cow::Owned("ö".repeat(10_000))));
    let Captured::Many(texts) = free_text.capture_by(&event, field, Keep::Shown, &[]) else {
        panic!("two values")
    };
    assert!(texts[1].len() <= crate::engine::limits::CAPTURED_VALUE_BYTES_MAX);
    assert!(texts[1].ends_with("ö…"));
    for _ in 0..100 {
        event.push(field, Value::Bool(true));
    }
    let Captured::Many(texts) = free_text.capture_by(&event, field, Keep::Shown, &[]) else {
        panic!("many values")
    };
    assert_eq!(texts.len(), crate::engine::limits::CAPTURED_VALUES_MAX);
}

#[test]
fn one_value_against_one_test() {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let contains = |text: &str| Test::ContainsAny {
        texts: Arc::from([text.to_owned()]),
        cased: false,
        automaton: Arc::new(
            aho_corasick::AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build([text])
                .unwrap(),
        ),
    };
    let prefix =
        || Test::Text { kind: StringKind::StartsWith, pattern: "ab".to_owned(), cased: false };
    let part = |part, comparison, number| Test::TimePart(part, comparison, number);
    // A Tuesday in the first ISO week of 2025.
    let time = "2024-12-31T22:14:01.131000Z";
    for (test, text, expected) in [
        (contains("kelvin"), "a \u{212a}ELVIN", true),
        (contains("kelvin"), "a KELVIN", true),
        (contains("kelvin"), "kelvi", false),
        (prefix(), "ABc", true),
        (prefix(), "cab", false),
        (part(TimePart::Minute, Equal, 14), time, true),
        (part(TimePart::Hour, GreaterOrEqual, 22), time, true),
        (part(TimePart::Hour, Greater, 22), time, false),
        (part(TimePart::Hour, LessOrEqual, 22), time, true),
        (part(TimePart::Hour, Less, 22), time, false),
        (part(TimePart::Day, Equal, 31), time, true),
        (part(TimePart::Week, Equal, 1), time, true),
        (part(TimePart::Month, NotEqual, 12), time, false),
        (part(TimePart::Year, Equal, 2024), time, true),
        (part(TimePart::Hour, Equal, 23), "2025-01-01T00:14:01+01:00", true),
        (part(TimePart::Hour, NotEqual, 23), "no time", false),
    ] {
        let mut event = Event::new(table().len());
        event.push(well_known::VERB, Value::Str(Cow::Borrowed(text)));
        let predicate = Predicate { field: well_known::VERB, test };
        let holds = holds(&predicate, &event, &mut Scratch::default());
        assert_eq!(holds, expected, "{predicate:?} {text}");
    }
}

/// Texts of one rule become known values of the field for all others, in the case in which that rule
/// writes them.
#[test]
fn a_rule_that_minds_case_does_not_hide_others_that_do_not() {
    let one_of = |text: &str, cased| Test::OneOf {
        texts: Arc::new([text.to_owned()].into_iter().collect()),
        cased,
    };
    let tests = [one_of("GET", true), one_of("get", false), one_of("TRUE", true), Test::Bool(true)];
    let rules = Arc::new(RuleSet {
        fields: table(),
        predicates: tests
            .into_iter()
            .map(|test| Predicate { field: well_known::VERB, test })
            .collect(),
        rules: (0..4).map(|id| rule(Expression::Predicate(PredicateId(id)), false)).collect(),
        ..RuleSet::default()
    });
    let mut matcher = RuleMatcher::new(rules);
    for (verb, expected) in
        [("GET", &[0, 1][..]), ("Get", &[1]), ("get", &[1]), ("TRUE", &[2, 3]), ("true", &[3])]
    {
        let content = vec![(well_known::VERB, Value::Str(Cow::Borrowed(verb)))];
        let mut found = Vec::new();
        detect(&mut matcher, &mut event(&(content, Stage::ResponseComplete)), &mut found);
        let found: Vec<u32> = found.iter().map(|detection| detection.rule.0).collect();
        assert_eq!(found, expected, "{verb}");
    }
}
