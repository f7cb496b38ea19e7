//! Rows as people are shown them: who really acted, in which cluster, and nothing that was not done.

use jiff::tz::TimeZone;
use tripline::{
    ask::{Answer as _, Format, Params, sessions, timeline, visits, who_did, write},
    engine::time::EventTime,
    report::Wanted,
};

use super::{
    Recording,
    reports::{Kept, number, section, text},
};

const RULES: &str = "
title: All
name: all
logsource: {product: kubernetes, service: audit}
detection: {s: {verb|exists: true}, condition: s}
tripline: {record: all}
---
title: Sessions
name: sessions
logsource: {product: kubernetes, service: audit}
detection: {s: {objectRef.subresource: exec}, condition: s}
tripline: {record: session}
";

/// A request: when, in which cluster, by whom, what, and what else its event says.
type Request<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, serde_json::Value);

/// `deletecollection pods shop web-0 eviction`, as far as there is something; `-` for what there is not.
fn event(number: usize, (at, cluster, user, what, query, more): &Request<'_>) -> Vec<u8> {
    let mut words = what.split(' ').map(|word| if word == "-" { "" } else { word });
    let mut next = || words.next().unwrap_or("");
    let (verb, resource, namespace, name, below) = (next(), next(), next(), next(), next());
    let mut event = serde_json::json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": format!("a-{number}"),
        "stage": "ResponseComplete", "requestURI": format!("/api/v1/x{query}"), "verb": verb,
        "user": {"username": user}, "sourceIPs": ["10.0.0.1"],
        "objectRef": {"resource": resource, "namespace": namespace, "name": name, "subresource": below},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": format!("2026-03-04T{at}.000000Z"),
        "stageTimestamp": format!("2026-03-04T{at}.000000Z"),
    });
    let all = event.as_object_mut().unwrap();
    all.extend(more.as_object().cloned().unwrap_or_default());
    serde_json::json!({"cluster": cluster, "event": event}).to_string().into_bytes()
}

