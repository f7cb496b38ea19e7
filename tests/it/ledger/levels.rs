//! Levels below what rules need: hours that hold such requests are not complete, and reports say what rules were
//! blind to.

use tripline::engine::{ledger::EntryKind, time::EventTime};

use super::{Recording, rules};

/// An event: who, verb, resource and what below it; level and stage.
pub(super) fn event(
    id: &str,
    at: EventTime,
    (user, verb, resource, below): (&str, &str, &str, &str),
    (level, stage): (&str, &str),
) -> String {
    let time = at.rfc3339();
    let below =
        if below.is_empty() { String::new() } else { format!(r#","subresource":"{below}""#) };
    let status = if stage == "RequestReceived" { "" } else { r#","responseStatus":{"code":200}"# };
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"{level}","auditID":"{id}","stage":"{stage}","requestURI":"/api/v1/namespaces/shop/{resource}","verb":"{verb}","user":{{"username":"{user}","groups":["system:authenticated"]}},"sourceIPs":["10.0.0.1"],"objectRef":{{"resource":"{resource}","namespace":"shop","name":"x","apiVersion":"v1"{below}}}{status},"requestReceivedTimestamp":"{time}","stageTimestamp":"{time}"}}"#
    )
}

const RULES: &str = "
title: A pod of the host
name: host_pod
logsource: {product: kubernetes, service: audit}
detection:
  made: {verb: create, objectRef.resource: pods, pod_spec.hostPID: true}
  known: {user.username|startswith: 'system:serviceaccount:kube-system:'}
  condition: made and not known
level: high
tripline: {needs: {level: Request}}
---
title: Changes
name: changes
logsource: {product: kubernetes, service: audit}
detection: {made: {verb: [create, delete]}, condition: made}
tripline: {record: change}
";

/// What is counted below for one event alone.
fn below(of: (&str, &str, &str, &str), level: &str, stage: &str) -> (u64, String, String) {
    let start = EventTime::parse("2026-03-04T10:00:00Z").unwrap();
    let mut recording = Recording::new(&rules(RULES), start);
    let text = event("a-1", start, of, (level, stage));
    recording.read(0, start, &[text.as_bytes()]);
    recording.rest(90);
    let entries = recording.rows.iter().filter_map(|row| row.entry());
    let mut hours =
        entries.filter(|entry| entry.kind == EntryKind::Coverage && entry.count_of("events") > 0);
    let hour = hours.next().unwrap();
    let what = hour.fact_of("below").unwrap_or("").to_owned();
    (hour.count_of("below"), what, hour.what.clone())
}

#[test]
fn an_hour_says_what_rules_were_blind_to() {
    let degraded =
        (1, "create pods at Metadata: host_pod needs Request".to_owned(), "degraded".to_owned());
    let complete = (0, String::new(), "complete".to_owned());
    let answered = "ResponseComplete";
    assert_eq!(below(("eve", "create", "pods", ""), "Metadata", answered), degraded);
    for (of, level) in [
        // At the level that is needed.
        (("eve", "create", "pods", ""), "Request"),
        (("eve", "create", "pods", ""), "RequestResponse"),
        // Rules are not about these.
        (("eve", "get", "pods", ""), "Metadata"),
        (("eve", "create", "configmaps", ""), "Metadata"),
        (("eve", "create", "pods", "exec"), "Metadata"),
        // Whoever is left out anyhow need not be logged so well.
        (("system:serviceaccount:kube-system:job", "create", "pods", ""), "Metadata"),
    ] {
        assert_eq!(below(of, level, answered), complete, "{of:?} at {level}");
    }
    assert_eq!(below(("eve", "create", "pods", ""), "Metadata", "RequestReceived"), complete);
}
