//! Most events are decided by their own few fields, read on a straight line. That changes nothing: what a
//! detector says is what one says that reads every event as a whole, for generated events, for events of the
//! tests of all rules, and for what is left of them when bytes are changed.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use proptest::prelude::*;
use tripline::{
    engine::{
        detector::{DetectionBatch, Detector},
        record::{PartitionName, RecordBatch},
        rule::RuleSet,
        shard::EngineSettings,
        time::{EventTime, WallTime},
    },
    generate::{GenerateSettings, Generator, StoryPlan},
};

use super::rule_pack::{shipped, test_files};

/// What a detector says of some records, but for how many rules it looked at.
pub(super) fn said(detector: &mut Detector, payloads: &[Vec<u8>], now: WallTime) -> DetectionBatch {
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut batch = RecordBatch::default();
    for (offset, payload) in (0..).zip(payloads) {
        batch.push(&partition, offset, None, Some(payload));
    }
    let mut said = detector.detect(now, &batch);
    said.counts.rules_evaluated = 0;
    said
}

/// Checks that nothing differs; how many events there were.
#[track_caller]
fn check(detectors: &mut [(Detector, Detector)], payloads: &[Vec<u8>], now: WallTime) -> u64 {
    let mut events = 0;
    for (straight, whole) in detectors {
        let (one, other) = (said(straight, payloads, now), said(whole, payloads, now));
        events = one.counts.events;
        if format!("{one:?}") != format!("{other:?}") {
            // Which record it is, for people.
            for payload in payloads {
                let one = said(straight, std::slice::from_ref(payload), now);
                let other = said(whole, std::slice::from_ref(payload), now);
                assert_eq!(
                    format!("{one:?}"),
                    format!("{other:?}"),
                    "{}",
                    String::from_utf8_lossy(payload)
                );
            }
            panic!("they differ together, and not one by one");
        }
    }
    events
}

/// Live and for history, each on a straight line and whole.
fn detectors(rules: &Arc<RuleSet>) -> Vec<(Detector, Detector)> {
    let fresh = || Detector::new(Arc::clone(rules), 0, &EngineSettings::default());
    vec![
        (fresh(), fresh().reading_all()),
        (fresh().of_history(), fresh().of_history().reading_all()),
    ]
}

pub(super) fn generated(count: usize, received_stage: bool) -> Vec<Vec<u8>> {
    let minute = Duration::from_secs(60);
    let settings = GenerateSettings {
        start: EventTime::parse("2026-03-04T08:00:00Z").unwrap(),
        rate: 20.0,
        received_stage,
        stories: StoryPlan::all_within(minute, 3 * minute),
        ..GenerateSettings::default()
    };
    Generator::new(settings).take(count).map(|record| record.payload).collect()
}

/// Events of the tests of all rules, as an API server writes them.
fn of_rule_tests() -> Vec<Vec<u8>> {
    let files = test_files();
    let cases = files.iter().flat_map(|file| &file.tests);
    let payloads = cases.flat_map(|case| case.records().into_iter().take(3));
    let parsed = |(_, payload): (_, Vec<u8>)| serde_json::from_slice(&payload).ok();
    payloads.filter_map(parsed).map(|event| in_order(&event)).collect()
}

/// The keys of an event in the order of Go.
pub(super) const ORDER: [&str; 19] = [
    "kind",
    "apiVersion",
    "level",
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user",
    "impersonatedUser",
    "authenticationMetadata",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
    "annotations",
];

fn in_order(event: &serde_json::Value) -> Vec<u8> {
    let Some(members) = event.as_object() else { return event.to_string().into_bytes() };
    let others = members.keys().map(String::as_str).filter(|key| !ORDER.contains(key));
    written(members, ORDER.into_iter().chain(others))
}

/// The members with these keys, as far as they are there, in this order.
fn written<'k>(
    members: &serde_json::Map<String, serde_json::Value>,
    keys: impl Iterator<Item = &'k str>,
) -> Vec<u8> {
    let mut text = String::from("{");
    for key in keys {
        if let Some(value) = members.get(key) {
            let comma = if text.len() > 1 { "," } else { "" };
            write!(text, "{comma}{}:{value}", serde_json::Value::from(key)).unwrap();
        }
    }
    text.push('}');
    text.into_bytes()
}

pub(super) const LATER: &str = "2026-12-04T08:00:00Z";

pub(super) fn wall(text: &str) -> WallTime {
    WallTime::from_micros(EventTime::parse(text).unwrap().micros())
}

