//! Whatever fires a shipped rule still fires it when whoever asked has padded the request: with elements,
//! keys, copies of keys that the API server ignores, in another order, written in another way.
//!
//! A way of padding is a function and a line in [`PADDINGS`]. It may change what a client may choose, and
//! must leave what the API server makes of the request as bad as it was.

use std::{collections::BTreeSet, sync::Arc};

use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use tripline::engine::{
    detector::Detector,
    limits,
    record::{PartitionName, RecordBatch},
    rule::RuleSet,
    shard::EngineSettings,
    time::WallTime,
};

use super::rule_pack::{shipped, test_files};

/// A way of padding an event.
type Padding = fn(&mut Event, &mut Dice);

/// All of them.
const PADDINGS: &[(&str, Padding)] = &[
    ("copies of keys that are ignored", copies),
    ("depth", depth),
    ("elements", elements),
    ("escapes", escapes),
    ("forwarded addresses", forwarded),
    ("keys", keys),
    ("long texts", long_texts),
    ("order", order),
    ("parameters", parameters),
    ("white space", white_space),
];

/// Elements of arrays, before or behind those that are there.
fn elements(event: &mut Event, dice: &mut Dice) {
    event.each_body(&mut |body| pad_arrays(body, dice));
}

fn pad_arrays(json: &mut Written, dice: &mut Dice) {
    let harmless = match json {
        Written::Array(items) if !is_patch(items) => items.first().map(harmless),
        _ => None,
    };
    for part in json.parts() {
        pad_arrays(part, dice);
    }
    if let (Some(harmless), Written::Array(items)) = (harmless, json)
        && dice.is_lucky(2)
    {
        let count = [1, 3, 40, 1_100, 3_000][dice.below(5)];
        let more = vec![harmless; count];
        let at = if dice.is_lucky(3) { items.len() } else { 0 };
        items.splice(at..at, more);
    }
}

/// Keys that mean nothing to the API server.
fn keys(event: &mut Event, dice: &mut Dice) {
    event.each_in_bodies(&mut |json| {
        if let Written::Object(members) = json
            && dice.is_lucky(3)
        {
            for number in 0..[1, 5, 300][dice.below(3)] {
                let at = if dice.is_lucky(2) { members.len() } else { 0 };
                members.insert(at, (text(&format!("pad-{number}")), Written::scalar("\"x\"")));
            }
        }
    });
}

/// Keys that stand there once more, with something harmless, before the ones that count.
fn copies(event: &mut Event, dice: &mut Dice) {
    event.each_in_bodies(&mut |json| {
        let Written::Object(members) = json else { return };
        for index in (0..members.len()).rev() {
            if dice.is_lucky(3) {
                let (key, value) = &members[index];
                let copy = match dice.below(4) {
                    0 => Written::scalar("null"),
                    1 => Written::Object(Vec::new()),
                    _ => harmless(value),
                };
                members.insert(dice.below(index + 1), (key.clone(), copy));
            }
        }
    });
}

/// Keys of objects, and objects in arrays, in another order.
fn order(event: &mut Event, dice: &mut Dice) {
    event.json.each(&mut |json| {
        if let Written::Object(members) = json {
            let keys: BTreeSet<String> = members.iter().map(|(key, _)| plain(key)).collect();
            // Of two that are the same the last one counts.
            if keys.len() == members.len() {
                dice.shuffle(members);
            }
        }
    });
    event.each_in_bodies(&mut |json| {
        if let Written::Array(items) = json
            && matches!(items.first(), Some(Written::Object(_)))
            && !is_patch(items)
        {
            dice.shuffle(items);
        }
    });
}

/// Characters as escapes, in keys and texts.
fn escapes(event: &mut Event, dice: &mut Dice) {
    event.json.each(&mut |json| match json {
        Written::Scalar(text) if text.starts_with('"') => *text = escaped(text, dice),
        Written::Object(members) => {
            for (key, _) in members {
                *key = escaped(key, dice);
            }
        }
        _ => {}
    });
}

