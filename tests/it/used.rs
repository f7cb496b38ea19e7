//! Uses of permissions that came before are known by digests of what the index looked at. That changes nothing: each use
//! is told that a detector tells which has seen nothing else, whatever rules are loaded.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use tripline::engine::{access::Usage, detector::Detector, rule::RuleSet, shard::EngineSettings};

use super::{
    alike::{changes, with_others},
    rule_pack::{shipped, test_files},
    straight::{LATER, said, wall},
};

/// All by which uses are told apart, but for names.
fn key(usage: &Usage) -> String {
    let object = usage
        .object
        .as_ref()
        .map(|object| (&object.group, &object.resource, &object.subresource, &object.namespace));
    let Usage { cluster, actor, verb, path, permission, .. } = usage;
    let day = usage.at.micros().div_euclid(86_400_000_000);
    format!("{day} {cluster:?} {:?} {verb} {object:?} {path:?} {permission:?}", actor.id)
}

fn told(detector: &mut Detector, payloads: &[Vec<u8>]) -> Vec<String> {
    said(detector, payloads, wall(LATER)).usage.iter().map(key).collect()
}

fn fresh(rules: &Arc<RuleSet>) -> Detector {
    Detector::new(Arc::clone(rules), 0, &EngineSettings::default())
}

#[test]
fn each_value_that_a_use_is_known_by_tells_it_from_others() {
    let [none, all] = [Arc::default(), shipped()];
    let mut detectors = [fresh(&none), fresh(&all), fresh(&all).reading_all()];
    let mut told_by = detectors.each_ref().map(|_| BTreeSet::new());
    let (mut expected, mut again) = (BTreeSet::new(), 0);
    let files = test_files();
    for case in files.iter().flat_map(|file| &file.tests) {
        // Cases differ in few things: the first events of each say enough.
        for (_, payload) in case.records().into_iter().take(2) {
            let Ok(event) = serde_json::from_slice::<Value>(&payload) else { continue };
            let mut events = with_others(&event);
            events.extend(changes(&event));
            let mut payloads: Vec<_> =
                events.iter().map(|event| event.to_string().into_bytes()).collect();
            payloads.extend(payloads.clone());
            for payload in &payloads {
                expected.extend(told(&mut fresh(&none), std::slice::from_ref(payload)));
            }
            again += payloads.len();
            for (detector, told_by) in detectors.iter_mut().zip(&mut told_by) {
                let told = told(detector, &payloads);
                again -= told.len() / 3;
                told_by.extend(told);
            }
        }
    }
    for told in &told_by {
        assert_eq!(told.symmetric_difference(&expected).next(), None);
    }
    assert!(expected.len() > 1_000 && again > 10_000, "{}, {again}", expected.len());
}
