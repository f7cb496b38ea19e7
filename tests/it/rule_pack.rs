//! The shipped rules: every one tested, quiet in ordinary traffic, awake in the generator's stories.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tripline::{
    cli::{
        rule_test::{TestFile, check_rule_files, read_test_file, run},
        shipped_rules,
    },
    config::rules_dir::read_rules_dir,
    engine::{
        alert::{Alert, AlertState},
        detector::Detector,
        diagnostic::{Problems, SourceText},
        record::{PartitionName, RecordBatch},
        rule::{CLASSES, DetectionRule, LoadOptions, Rule, RuleSet, SESSION, load},
        shard::{EngineSettings, Shard},
        time::{EventTime, WallTime},
    },
    generate::{GenerateSettings, Generator, STORIES, Story, StoryPlan, score},
};

fn rules_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")
}

pub(crate) fn shipped() -> Arc<RuleSet> {
    Arc::new(load(&shipped_rules(), &LoadOptions::default()).rules.unwrap())
}

pub(crate) fn test_files() -> Vec<TestFile> {
    let in_directory = |path: std::path::PathBuf| fs::read_dir(path).unwrap();
    let entries = in_directory(rules_dir()).chain(in_directory(rules_dir().join("access")));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let problems = Problems::new();
    let files = paths
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(".test.yaml"))
        .filter_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            read_test_file(&SourceText::new(path.display().to_string(), text), &problems)
        })
        .collect();
    let words: String =
        problems.into_sorted().iter().map(|problem| problem.render(false)).collect();
    assert!(words.is_empty(), "{words}");
    files
}

#[test]
fn the_binary_holds_what_the_directory_holds() {
    let prefix = format!("{}/", env!("CARGO_MANIFEST_DIR"));
    let short = |source: &Arc<SourceText>| (source.name.replace(&prefix, ""), source.text.clone());
    let (disk, binary) = (read_rules_dir(&rules_dir()).unwrap(), shipped_rules());
    let all = |list: &[Arc<SourceText>]| list.iter().map(short).collect::<BTreeSet<_>>();
    assert_eq!(all(&disk.rules), all(&binary.rules));
    let lists = |list: &[(String, Arc<SourceText>)]| {
        list.iter().map(|(name, source)| (name.clone(), short(source))).collect::<BTreeSet<_>>()
    };
    assert_eq!(lists(&disk.lists), lists(&binary.lists));
    assert_eq!(disk.schedules.as_ref().map(short), binary.schedules.as_ref().map(short));
}

