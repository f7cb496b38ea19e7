//! What earlier versions stored is taken over: files of their state, kept in `tests/data/state`.

use std::{fs, sync::Arc, time::Duration};

use tripline::{
    engine::{
        alert::{Alert, AlertState},
        diagnostic::{Problems, SourceText},
        dispatch::{DispatchPlan, Notification, NotifyReason, Outcome},
        member::{Effect, Member},
        settings::EngineSettings,
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
