//! Audit policies: what `tests/data/policy/needs/*.yaml` need, what `tests/data/policy/check/*.yaml`
//! hide from these rules, and that a policy that was made records what matches.
//!
//! The first line of a policy names its rules. `UPDATE=1` writes the `.out` files anew; look at the
//! difference before you keep it.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use proptest::prelude::*;
use serde_json::Value;
use tripline::{
    cli::shipped_rules,
    engine::{
        detector::Detector,
        diagnostic::{DiagnosticLevel, Format, SourceText, render_all},
        policy::{check, generate},
        record::{PartitionName, RecordBatch},
        rule::{LoadOptions, RuleSet, RuleSources, load},
        settings::EngineSettings,
        time::EventTime,
        yaml::{self, Node},
    },
    generate::{GenerateSettings, Generator, Story, StoryPlan},
};

use crate::{
    binary::{run, tripline},
    diagnostics::differs,
};

const DIRECTORY: &str = "tests/data/policy";

fn yaml_files(directory: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(format!("{DIRECTORY}/{directory}"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn rules_of(path: &Path) -> RuleSet {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let rules = vec![SourceText::new(name, fs::read_to_string(path).unwrap())];
    let loaded = load(&RuleSources { rules, ..RuleSources::default() }, &LoadOptions::default());
    let words = render_all(&loaded.diagnostics, Format::Text, false);
    loaded.rules.unwrap_or_else(|| panic!("{words}"))
}

#[test]
fn policies_are_made_as_their_golden_files_say_and_hide_nothing() {
    let mut different = Vec::new();
    for path in yaml_files("needs") {
        let rules = rules_of(&path);
        let policy = generate(&rules);
        let mut text = policy.yaml.clone();
        if !policy.is_complete {
            text.push_str("# incomplete\n");
        }
        different.extend(differs(&path, &text));
        let checked = check(&rules, &SourceText::new("policy.yaml", policy.yaml));
        assert!(checked.is_usable, "{}", path.display());
        let words = render_all(&checked.diagnostics, Format::Text, false);
        assert_eq!(policy.is_complete, words.is_empty(), "{}\n{words}", path.display());
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn what_a_policy_hides_is_said_as_its_golden_file_says() {
    let mut different = Vec::new();
    for path in yaml_files("check") {
        let text = fs::read_to_string(&path).unwrap();
        let rules = text.lines().next().unwrap().strip_prefix("# rules: ").unwrap();
        let rules = rules_of(Path::new(&format!("{DIRECTORY}/needs/{rules}.yaml")));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let checked = check(&rules, &SourceText::new(name, text));
        let mut text = render_all(&checked.diagnostics, Format::Text, false);
        text.push_str(&if checked.is_usable {
            format!("{} of {} blind\n", checked.blind_count, checked.rule_count)
        } else {
            "not usable\n".to_owned()
        });
        different.extend(differs(&path, &text));
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn shipped() -> Arc<RuleSet> {
    Arc::new(load(&shipped_rules(), &LoadOptions::default()).rules.unwrap())
}

#[test]
fn the_policy_of_the_shipped_rules_hides_nothing_from_them() {
    let rules = shipped();
    let policy = generate(&rules);
    assert!(policy.is_complete && policy.warnings.is_empty(), "{:?}", policy.warnings);
    let checked = check(&rules, &SourceText::new("policy.yaml", policy.yaml));
    assert_eq!(checked.diagnostics, []);
    assert!(checked.rule_count > 40);
}

/// What the API server would make of an event under a policy, in a naive reading of one that was
/// made: which entry fits, and what it leaves.
fn under(policy: &Node, mut event: Value) -> Option<Value> {
    let texts = |node: &Node, key: &str| -> Vec<String> {
        let list = node.get(key).and_then(Node::as_list).unwrap_or(&[]);
        list.iter().map(|item| item.scalar_text().unwrap()).collect()
    };
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let (resource, subresource) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    let object = [resource, subresource].join("/");
    let object = object.trim_end_matches('/');
    let in_group = |node: &Node| {
        let names = texts(node, "resources");
        node.get("group").unwrap().scalar_text().unwrap() == text("/objectRef/apiGroup")
            && (names.is_empty()
                || names.iter().any(|name| name == object)
                || names.contains(&format!("{resource}/*")))
    };
    let fits = |entry: &&Node| {
        let verbs = texts(entry, "verbs");
        let groups = entry.get("resources").and_then(Node::as_list);
        (verbs.is_empty() || verbs.iter().any(|verb| verb == text("/verb")))
            && groups.is_none_or(|groups| groups.iter().any(in_group))
            && (entry.get("nonResourceURLs").is_none() || resource.is_empty())
    };
    let entry = policy.get("rules").unwrap().as_list().unwrap().iter().find(fits)?;
    let level = entry.get("level").unwrap().as_str().unwrap().to_owned();
    let mut omitted = texts(policy, "omitStages");
    omitted.extend(texts(entry, "omitStages"));
    if level == "None" || omitted.iter().any(|stage| stage == text("/stage")) {
        return None;
    }
    let members = event.as_object_mut().unwrap();
    if level == "Metadata" {
        members.remove("requestObject");
    }
    if level != "RequestResponse" {
        members.remove("responseObject");
    }
    Some(event)
}

/// The rules that an event satisfies.
fn matching(detector: &mut Detector, event: &Value) -> BTreeSet<u32> {
    let mut batch = RecordBatch::default();
    let partition = Arc::new(PartitionName::new("audit", 0));
    batch.push(&partition, 0, None, Some(event.to_string().as_bytes()));
    let now = EventTime::parse("2026-03-05T00:00:00Z").unwrap().as_wall();
    detector.detect(now, &batch).detections.iter().map(|found| found.rule.0).collect()
}

#[test]
fn what_a_made_policy_records_matches_what_would_match_without_it() {
    let everything = shipped();
    let start = EventTime::parse("2026-03-04T20:00:00Z").unwrap();
    let span = Duration::from_secs(120);
    let settings = GenerateSettings {
        start,
        rate: 5.0,
        received_stage: true,
        event_lists_per_mille: 0,
        stories: StoryPlan::within(Story::all(false), Duration::ZERO, span / 2),
        ..GenerateSettings::default()
    };
    let events: Vec<Value> = Generator::new(settings)
        .take_while(|record| record.time < start.plus(span))
        .map(|record| serde_json::from_slice(&record.payload).unwrap())
        .collect();
    // All rules ask for everything; a few that name resources let a policy leave things out.
    let picky: Vec<Arc<SourceText>> = shipped_rules()
        .rules
        .into_iter()
        .filter(|source| {
            ["privileged_pod", "cluster_admin", "exec_reverse", "secret_read_burst", "wildcard"]
                .iter()
                .any(|name| source.name.contains(name))
        })
        .collect();
    let picky = RuleSources { rules: picky, ..shipped_rules() };
    let picky = Arc::new(load(&picky, &LoadOptions::default()).rules.unwrap());
    for (rules, leaves_out) in [(everything, 20), (picky, 70)] {
        let policy = SourceText::new("policy.yaml", generate(&rules).yaml);
        let policy = yaml::parse(&policy).unwrap().remove(0);
        let mut detector = Detector::new(rules, 0, &EngineSettings::default());
        let (mut left_out, mut satisfied) = (0, BTreeSet::new());
        for event in &events {
            let expected = matching(&mut detector, event);
            let recorded = under(&policy, event.clone());
            left_out += usize::from(recorded.is_none());
            let found = recorded.map(|event| matching(&mut detector, &event)).unwrap_or_default();
            assert_eq!(found, expected, "{event}");
            satisfied.extend(found);
        }
        assert!(satisfied.len() >= 5, "only {satisfied:?} were ever satisfied");
        let percent = left_out * 100 / events.len();
        assert!(percent > leaves_out, "only {percent}% of the events were left out");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_text_is_a_policy_or_explained(
        cuts in prop::collection::vec((0..1_000_usize, 0..40_usize), 1..4),
        insert in prop::sample::select(vec![
            "", "*", "- ", ": ", "[", "{", "level: ", "null", "\t", "é", "%", "/", "\"\"", "group: \"*\"",
        ]),
    ) {
        let mut text = fs::read_to_string(format!("{DIRECTORY}/check/usual.yaml")).unwrap();
        for (share, length) in cuts {
            let from = text.floor_char_boundary(text.len() * share / 1_000);
            let to = text.floor_char_boundary((from + length).min(text.len()));
            text.replace_range(from..to, insert);
        }
        let checked = check(&RuleSet::default(), &SourceText::new("policy.yaml", text));
        let errors = checked.diagnostics.iter().any(|one| one.level == DiagnosticLevel::Error);
        prop_assert_eq!(checked.is_usable, !errors);
        for diagnostic in &checked.diagnostics {
            prop_assert!(!diagnostic.render(false).is_empty());
        }
    }
}

/// A directory with rules and two policies.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir(root.join("rules")).unwrap();
    fs::copy(format!("{DIRECTORY}/needs/bodies.yaml"), root.join("rules/r.yaml")).unwrap();
    fs::copy(format!("{DIRECTORY}/check/usual.yaml"), root.join("usual.yaml")).unwrap();
    fs::copy(format!("{DIRECTORY}/check/mistakes.yaml"), root.join("mistakes.yaml")).unwrap();
    fs::copy(format!("{DIRECTORY}/check/some_objects.yaml"), root.join("some.yaml")).unwrap();
    directory
}

#[test]
fn the_command_says_by_its_exit_code_whether_rules_are_blind() {
    let directory = directory();
    let policy = |line: &str| {
        let mut command = tripline(directory.path());
        run(command.arg("policy").args(line.split_whitespace()))
    };
    let (code, made, err) = policy("");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(made.starts_with("# What 5 rules need"), "{made}");
    fs::write(directory.path().join("made.yaml"), made).unwrap();
    let (code, out, _) = policy("--check made.yaml --strict");
    assert_eq!(code, 0, "{out}");
    assert_eq!(out, "made.yaml: of 5 rules that look at events, none is blind\n");

    let (code, out, err) = policy("--check usual.yaml");
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("usual.yaml: of 5 rules that look at events, 2 blind;"), "{out}");
    let (_, out, _) = policy("--check usual.yaml --format json");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["diagnostics"][0]["file"], "usual.yaml");
    assert!(policy("--check usual.yaml --format github").1.starts_with("::error file=usual.yaml"));

    let (code, out, _) = policy("--check some.yaml");
    assert!(code == 1 && out.contains("`wants_bodies` is blind"), "{out}");
    for (line, says) in [
        ("--check mistakes.yaml", ""),
        ("--check made.yaml --rules nowhere", "nowhere"),
        ("--strict", "--check"),
    ] {
        let (code, _, err) = policy(line);
        assert!(code == 2 && err.contains(says), "{line}: {code} {err}");
    }
    let (code, _, err) = policy("--check gone.yaml");
    assert!(code == 2 && err.contains("cannot read gone.yaml"), "{err}");
}

#[test]
fn what_may_be_blind_is_an_error_only_when_strict() {
    let directory = directory();
    let rules = fs::read_to_string(format!("{DIRECTORY}/needs/bodies.yaml")).unwrap();
    let secrets = rules.split("---\n").nth(2).unwrap();
    fs::write(directory.path().join("rules/r.yaml"), secrets).unwrap();
    let mut command = tripline(directory.path());
    command.args(["policy", "--check", "usual.yaml"]);
    let (code, out, _) = run(&mut command);
    assert!(code == 0 && out.contains("`secret_read` may be blind in part"), "{out}");
    assert_eq!(run(command.arg("--strict")).0, 1);
}

#[test]
fn what_a_policy_cannot_say_is_said_beside_it() {
    let directory = directory();
    fs::copy(format!("{DIRECTORY}/needs/custom.yaml"), directory.path().join("rules/r.yaml"))
        .unwrap();
    let (code, out, err) = run(tripline(directory.path()).arg("policy"));
    assert_eq!(code, 1, "{out}");
    assert!(err.contains("which API group `workflows` is in") && err.contains("workflow_made"));
    assert!(out.contains("kyverno.io"), "{out}");
}

/// Rules with these names and selections.
fn rules_with(rules: &[(&str, &str)]) -> RuleSet {
    let rule = |(index, (name, selection)): (usize, &(&str, &str))| {
        format!(
            "title: Rule {index}\nname: {name}\nlogsource: {{product: kubernetes, service: audit}}\n\
             detection:\n  s: {selection}\n  condition: s\n"
        )
    };
    let texts: Vec<String> = rules.iter().enumerate().map(rule).collect();
    let rules = vec![SourceText::new("rules.yaml", texts.join("---\n"))];
    let loaded = load(&RuleSources { rules, ..RuleSources::default() }, &LoadOptions::default());
    let words = render_all(&loaded.diagnostics, Format::Text, false);
    loaded.rules.unwrap_or_else(|| panic!("{words}"))
}

/// What is said of a policy with these entries before one that records everything, and how many rules are blind.
fn said_of(rules: &RuleSet, entries: &str) -> (String, usize) {
    let policy = format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{entries}  - level: RequestResponse\n"
    );
    let checked = check(rules, &SourceText::new("policy.yaml", policy));
    let words = render_all(&checked.diagnostics, Format::Text, false);
    assert!(checked.is_usable, "{words}");
    (words, checked.blind_count)
}

#[test]
fn nothing_in_a_rule_becomes_an_entry_of_the_policy() {
    let evil = r#""a\n  - level: None\n  # \u2028  - level: None\n""#;
    let secrets = "{verb: delete, objectRef.resource: secrets}";
    // As a name of a rule, of a resource with a group, and of one that no entry can name.
    let with_group = format!("{{objectRef.resource: {evil}, objectRef.apiGroup: {evil}}}");
    let without = format!("{{objectRef.resource: {evil}}}");
    for rules in [
        vec![(evil, secrets)],
        vec![("plain", with_group.as_str())],
        vec![("plain", without.as_str())],
    ] {
        let policy = generate(&rules_with(&rules)).yaml;
        let nodes = yaml::parse(&SourceText::new("policy.yaml", policy.as_str()));
        let node = nodes.unwrap_or_else(|why| panic!("{why:?}\n{policy}")).remove(0);
        let entries = node.get("rules").and_then(Node::as_list).unwrap();
        let levels: Vec<&str> =
            entries.iter().map(|entry| entry.get("level").unwrap().as_str().unwrap()).collect();
        let hides = levels.iter().filter(|level| **level == "None").count();
        assert!(levels.last() == Some(&"None") && hides == 1, "{levels:?}\n{policy}");
    }
}

#[test]
fn failed_logins_that_an_entry_hides_are_said() {
    let rules = rules_with(&[("logins", "{responseStatus.code: 401}")]);
    for entry in [
        "namespaces: [kube-system]",
        "nonResourceURLs: [/healthz*, /metrics, /version]",
        "resources: [{group: '', resources: [configmaps], resourceNames: [leader]}]",
        "verbs: [watch]",
    ] {
        let (words, _) = said_of(&rules, &format!("  - level: None\n    {entry}\n"));
        assert!(words.contains("`logins` may be blind in part"), "{entry}: {words}");
    }
    // Nobody has a name, or is in a group, before it is known who asks.
    for entry in ["users: [eve]", "userGroups: ['system:authenticated']"] {
        assert_eq!(said_of(&rules, &format!("  - level: None\n    {entry}\n")), (String::new(), 0));
    }
}

#[test]
fn long_lists_of_an_entry_are_looked_at_as_a_whole() {
    let list = |name: &str| {
        let names: Vec<String> = (0..90).map(|number| format!("{name}{number}")).collect();
        names.join(", ")
    };
    let (users, namespaces) = (list("user"), list("team-"));
    let rules = |user: &str, namespace: &str| {
        let secrets = "objectRef.resource: secrets";
        let selection =
            format!("{{{secrets}, user.username{user}, objectRef.namespace{namespace}}}");
        rules_with(&[("one", selection.as_str())])
    };
    let both = format!("  - level: None\n    users: [{users}]\n    namespaces: [{namespaces}]\n");
    let apart = "  - level: None\n    users: [user7]\n    namespaces: [other]\n  \
                   - level: None\n    namespaces: [team-88]\n";
    for entries in [both.as_str(), apart] {
        for (user, namespace) in [
            (": user7", ": team-88"),
            ("|endswith: er7", "|startswith: team-88"),
            (": user7", "|re: '^team-8+$'"),
        ] {
            let (words, blind) = said_of(&rules(user, namespace), entries);
            let is_said = blind == 1 || words.contains("`one` may be blind in part");
            assert!(is_said, "{user} {namespace}\n{entries}\n{words}");
        }
        let (words, blind) = said_of(&rules(": user7", ": elsewhere"), entries);
        assert_eq!((words.as_str(), blind), ("", 0), "{entries}");
    }
    // Paths of which an entry hides all with a beginning.
    let rules = rules_with(&[("etcd", "{requestURI: /healthz/etcd, objectRef.resource: null}")]);
    let (words, blind) = said_of(&rules, "  - level: None\n    nonResourceURLs: [/healthz*]\n");
    assert_eq!(blind, 1, "{words}");
    let (words, blind) = said_of(&rules, "  - level: None\n    nonResourceURLs: [/livez*]\n");
    assert_eq!((words.as_str(), blind), ("", 0));
}

#[test]
fn what_was_not_compared_is_said() {
    let of = |number: usize| {
        let user = format!("{{objectRef.resource: secrets, user.username: user{number}}}");
        let team = format!("{{objectRef.resource: secrets, objectRef.namespace: team-{number}}}");
        [(format!("u{number}"), user), (format!("t{number}"), team)]
    };
    let rules: Vec<(String, String)> = (0..17).flat_map(of).collect();
    let rules: Vec<(&str, &str)> =
        rules.iter().map(|(name, selection)| (name.as_str(), selection.as_str())).collect();
    let list = |name: &str| {
        let names: Vec<String> = (0..17).map(|number| format!("{name}{number}")).collect();
        names.join(", ")
    };
    let (users, teams) = (list("user"), list("team-"));
    let entry = format!("  - level: None\n    users: [{users}]\n    namespaces: [{teams}]\n");
    let (words, _) = said_of(&rules_with(&rules), &entry);
    assert!(words.contains("names more than was compared"), "{words}");
}
