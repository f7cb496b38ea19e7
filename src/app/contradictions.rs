//! What two places of a configuration say that cannot both be: each is right in itself, and together they would
//! never work.

use std::net::IpAddr;

use crate::{
    config::{DeadLetterSettings, General},
    engine::{
        diagnostic::{Diagnostic, Place, code},
        yaml::Section,
    },
    kafka::Connection,
    notify::ReceiverConfig,
};

use super::{
    canary::CanarySettings,
    configured_source::{ConfiguredSource, takes_canary},
};

/// A topic that Tripline writes.
struct Written<'a> {
    /// The setting that names it.
    setting: String,
    topic: &'a str,
    connection: &'a Connection,
    place: Place,
    /// It is a receiver's: several may write to one topic.
    is_receiver: bool,
}

/// Reports everything of the kind. Topics that Tripline writes are left out of the patterns of its sources.
pub(super) fn check(
    root: &Section<'_>,
    general: &General,
    sources: &mut [ConfiguredSource],
    receivers: &[ReceiverConfig],
    canary: Option<&CanarySettings>,
) {
    check_groups(root, sources);
    check_addresses(root, general, sources);
    check_topics(root, general, sources, receivers);
    if let Some(canary) = canary {
        check_canary(root, canary, sources);
    }
}

/// Two sources with one group would each take the stream from the other.
fn check_groups(root: &Section<'_>, sources: &[ConfiguredSource]) {
    for (index, source) in sources.iter().enumerate() {
        let Some(kafka) = source.config.kafka() else { continue };
        let is_twin = |other: &&ConfiguredSource| {
            let other = other.config.kafka();
            other
                .is_some_and(|it| it.group == kafka.group && it.connection.meets(&kafka.connection))
        };
        if let Some(first) = sources.iter().take(index).find(is_twin) {
            let title = format!("two sources have the group `{}`", kafka.group);
            let problem =
                Diagnostic::error(code::SETTING_TWICE, source.places.group.clone(), title);
            let problem = problem.related(first.places.group.clone(), "the first one");
            root.report(
                problem.help("give each its own, or name the topics of both in one source"),
            );
        }
    }
}

/// Only one can listen on a port.
fn check_addresses(root: &Section<'_>, general: &General, sources: &[ConfiguredSource]) {
    let place = place_in(root, "http", "listen");
    let mut taken = vec![(general.http.web.listen.as_str(), place)];
    for source in sources {
        let Some(listen) = source.config.listen() else { continue };
        let place = &source.places.listen;
        if let Some((other, first)) = taken.iter().find(|(other, _)| clash(other, listen)) {
            let title = format!("two listen on one port: {other} and {listen}");
            let problem = Diagnostic::error(code::SETTING_TWICE, place.clone(), title);
            let problem = problem.related(first.clone(), "the first one");
            root.report(problem.help(
                "give each a port of its own; one webhook source takes several clusters (`clusters`)",
            ));
        }
        taken.push((listen, place.clone()));
    }
}

/// Whether two `host:port` cannot both be listened on.
fn clash(one: &str, other: &str) -> bool {
    let (Some((one, port)), Some((other, other_port))) =
        (one.rsplit_once(':'), other.rsplit_once(':'))
    else {
        return false;
    };
    // The system chooses another one for each 0.
    if port != other_port || port == "0" {
        return false;
    }
    let address = |host: &str| match host.trim_start_matches('[').trim_end_matches(']') {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        host => host.parse::<IpAddr>().ok().map(|address| address.to_canonical()),
    };
    match (address(one), address(other)) {
        // All addresses of version 6 are those of version 4, too.
        (Some(one), Some(other)) => {
            let covers =
                |all: IpAddr, it: IpAddr| all.is_unspecified() && (all.is_ipv6() || it.is_ipv4());
            one == other || covers(one, other) || covers(other, one)
        }
        _ => one == other,
    }
}