#[test]
fn what_is_read_on_a_straight_line_says_what_the_whole_says() {
    let mut detectors = detectors(&shipped());
    // Later and earlier than the events.
    for now in [wall(LATER), wall("2026-03-04T08:00:30Z")] {
        assert!(check(&mut detectors, &generated(3_000, false), now) >= 3_000);
        assert!(check(&mut detectors, &generated(3_000, true), now) >= 3_000);
        assert!(check(&mut detectors, &of_rule_tests(), now) > 300);
    }
}

/// Something put a record's name around the status (Avro does so), which hides the code, and everything else is as an API
/// server writes it.
#[test]
fn what_is_bent_in_one_place_is_no_usual_event() {
    let usual = "\"responseStatus\":{\"metadata\":{},\"code\":200}";
    let named = "\"responseStatus\":{\"io.k8s.Status\":{\"metadata\":{},\"code\":200}}";
    let events = generated(40, false).into_iter().map(|event| String::from_utf8(event).unwrap());
    let bent: Vec<Vec<u8>> = events
        .filter(|event| event.contains(usual))
        .map(|event| event.replace(usual, named).into_bytes())
        .collect();
    assert!(bent.len() > 20);
    let mut detectors = detectors(&shipped());
    assert_eq!(check(&mut detectors, &bent, wall(LATER)), bent.len() as u64);
}

/// Pieces that may stand in an event, or must not.
const PIECES: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\0",
    "null",
    "true",
    "-1",
    "0",
    "1e9",
    "\\\"",
    "\\u0000",
    "\\ud800",
    "\\x",
    "ö",
    ",\"verb\":\"get\"",
    ",\"user\":{}",
    ",\"stage\":\"Panic\"",
    ",\"auditID\":\"x\"",
    ",\"requestObject\":{\"kind\":\"Pod\"}",
    ",\"responseObject\":null",
    ",\"code\":403",
    ",\"objectRef\":{}",
    ",\"annotations\":{\"authorization_k8s_io/decision\":\"forbid\"}",
    "\"authorization.k8s.io/decision\":\"forbid\",",
    "\"authorization.k8s.io\":{\"decision\":\"forbid\"},",
    "\"a.b\":\"c\",",
    "\"name\":\"x\",",
    "\"username\":\"eve\",",
    "\"groups\":[],",
    "\"extra\":{\"a\":[\"b\"]},",
    "\"metadata\":{},",
    "\"details\":{\"causes\":[]},",
    "\"status\":\"\",",
];

/// Numbers below a bound, one after another.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut number = seed;
    move |bound| {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(number >> 33).unwrap() % bound.max(1)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_is_changed_in_an_event_the_straight_line_says_what_the_whole_says(
        seed in any::<u64>(),
        changes in 1_usize..4,
    ) {
        let mut below = numbers(seed);
        let mut events: Vec<Vec<u8>> = generated(60, true);
        let of_tests = of_rule_tests();
        events.extend((0..60).map(|_| of_tests[below(of_tests.len())].clone()));
        for event in &mut events {
            for _ in 0..changes {
                let (at, count) = (below(event.len()), below(12));
                let piece = PIECES[below(PIECES.len())].bytes();
                match below(5) {
                    0 => event.truncate(at),
                    1 => drop(event.splice(at..at, piece)),
                    2 => drop(event.drain(at..(at + count).min(event.len()))),
                    3 => {
                        // Behind something that ends, where more may stand.
                        let behind = event.iter().skip(at).position(|byte| b"}],{".contains(byte));
                        let at = behind.map_or(at, |behind| at + behind + below(2));
                        drop(event.splice(at..at, piece));
                    }
                    _ => {
                        if let Some(byte) = event.get_mut(at) {
                            *byte ^= 1 << below(8);
                        }
                    }
                }
            }
        }
        check(&mut detectors(&shipped()), &events, wall(LATER));
    }

    #[test]
    fn in_whatever_order_keys_stand_the_straight_line_says_what_the_whole_says(
        seed in any::<u64>(),
    ) {
        let mut below = numbers(seed);
        let of_tests = of_rule_tests();
        let mut events: Vec<Vec<u8>> = generated(150, true);
        events.extend((0..150).map(|_| of_tests[below(of_tests.len())].clone()));
        for event in &mut events {
            let Ok(parsed) = serde_json::from_slice::<serde_json::Value>(event) else { continue };
            let Some(members) = parsed.as_object() else { continue };
            // Sorted, as shippers write them that keep maps.
            let mut keys: Vec<&str> = members.keys().map(String::as_str).collect();
            if below(4) > 0 {
                for last in (1..keys.len()).rev() {
                    keys.swap(last, below(last + 1));
                }
            }
            if below(8) == 0 {
                let twice = keys[below(keys.len())];
                keys.insert(below(keys.len() + 1), twice);
            }
            let shuffled = written(members, keys.into_iter());
            *event = shuffled;
        }
        check(&mut detectors(&shipped()), &events, wall(LATER));
    }
}
