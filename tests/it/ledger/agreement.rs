//! What the ledger says, and what plain loops over the generated events say.
//!
//! Events come late, twice, and out of order; sessions have two stages. The loops look at the events' JSON
//! and know nothing of the engine.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tripline::{
    engine::{
        access::{Access, SessionStep, Sessions, VISIT_PAUSE, Visits},
        ledger::{Chain, EntryKind, Row},
        time::EventTime,
    },
    generate::{GenerateSettings, Generator, Story, StoryPlan},
};

use super::{Recording, reports, rules, usage};

const RULES: &str = "
title: Secrets
name: secrets
logsource: {product: kubernetes, service: audit}
detection: {reads: {objectRef.resource: secrets, verb: [get, list, watch]}, condition: reads}
tripline: {record: secret_read}
---
title: Sessions
name: sessions
logsource: {product: kubernetes, service: audit}
detection: {run: {objectRef.subresource: [exec, attach, portforward]}, condition: run}
tripline: {record: session}
---
title: Changes
name: changes
logsource: {product: kubernetes, service: audit}
detection:
  change: {verb: [update, patch, delete], objectRef.resource|exists: true}
  other: {objectRef.subresource: [exec, attach, portforward]}
  secrets: {objectRef.resource: secrets}
  condition: change and not other and not secrets
tripline: {record: {class: change, every: 10m, key: [actor, verb, resource, namespace]}}
";

const MINUTE: i64 = 60_000_000;

/// A generator for what is left to chance, with a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// One event, as the loops see it.
pub(super) struct Seen {
    pub(super) json: Value,
    pub(super) at: EventTime,
}

impl Seen {
    pub(super) fn text(&self, pointer: &str) -> &str {
        self.json.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn actor(&self) -> String {
        let acting = self.text("/impersonatedUser/username");
        let user = if acting.is_empty() { self.text("/user/username") } else { acting };
        let code = self.json.pointer("/responseStatus/code").and_then(Value::as_i64);
        if user.is_empty() && code == Some(401) { "system:anonymous" } else { user }.to_owned()
    }

    /// What makes a request the same.
    fn request(&self) -> String {
        let parts =
            ["/auditID", "/verb", "/requestURI", "/user/username", "/requestReceivedTimestamp"];
        parts.map(|pointer| self.text(pointer)).join("\u{0}")
    }

    pub(super) fn is_session(&self) -> bool {
        matches!(self.text("/objectRef/subresource"), "exec" | "attach" | "portforward")
    }

    pub(super) fn is_read(&self) -> bool {
        self.text("/objectRef/resource") == "secrets"
            && matches!(self.text("/verb"), "get" | "list" | "watch")
    }

    pub(super) fn is_change(&self) -> bool {
        let resource = self.text("/objectRef/resource");
        matches!(self.text("/verb"), "update" | "patch" | "delete")
            && !matches!(resource, "" | "secrets")
            && !self.is_session()
    }
}

/// Everything that happened in a world of this seed, and the ledger of it.
fn world(seed: u64) -> (Vec<Seen>, Recording) {
    let start = EventTime::parse("2026-03-04T09:05:00Z").unwrap();
    let minute = std::time::Duration::from_secs(60);
    let settings = GenerateSettings {
        seed,
        start,
        rate: 3.0,
        received_stage: true,
        event_lists_per_mille: 0,
        stories: StoryPlan::within(Story::all(false), minute, minute * 8),
        ..GenerateSettings::default()
    };
    let records: Vec<_> = Generator::new(settings)
        .take_while(|record| record.time < start.plus(minute * 12))
        .collect();
    let mut chance = Chance(seed);
    // Each comes within the grace of two minutes, and one in twenty comes again.
    let mut arrivals: Vec<(EventTime, usize, usize)> = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let delay = |chance: &mut Chance| {
            std::time::Duration::from_millis(chance.below(60) * chance.below(1_000))
        };
        let partition = usize::try_from(chance.below(2)).unwrap();
        arrivals.push((record.time.plus(delay(&mut chance)), partition, index));
        if chance.below(20) == 0 {
            arrivals.push((record.time.plus(delay(&mut chance)), 1 - partition, index));
        }
    }
    arrivals.sort_unstable();
    let mut recording = Recording::new(&rules(RULES), start);
    for chunk in arrivals.chunks(40) {
        for partition in 0..2 {
            let of_it: Vec<&[u8]> = chunk
                .iter()
                .filter(|arrival| arrival.1 == partition)
                .map(|arrival| &records[arrival.2].payload[..])
                .collect();
            recording.read(partition, chunk.last().unwrap().0, &of_it);
        }
    }
    recording.rest(90);
    let seen = records
        .iter()
        .map(|record| {
            let json: Value = serde_json::from_slice(&record.payload).unwrap();
            let at = EventTime::parse(json["stageTimestamp"].as_str().unwrap()).unwrap();
            Seen { json, at }
        })
        .collect();
    (seen, recording)
}

