//! What the fuzz targets `snapshot` and `template` do with their input: stored state that nobody wrote,
//! and texts of alerts that nobody meant. Both run the whole engine.

use std::{sync::Arc, time::Duration};

use tripline::engine::{
    detector::Detector,
    diagnostic::SourceText,
    dispatch::{
        Address, Addresses, Audience, DispatchPlan, GroupBy, Grouping, NotifierPlan, Outcome,
        ReceiverPlan, Route,
    },
    kind::KINDS,
    limits::ANNOTATION_BYTES_MAX,
    member::{Effect, Member},
    record::{PartitionName, RecordBatch},
    rule::{LoadOptions, RuleSet, RuleSources, load},
    shard::EngineSettings,
    state::{StateEntry, StateTable},
    time::{EventTime, WallTime},
};

const START: &str = "2026-01-05T12:00:00Z";

/// Stored state is taken over or left out, whatever it is: nothing panics, then or later, and what the
/// engine stores in its turn can be read again.
///
/// The first byte chooses the kind of the rules. What follows are changes to true state, four bytes
/// each, and, behind the first zero, entries that were never true.
pub(crate) fn snapshot(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let sources = RuleSources {
        rules: vec![SourceText::new("fuzz.yaml", kind.example)],
        ..RuleSources::default()
    };
    let rules = Arc::new(load(&sources, &LoadOptions::default()).rules.expect("an example loads"));
    let mut entries = true_state(&rules);
    let cut = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    for edit in data[..cut].chunks(4) {
        damage(&mut entries, edit);
    }
    invent(&mut entries, data.get(cut + 1..).unwrap_or(&[]));
    let count = entries.len();
    let mut member = Member::new(Arc::clone(&rules), EngineSettings::default(), &plan());
    let (report, _) = member.restore(Vec::new(), entries, &[]);
    assert!(report.restored + report.outdated + report.unusable <= count);
    let mut stored = live(&mut member, &rules, wall(START, 600));
    stored.extend(live(&mut member, &rules, wall(START, 90 * 86_400)));
    let mut again = Member::new(rules, EngineSettings::default(), &plan());
    let (report, groups) = again.restore(Vec::new(), stored, &[]);
    assert_eq!((report.unusable, groups), (0, 0), "what was stored cannot be read");
}

/// Any text is an annotation that is rendered within its bounds, or refused.
pub(crate) fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let rule = serde_json::json!({
        "title": "fuzz",
        "logsource": {"product": "kubernetes", "service": "audit"},
        "detection": {"s": {"objectRef.resource": "secrets"}, "condition": "s"},
        "tripline": {"annotations": {"summary": text}, "group-by": ["auditID"]},
    });
    let source = SourceText::new("fuzz.yaml", rule.to_string());
    let sources = RuleSources { rules: vec![source], ..RuleSources::default() };
    let loaded = load(&sources, &LoadOptions::default());
    let Some(rules) = loaded.rules.map(Arc::new) else { return };
    let mut member = Member::new(Arc::clone(&rules), EngineSettings::default(), &plan());
    feed(&mut member, &rules, wall(START, 0));
    let mut count = 0;
    for alert in member.shard().alerts_firing() {
        count += 1;
        for text in alert.annotations.values() {
            assert!(text.len() <= ANNOTATION_BYTES_MAX, "{} bytes", text.len());
        }
    }
    assert!(count > 0, "an alert was lost over its text");
}

fn wall(start: &str, seconds: i64) -> WallTime {
    WallTime::from_micros(EventTime::parse(start).expect("a time").micros() + seconds * 1_000_000)
}

fn plan() -> DispatchPlan {
    let notifier = NotifierPlan {
        kind: "fake".to_owned(),
        grouping: Grouping {
            by: GroupBy::Labels(vec!["alertname".to_owned()]),
            wait: Duration::from_secs(10),
            interval: Duration::from_secs(60),
            repeat: Duration::from_secs(3_600),
        },
        send_resolved: true,
        audience: Audience::People,
        spacing: Duration::ZERO,
        recipients: vec!["ann".to_owned(), "bob".to_owned()],
        attempt_max: Duration::from_secs(60),
        failing_after: Duration::from_secs(600),
    };
    let receiver = ReceiverPlan { name: "people".to_owned(), notifiers: vec![notifier] };
    let addresses = Addresses::from([("people".to_owned(), vec![Address::of(["here"])])]);
    let receivers = vec![receiver];
    DispatchPlan { route: Route::default(), receivers, addresses, ..DispatchPlan::default() }
}

/// Requests of a few users, some of them refused, so that every kind of rule has something to keep.
fn feed(member: &mut Member, rules: &Arc<RuleSet>, now: WallTime) {
    let partition = Arc::new(PartitionName::new("fuzz", 0));
    let mut batch = RecordBatch::default();
    for number in 0_u8..40 {
        let user = ["ann", "bob", "system:serviceaccount:shop:web"][usize::from(number) % 3];
        let (verb, resource, more) = match number % 8 {
            0 => ("create", "pods", r#","subresource":"exec""#),
            1 => ("create", "pods", ""),
            2 => ("deletecollection", "pods", ""),
            3 => ("create", "selfsubjectrulesreviews", ""),
            4 | 5 => ("list", "secrets", ""),
            _ => ("get", "secrets", ""),
        };
        let code = if number % 5 == 4 { 401 } else { 200 };
        let payload = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a{number}",
            "stage":"ResponseComplete","verb":"{verb}","requestURI":"/x?limit=500","cluster":"prod",
            "user":{{"username":"{user}"}},"userAgent":"tool/{}","sourceIPs":["192.0.2.{number}"],
            "objectRef":{{"resource":"{resource}","namespace":"n","name":"o{number}"{more}}},
            "responseStatus":{{"code":{code}}},
            "requestObject":{{"spec":{{"containers":[{{"securityContext":{{"privileged":true}}}}]}}}},
            "requestReceivedTimestamp":"2026-01-05T12:00:{number:02}Z",
            "stageTimestamp":"2026-01-05T12:00:{number:02}.5Z"}}"#,
            number % 7
        );
        batch.push(&partition, i64::from(number), None, Some(payload.as_bytes()));
    }
    let mut detector = Detector::new(Arc::clone(rules), 0, &EngineSettings::default());
    let detections = detector.detect(now, &batch);
    assert!(detections.dead_letters.is_empty(), "{:?}", detections.dead_letters);
    member.handle_ready(now, &[partition]);
    member.handle_batch(now, &detections);
}