fn escaped(text: &str, dice: &mut Dice) -> String {
    if text.len() > 10_000 || dice.is_lucky(2) {
        return text.to_owned();
    }
    let mut out = String::from('"');
    for c in plain(text).chars() {
        match c {
            '"' | '\\' | '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ if dice.is_lucky(3) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// White space wherever JSON allows it.
fn white_space(event: &mut Event, dice: &mut Dice) {
    event.gap = [" ", "\n  ", "\t \r\n"][dice.below(3)];
}

/// A key with many brackets below it.
fn depth(event: &mut Event, dice: &mut Dice) {
    let levels = [100, 200, 3_000][dice.below(3)];
    let (open, close) = [("[", "]"), ("{\"a\":", "}")][dice.below(2)];
    let deep = format!("{}1{}", open.repeat(levels), close.repeat(levels));
    add_to_body(event, dice, &deep);
}

/// A key with a long text.
fn long_texts(event: &mut Event, dice: &mut Dice) {
    let long = "harmless ".repeat([200, 20_000][dice.below(2)]);
    add_to_body(event, dice, &text(&long));
}

fn add_to_body(event: &mut Event, dice: &mut Dice, value: &str) {
    event.each_body(&mut |body| {
        if let Written::Object(members) = body {
            let at = dice.below(members.len() + 1);
            members.insert(at, (text("pad"), Written::scalar(value)));
        }
    });
}

/// Addresses that a client says it comes from; the API server puts the one that it sees behind them.
fn forwarded(event: &mut Event, dice: &mut Dice) {
    if let Some(Written::Array(addresses)) = event.member("sourceIPs") {
        let address = Written::scalar("\"10.0.0.9\"");
        addresses.splice(0..0, vec![address; [1, 1_100][dice.below(2)]]);
    }
}

/// Parameters that the API server does not know or cannot read, around those that it takes, and letters of these
/// as escapes.
fn parameters(event: &mut Event, dice: &mut Dice) {
    let Some(Written::Scalar(written)) = event.member("requestURI") else { return };
    let uri = plain(written);
    let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    let mut pairs: Vec<String> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| encoded(pair, dice)).collect();
    for _ in 0..[1, 4, 300][dice.below(3)] {
        let decoy = DECOYS[dice.below(DECOYS.len())].to_owned();
        let at = if dice.is_lucky(2) { pairs.len() } else { 0 };
        pairs.insert(at, decoy);
    }
    *written = text(&format!("{path}?{}", pairs.join("&")));
}

/// Parameters that look like some that count, and are none.
const DECOYS: [&str; 12] = [
    "x=dryRun=All",
    "x=dryRun%3DAll",
    "DryRun=All",
    "dry%2552un=All",
    "dryRun%00=All",
    "a;dryRun=All",
    "dryRun=%zz",
    "x=/proxy/metrics",
    "/proxy/metrics/cadvisor",
    "Command=ls",
    "x=labelSelector=name%3Dweb%2Cowner%3Dhelm",
    "=",
];

/// A parameter with some of its letters as escapes.
fn encoded(pair: &str, dice: &mut Dice) -> String {
    let mut out = String::new();
    let mut chars = pair.chars();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '%' {
            out.extend(chars.by_ref().take(2));
        } else if c.is_ascii_alphanumeric() && dice.is_lucky(4) {
            out.pop();
            out.push_str(&format!("%{:02x}", u32::from(c)));
        }
    }
    out
}

/// Whether these are the operations of a JSON patch, whose order counts.
fn is_patch(items: &[Written]) -> bool {
    let has_op = |item: &Written| matches!(item, Written::Object(members) if members.iter().any(|(key, _)| plain(key) == "op"));
    items.iter().any(has_op)
}

/// The same shape with nothing in it that any rule looks for.
fn harmless(json: &Written) -> Written {
    match json {
        Written::Scalar(text) => Written::scalar(match text.as_bytes() {
            [b'"', ..] => "\"harmless\"",
            [b't' | b'f', ..] => "false",
            [b'n', ..] => "null",
            _ => "7",
        }),
        Written::Array(items) => Written::Array(items.iter().take(1).map(harmless).collect()),
        Written::Object(members) => Written::Object(
            members.iter().map(|(key, value)| (key.clone(), harmless(value))).collect(),
        ),
    }
}

/// An event as it is written.
struct Event {
    json: Written,
    /// What stands between tokens.
    gap: &'static str,
}

impl Event {
    fn new(payload: &[u8]) -> Event {
        Event { json: Written::new(&serde_json::from_slice(payload).unwrap()), gap: "" }
    }

    fn member(&mut self, wanted: &str) -> Option<&mut Written> {
        let Written::Object(members) = &mut self.json else { return None };
        members.iter_mut().find(|(key, _)| plain(key) == wanted).map(|(_, value)| value)
    }

    /// Calls a function with each body.
    fn each_body(&mut self, visit: &mut dyn FnMut(&mut Written)) {
        for body in ["requestObject", "responseObject"] {
            if let Some(body) = self.member(body) {
                visit(body);
            }
        }
    }

    /// Calls a function with every value of the bodies, from the inside to the outside.
    fn each_in_bodies(&mut self, visit: &mut dyn FnMut(&mut Written)) {
        self.each_body(&mut |body| body.each(visit));
    }

    fn payload(&self) -> Vec<u8> {
        let mut out = String::new();
        self.json.write(self.gap, &mut out);
        out.into_bytes()
    }
}

/// JSON as it is written: a key may be there twice; texts and keys have their quotes and escapes.
#[derive(Clone, Debug)]
enum Written {
    Scalar(String),
    Array(Vec<Written>),
    Object(Vec<(String, Written)>),
}

impl Written {
    fn new(json: &Value) -> Written {
        match json {
            Value::Array(items) => Written::Array(items.iter().map(Written::new).collect()),
            Value::Object(members) => Written::Object(
                members.iter().map(|(key, value)| (text(key), Written::new(value))).collect(),
            ),
            scalar => Written::Scalar(scalar.to_string()),
        }
    }

    fn scalar(written: &str) -> Written {
        Written::Scalar(written.to_owned())
    }

    fn parts(&mut self) -> Vec<&mut Written> {
        match self {
            Written::Scalar(_) => Vec::new(),
            Written::Array(items) => items.iter_mut().collect(),
            Written::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
        }
    }

    fn each(&mut self, visit: &mut dyn FnMut(&mut Written)) {
        for part in self.parts() {
            part.each(visit);
        }
        visit(self);
    }

    fn write(&self, gap: &str, out: &mut String) {
        let mut comma = "";
        match self {
            Written::Scalar(text) => out.push_str(text),
            Written::Array(items) => {
                out.push('[');
                for item in items {
                    out.push_str(comma);
                    out.push_str(gap);
                    item.write(gap, out);
                    out.push_str(gap);
                    comma = ",";
                }
                out.push(']');
            }
            Written::Object(members) => {
                out.push('{');
                for (key, value) in members {
                    for piece in [comma, gap, key.as_str(), gap, ":", gap] {
                        out.push_str(piece);
                    }
                    value.write(gap, out);
                    out.push_str(gap);
                    comma = ",";
                }
                out.push('}');
            }
        }
    }
}

/// A text with quotes.
fn text(plain: &str) -> String {
    Value::from(plain).to_string()
}

/// A text without quotes and escapes.
fn plain(written: &str) -> String {
    serde_json::from_str(written).unwrap()
}

/// Numbers that look random.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Below a bound above zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    /// Once in so many times.
    fn is_lucky(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

/// Names of the rules that a record satisfies.
fn found(rules: &RuleSet, detector: &mut Detector, payload: &[u8]) -> BTreeSet<String> {
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut batch = RecordBatch::default();
    batch.push(&partition, 0, None, Some(payload));
    let found = detector.detect(WallTime::from_micros(0), &batch);
    assert_eq!(found.counts.events, 1, "{}", shortened(payload));
    found.detections.iter().map(|one| rules.rule(one.rule).meta().name.clone()).collect()
}

fn shortened(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).chars().take(3_000).collect()
}

/// Events of the tests of all rules that satisfy some rule, each with these.
fn events(rules: &RuleSet, detector: &mut Detector) -> Vec<(Vec<u8>, BTreeSet<String>)> {
    let mut events = Vec::new();
    for case in test_files().iter().flat_map(|file| &file.tests) {
        // What comes again and again is the same but for a number.
        for (_, payload) in case.records().into_iter().take(3) {
            let found = found(rules, detector, &payload);
            if !found.is_empty() {
                events.push((payload, found));
            }
        }
    }
    assert!(events.len() > 200, "{}", events.len());
    events
}

fn detector(rules: &Arc<RuleSet>) -> Detector {
    Detector::new(Arc::clone(rules), 0, &EngineSettings::default())
}

/// The rules that an event no longer satisfies when it is padded.
fn lost(
    rules: &RuleSet,
    detector: &mut Detector,
    (payload, wanted): &(Vec<u8>, BTreeSet<String>),
    paddings: &[(usize, u64)],
) -> Result<(), String> {
    let mut event = Event::new(payload);
    for (which, seed) in paddings {
        PADDINGS[*which].1(&mut event, &mut Dice(*seed));
    }
    let padded = event.payload();
    if padded.len() > limits::RECORD_BYTES_MAX {
        // More than an API server takes: what it says first is read of it, and here that is not the verb.
        return Ok(());
    }
    let found = found(rules, detector, &padded);
    let lost: Vec<&String> = wanted.difference(&found).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = paddings.iter().map(|(which, _)| PADDINGS[*which].0).collect();
    Err(format!("{lost:?} by {names:?} {paddings:?}:\n{}", shortened(&padded)))
}

#[test]
fn no_kind_of_padding_hides_anything_from_a_shipped_rule() {
    let rules = shipped();
    let mut detector = detector(&rules);
    let mut errors = Vec::new();
    for event in events(&rules, &mut detector) {
        for which in 0..PADDINGS.len() {
            for seed in 0..4 {
                errors.extend(lost(&rules, &mut detector, &event, &[(which, seed)]).err());
            }
        }
    }
    assert!(
        errors.is_empty(),
        "{} lost\n{}",
        errors.len(),
        errors[..errors.len().min(10)].join("\n\n")
    );
}

#[test]
fn no_kinds_of_padding_together_hide_anything_from_a_shipped_rule() {
    let rules = shipped();
    let mut detector = detector(&rules);
    let events = events(&rules, &mut detector);
    let strategy = (any::<prop::sample::Index>(), vec((0..PADDINGS.len(), any::<u64>()), 1..5));
    let config = ProptestConfig { cases: 600, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let detector = std::cell::RefCell::new(detector);
    let outcome = runner.run(&strategy, |(index, paddings)| {
        let event = &events[index.index(events.len())];
        let lost = lost(&rules, &mut detector.borrow_mut(), event, &paddings);
        prop_assert!(lost.is_ok(), "{}", lost.unwrap_err());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