fn accesses(recording: &Recording) -> Vec<&Access> {
    let mut rows: Vec<&Row> = recording.rows.iter().map(|row| &**row).collect();
    rows.sort_by_key(|row| (row.at(), row.id));
    rows.into_iter().filter_map(Row::access).collect()
}

fn has(access: &Access, class: &str) -> bool {
    access.classes.iter().any(|known| &**known == class)
}

/// The first event with an answer of each request that fits, in the order of time.
pub(super) fn requests(seen: &[Seen], fits: impl Fn(&Seen) -> bool) -> Vec<&Seen> {
    let mut first: BTreeMap<String, &Seen> = BTreeMap::new();
    for event in
        seen.iter().filter(|event| event.text("/stage") != "RequestReceived" && fits(event))
    {
        let place = first.entry(event.request()).or_insert(event);
        if event.at < place.at {
            *place = event;
        }
    }
    let mut found: Vec<&Seen> = first.into_values().collect();
    found.sort_by_key(|event| event.at);
    found
}

#[test]
fn for_fifty_seeds_it_says_what_plain_loops_say() {
    let (mut reads_all, mut sessions_all, mut changes_all) = (0, 0, 0);
    let (mut usage_all, mut used_all, mut reported_all) = (0, 0, 0);
    for seed in 0..50 {
        let (seen, recording) = world(seed);
        let accesses = accesses(&recording);

        // Each read of a secret once, by whom, of what, when.
        let naive: Vec<(EventTime, String, String, String)> = requests(&seen, Seen::is_read)
            .into_iter()
            .map(|event| {
                let object = format!(
                    "{}/{}",
                    event.text("/objectRef/namespace"),
                    event.text("/objectRef/name")
                );
                (event.at, event.actor(), event.text("/verb").to_owned(), object)
            })
            .collect();
        let mut said: Vec<(EventTime, String, String, String)> = accesses
            .iter()
            .filter(|access| has(access, "secret_read"))
            .map(|access| {
                let object = access.object.as_ref().unwrap();
                let text =
                    |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or("").to_owned();
                let name = format!("{}/{}", text(&object.namespace), text(&object.name));
                // Of a watch either stage may have come first.
                (access.at, text(&access.actor.id), text(&access.verb), name)
            })
            .collect();
        let without_watches = |list: &[(EventTime, String, String, String)]| {
            let mut list: Vec<_> = list.iter().filter(|one| one.2 != "watch").cloned().collect();
            list.sort();
            list
        };
        said.sort();
        assert_eq!(said.len(), naive.len(), "seed {seed}");
        assert_eq!(without_watches(&said), without_watches(&naive), "seed {seed}");
        reads_all += naive.len();

        sessions_all += check_sessions(seed, &seen, &accesses);
        changes_all += check_changes(seed, &seen, &accesses);
        check_visits(seed, &seen, &accesses);
        check_coverage(seed, &seen, &recording);
        check_chain(&recording);
        usage_all += usage::check_rows(seed, &seen, &recording);
        used_all += usage::check_verdicts(seed, &seen, &recording);
        reported_all += reports::check(seed, &seen, &recording.rows);
    }
    assert!(
        usage_all > 5_000 && used_all > 500,
        "{usage_all} rows of usage, {used_all} grants used: too few to mean anything"
    );
    assert!(reported_all > 1_000, "{reported_all} requests in reports: too few to mean anything");
    assert!(
        reads_all > 500 && sessions_all > 50 && changes_all > 200,
        "{reads_all} reads, {sessions_all} sessions, {changes_all} roll-ups: too few to mean anything"
    );
}

/// Start and end of each session, joined.
fn check_sessions(seed: u64, seen: &[Seen], accesses: &[&Access]) -> usize {
    let mut naive: BTreeMap<String, (Option<EventTime>, Option<EventTime>)> = BTreeMap::new();
    for event in seen.iter().filter(|event| event.is_session()) {
        let (start, end) = naive.entry(event.request()).or_default();
        match event.text("/stage") {
            "ResponseStarted" => *start = Some(event.at),
            "ResponseComplete" => *end = Some(event.at),
            _ => {}
        }
    }
    let mut naive: Vec<(Option<EventTime>, Option<EventTime>)> =
        naive.into_values().filter(|(start, end)| start.or(*end).is_some()).collect();
    naive.sort_unstable();
    let mut sessions = Sessions::default();
    for access in accesses {
        sessions.add(access);
    }
    let mut said: Vec<(Option<EventTime>, Option<EventTime>)> = Vec::new();
    let mut attempts = 0;
    for session in sessions.finish() {
        attempts += session.attempts;
        said.push((session.start, session.end));
    }
    assert_eq!(usize::try_from(attempts).unwrap(), naive.len(), "seed {seed}");
    said.sort_unstable();
    if said.len() == naive.len() {
        assert_eq!(said, naive, "seed {seed}");
    }
    naive.len()
}