/// The state that a member stores which has seen something.
fn true_state(rules: &Arc<RuleSet>) -> Vec<StateEntry> {
    let mut member = Member::new(Arc::clone(rules), EngineSettings::default(), &plan());
    let mut stored = Vec::new();
    feed(&mut member, rules, wall(START, 40));
    keep(&mut member, &mut stored);
    stored
}

/// Lets a member see requests again, then time go on; what it stores meanwhile.
fn live(member: &mut Member, rules: &Arc<RuleSet>, now: WallTime) -> Vec<StateEntry> {
    let mut stored = Vec::new();
    feed(member, rules, now);
    for later in [0, 1, 60, 3_600, 86_400] {
        let now = WallTime::from_micros(now.micros() + later * 1_000_000);
        member.handle_timeout(now);
        keep(member, &mut stored);
        while let Some(effect) = member.poll_effect(now) {
            if let Effect::Attempt(notification) = effect {
                member.handle_outcome(now, &notification, Outcome::Delivered { receipt: None });
            }
        }
    }
    keep(member, &mut stored);
    stored
}

/// Makes a checkpoint durable.
fn keep(member: &mut Member, stored: &mut Vec<StateEntry>) {
    while let Some(checkpoint) = member.checkpoint() {
        for change in &checkpoint.changes {
            stored.retain(|entry| (entry.table, &entry.key) != (change.table, &change.key));
            if let Some(value) = &change.value {
                let (table, key, value) = (change.table, change.key.clone(), value.clone());
                stored.push(StateEntry { table, key, value });
            }
        }
        member.checkpoint_durable();
    }
}

/// Changes one entry: which, where, how and to what.
fn damage(entries: &mut [StateEntry], edit: &[u8]) {
    let [which, at, how, to] = edit else { return };
    let count = entries.len().max(1);
    let Some(entry) = entries.get_mut(usize::from(*which) % count) else { return };
    let bytes = if how & 1 == 0 { &mut entry.value } else { &mut entry.key };
    let at = usize::from(*at) % (bytes.len() + 1);
    match (how >> 1) % 5 {
        0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte = *to),
        1 => bytes.insert(at, *to),
        2 => bytes.truncate(at),
        // The longest number of a variable length.
        3 => drop(bytes.splice(at..at, [0xff; 9].into_iter().chain([*to]))),
        _ => entry.table = StateTable::ALL[usize::from(*to) % StateTable::ALL.len()],
    }
}

/// Adds entries: table, length of the key, length of the value, and so on.
fn invent(entries: &mut Vec<StateEntry>, mut data: &[u8]) {
    while let [table, key, value, rest @ ..] = data {
        let key_end = usize::from(*key).min(rest.len());
        let value_end = (key_end + usize::from(*value)).min(rest.len());
        entries.push(StateEntry {
            table: StateTable::ALL[usize::from(*table) % StateTable::ALL.len()],
            key: rest[..key_end].to_vec(),
            value: rest[key_end..value_end].to_vec(),
        });
        data = &rest[value_end..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz_bodies::tests::replay;

    #[test]
    fn the_corpus_passes() {
        replay("snapshot", snapshot);
        replay("template", template);
    }

    #[test]
    fn every_kind_has_state_to_be_damaged() {
        for kind in KINDS {
            let sources = RuleSources {
                rules: vec![SourceText::new("fuzz.yaml", kind.example)],
                ..RuleSources::default()
            };
            let rules = load(&sources, &LoadOptions::default()).rules.unwrap();
            let tables: Vec<StateTable> =
                true_state(&Arc::new(rules)).iter().map(|entry| entry.table).collect();
            assert!(tables.contains(&StateTable::Correlation), "{}: {tables:?}", kind.name);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn stored_state_may_be_anything(
            kind in any::<u8>(),
            edits in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()), 0..6),
            invented in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut data = vec![kind];
            for (which, at, how, to) in edits {
                data.extend([which.max(1), at.max(1), how.max(1), to.max(1)]);
            }
            data.push(0);
            data.extend(invented);
            snapshot(&data);
        }

        #[test]
        fn texts_of_alerts_may_be_anything(
            parts in prop::collection::vec(
                prop::sample::select(&[
                    "{{", "}}", "{%", "%}", "{#", "#}", " ", "verb", "fields", "[", "]", "'a'", "\"", "|",
                    "join", "replace", "upper", "default", "(", ")", ",", "~", "+", "*", "if ", "else",
                    "endif", "for a in ", "endfor", "values", "set a =", "-", "not ", "1", ".", "key",
                    "length", "count", "é", "\\", "raw", "endraw", "loop", "recursive",
                ][..]),
                0..24,
            )
        ) {
            template(parts.concat().as_bytes());
        }
    }
}