fn kept(requests: &[Request<'_>]) -> Kept {
    let start = EventTime::parse("2026-03-04T09:00:00Z").unwrap();
    let mut recording = Recording::new(&super::rules(RULES), start);
    let records: Vec<Vec<u8>> =
        (0..).zip(requests).map(|(number, one)| event(number, one)).collect();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    recording.read(0, EventTime::parse("2026-03-04T12:00:00Z").unwrap(), &records);
    recording.rest(90);
    Kept::new(&recording.rows, "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z")
}

/// A day, and what else is asked.
fn asked(more: &[(&'static str, &str)]) -> Params {
    let day = [("from", "2026-03-04"), ("to", "2026-03-05")];
    let all = day.iter().chain(more);
    all.fold(Params::default(), |params, (name, value)| {
        params.with(name, Some((*value).to_owned()))
    })
}

fn now() -> EventTime {
    EventTime::parse("2026-03-06T00:00:00Z").unwrap()
}

/// A question's answer as a table.
fn shown(
    kept: &Kept,
    kind: &tripline::ask::QuestionKind,
    params: &Params,
    format: Format,
) -> String {
    let (asked, _) = kind.answer(&kept.reader, params, now()).unwrap();
    write(&asked, format, &[]).text
}

fn people() -> Kept {
    let boss = serde_json::json!({"impersonatedUser": {"username": "boss"}});
    let none = serde_json::json!({});
    kept(&[
        ("10:00:00", "prod", "ann", "create pods shop web-0 exec", "", boss),
        ("10:01:00", "prod", "boss", "create pods shop web-0 exec", "", none.clone()),
        ("10:02:00", "prod", "eve", "delete namespaces - shop", "", none.clone()),
        ("10:02:00", "dev", "eve", "delete namespaces - shop", "", none),
    ])
}

#[test]
fn whoever_really_acted_is_named_in_tables() {
    let kept = people();
    for format in [Format::Text, Format::Csv] {
        for params in [asked(&[]), asked(&[("actor", "ann")])] {
            let text = shown(&kept, &sessions::QUESTION, &params, format);
            assert!(text.contains("ann as boss"), "{text}");
            let text = shown(&kept, &visits::QUESTION, &params, format);
            assert!(text.contains("ann as boss"), "{text}");
        }
    }
    let report = kept.access();
    let table = &section(&report, "sessions").tables[0];
    let place = table.columns.iter().position(|name| *name == "who").unwrap();
    let who: Vec<&str> = table.rows.iter().map(|row| text(&row[place])).collect();
    assert_eq!(who, ["ann as boss", "boss"]);
}

#[test]
fn whoever_was_really_refused_is_named() {
    let refused = |code: u16| serde_json::json!({"responseStatus": {"code": code}});
    let mut as_boss = refused(403);
    as_boss["impersonatedUser"] = serde_json::json!({"username": "boss"});
    let kept = kept(&[
        ("10:00:00", "c", "ann", "get secrets shop db", "", as_boss),
        ("10:01:00", "c", "boss", "get secrets shop db", "", refused(403)),
    ]);
    let report = kept.access();
    let rows = &section(&report, "denied").tables[0].rows;
    let said: Vec<(&str, u64)> = rows.iter().map(|row| (text(&row[0]), number(&row[4]))).collect();
    assert_eq!(said, [("boss", 1), ("ann as boss", 1)]);
}

#[test]
fn whoever_acts_as_somebody_makes_a_visit_of_their_own() {
    let kept = people();
    let question = visits::Question::read(&asked(&[("actor", "boss")]), now()).unwrap();
    let found = visits::ask(&kept.reader, &question).unwrap();
    let of: Vec<(Option<&str>, u64)> =
        found.visits.iter().map(|one| (one.on_behalf_of.as_deref(), one.requests)).collect();
    assert_eq!(of, [(Some("ann"), 1), (None, 1)]);
    assert!(found.items()[0].contains(r#""on_behalf_of":"ann""#));
}

#[test]
fn rows_of_several_clusters_are_told_apart() {
    let mut kept = people();
    let deleted = [("verb", "delete"), ("resource", "namespaces")];
    for format in [Format::Text, Format::Csv] {
        let text = shown(&kept, &who_did::QUESTION, &asked(&deleted), format);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(lines.len() == 2 && lines[0] != lines[1], "{text}");
        assert!(text.contains("dev") && text.contains("prod"), "{text}");
    }
    // People are told where it says something; programs always.
    let of_one = [deleted[0], deleted[1], ("cluster", "prod")];
    assert!(!shown(&kept, &who_did::QUESTION, &asked(&of_one), Format::Text).contains("prod"));
    assert!(shown(&kept, &who_did::QUESTION, &asked(&of_one), Format::Csv).contains(",prod,"));
    let csv = shown(&kept, &sessions::QUESTION, &asked(&[]), Format::Csv);
    assert!(
        csv.starts_with("start,lasted,state,actor,from,cluster,") && csv.contains(",prod,"),
        "{csv}"
    );
    let report = kept.made(Wanted::Access);
    let table = &section(&report, "sessions").tables[0];
    assert!(table.columns.contains(&"cluster"), "{:?}", table.columns);
}

#[test]
fn a_row_claims_nothing_that_was_not_done() {
    let decided = |kind: &str| serde_json::json!({"requestObject": {"status": {"conditions": [{"type": kind, "status": "True"}]}}});
    let patched = serde_json::json!({"requestObject": [
        {"op": "add", "path": "/status/conditions", "value": [{"type": "Denied"}]}]});
    let none = serde_json::json!({});
    let of_csr = "certificatesigningrequests -";
    let [approved, denied, by_patch, unknown] = [
        format!("update {of_csr} csr-a approval"),
        format!("update {of_csr} csr-d approval"),
        format!("patch {of_csr} csr-p approval"),
        format!("update {of_csr} csr-u approval"),
    ];
    let kept = kept(&[
        ("10:00:00", "c", "eve", &approved, "", decided("Approved")),
        ("10:00:01", "c", "eve", &denied, "", decided("Denied")),
        ("10:00:02", "c", "eve", &by_patch, "", patched),
        ("10:00:03", "c", "eve", &unknown, "", none.clone()),
        (
            "10:00:04",
            "c",
            "eve",
            "deletecollection pods shop",
            "?labelSelector=app%3Dweb",
            none.clone(),
        ),
        (
            "10:00:05",
            "c",
            "eve",
            "deletecollection pods shop",
            "?fieldSelector=spec.nodeName%3Dn1&labelSelector=a+in+%28b%29",
            none.clone(),
        ),
        ("10:00:06", "c", "eve", "deletecollection pods shop", "", none.clone()),
        ("10:00:07", "c", "eve", "list pods shop", "?labelSelector=app%3Dweb&x=%", none),
    ]);
    let question = timeline::Question::read(&asked(&[("actor", "eve")]), now()).unwrap();
    let (found, _) = timeline::ask(&kept.reader, &question).unwrap();
    let what: Vec<String> = found
        .cells(&TimeZone::UTC, Format::Csv)
        .into_iter()
        .map(|mut cells| cells.pop().unwrap())
        .collect();
    let of = "certificatesigningrequests";
    assert_eq!(
        what,
        [
            "kubectl certificate approve csr-a".to_owned(),
            "kubectl certificate deny csr-d".to_owned(),
            "kubectl certificate deny csr-p".to_owned(),
            format!("kubectl replace {of} csr-u --subresource approval"),
            "kubectl delete pods -l app=web -n shop".to_owned(),
            "kubectl delete pods --field-selector spec.nodeName=n1 -l 'a in (b)' -n shop"
                .to_owned(),
            "kubectl delete pods --all -n shop".to_owned(),
            "kubectl get pods -l app=web -n shop".to_owned(),
        ]
    );
}

#[test]
fn whoever_evicts_a_pod_deletes_it() {
    let none = || serde_json::json!({});
    let kept = kept(&[
        ("10:00:00", "c", "eve", "create pods shop web-0 eviction", "", none()),
        ("10:00:01", "c", "bob", "create pods shop web-0", "", none()),
        ("10:00:02", "c", "kim", "delete pods shop web-0", "", none()),
        ("10:00:03", "c", "joe", "create pods shop web-1 eviction", "", none()),
    ]);
    let who = |more: &[(&'static str, &str)]| {
        let question = who_did::Question::read(&asked(more), now()).unwrap();
        let found = who_did::ask(&kept.reader, &question).unwrap().timeline;
        let rows = found.rows.iter().filter_map(|row| row.access());
        let names = rows.map(|access| access.actor.id.as_deref().unwrap().to_owned());
        (names.collect::<Vec<_>>(), found.next.map(|next| next.to_string()))
    };
    let web = [("verb", "delete"), ("resource", "pods"), ("name", "web-0"), ("namespace", "shop")];
    assert_eq!(who(&web).0, ["eve", "kim"]);
    assert_eq!(who(&[web[0], web[1]]).0, ["eve", "kim", "joe"]);
    assert_eq!(who(&[("verb", "create"), web[1], web[2]]).0, ["eve", "bob"]);
    // Page by page, too.
    let (first, next) = who(&[web[0], web[1], ("limit", "1")]);
    let next = next.unwrap();
    let (second, _) = who(&[web[0], web[1], ("limit", "1"), ("after", &next)]);
    assert_eq!((first, second), (vec!["eve".to_owned()], vec!["kim".to_owned()]));
}
