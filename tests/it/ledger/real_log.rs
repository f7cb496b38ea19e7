//! What is recorded of a log that a real API server wrote (`tests/data/recorded`).

use std::{collections::BTreeSet, fs, sync::Arc};

use serde_json::Value;
use tripline::engine::{
    access::{Access, Outcome, Session, Sessions},
    time::EventTime,
};

use super::Recording;
use crate::rule_pack::shipped;

fn lines() -> Vec<String> {
    let text = fs::read_to_string("tests/data/recorded/kube-apiserver.jsonl").unwrap();
    text.lines().map(str::to_owned).collect()
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// What the shipped rules record of some lines.
fn accesses(lines: &[String]) -> Vec<Access> {
    let time = event(&lines[0])["stageTimestamp"].as_str().unwrap().to_owned();
    let start = EventTime::parse(&time).unwrap();
    let mut recording = Recording::new(&shipped(), start);
    let records: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    recording.read(0, start, &records);
    recording.rest(60);
    recording.rows.iter().filter_map(|row| row.access().cloned()).collect()
}

fn sessions(lines: &[String]) -> Vec<Session> {
    let mut found: Vec<Access> = accesses(lines);
    found.sort_by_key(|access| access.at);
    let mut sessions = Sessions::default();
    for access in &found {
        sessions.add(access);
    }
    sessions.finish()
}

fn told(session: &Session) -> String {
    let name = |text: &Option<Arc<str>>| text.as_deref().unwrap_or("?").to_owned();
    let object = session.object.as_ref().and_then(|object| object.name.clone());
    let code = session.code.unwrap_or(0);
    format!(
        "{} in {} by {}: {} {code} x{}",
        session.command.as_deref().unwrap_or("?"),
        name(&object),
        name(&session.actor),
        session.state(),
        session.attempts
    )
}

#[test]
fn sessions_of_old_and_new_clients_are_those_that_were_opened() {
    let all: Vec<String> = sessions(&lines()).iter().map(told).collect();
    assert_eq!(
        all,
        [
            "id -u in web by anna: ended 101 x1",
            "id -u in web by anna: ended 101 x1",
            "id -u in stray by anna: ended 101 x1",
            "id -u in stray by anna: failed 500 x1",
            // Clients of today try again in the way of before.
            "id -u in web by bob: denied 403 x2",
        ]
    );
    // While they last: whether a process began behind a 101 the log does not know.
    let is_start = |line: &String| {
        let event = event(line);
        event["objectRef"]["subresource"] == "exec" && event["stage"] == "ResponseStarted"
    };
    let starts: Vec<String> = lines().into_iter().filter(is_start).collect();
    let opened: Vec<String> = sessions(&starts).iter().map(told).collect();
    assert_eq!(
        opened[..3],
        ["web", "web", "stray"].map(|pod| format!("id -u in {pod} by anna: opened 101 x1"))
    );
}

#[test]
fn what_is_refused_to_two_addresses_is_no_one_attempt() {
    let mut found = accesses(&lines());
    found.retain(|access| access.session.is_some() && access.outcome == Some(Outcome::Denied));
    found.sort_by_key(|access| access.at);
    let told = |change: &dyn Fn(&mut Access)| -> Vec<u64> {
        let mut sessions = Sessions::default();
        for access in &found {
            let mut access = access.clone();
            if access.request != found[0].request {
                change(&mut access);
            }
            sessions.add(&access);
        }
        sessions.finish().iter().map(|session| session.attempts).collect()
    };
    assert_eq!(told(&|_| {}), [2]);
    assert_eq!(told(&|access| access.source_ip = Some("2.2.2.2".into())), [1, 1]);
    assert_eq!(told(&|access| access.on_behalf_of = Some("somebody".into())), [1, 1]);
}

#[test]
fn who_did_what_by_which_permission_is_recorded_once() {
    let found = accesses(&lines());
    let done = |actor: &str, verb: &str, resource: &str| {
        let is_it = |access: &&Access| {
            access.actor.id.as_deref() == Some(actor)
                && access.verb.as_deref() == Some(verb)
                && access.object.as_ref().is_some_and(|object| {
                    &*object.resource == resource && object.subresource.is_none()
                })
        };
        let all: Vec<&Access> = found.iter().filter(is_it).collect();
        assert_eq!(all.len(), 1, "{actor} {verb} {resource}: {all:#?}");
        all[0].clone()
    };
    let permission = |access: &Access| {
        access.permission.as_ref().map(tripline::engine::access::Permission::name)
    };

    let read = done("anna", "get", "secrets");
    assert_eq!(read.outcome, Some(Outcome::Success));
    assert_eq!(permission(&read).as_deref(), Some("RoleBinding default/dev-anna"));
    // Of these two the log gives no reason: one may everything, one nothing.
    let read = done("admin", "get", "secrets");
    assert_eq!(
        (read.outcome, permission(&read).as_deref()),
        (Some(Outcome::Success), Some("system:masters"))
    );
    let refused = done("bob", "get", "secrets");
    assert_eq!((refused.outcome, permission(&refused)), (Some(Outcome::Denied), None));

    // In somebody else's name, who may; and who may not, which only the message tells.
    let acted = done("anna", "get", "pods");
    assert_eq!(acted.on_behalf_of.as_deref(), Some("admin"));
    assert!(acted.classes.iter().any(|class| &**class == "impersonation"), "{acted:?}");
    let refused = done("bob", "get", "pods");
    assert_eq!((refused.outcome, refused.on_behalf_of.as_deref()), (Some(Outcome::Denied), None));

    // Nobody knows the token: denied, once, to nobody with a name.
    let unknown: Vec<&Access> = found.iter().filter(|access| access.code == Some(401)).collect();
    assert_eq!(unknown.len(), 1, "{unknown:#?}");
    assert_eq!(unknown[0].outcome, Some(Outcome::Denied));

    // Every request once, but for the two ends of a session.
    let mut seen = BTreeSet::new();
    for access in &found {
        assert!(seen.insert((access.request, access.session)), "{access:#?}");
    }
}
