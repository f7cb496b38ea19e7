//! What earlier versions stored is taken over: files of their state, kept in `tests/data/state`.

use std::{fs, sync::Arc, time::Duration};

use tripline::{
    engine::{
        act::{Act, ActId, AlertName, DeedKind, NewSilence, Person, Refused, SilenceEnd, What},
        alert::{Alert, AlertState},
        detector::Detector,
        diagnostic::{Problems, SourceText},
        dispatch::{DispatchPlan, Matcher, Notification, NotifyReason, Outcome},
        member::{Effect, Member},
        record::{PartitionName, RecordBatch},
        rule::{LoadOptions, RuleSources, load},
        settings::EngineSettings,
        shard::Shard,
        state::{StateEntry, StateTable},
        time::{EventTime, WallTime},
        yaml::{Section, parse},
    },
    notify,
};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn groups(name: &str) -> Vec<StateEntry> {
    let text = fs::read_to_string(format!("tests/data/state/{name}.json")).unwrap();
    let rows: Vec<(String, String)> = serde_json::from_str(&text).unwrap();
    let entry = |(key, value): (String, String)| StateEntry {
        table: StateTable::Group,
        key: bytes(&key),
        value: bytes(&value),
    };
    rows.into_iter().map(entry).collect()
}

fn plan(name: &str) -> DispatchPlan {
    let path = format!("tests/data/state/{name}.yaml");
    let source = SourceText::new(path.clone(), fs::read_to_string(&path).unwrap());
    let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
    let root = Section::new(&source, &problems, &nodes[0], "");
    let receivers = notify::parse_receivers(&root);
    let route = notify::parse_route(&root, &receivers).unwrap();
    root.finish();
    assert_eq!(problems.into_sorted(), []);
    notify::plan(&receivers, route)
}

/// Makes durable what was decided; the attempts that then leave.
fn attempts(member: &mut Member, now: WallTime) -> Vec<Arc<Notification>> {
    let mut attempts = Vec::new();
    while member.checkpoint().is_some() {
        member.checkpoint_durable();
    }
    while let Some(effect) = member.poll_effect(now) {
        if let Effect::Attempt(notification) = effect {
            attempts.push(notification);
        }
    }
    attempts
}

/// `mail ann@example.org`
fn who(notification: &Notification) -> String {
    let recipient = notification.recipient.as_deref().unwrap_or_default();
    format!("{} {recipient}", notification.receiver).trim_end().to_owned()
}

#[test]
fn groups_of_version_1() {
    let mut member = Member::new(Arc::default(), EngineSettings::default(), &plan("groups_1"));
    let stored = groups("groups_1");
    let (_, unusable) = member.restore(Vec::new(), stored, &[]);
    assert_eq!(unusable, 0);
    let now = EventTime::parse("2026-11-29T13:19:30Z").unwrap().as_wall();
    member.handle_timeout(now);
    let told = attempts(&mut member, now);
    let mut names: Vec<String> = told.iter().map(|attempt| who(attempt)).collect();
    names.sort();
    // It did not store who of several recipients had his mail, so that all are told.
    assert_eq!(names, ["down", "mail ann@example.org", "mail bob@example.org"]);
    let mut firing: Vec<Alert> = told[0].alerts.clone();
    assert_eq!(firing.len(), 2, "{told:?}");
    for notification in &told {
        let later = now.plus(Duration::from_secs(1));
        member.handle_outcome(later, notification, Outcome::Delivered { receipt: None });
    }
    assert_eq!(attempts(&mut member, now), []);

    // Who had been told before is told of the end, in the same message.
    let later = now.plus(Duration::from_secs(600));
    for alert in &mut firing {
        alert.state = AlertState::Resolved;
        alert.ends_at = Some(later.as_event());
        alert.changed_at = later;
        alert.revision += 1;
        member.handle_alert(later, alert.clone());
    }
    let ends = attempts(&mut member, later);
    let slack = ends.iter().find(|attempt| attempt.receiver == "slack").unwrap();
    assert_eq!(slack.reason, NotifyReason::NewResolved);
    assert_eq!(slack.receipt.as_ref().unwrap().values["ts"], "1795500000.000100");
    let mut names: Vec<String> = ends.iter().map(|attempt| who(attempt)).collect();
    names.sort();
    names.dedup();
    let all = [
        "down",
        "hook",
        "mail ann@example.org",
        "mail bob@example.org",
        "pager http://127.0.0.1:18080/am1",
        "pager http://127.0.0.1:18080/am2",
        "slack",
    ];
    assert_eq!(names, all);
}

#[test]
fn people_act_on_alerts_that_were_stored_before_they_could() {
    let mut member = Member::new(Arc::default(), EngineSettings::default(), &plan("groups_1"));
    member.restore(Vec::new(), groups("groups_1"), &[]);
    let now = EventTime::parse("2026-11-29T13:19:30Z").unwrap().as_wall();
    let fingerprint = member.dispatcher().told().next().unwrap().fingerprint;
    let alerts = vec![AlertName { fingerprint, starts_at: None }];
    let what = What::Alerts { alerts, deed: DeedKind::Acknowledge, text: String::new() };
    let act = Act { id: ActId::of("ann", "1"), by: Person::new("ann", "responder", ""), what };
    member.act(now, 1, act);
    while member.checkpoint().is_some() {
        member.checkpoint_durable();
    }
    let answer = std::iter::from_fn(|| member.poll_effect(now)).find_map(|effect| match effect {
        Effect::Acted { ticket: 1, answer } => Some(*answer),
        _ => None,
    });
    let acted = answer.expect("an answer").expect("it is known");
    assert_eq!(acted.alerts[0].episode.assignee(), Some("ann"));
}

