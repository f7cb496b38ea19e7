//! What is rolled up is taken apart once: its like is known by the fields of its event. That changes nothing:
//! each access is what it is when it is taken apart as a whole, for generated events, and for events of the
//! tests of all rules beside copies of them with one value changed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;
use tripline::engine::{
    access::{Access, Alike, Observed},
    detector::{DetectionBatch, Detector},
    shard::EngineSettings,
};

use super::{
    rule_pack::{shipped, test_files},
    straight::{LATER, generated, said, wall},
};

/// An access, and of which roll-up it is: within which time, by which digest.
type Recorded = (Access, Option<(Duration, [u8; 16])>);

fn recorded(observed: &Observed) -> Recorded {
    match observed {
        Observed::Whole(access, manner) => match manner.every {
            Some(every) => {
                let alike = Alike::new(access.as_ref().clone(), every, manner.key);
                (alike.access().clone(), Some((every, alike.digest())))
            }
            None => (access.as_ref().clone(), None),
        },
        Observed::Alike { alike, .. } => {
            (observed.access().into_owned(), Some((alike.every(), alike.digest())))
        }
    }
}

/// How many of the accesses of a batch share what they have in common with one before.
fn again(batch: &DetectionBatch) -> usize {
    let mut seen = BTreeMap::new();
    let alike = batch.accesses.iter().filter_map(|observed| match observed {
        Observed::Alike { alike, .. } => Some(Arc::as_ptr(alike)),
        Observed::Whole(..) => None,
    });
    for alike in alike {
        *seen.entry(alike).or_insert(0) += 1;
    }
    seen.values().map(|count| count - 1).sum()
}

/// One that knows what came before, and one that takes each access apart.
fn detectors() -> [Detector; 2] {
    let fresh = || Detector::new(shipped(), 0, &EngineSettings::default());
    [fresh(), fresh().telling_all()]
}

/// Checks that nothing differs; how many accesses were known before.
#[track_caller]
fn check(detectors: &mut [Detector; 2], payloads: &[Vec<u8>]) -> usize {
    let [mut one, mut other] = detectors.each_mut().map(|one| said(one, payloads, wall(LATER)));
    let known = again(&one);
    let shown = |batch: &DetectionBatch| batch.accesses.iter().map(recorded).collect::<Vec<_>>();
    for (one, other) in shown(&one).into_iter().zip(shown(&other)) {
        let offset = usize::try_from(one.0.position.offset).unwrap();
        assert_eq!(one, other, "{}", String::from_utf8_lossy(&payloads[offset]));
    }
    assert_eq!(one.accesses.len(), other.accesses.len());
    one.accesses.clear();
    other.accesses.clear();
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    known
}

/// This value with each one below it changed in turn: another text, another number, nothing.
pub(super) fn changes(value: &Value) -> Vec<Value> {
    let within = |put: &dyn Fn(Value) -> Value, below: &Value| {
        changes(below).into_iter().map(put).collect::<Vec<_>>()
    };
    match value {
        Value::String(text) => vec![Value::from(format!("{text}x")), Value::Null],
        Value::Number(_) => vec![Value::from(403), Value::from(0)],
        Value::Bool(value) => vec![Value::from(!value)],
        Value::Null => vec![Value::from("x")],
        Value::Array(items) => {
            let mut all = vec![Value::from([items.as_slice(), items].concat())];
            for (index, item) in items.iter().enumerate() {
                let put = |changed| {
                    let mut items = items.clone();
                    items[index] = changed;
                    Value::from(items)
                };
                all.extend(within(&put, item));
            }
            all
        }
        Value::Object(members) => {
            let mut all = Vec::new();
            for (key, member) in members {
                let put = |changed| {
                    let mut members = members.clone();
                    members.insert(key.clone(), changed);
                    Value::from(members)
                };
                all.extend(within(&put, member));
                let mut without = members.clone();
                without.remove(key);
                all.push(without.into());
            }
            all
        }
    }
}

/// Texts that tell a machine from a person, and a change from a read.
const OTHERS: [(&str, &str); 6] = [
    ("/user/username", "system:serviceaccount:shop:web"),
    ("/user/username", "system:node:n1"),
    ("/user/username", "system:kube-scheduler"),
    ("/verb", "watch"),
    ("/verb", "create"),
    ("/objectRef/resource", "secrets"),
];

/// An event, and copies of it with one of these texts each.
pub(super) fn with_others(event: &Value) -> Vec<Value> {
    let mut events = vec![event.clone()];
    for (path, text) in OTHERS {
        let mut other = event.clone();
        let Some(place) = other.pointer_mut(path) else { continue };
        *place = text.into();
        events.push(other);
    }
    events
}

#[test]
fn accesses_are_what_they_are_when_each_is_taken_apart() {
    let known = check(&mut detectors(), &generated(6_000, false));
    assert!(known > 500, "{known}");
}

#[test]
fn each_value_that_an_access_is_made_of_tells_it_from_others() {
    let mut detectors = detectors();
    let files = test_files();
    let recording =
        files.iter().filter(|file| file.tests.iter().any(|test| !test.accesses.is_empty()));
    let mut known = 0;
    for case in recording.flat_map(|file| &file.tests) {
        for (_, payload) in case.records() {
            let Ok(event) = serde_json::from_slice::<Value>(&payload) else { continue };
            for event in with_others(&event) {
                let mut payloads = vec![event.to_string().into_bytes()];
                payloads.extend(changes(&event).iter().map(|event| event.to_string().into_bytes()));
                payloads.push(event.to_string().into_bytes());
                known += check(&mut detectors, &payloads);
            }
        }
    }
    assert!(known > 500, "{known}");
}
