//! Exceptions: how often each was used, against plain loops; and what reports say of them.

use std::{collections::BTreeMap, fs, sync::Arc};

use tripline::engine::{
    diagnostic::SourceText,
    ledger::EntryKind,
    member::LedgerInput,
    rule::{LoadOptions, RuleSet, RuleSources, load},
    time::EventTime,
};

use super::{Recording, levels::event};
use crate::running::{self, Running};

const RULES: &str = "
title: Secrets are read
name: reads
logsource: {product: kubernetes, service: audit}
detection:
  read: {verb: get, objectRef.resource: secrets}
  known: {user.username|expand: '%readers%'}
  condition: read and not known
level: low
---
title: Shells
name: shells
logsource: {product: kubernetes, service: audit}
detection:
  exec: {objectRef.subresource: exec}
  known: {user.username|expand: '%readers%'}
  condition: exec and not known
level: low
---
title: Not the backup
logsource: {product: kubernetes, service: audit}
filter: {rules: [reads], backup: {user.username: backup}, condition: not backup}
tripline: {owner: storage, reason: It copies all., expires: 2026-12-31}
";

const LIST: &str = "
- kube
- {value: 'bob*', owner: ops, reason: on call, expires: 2026-03-04}
- {value: ann, reason: she made them}
- {value: nobody, owner: ops}
";

pub(super) fn loaded() -> Arc<RuleSet> {
    let sources = RuleSources {
        rules: vec![SourceText::new("rules/r.yaml", RULES)],
        lists: vec![("readers".to_owned(), SourceText::new("lists/readers.yaml", LIST))],
        ..RuleSources::default()
    };
    let loaded = load(&sources, &LoadOptions::default());
    Arc::new(loaded.rules.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)))
}

/// One event of many, as plain loops see it.
struct Asked {
    at: EventTime,
    user: &'static str,
    verb: &'static str,
    what: &'static str,
    stage: &'static str,
}

const USERS: [&str; 7] = ["bob", "BOBBY", "ann", "kube", "backup", "eve", "anna"];

/// Three hours around midnight, some of what each user may do.
fn asked(start: EventTime) -> Vec<Asked> {
    let mut all = Vec::new();
    for step in 0..360_u64 {
        let at = start.plus(std::time::Duration::from_secs(step * 30));
        let user = USERS[usize::try_from(step * 31 % 97 % 7).unwrap()];
        let (verb, what) =
            [("get", "secrets"), ("list", "secrets"), ("create", "exec"), ("get", "pods")]
                [usize::try_from(step * 17 % 13 % 4).unwrap()];
        let stages: &[&str] = match what {
            // Both are seen by rules, and are one request.
            "exec" => &["RequestReceived", "ResponseStarted", "ResponseComplete"],
            _ => &["ResponseComplete"],
        };
        all.extend(stages.iter().map(|stage| Asked { at, user, verb, what, stage }));
    }
    all
}

impl Asked {
    /// In which cluster: one of two, or one that nobody names.
    fn cluster(&self) -> Option<&'static str> {
        let step = self.at.micros() / 30_000_000;
        [None, Some("prod"), Some("test")][usize::try_from(step % 3).unwrap()]
    }

    /// The exception because of which some rule leaves it out.
    fn exception(&self) -> Option<&'static str> {
        let end = EventTime::parse("2026-03-05T00:00:00Z").unwrap();
        let is_read = (self.verb, self.what) == ("get", "secrets");
        let is_exec = self.what == "exec" && self.stage == "ResponseStarted";
        match self.user {
            "bob" | "BOBBY" if (is_read || is_exec) && self.at < end => {
                Some("`bob*` in lists/readers.yaml")
            }
            "ann" if is_read || is_exec => Some("`ann` in lists/readers.yaml"),
            "backup" if is_read => Some("filter \"Not the backup\" in rules/r.yaml"),
            _ => None,
        }
    }
}

/// Uses by exception in one cluster, by plain loops.
pub(super) fn naive_in(cluster: &str) -> BTreeMap<&'static str, u64> {
    let mut uses = BTreeMap::new();
    for one in asked(start()).iter().filter(|one| one.cluster() == Some(cluster)) {
        if let Some(exception) = one.exception() {
            *uses.entry(exception).or_default() += 1;
        }
    }
    uses
}

/// Uses by hour and exception, by plain loops.
fn naive(asked: &[Asked]) -> BTreeMap<(i64, &'static str), u64> {
    let mut uses = BTreeMap::new();
    for one in asked {
        let Some(exception) = one.exception() else { continue };
        let hour = one.at.micros().div_euclid(3_600_000_000);
        *uses.entry((hour, exception)).or_default() += 1;
    }
    uses
}