/// What Tripline writes is no audit event: read again it would be a dead letter, and each dead letter another one.
fn check_topics(
    root: &Section<'_>,
    general: &General,
    sources: &mut [ConfiguredSource],
    receivers: &[ReceiverConfig],
) {
    let first = sources.iter().find_map(|source| source.config.kafka());
    let own_cluster = first.map(|kafka| kafka.connection.clone()).unwrap_or_default();
    let mut written = Vec::new();
    let mut add = |section: &str, topic| {
        let place = place_in(root, section, "topic");
        let setting = format!("{section}.topic");
        let connection = &own_cluster;
        written.push(Written { setting, topic, connection, place, is_receiver: false });
    };
    if let DeadLetterSettings::Topic(topic) = &general.dead_letter {
        add("dead_letter", topic.as_str());
    }
    if let Some(topic) = &general.ledger.topic {
        add("ledger", topic);
    }
    for notifier in receivers.iter().flat_map(|receiver| &receiver.notifiers) {
        if let Some((connection, topic)) = notifier.config.topic() {
            let (setting, place) = (format!("{}.topic", notifier.path), notifier.place.clone());
            written.push(Written { setting, topic, connection, place, is_receiver: true });
        }
    }
    check_written(root, &written);
    for Written { setting, topic, connection, place, .. } in &written {
        for source in &mut *sources {
            let Some(kafka) = source.config.kafka() else { continue };
            if !kafka.connection.meets(connection) {
                continue;
            }
            if kafka.names(topic) {
                let title = format!("topic `{topic}` is read, and Tripline writes to it");
                let at = source.places.topics.clone();
                let problem = Diagnostic::error(code::INVALID_SETTING, at, title);
                let problem = problem.related(place.clone(), format!("{setting} is written"));
                root.report(
                    problem.help("what is written there is no audit event; name another one"),
                );
            } else if kafka.matches(topic) {
                source.config.leave_out(topic);
            }
        }
    }
}

/// Whoever reads dead letters, the ledger's lines or alerts expects nothing else there.
fn check_written(root: &Section<'_>, written: &[Written<'_>]) {
    for (index, one) in written.iter().enumerate() {
        let is_same = |other: &&Written<'_>| {
            let is_shared = one.is_receiver && other.is_receiver;
            other.topic == one.topic && other.connection.meets(one.connection) && !is_shared
        };
        if let Some(first) = written.iter().take(index).find(is_same) {
            let title =
                format!("{} and {} are one topic: `{}`", first.setting, one.setting, one.topic);
            let problem = Diagnostic::error(code::SETTING_TWICE, one.place.clone(), title);
            let problem = problem.related(first.place.clone(), "the first one");
            root.report(problem.help("give each its own: who reads it expects one kind of record"));
        }
    }
}

/// A canary that nobody reads never comes back.
fn check_canary(root: &Section<'_>, canary: &CanarySettings, sources: &[ConfiguredSource]) {
    let mut meant = sources.iter().filter(|source| takes_canary(source, canary));
    let Some((source, kafka)) = meant.find_map(|one| Some((one, one.config.kafka()?))) else {
        return;
    };
    let topic = &canary.topic;
    if !kafka.names(topic) && !kafka.matches(topic) {
        let title = format!("the canary's source does not read topic `{topic}`");
        let place = place_in(root, "canary", "topic");
        let problem = Diagnostic::error(code::INVALID_SETTING, place, title);
        let problem = problem.related(source.places.topics.clone(), "what it reads");
        root.report(problem.help("name one of these, or another source in `canary.source`"));
    }
}

/// Where a key of a section stands; where the section would, if it is not there.
fn place_in(root: &Section<'_>, section: &str, key: &str) -> Place {
    let found = root.has(section).then(|| root.section(section)).flatten();
    found.map_or_else(|| root.place(), |section| section.place_of(key))
}

#[cfg(test)]
mod tests {
    use super::clash;

    #[test]
    fn one_port_is_listened_on_once() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("localhost:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "[::1]:1", true),
            ("0.0.0.0:1", "[::]:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
            ("audit.example:1", "audit.example:1", true),
            ("audit.example:1", "other.example:1", false),
        ] {
            assert_eq!(clash(one, other), expected, "{one} {other}");
            assert_eq!(clash(other, one), expected, "{other} {one}");
        }
    }
}