/// What was sent is not known of acts of version 1, so that whatever comes with the id of one counts as the same.
#[test]
fn acts_of_version_1() {
    let mut member = Member::new(Arc::default(), EngineSettings::default(), &plan("groups_1"));
    let (report, unusable) = member.restore(Vec::new(), state("acts_1"), &[]);
    assert_eq!((report.unusable, unusable), (0, 0), "{report:?}");
    let now = EventTime::parse("2026-11-29T13:30:00Z").unwrap().as_wall();
    let silence = |hours: u64| {
        What::AddSilence(NewSilence {
            matchers: vec![Matcher::parse("alertname=exec").unwrap()],
            reason: "a test".to_owned(),
            starts_at: None,
            ends: SilenceEnd::After(Duration::from_secs(hours * 3_600)),
        })
    };
    let mut act = |ticket, id, what| {
        let act = Act { id: ActId::of("ann", id), by: Person::new("ann", "responder", ""), what };
        member.act(now, ticket, act);
        while member.checkpoint().is_some() {
            member.checkpoint_durable();
        }
        let mut effects = std::iter::from_fn(|| member.poll_effect(now));
        let answer = effects.find_map(|effect| match effect {
            Effect::Acted { answer, .. } => Some(*answer),
            _ => None,
        });
        answer.expect("an answer")
    };
    let again = act(1, "1", silence(2)).unwrap();
    assert!(again.again && again.silence.is_none());
    assert_eq!(again.alerts[0].episode.acknowledged().unwrap().text, "mine");
    assert_eq!(again.alerts[0].episode.silenced_by.len(), 1);
    let again = act(2, "night", silence(3)).unwrap();
    assert!(again.again, "{again:?}");
    assert_eq!(again.silence.unwrap().reason, "a test");
    // Of those that are done now it is known.
    assert!(!act(3, "day", silence(2)).unwrap().again);
    assert!(act(4, "day", silence(2)).unwrap().again);
    assert_eq!(act(5, "day", silence(3)).unwrap_err(), Refused::AnotherAct);
}

/// Everything but groups, by table.
fn state(name: &str) -> Vec<StateEntry> {
    let text = fs::read_to_string(format!("tests/data/state/{name}.json")).unwrap();
    let rows: Vec<(String, String, String)> = serde_json::from_str(&text).unwrap();
    let entry = |(table, key, value): (String, String, String)| StateEntry {
        table: match table.as_str() {
            "watermark" => StateTable::Watermark,
            "correlation" => StateTable::Correlation,
            "identity" => StateTable::Identity,
            "alert" => StateTable::Alert,
            "act" => StateTable::Act,
            other => panic!("{other}"),
        },
        key: bytes(&key),
        value: bytes(&value),
    };
    rows.into_iter().map(entry).collect()
}

/// What somebody asked for in the cluster `prod`.
fn event(time: &str, user: &str, verb: &str) -> Vec<u8> {
    let event = serde_json::json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": time,
        "stage": "ResponseComplete", "requestURI": "/", "verb": verb, "user": {"username": user},
        "sourceIPs": ["10.0.0.1"], "userAgent": "kubectl", "responseStatus": {"code": 200},
        "requestReceivedTimestamp": time, "stageTimestamp": time, "cluster": "prod",
    });
    serde_json::to_vec(&event).unwrap()
}

/// Windows, memories, silences and risk that were of all clusters together go on in the first that is heard of.
#[test]
fn state_of_when_clusters_were_not_apart() {
    let path = "tests/data/state/clusters_1.rules.yaml";
    let text = SourceText::new(path, fs::read_to_string(path).unwrap());
    let sources = RuleSources { rules: vec![text], ..RuleSources::default() };
    let rules = Arc::new(load(&sources, &LoadOptions::default()).rules.unwrap());
    let settings = EngineSettings::default();
    let mut shard = Shard::new(Arc::clone(&rules), 0, settings.clone());
    let report = shard.restore(&mut state("clusters_1").into_iter());
    assert_eq!((report.outdated, report.unusable), (0, 0), "{report:?}");

    let mut detector = Detector::new(Arc::clone(&rules), 0, &settings);
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut told: Vec<String> = Vec::new();
    for (time, user, verb) in [
        // The third within an hour, with an agent that is known.
        ("2026-01-05T10:11:00.000000Z", "eve", "get"),
        // The second that adds to her risk, and she is silent no longer.
        ("2026-01-05T10:11:01.000000Z", "eve", "list"),
        ("2026-01-05T10:30:00.000000Z", "bob", "watch"),
    ] {
        let now = EventTime::parse(time).unwrap().as_wall();
        let mut batch = RecordBatch::default();
        batch.push(&partition, 0, None, Some(&event(time, user, verb)));
        shard.handle_batch(now, &detector.detect(now, &batch));
        while let Some(alert) = shard.poll_alert() {
            let key: Vec<&str> = alert.key.iter().map(|(_, value)| value.as_str()).collect();
            let name = &alert.labels["alertname"];
            told.push(format!("{} {name} {}", alert.state.as_str(), key.join(" ")));
        }
    }
    for expected in [
        "firing burst eve prod",
        "firing risk_user_username eve prod",
        "firing listed eve prod",
        "resolved silent eve",
        "firing silent eve prod",
    ] {
        assert!(told.iter().any(|line| line == expected), "{expected}: {told:#?}");
    }
    assert!(!told.iter().any(|line| line.starts_with("firing new_agent")), "{told:#?}");
}