#[test]
fn their_own_tests_pass() {
    let (rules, files) = (shipped(), test_files());
    assert_eq!(check_rule_files(&rules, &files), []);
    let failures: Vec<String> = run(&rules, &files, "")
        .iter()
        .filter(|result| !result.passed())
        .map(|result| {
            format!("{}: {}\n  {}", result.rule_file, result.name, result.failures.join("\n  "))
        })
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Tells the names of the shipped detection rules that hold for an event.
fn finder() -> impl FnMut(&Value) -> BTreeSet<String> {
    let rules = shipped();
    let mut detector = Detector::new(Arc::clone(&rules), 0, &EngineSettings::default());
    move |event| {
        let partition = Arc::new(PartitionName::new("audit", 0));
        let mut batch = RecordBatch::default();
        batch.push(&partition, 0, None, Some(&serde_json::to_vec(event).unwrap()));
        let found = detector.detect(WallTime::from_micros(0), &batch);
        found.detections.iter().map(|one| rules.rule(one.rule).meta().name.clone()).collect()
    }
}

#[test]
fn no_list_excuses_a_name_that_groups_do_not_confirm() {
    let mut found = finder();
    let names = borrowed_names();
    // Wherever the event names who asks, as a binding to oneself does.
    let asked_by = |event: &Value, name: &str| {
        let quoted = |name: &str| Value::from(name).to_string();
        let before = event["user"]["username"].as_str().map(quoted);
        let text = event.to_string();
        let text = before.map_or(text.clone(), |before| text.replace(&before, &quoted(name)));
        let mut event: Value = serde_json::from_str(&text).unwrap();
        event["user"]["username"] = name.into();
        event["user"]["groups"] = json!(["system:authenticated"]);
        event
    };
    let (mut tried, mut lost) = (BTreeSet::new(), Vec::new());
    for case in test_files().iter().flat_map(|file| &file.tests) {
        for (_, payload) in case.records().into_iter().take(3) {
            let event: Value = serde_json::from_slice(&payload).unwrap();
            let wanted = found(&asked_by(&event, "nobody-in-particular"));
            for name in &names {
                let came = found(&asked_by(&event, name));
                let missed = wanted.difference(&came).map(|rule| format!("{rule} for {name}"));
                lost.extend(missed);
            }
            tried.extend(wanted);
        }
    }
    assert!(lost.is_empty(), "{:#?}", lost.iter().collect::<BTreeSet<_>>());
    let with_lists = rules_with_lists();
    let untried: Vec<&String> = with_lists.difference(&tried).collect();
    assert!(with_lists.len() > 25 && untried.is_empty(), "no event is left to {untried:?}");
}

/// A name for each entry of a list of users, and for each prefix that rules look for, that `system:authenticated`
/// alone does not confirm.
fn borrowed_names() -> BTreeSet<String> {
    let lists = shipped_rules().lists;
    let entries = lists.iter().flat_map(|(_, source)| source.text.lines());
    let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let listed = entries.filter_map(quoted).filter(|name| name.starts_with("system:"));
    // Control planes are in no group by which they could be told.
    let told_by_group = |name: &String| !name.starts_with("system:kube-");
    let names = listed.filter(told_by_group).map(|name| name.replace('*', "x"));
    names.chain(["system:node:x".to_owned()]).collect()
}

/// Names of the detection rules that name a list of users, but for those that ask for service accounts: nobody is one
/// whose groups do not say so.
fn rules_with_lists() -> BTreeSet<String> {
    let texts = shipped_rules().rules;
    let documents = texts.iter().flat_map(|source| source.text.split("\n---\n"));
    let named = documents.filter(|text| text.contains("actor.confirmed"));
    let name = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("name: "));
        line.unwrap().to_owned()
    };
    // The ledger's rules, what waits for an end, and the rule about such names are told in other ways.
    let others = ["\n  record:", "stage: Unfinished", "actor.confirmed: null"];
    let accounts = ["actor.kind: serviceaccount", "actor.kind: [serviceaccount"];
    let is_left = |text: &&str| !others.iter().chain(&accounts).any(|word| text.contains(word));
    named.filter(is_left).map(name).collect()
}

#[test]
fn whoever_makes_a_namespace_that_a_list_trusts_is_noticed() {
    let sources = shipped_rules();
    let lists = sources.lists.iter().map(|(_, source)| source);
    let texts: Vec<&str> = lists.chain(&sources.rules).map(|source| source.text.as_str()).collect();
    let behind = |text: &'static str| {
        let parts = texts.iter().flat_map(move |one| one.split(text).skip(1));
        let end =
            |part: &str| part.split([':', '"', '\'', ' ', '\n', ',']).next().map(str::to_owned);
        parts.filter_map(end).collect::<BTreeSet<String>>()
    };
    let trusted = behind("system:serviceaccount:");
    assert!(trusted.len() > 15, "{trusted:?}");
    let mut found = finder();
    // A name with dots is no namespace's: nobody can have the account.
    for name in trusted.iter().filter(|name| !name.is_empty() && !name.contains('.')) {
        let event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": name,
            "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces", "verb": "create",
            "user": {"username": "eve@example.com", "groups": ["dev", "system:authenticated"]},
            "objectRef": {"resource": "namespaces", "name": name, "apiVersion": "v1"},
            "responseStatus": {"code": 201}, "stageTimestamp": "2026-03-04T12:00:00Z",
        });
        assert!(found(&event).contains("platform_namespace_made"), "{name}");
    }
}

#[test]
fn rules_excuse_names_that_are_confirmed_alone() {
    // What lets a rule hold may name anybody; what is left out of one may not.
    let holds = [
        "anonymous_access_allowed",
        "anonymous_request",
        "machine_name_forged",
        "token_put_into_secret",
    ];
    for source in shipped_rules().rules {
        for text in source.text.split("\n---\n") {
            let name =
                text.lines().find_map(|line| line.strip_prefix("name: ")).unwrap_or_default();
            let by_name = text.lines().find(|line| {
                let line = line.trim_start_matches([' ', '-']);
                line.starts_with("user.username:") || line.starts_with("user.username|")
            });
            assert!(by_name.is_none() || holds.contains(&name), "{name}: {by_name:?}");
        }
    }
}