/// A ledger of all that.
pub(super) fn recorded() -> Recording {
    let start = start();
    let mut recording = Recording::new(&loaded(), start);
    let trigger = LedgerInput::Rules { trigger: "started" };
    recording.member.handle_ledger(start.as_wall(), trigger);
    for (number, one) in asked(start).iter().enumerate() {
        let (resource, below) = if one.what == "exec" { ("pods", "exec") } else { (one.what, "") };
        let of = (one.user, one.verb, resource, below);
        // Stages of one request have one id.
        let id = format!("{}-{}", one.at.micros(), one.user);
        let mut text = event(&id, one.at, of, ("Metadata", one.stage));
        if let Some(cluster) = one.cluster() {
            text = text.replacen('{', &format!(r#"{{"cluster":"{cluster}","#), 1);
        }
        recording.read(number % 2, one.at, &[text.as_bytes()]);
    }
    recording.rest(90);
    recording
}

#[test]
fn uses_of_exceptions_are_those_that_plain_loops_count() {
    let recording = recorded();
    let mut said: BTreeMap<(i64, String), u64> = BTreeMap::new();
    for row in &recording.rows {
        if let Some(entry) = row.entry().filter(|entry| entry.kind == EntryKind::Exception) {
            let hour = row.at().micros().div_euclid(3_600_000_000);
            *said.entry((hour, entry.subject.clone())).or_default() += entry.count_of("uses");
            if entry.subject.contains("bob") {
                assert_eq!((entry.party.as_str(), entry.detail.as_str()), ("ops", "on call"));
                assert_eq!(entry.fact_of("expires"), Some("2026-03-05T00:00:00.000000Z"));
                assert_eq!(entry.fact_of("rules"), Some("reads, shells"));
            }
        }
    }
    let naive: BTreeMap<(i64, String), u64> = naive(&asked(start()))
        .into_iter()
        .map(|((hour, name), uses)| ((hour, name.to_owned()), uses))
        .collect();
    assert!(naive.len() >= 7, "{naive:?}");
    assert_eq!(said, naive);
    let counts = recording.member.recorder().counts();
    assert_eq!(counts.exceptions_left_out, 0);
}

fn start() -> EventTime {
    EventTime::parse("2026-03-04T22:30:00Z").unwrap()
}

#[test]
fn what_is_said_of_exceptions_is_in_the_rule_set() {
    let rules = loaded();
    let said: Vec<(&str, Option<&str>, bool, Vec<&str>)> = rules
        .exceptions
        .iter()
        .map(|one| {
            let counted = one.counted_in.iter().map(String::as_str).collect();
            (one.name.as_str(), one.owner.as_deref(), one.expires.is_some(), counted)
        })
        .collect();
    assert_eq!(
        said,
        [
            ("filter \"Not the backup\" in rules/r.yaml", Some("storage"), true, vec!["reads"]),
            ("`bob*` in lists/readers.yaml", Some("ops"), true, vec!["reads", "shells"]),
            ("`ann` in lists/readers.yaml", None, false, vec!["reads", "shells"]),
            ("`nobody` in lists/readers.yaml", Some("ops"), false, vec!["reads", "shells"]),
        ]
    );
}

/// A list of what is bad excuses nobody: how often its entries matched is not the use of an exception.
#[test]
fn entries_that_make_a_rule_match_are_not_counted() {
    let rule = "title: bad\nlogsource: {product: kubernetes, service: audit}\n\
                detection: {s: {user.username|expand: '%bad%'}, condition: s}\nlevel: low\n";
    let sources = RuleSources {
        rules: vec![SourceText::new("r.yaml", rule)],
        lists: vec![(
            "bad".to_owned(),
            SourceText::new("lists/bad.yaml", "- {value: eve, owner: ops}\n- mallory\n"),
        )],
        ..RuleSources::default()
    };
    let rules = load(&sources, &LoadOptions::default()).rules.unwrap();
    assert_eq!(rules.exceptions.len(), 1);
    let start = EventTime::parse("2026-03-04T10:00:00Z").unwrap();
    let mut recording = Recording::new(&Arc::new(rules), start);
    let of = ("eve", "get", "secrets", "");
    let text = event("a", start, of, ("Metadata", "ResponseComplete"));
    recording.read(0, start, &[text.as_bytes()]);
    recording.rest(90);
    let entries = recording.rows.iter().filter_map(|row| row.entry());
    assert_eq!(entries.filter(|entry| entry.kind == EntryKind::Exception).count(), 0);
}

/// The real process tells whoever answers for it, through the receivers of all alerts.
#[tokio::test]
async fn an_owner_hears_before_an_exception_ends() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules");
    fs::create_dir_all(rules.join("lists")).unwrap();
    fs::write(rules.join("r.yaml"), RULES).unwrap();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let day = |days: u64| {
        let seconds = i64::try_from(since.as_secs() + days * 86_400).unwrap();
        EventTime::from_micros(seconds * 1_000_000).rfc3339()[..10].to_owned()
    };
    let (soon, late) = (day(3), day(30));
    let list = format!(
        "- {{value: bob, owner: ops, expires: {soon}}}\n- {{value: ann, owner: dev, expires: {late}}}\n"
    );
    fs::write(rules.join("lists/readers.yaml"), list).unwrap();
    let mut running = Running::start(directory.path(), "");
    running.write(&running::event("get", "eve", "2026-03-04T10:00:00"));
    let is_told = |running: &Running| running.told().contains("TriplineExceptionEnds");
    running.until("the owner is told", is_told).await;
    let told = running.told();
    let alerts = told.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let labels: Vec<serde_json::Value> = alerts.map(|alert| alert["labels"].clone()).collect();
    let ending: Vec<(&str, &str)> = labels
        .iter()
        .filter(|labels| labels["alertname"] == "TriplineExceptionEnds")
        .map(|labels| (labels["owner"].as_str().unwrap(), labels["exception"].as_str().unwrap()))
        .collect();
    assert_eq!(ending, [("ops", "`bob` in rules/lists/readers.yaml")], "{told}");
    assert_eq!(running.end(), Some(0), "{}", running.logged());
}