/// Like changes within ten minutes, as one.
fn check_changes(seed: u64, seen: &[Seen], accesses: &[&Access]) -> usize {
    type Key = (i64, String, String, String, String);
    let mut naive: BTreeMap<Key, (u64, EventTime, EventTime)> = BTreeMap::new();
    for event in requests(seen, Seen::is_change) {
        let key = (
            event.at.micros().div_euclid(10 * MINUTE),
            event.actor(),
            event.text("/verb").to_owned(),
            format!("{} {}", event.text("/objectRef/apiGroup"), event.text("/objectRef/resource")),
            event.text("/objectRef/namespace").to_owned(),
        );
        let (count, first, last) = naive.entry(key).or_insert((0, event.at, event.at));
        *count += 1;
        (*first, *last) = ((*first).min(event.at), (*last).max(event.at));
    }
    let said: BTreeMap<Key, (u64, EventTime, EventTime)> = accesses
        .iter()
        .filter(|access| has(access, "change"))
        .map(|access| {
            let object = access.object.as_ref().unwrap();
            let rolled_up = access.rolled_up.unwrap();
            assert_eq!(object.name, None, "names are not in the key");
            let key = (
                access.at.micros().div_euclid(10 * MINUTE),
                access.actor.id.as_deref().unwrap_or("").to_owned(),
                access.verb.as_deref().unwrap_or("").to_owned(),
                format!("{} {}", object.group.as_deref().unwrap_or(""), object.resource),
                object.namespace.as_deref().unwrap_or("").to_owned(),
            );
            (key, (rolled_up.count, rolled_up.first, rolled_up.last))
        })
        .collect();
    assert_eq!(said, naive, "seed {seed}");
    naive.len()
}

/// Visits: no pause over fifteen minutes between two requests of an actor.
fn check_visits(seed: u64, seen: &[Seen], accesses: &[&Access]) {
    let mut times: BTreeMap<String, Vec<EventTime>> = BTreeMap::new();
    for event in requests(seen, |event| event.is_read() && event.text("/verb") != "watch") {
        times.entry(event.actor()).or_default().push(event.at);
    }
    let mut naive: Vec<(String, EventTime, EventTime, u64)> = Vec::new();
    for (actor, times) in times {
        for at in times {
            match naive.last_mut() {
                Some((who, _, end, count)) if *who == actor && at.since(*end) <= VISIT_PAUSE => {
                    (*end, *count) = (at, *count + 1);
                }
                _ => naive.push((actor.clone(), at, at, 1)),
            }
        }
    }
    let mut visits = Visits::new(VISIT_PAUSE);
    let is_plain =
        |access: &&&Access| has(access, "secret_read") && access.verb.as_deref() != Some("watch");
    for access in accesses.iter().filter(is_plain) {
        visits.add(access, true);
    }
    let mut said: Vec<(String, EventTime, EventTime, u64)> = visits
        .finish()
        .into_iter()
        .map(|visit| {
            (
                visit.actor.as_deref().unwrap_or("").to_owned(),
                visit.start,
                visit.end,
                visit.requests,
            )
        })
        .collect();
    said.sort();
    naive.sort();
    assert_eq!(said, naive, "seed {seed}");
}

/// Events of each hour, whatever their stage; copies count as often as they came.
fn check_coverage(seed: u64, seen: &[Seen], recording: &Recording) {
    let hours: BTreeSet<i64> =
        seen.iter().map(|event| event.at.micros().div_euclid(60 * MINUTE)).collect();
    let mut said: BTreeMap<i64, u64> = BTreeMap::new();
    for row in &recording.rows {
        if let Some(entry) = row.entry().filter(|entry| entry.kind == EntryKind::Coverage) {
            let hour = row.at().micros().div_euclid(60 * MINUTE);
            *said.entry(hour).or_default() += entry.count_of("events");
        }
    }
    let heard: BTreeSet<i64> =
        said.iter().filter(|(_, events)| **events > 0).map(|(hour, _)| *hour).collect();
    assert_eq!(heard, hours, "seed {seed}");
    let total: u64 = said.values().sum();
    assert!(total >= seen.len() as u64, "seed {seed}: {total} of {}", seen.len());
}

/// Ids without a hole, and the chain over the lines is the engine's.
fn check_chain(recording: &Recording) {
    let mut chain = Chain::default();
    for row in &recording.rows {
        assert_eq!(row.id, chain.id + 1);
        chain.push(&row.line());
    }
    assert_eq!(chain, recording.member.recorder().chain());
    let ends = recording.rows.iter().filter_map(|row| row.access());
    assert!(
        ends.clone().any(|access| access.session == Some(SessionStep::Start)) || ends.count() < 5
    );
}
