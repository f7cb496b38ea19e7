//! People at work: sessions of kubectl commands in the office hours of where they sit.
//!
//! How much people do depends on the hour, not on the size of the cluster, so their traffic does not
//! grow with the rate, and limits per person keep their meaning under load.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{
    body,
    cluster::{OFFICES, Person},
    event::{Identity, Object, Request},
    scene::{Due, Scene},
};
use crate::engine::time::EventTime;

/// What a person types, and how many of a hundred commands it is.
struct Command {
    share: u64,
    play: fn(&mut Scene<'_>, &Person, &str),
}

const COMMANDS: &[Command] = &[
    Command { share: 27, play: get_pods },
    Command { share: 18, play: logs },
    Command { share: 16, play: describe_pod },
    Command { share: 12, play: get_deployment },
    Command { share: 7, play: apply },
    Command { share: 5, play: get_nodes },
    Command { share: 4, play: mistyped },
    Command { share: 3, play: port_forward },
    Command { share: 3, play: may_i },
    Command { share: 1, play: may_they },
    Command { share: 2, play: get_secret },
    Command { share: 2, play: exec },
];

/// The time zones of [`OFFICES`], in their order.
pub(crate) fn zones() -> Vec<TimeZone> {
    OFFICES
        .iter()
        .map(|(_, name)| {
            TimeZone::get(name).expect("the bundled database has the zones of the table")
        })
        .collect()
}

/// Local weekday (Monday 0), month, day and minute of the day.
fn local(zone: &TimeZone, time: EventTime) -> Option<(i8, i8, i8, i32)> {
    let timestamp = jiff::Timestamp::from_microsecond(time.micros()).ok()?;
    let date_time = zone.to_datetime(timestamp);
    let minute = i32::from(date_time.hour()) * 60 + i32::from(date_time.minute());
    Some((date_time.weekday().to_monday_zero_offset(), date_time.month(), date_time.day(), minute))
}

/// Whether people are at work there: Monday to Friday, half past eight to half past five, not
/// around the turn of the year.
pub(crate) fn at_work(zone: &TimeZone, time: EventTime) -> bool {
    let Some((weekday, month, day, minute)) = local(zone, time) else { return false };
    let holidays = (month == 12 && day >= 24) || (month == 1 && day <= 2);
    weekday < 5 && !holidays && (510..1_050).contains(&minute)
}

/// Whether it is night there, well away from both ends of any working day.
pub(crate) fn is_night(zone: &TimeZone, time: EventTime) -> bool {
    let Some((_, _, _, minute)) = local(zone, time) else { return false };
    !(330..1_230).contains(&minute)
}

/// Enters when each person first sits down.
pub(crate) fn begin(scene: &mut Scene<'_>) {
    for person in 0..scene.cluster.people.len() {
        let seconds = scene.rng.between(20, 180);
        scene.wait(Duration::from_secs(seconds));
        scene.agenda.enter(scene.now, Due::Command { person, left: 0 });
        scene.now = scene.clock;
    }
}

/// One command, or, with none left, a look at the clock and perhaps a new session.
pub(crate) fn next_command(scene: &mut Scene<'_>, zones: &[TimeZone], person: usize, left: u64) {
    let Some(who) = scene.cluster.people.get(person) else { return };
    let here = zones.get(who.office).is_some_and(|zone| at_work(zone, scene.now));
    let (pause, left) = match left {
        0 if here => (scene.rng.between(1, 10), scene.rng.between(3, 14)),
        0 => (scene.rng.between(600, 1_200), 0),
        1 => (scene.rng.between(90, 700), 0),
        _ => (scene.rng.between(2, 25), left - 1),
    };
    let next = scene.now.plus(Duration::from_secs(pause));
    scene.agenda.enter(next, Due::Command { person, left });
    if here && left > 0 {
        let namespace = *scene.rng.pick(&who.namespaces);
        let mut ticket = scene.rng.below(100);
        for command in COMMANDS {
            if ticket < command.share {
                return (command.play)(scene, who, namespace);
            }
            ticket -= command.share;
        }
    }
}

fn get_pods(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let request = Request::object(&who.caller, "list", Object::core("pods", namespace, ""));
    scene.request(&Request { query: "limit=500", ..request });
}

fn get_nodes(scene: &mut Scene<'_>, who: &Person, _namespace: &str) {
    let request = Request::object(&who.caller, "list", Object::core("nodes", "", ""));
    scene.request(&Request { query: "limit=500", ..request });
}

fn get_deployment(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let pod = scene.cluster.pod_in(scene.rng, namespace);
    let object = Object::of("apps", "deployments", pod.namespace, pod.workload);
    scene.request(&Request::object(&who.caller, "get", object));
}

fn describe_pod(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let pod = scene.cluster.pod_in(scene.rng, namespace);
    let object = Object::core("pods", pod.namespace, &pod.name);
    scene.request(&Request::object(&who.caller, "get", object));
    scene.pause(60);
    let query = format!("fieldSelector=involvedObject.name%3D{}&limit=500", pod.name);
    let events = Request::object(&who.caller, "list", Object::core("events", pod.namespace, ""));
    scene.request(&Request { query: &query, ..events });
}

fn logs(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let pod = scene.cluster.pod_in(scene.rng, namespace);
    let object = Object::core("pods", pod.namespace, &pod.name);
    scene.request(&Request::object(&who.caller, "get", object));
    scene.pause(50);
    let query = format!("container={}&tailLines=200", pod.workload);
    let request = Request::object(&who.caller, "get", object.sub("log"));
    let lasts = Duration::from_millis(scene.rng.between(20, 900));
    scene.long_request(&Request { query: &query, ..request }, lasts);
}

fn apply(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let pod = scene.cluster.pod_in(scene.rng, namespace);
    let object = Object::of("apps", "deployments", pod.namespace, pod.workload);
    scene.request(&Request::object(&who.caller, "get", object));
    scene.pause(120);
    let build = scene.rng.between(1, 400);
    let body = body::rollout(pod.workload, build);
    let request = Request::object(&who.caller, "patch", object);
    let query = "fieldManager=kubectl-client-side-apply&fieldValidation=Strict";
    scene.request(&Request { level: "Request", query, sent: &body, ..request });
}

fn mistyped(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let message = "pods \"web-O\" not found";
    let object = Object::core("pods", namespace, "web-O");
    scene.request(&Request::object(&who.caller, "get", object).not_found(message));
}

fn port_forward(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let pod = scene.cluster.pod_in(scene.rng, namespace);
    let object = Object::core("pods", pod.namespace, &pod.name).sub("portforward");
    let verb = if who.websocket { "get" } else { "create" };
    let request = Request { code: 101, ..Request::object(&who.caller, verb, object) };
    let lasts = Duration::from_secs(scene.rng.between(20, 400));
    scene.long_request(&request, lasts);
}

fn may_i(scene: &mut Scene<'_>, who: &Person, _namespace: &str) {
    let object = Object::of("authorization.k8s.io", "selfsubjectaccessreviews", "", "");
    scene.request(&Request::object(&who.caller, "create", object));
}

/// `kubectl auth can-i … --as`: whoever gives permissions looks whether they are right.
fn may_they(scene: &mut Scene<'_>, who: &Person, _namespace: &str) {
    let colleague = scene.rng.pick(&scene.cluster.people);
    let identity = Identity {
        username: &colleague.caller.username,
        groups: &["system:authenticated"],
        ..Identity::default()
    }
    .json();
    let object = Object::of("authorization.k8s.io", "selfsubjectaccessreviews", "", "");
    let request = Request::object(&who.caller, "create", object);
    scene.request(&Request { impersonated: &identity, ..request });
}

fn get_secret(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let pod = scene.cluster.pod_in(scene.rng, namespace);
    let name = format!("{}-config", pod.workload);
    scene.request(&Request::object(&who.caller, "get", Object::core("secrets", namespace, &name)));
}

fn exec(scene: &mut Scene<'_>, who: &Person, namespace: &str) {
    let pod = scene.cluster.pod_in(scene.rng, namespace);
    let command = *scene.rng.pick(&["command=ps", "command=date", "command=df&command=-h"]);
    let query = format!("{command}&container={}&stderr=true&stdout=true", pod.workload);
    exec_into(scene, who, pod.namespace, &pod.name, &query);
}

/// A command in a container, as this person's kubectl runs it.
pub(crate) fn exec_into(
    scene: &mut Scene<'_>,
    who: &Person,
    namespace: &str,
    pod: &str,
    query: &str,
) {
    let object = Object::core("pods", namespace, pod);
    scene.request(&Request::object(&who.caller, "get", object));
    scene.pause(40);
    let verb = if who.websocket { "get" } else { "create" };
    let request = Request::object(&who.caller, verb, object.sub("exec"));
    let lasts = Duration::from_millis(scene.rng.between(200, 40_000));
    scene.long_request(&Request { code: 101, query, ..request }, lasts);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_every_hour_of_the_week_it_is_night_somewhere() {
        let zones = zones();
        let monday = EventTime::parse("2026-06-01T00:00:00Z").unwrap();
        for hour in 0..168 {
            let time = monday.plus(Duration::from_secs(hour * 3_600));
            assert!(zones.iter().any(|zone| is_night(zone, time)), "{time}");
            assert!(zones.iter().all(|zone| !(is_night(zone, time) && at_work(zone, time))));
        }
    }

    #[test]
    fn shares_add_up() {
        assert_eq!(COMMANDS.iter().map(|command| command.share).sum::<u64>(), 100);
    }
}