#[test]
fn each_has_a_test_that_fires_and_one_that_does_not() {
    let rules = shipped();
    let results = run(&rules, &test_files(), "");
    let fired: BTreeSet<&str> = results
        .iter()
        .flat_map(|result| &result.happened)
        .map(|alert| alert.labels["alertname"].as_str())
        .collect();
    let quiet: BTreeSet<&str> = results
        .iter()
        .filter(|result| result.happened.is_empty())
        .map(|result| result.rule_file.as_str())
        .collect();
    for rule in rules.rules.iter().filter(|rule| rule.meta().alert.is_some()) {
        let meta = rule.meta();
        assert!(fired.contains(meta.name.as_str()), "no test lets {} fire", meta.name);
        let file = meta.place.as_ref().unwrap().source.name.rsplit('/').next().unwrap();
        assert!(quiet.contains(file), "no test of {file} ends in silence");
    }
}

#[test]
fn each_class_has_a_test_that_records_and_one_that_does_not() {
    let rules = shipped();
    let results = run(&rules, &test_files(), "");
    let recorded: BTreeSet<&str> =
        results.iter().flat_map(|result| &result.recorded).map(|one| one.rule.as_str()).collect();
    let nothing: BTreeSet<&str> = results
        .iter()
        .filter(|result| result.recorded.is_empty())
        .map(|result| result.rule_file.as_str())
        .collect();
    let mut classes = BTreeSet::new();
    for rule in &rules.rules {
        let Rule::Detection(DetectionRule { meta, record: Some(record), .. }) = rule else {
            continue;
        };
        classes.insert(&*record.class);
        assert!(recorded.contains(meta.name.as_str()), "no test lets {} record", meta.name);
        let file = meta.place.as_ref().unwrap().source.name.rsplit('/').next().unwrap();
        assert!(nothing.contains(file), "no test of {file} in which nothing is recorded");
        assert!(!meta.about.controls.is_empty(), "{}: no controls", meta.name);
        assert!(meta.alert.is_none());
    }
    let known: BTreeSet<&str> = CLASSES.into_iter().chain([SESSION]).collect();
    assert_eq!(classes, known);
    assert_eq!(rules.recording_count(), recorded.len());
}

#[test]
fn each_tells_people_what_happened_and_what_to_do() {
    for rule in shipped().rules.iter().filter(|rule| rule.meta().alert.is_some()) {
        let meta = rule.meta();
        let alert = meta.alert.as_ref().unwrap();
        assert!(alert.annotations.contains_key("summary"), "{}: no summary", meta.name);
        assert!(meta.about.runbook.is_some(), "{}: no runbook", meta.name);
        assert!(!alert.evidence.is_empty(), "{}: no evidence", meta.name);
        assert!(!meta.about.description.is_empty(), "{}: no description", meta.name);
        if meta.id.starts_with("risk:") {
            // It says what other rules found.
            continue;
        }
        assert!(!meta.about.false_positives.is_empty(), "{}: no false positives", meta.name);
        assert!(
            meta.about.tags.iter().any(|tag| tag.starts_with("attack.t")),
            "{}: no ATT&CK",
            meta.name
        );
    }
}

/// All alerts that began in so much traffic, and the stories that were played.
fn watch(settings: GenerateSettings, span: Duration) -> (Vec<Alert>, Vec<(usize, EventTime)>) {
    let rules = shipped();
    let end = settings.start.plus(span);
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut detector = Detector::new(Arc::clone(&rules), 0, &EngineSettings::default());
    let mut shard = Shard::new(rules, 0, EngineSettings::default());
    let mut generator = Generator::new(settings);
    let mut alerts: Vec<Alert> = Vec::new();
    let mut batch = RecordBatch::default();
    let mut begun_at = EventTime::MIN;
    loop {
        let record = generator.next().unwrap();
        batch.push(&partition, 0, None, Some(&record.payload));
        // In thin traffic five hundred records are hours, in which alerts begin and end.
        let is_old = record.time.since(begun_at) >= Duration::from_secs(10);
        if batch.records.len() == 500 || is_old || record.time >= end {
            let now = record.time.as_wall();
            let found = detector.detect(now, &batch);
            assert_eq!(found.dead_letters, []);
            shard.handle_batch(now, &found);
            shard.handle_timeout(now);
            begun_at = record.time;
            batch = RecordBatch { sequence: batch.sequence + 1, ..RecordBatch::default() };
        }
        while let Some(alert) = shard.poll_alert() {
            let known = |before: &Alert| {
                (before.fingerprint, before.starts_at) == (alert.fingerprint, alert.starts_at)
            };
            if alert.state == AlertState::Firing && !alerts.iter().any(known) {
                alerts.push(alert);
            }
        }
        if record.time >= end {
            return (alerts, generator.stories_begun().to_vec());
        }
    }
}

fn settings(start: &str, rate: f64) -> GenerateSettings {
    let start = EventTime::parse(start).unwrap();
    GenerateSettings { seed: 11, start, rate, ..GenerateSettings::default() }
}

fn describe(alerts: &[Alert]) -> Vec<String> {
    alerts.iter().map(|alert| format!("{} {:?}", alert.starts_at, alert.labels)).collect()
}

#[test]
fn a_working_day_is_quiet() {
    // Wednesday, from the morning in Singapore to the evening in San Francisco.
    let (alerts, _) =
        watch(settings("2026-03-03T22:00:00Z", 0.15), Duration::from_secs(30 * 3_600));
    assert!(alerts.is_empty(), "{:#?}", describe(&alerts));
}

#[test]
fn a_busy_quarter_of_an_hour_is_quiet() {
    let (alerts, _) = watch(settings("2026-03-04T09:00:00Z", 40.0), Duration::from_secs(900));
    assert!(alerts.is_empty(), "{:#?}", describe(&alerts));
}

#[test]
fn every_story_is_caught_at_any_time_of_the_week() {
    for start in [
        "2026-03-04T09:00:00Z",
        "2026-03-04T17:00:00Z",
        "2026-03-05T01:00:00Z",
        "2026-03-07T12:00:00Z",
        "2026-12-25T05:00:00Z",
        "2026-07-15T13:00:00Z",
    ] {
        let plan = StoryPlan::all_within(Duration::from_secs(2), Duration::from_secs(45));
        let settings = GenerateSettings { stories: plan, ..settings(start, 20.0) };
        let (alerts, begun) = watch(settings, Duration::from_secs(60));
        assert_eq!(begun.len(), Story::all(false).len());
        assert_told(start, &alerts, &begun);
    }
}

/// Every story was noticed by all rules that should, and nothing else was.
fn assert_told(when: &str, alerts: &[Alert], begun: &[(usize, EventTime)]) {
    let named: Vec<(&str, EventTime)> =
        alerts.iter().map(|alert| (alert.labels["alertname"].as_str(), alert.starts_at)).collect();
    let score = score(begun, &named);
    for story in &score.stories {
        let id = STORIES[story.story].id;
        assert!(story.missing.is_empty(), "{when} {id}: {:?} missed it", story.missing);
    }
    let others: Vec<String> = score
        .false_positives
        .iter()
        .flat_map(|index| describe(alerts.get(*index..=*index).unwrap_or_default()))
        .collect();
    assert!(others.is_empty(), "{when}: fired in no story: {others:#?}");
}

#[test]
fn what_is_unusual_is_noticed_after_days_of_what_is_usual() {
    // A Friday, nine days after a Wednesday: rules with a memory have learnt by then.
    let (day, quarter) = (Duration::from_secs(86_400), Duration::from_secs(900));
    let plan = StoryPlan {
        stories: (0..STORIES.len()).collect(),
        first_after: 9 * day,
        gap: quarter,
        repeat: false,
    };
    let count = u32::try_from(STORIES.len()).unwrap();
    let settings = GenerateSettings { stories: plan, ..settings("2026-03-04T09:00:00Z", 0.2) };
    // The last one, in which nothing is written, takes longer.
    let (alerts, begun) = watch(settings, 9 * day + (count + 3) * quarter);
    assert_eq!(begun.len(), STORIES.len());
    assert_told("after nine days", &alerts, &begun);
}

#[test]
fn the_shipped_frameworks_have_no_mistake_and_know_what_the_shipped_rules_name() {
    use tripline::{
        cli::shipped_frameworks,
        engine::{diagnostic::Problems, framework::read_frameworks},
    };
    let rules = load(&shipped_rules(), &LoadOptions::default()).rules.unwrap();
    let problems = Problems::new();
    let frameworks = read_frameworks(&shipped_frameworks(), &rules.classes(), &problems);
    let problems = problems.into_sorted();
    assert!(problems.is_empty(), "{problems:#?}");
    let files = fs::read_dir("frameworks").unwrap().count();
    assert_eq!(files, frameworks.len(), "each file of frameworks/ is in the binary");
    let known: Vec<String> = frameworks
        .iter()
        .flat_map(|one| one.controls.iter().map(|control| one.name_of(control)))
        .collect();
    for (_, rule) in rules.written() {
        for control in &rule.meta().about.controls {
            assert!(known.contains(control), "{}: no framework has {control}", rule.meta().name);
        }
    }
}
