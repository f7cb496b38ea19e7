//! Whole rule directories: the shipped pack loads, and so does what other people write.

use std::path::Path;

use proptest::prelude::*;

use tripline::{
    config::rules_dir::read_rules_dir,
    engine::{
        detect::explain_record,
        diagnostic::{DiagnosticLevel, SourceText, code},
        limits::{DIAGNOSTICS_MAX, LIST_VALUES_MAX, RULES_MAX},
        rule::{LoadOptions, Loaded, RuleIndex, RuleSources, load},
    },
};

fn load_dir(path: &Path) -> Loaded {
    let sources = read_rules_dir(path).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| problem.render(false)).collect::<String>())
    });
    load(&sources, &LoadOptions::default())
}

#[test]
fn the_shipped_rules_load_without_a_word() {
    let loaded = load_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rules"));
    let words: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    assert!(loaded.diagnostics.is_empty(), "{words}");
    assert!(loaded.rules.is_some());
}

/// The events of a record that satisfy the only rule of a text.
fn matches(rule: &str, record: &str) -> bool {
    let sources =
        RuleSources { rules: vec![SourceText::new("r.yaml", rule)], ..RuleSources::default() };
    let loaded = load(&sources, &LoadOptions::default());
    let words: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    let rules = loaded.rules.unwrap_or_else(|| panic!("{words}"));
    let explained = explain_record(&rules, &[RuleIndex(0)], record.as_bytes());
    assert_eq!(explained.events.len(), 1, "{record}");
    explained.events[0].rules[0].holds
}

#[test]
fn fields_of_one_element_are_told_from_those_of_several() {
    let rule = |same: &str| {
        format!(
            "title: a\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n  selection:\n    \
             pod_spec.containers.securityContext.privileged: true\n    \
             pod_spec.containers.image|startswith: evil/\n    \
             pod_spec.containers.securityContext.capabilities.add: [SYS_ADMIN]\n  \
             condition: selection\ntripline: {{needs: {{level: Request}}{same}}}\n"
        )
    };
    let event = |containers: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a",
            "stage":"ResponseComplete","verb":"create","stageTimestamp":"2026-01-05T22:14:01.131000Z",
            "requestObject":{{"spec":{{"template":{{"spec":{{"containers":[{containers}],
            "image":"evil/outside"}}}}}}}}}}"#
        )
    };
    let all_in_one = event(
        r#"{"image":"good/a"},{"image":"evil/b","securityContext":{"privileged":true,
        "capabilities":{"add":["NET_ADMIN","SYS_ADMIN"]}}},{"image":"good/c"}"#,
    );
    let spread = event(
        r#"{"image":"evil/a"},{"image":"good/b","securityContext":{"privileged":true}},
        {"image":"good/c","securityContext":{"capabilities":{"add":["SYS_ADMIN"]}}}"#,
    );
    let sigma = rule("");
    let same = rule(", same_element: [pod_spec.containers]");
    assert!(matches(&sigma, &all_in_one) && matches(&sigma, &spread), "any member");
    assert!(matches(&same, &all_in_one), "one container has it all");
    assert!(!matches(&same, &spread), "no container has it all");
    assert!(!matches(&same, &event("")), "no container at all");
}

#[test]
fn a_rule_for_times_of_which_there_are_none_is_suspected() {
    let rule = "title: a\nlogsource: {product: kubernetes, service: audit}\n\
                detection: {selection: {verb: get}, condition: selection}\n";
    for (key, hours, codes) in [
        ("inside", "[]", vec![code::CONSTANT_CONDITION]),
        ("outside", "[]", vec![]),
        ("outside", "[daily 00:00-12:00, daily 12:00-24:00]", vec![code::CONSTANT_CONDITION]),
        ("inside", "daily 00:00-24:00", vec![]),
        ("outside", "mon-fri 00:00-24:00", vec![]),
    ] {
        let schedules = format!("schedules: {{freeze: {{hours: {hours}}}}}\n");
        let rule = format!("{rule}tripline: {{{key}: freeze}}\n");
        let sources = RuleSources {
            rules: vec![SourceText::new("r.yaml", rule)],
            schedules: Some(SourceText::new("schedules.yaml", schedules)),
            ..RuleSources::default()
        };
        let loaded = load(&sources, &LoadOptions::default());
        let found: Vec<&str> = loaded.diagnostics.iter().map(|one| one.code).collect();
        assert_eq!(found, codes, "{key} {hours}");
        assert!(loaded.rules.is_some());
    }
}

#[test]
fn whole_numbers_are_compared_exactly() {
    let rule = |item: &str| {
        format!(
            "title: a\nlogsource: {{product: kubernetes, service: audit}}\n\
             detection: {{selection: {{{item}}}, condition: selection}}\n"
        )
    };
    let event = |uid: &str, code: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a",
            "stage":"ResponseComplete","verb":"get","stageTimestamp":"2026-01-05T22:14:01.131000Z",
            "user":{{"username":"9007199254740993","uid":"{uid}"}},"responseStatus":{{"code":{code}}},
            "objectRef":{{"resource":"pods","resourceVersion":"9007199254740993"}}}}"#
        )
    };
    let long = "103456789012345678901";
    for (item, uid, holds) in [
        ("user.uid: 103456789012345678901", long, true),
        ("user.uid: 103456789012345678901", "103456789012345678999", false),
        ("user.uid|lt: 103456789012345678902", long, true),
        ("user.uid|lt: 103456789012345678901", long, false),
        ("user.uid: 9007199254740993", "9007199254740992", false),
        ("user.uid: 9007199254740993", "9007199254740993", true),
        ("user.uid: 7", "007", true),
        ("user.uid: 7.0", "7", true),
        ("user.uid: 7.5", "7.50", true),
        ("user.uid: 1e3", "1000", true),
        ("user.uid|gt: 7.5", "8", true),
        ("user.uid|gt: 7.5", "7", false),
        ("user.uid: -0.0", "0", true),
        ("user.uid|fieldref: objectRef.resourceVersion", "9007199254740992", false),
        ("user.uid|fieldref: objectRef.resourceVersion", "9007199254740993", true),
    ] {
        assert_eq!(matches(&rule(item), &event(uid, "200")), holds, "{item}: {uid}");
    }
    assert!(matches(&rule("responseStatus.code: [200, 201]"), &event("7", "201")));
}

#[test]
fn arrays_in_arrays_are_looked_at_within_one_element_of_each() {
    let rule = |selection: &str, arrays: &str| {
        format!(
            "title: a\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n  \
             selection: {{{selection}}}\n  condition: selection\n\
             tripline: {{needs: {{level: Request}}, same_element: [{arrays}]}}\n"
        )
    };
    let event = |containers: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a",
            "stage":"ResponseComplete","verb":"create","stageTimestamp":"2026-01-05T22:14:01.131000Z",
            "requestObject":{{"spec":{{"template":{{"spec":{{"containers":[{containers}]}}}}}}}}}}"#
        )
    };
    let (pod, env) = ("pod_spec.containers", "pod_spec.containers.env");
    let of_env = format!("{env}.name: P, {env}.value: s");
    let of_both = format!("{pod}.name: a, {of_env}");
    let of_ports = format!("{of_env}, {pod}.ports.hostPort: 22");
    let one = r#"{"name":"a","env":[{"name":"Q","value":"s"},{"name":"P","value":"s"}]}"#;
    let other = r#"{"name":"b","env":[{"name":"P","value":"s"}],"ports":[{"hostPort":80}]}"#;
    let mixed = r#"{"name":"a","env":[{"name":"P","value":"t"},{"name":"Q","value":"s"}],
        "ports":[{"hostPort":22}]}"#;
    let whole = r#"{"ports":[{"hostPort":22}],"env":[{"name":"P","value":"s"}],"name":"a"}"#;
    let ports = format!("{pod}, {env}, {pod}.ports");
    for (selection, arrays, containers, holds) in [
        (&of_both, format!("{pod}, {env}"), vec![one], true),
        (&of_both, format!("{env}, {pod}"), vec![mixed, one], true),
        (&of_both, format!("{pod}, {env}"), vec![mixed, other], false),
        (&of_both, env.to_owned(), vec![mixed, other], true),
        (&of_both, pod.to_owned(), vec![mixed], true),
        (&of_both, format!("{pod}, {env}"), vec![mixed], false),
        (&of_env, format!("{pod}, {env}"), vec![mixed, other], true),
        (&of_env, format!("{pod}, {env}"), vec![mixed], false),
        (&of_ports, ports.clone(), vec![mixed, other], false),
        (&of_ports, ports.clone(), vec![mixed, other, whole], true),
        (&of_ports, ports, vec![whole], true),
    ] {
        let event = event(&containers.join(","));
        assert_eq!(matches(&rule(selection, &arrays), &event), holds, "{arrays}: {event}");
    }
}

#[test]
fn people_and_teams_are_told_by_identities() {
    let rule = |field: &str| {
        let text = format!(
            "title: a\nlogsource: {{product: kubernetes, service: audit}}\ndetection: {{selection: \
             {{{field}}}, condition: selection}}\n"
        );
        SourceText::new("r.yaml", text)
    };
    let identities = "identities:\n- {users: ['ci-*'], human: false, team: platform}\n\
                      - {groups: [oidc:shop], team: Shop, until: 2026-01-05}\n";
    let load_with = |field: &str| {
        let sources = RuleSources {
            rules: vec![rule(field)],
            identities: Some(SourceText::new("identities.yaml", identities)),
            ..RuleSources::default()
        };
        load(&sources, &LoadOptions::default())
    };
    let event = |day: u8, user: &str, more: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a",
            "stage":"ResponseComplete","verb":"get","stageTimestamp":"2026-01-{day:02}T12:00:00Z",
            "user":{{"username":"{user}","groups":["oidc:shop","system:nodes"]}}{more}}}"#
        )
    };
    let impersonates = r#","impersonatedUser":{"username":"ann","groups":["oidc:shop"]}"#;
    for (field, day, user, more, holds) in [
        ("actor.human: true", 5, "ann", "", true),
        ("actor.human: true", 5, "CI-7", "", false),
        ("actor.human: true", 5, "system:node:n", "", false),
        // A certificate may name anybody: groups tell.
        ("actor.human: true", 5, "system:serviceaccount:shop:web", "", true),
        ("actor.kind: human", 5, "system:whatever", "", true),
        ("actor.kind: system", 5, "system:kube-scheduler", "", true),
        ("actor.human: true", 5, "ci-7", impersonates, true),
        ("actor.team: shop", 5, "ann", "", true),
        ("actor.team: shop", 6, "ann", "", false),
        ("actor.team: platform", 5, "ci-7", "", true),
        ("actor.team: shop", 5, "ci-7", impersonates, true),
        ("actor.team|exists: false", 6, "ann", "", true),
    ] {
        let loaded = load_with(field);
        assert!(loaded.diagnostics.is_empty(), "{field}: {:?}", loaded.diagnostics);
        let rules = loaded.rules.unwrap();
        let event = event(day, user, more);
        let explained = explain_record(&rules, &[RuleIndex(0)], event.as_bytes());
        assert_eq!(explained.events[0].rules[0].holds, holds, "{field} {day} {user} {more}");
    }
    let loaded = load_with("actor.team: shopp");
    let text: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    assert!(text.contains("`actor.team` is never `shopp`"), "{text}");
    assert!(text.contains("did you mean `Shop`?"), "{text}");
}

/// A rule that uses most of the language, to be spoilt.
const RICH: &str = include_str!("../data/rules/correlations.yaml");

#[derive(Clone, Debug)]
enum Spoil {
    Cut(usize, usize),
    Insert(usize, &'static str),
    Copy(usize, usize, usize),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let at = 0..1_000_usize;
    let text = prop::sample::select(vec![
        "\t",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "|",
        "*",
        "%",
        "\\",
        "&a ",
        "*a ",
        "!!int ",
        "\n",
        "---\n",
        "null",
        "true",
        "1e999",
        "é",
        "\u{0}",
        "condition: ",
        "|re",
        "|all",
        "not ",
        "and ",
        "(",
        "1 of ",
        "~",
        "#",
        "9223372036854775808",
        "0x1f",
        "tripline:\n  ",
        "%admins%",
        "2026-02-30",
    ]);
    prop_oneof![
        (at.clone(), 0..50_usize).prop_map(|(from, length)| Spoil::Cut(from, length)),
        (at.clone(), text).prop_map(|(at, text)| Spoil::Insert(at, text)),
        (at.clone(), 0..100_usize, at).prop_map(|(from, length, to)| Spoil::Copy(from, length, to)),
    ]
}

/// The character boundary at some thousandths of a text.
fn boundary(text: &str, share: usize) -> usize {
    let mut at = text.len() * share.min(1_000) / 1_000;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn spoilt(spoils: &[Spoil]) -> String {
    let mut text = RICH.to_owned();
    for spoil in spoils {
        match spoil {
            Spoil::Cut(from, length) => {
                let (from, to) = (boundary(&text, *from), boundary(&text, from + length));
                text.replace_range(from..to, "");
            }
            Spoil::Insert(at, insert) => text.insert_str(boundary(&text, *at), insert),
            Spoil::Copy(from, length, to) => {
                let (from, end) = (boundary(&text, *from), boundary(&text, from + length));
                let part = text[from..end].to_owned();
                text.insert_str(boundary(&text, *to), &part);
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_text_is_a_rule_set_or_explained(spoils in prop::collection::vec(spoil(), 1..6)) {
        let source = SourceText::new("r.yaml", spoilt(&spoils));
        let sources = RuleSources { rules: vec![source], ..RuleSources::default() };
        let loaded = load(&sources, &LoadOptions::default());
        let errors = loaded.diagnostics.iter().any(|one| one.level == DiagnosticLevel::Error);
        prop_assert_eq!(loaded.rules.is_none(), errors);
        for diagnostic in &loaded.diagnostics {
            for place in diagnostic.place.iter().chain(diagnostic.related.iter().map(|(p, _)| p)) {
                prop_assert!(place.source.text.get(place.span.clone()).is_some(), "{:?}", place.span);
            }
            prop_assert!(!diagnostic.render(false).is_empty());
        }
    }
}

fn codes_of(text: impl Into<String>) -> Vec<&'static str> {
    let source = SourceText::new("r.yaml", text);
    let sources = RuleSources { rules: vec![source], ..RuleSources::default() };
    let loaded = load(&sources, &LoadOptions::default());
    assert!(loaded.rules.is_none());
    loaded.diagnostics.iter().map(|one| one.code).collect()
}

const HEAD: &str = "title: a\nlogsource: {product: kubernetes, service: audit}\n";

#[test]
fn what_is_too_large_is_refused_soon() {
    let mut bomb = format!("{HEAD}a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..20 {
        let before = n - 1;
        bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 9].join(", "));
    }
    assert_eq!(codes_of(bomb), ["Y003"]);
    assert_eq!(codes_of(format!("{HEAD}detection: {}", "[".repeat(100_000))), ["Y003"]);
    assert_eq!(codes_of("# much\n".repeat(2_000_000)), ["Y002"]);
    let values: Vec<String> = (0..20_000).map(|n| format!("'a{n}*b'")).collect();
    let values = values.join(", ");
    let many = format!(
        "{HEAD}detection: {{selection: {{userAgent: [{values}]}}, condition: selection}}\n"
    );
    assert_eq!(codes_of(many), [code::TOO_MANY]);
    let mut many = format!("{HEAD}detection:\n");
    for n in 0..2_000 {
        many += &format!("  s{n}: {{verb: get}}\n");
    }
    assert_eq!(codes_of(format!("{many}  condition: all of them\n")), [code::TOO_MANY]);
    let condition = "s or ".repeat(5_000);
    let long = format!("{HEAD}detection: {{s: {{verb: get}}, condition: '{condition}s'}}\n");
    assert_eq!(codes_of(long), [code::TOO_MANY]);
    let names: Vec<String> = (0..100).map(|n| format!("'a{n}*'")).collect();
    let again = format!(
        "{HEAD}detection: {{s: {{userAgent: [{}]}}, condition: '{}s'}}\n",
        names.join(", "),
        "s or ".repeat(2_000)
    );
    assert_eq!(codes_of(again), [code::TOO_MANY]);
    let mut filtered = format!("{HEAD}detection: {{s: {{verb: get}}, condition: s}}\n");
    for n in 0..200 {
        filtered += &format!(
            "---\ntitle: f{n}\nlogsource: {{product: kubernetes, service: audit}}\nfilter: {{rules: any, \
             f: {{userAgent: a{n}}}, condition: not f}}\n"
        );
    }
    assert_eq!(codes_of(filtered), [code::TOO_MANY]);
    let rule = |n: usize| {
        let text = format!("{HEAD}name: r{n}\ndetection: {{a: {{verb: get}}, condition: a}}\n");
        SourceText::new(format!("r{n}.yaml"), text)
    };
    let rules = (0..=RULES_MAX).map(rule).collect();
    let loaded = load(&RuleSources { rules, ..RuleSources::default() }, &LoadOptions::default());
    let codes: Vec<&str> = loaded.diagnostics.iter().map(|one| one.code).collect();
    assert_eq!(codes, [code::TOO_MANY]);
}

#[test]
fn of_many_mistakes_some_are_shown_and_the_rest_is_counted() {
    let values: Vec<String> = (0..100_000).map(|n| format!("x{n}")).collect();
    let one_field =
        format!("{HEAD}detection: {{s: {{verb: [{}]}}, condition: s}}\n", values.join(", "));
    let sources =
        RuleSources { rules: vec![SourceText::new("r.yaml", one_field)], ..RuleSources::default() };
    let loaded = load(&sources, &LoadOptions::default());
    assert!(loaded.diagnostics.len() < 20, "{}", loaded.diagnostics.len());
    let entries = "- {vale: x}\n".repeat(DIAGNOSTICS_MAX + 5);
    let rule = format!("{HEAD}detection: {{s: {{verb: get}}, condition: s}}\n");
    let sources = RuleSources {
        rules: vec![SourceText::new("r.yaml", rule)],
        lists: vec![("l".to_owned(), SourceText::new("lists/l.yaml", entries))],
        ..RuleSources::default()
    };
    let loaded = load(&sources, &LoadOptions::default());
    let last = loaded.diagnostics.last().unwrap();
    assert!(loaded.rules.is_none());
    assert_eq!(loaded.diagnostics.len(), DIAGNOSTICS_MAX + 1);
    // Two for each entry: a missing key, and an unknown one.
    let more = 2 * (DIAGNOSTICS_MAX + 5) - DIAGNOSTICS_MAX;
    assert_eq!(last.title, format!("{more} more errors are not shown"));
}

#[test]
fn long_lists_are_one_test_and_longer_ones_are_refused() {
    let rule = format!(
        "{HEAD}detection: {{selection: {{user.username|expand: '%people%'}}, condition: selection}}\n"
    );
    let load_with = |count: usize| {
        let list: Vec<String> = (0..count).map(|n| format!("- user-{n}\n")).collect();
        let list = list.concat();
        let sources = RuleSources {
            rules: vec![SourceText::new("r.yaml", rule.clone())],
            lists: vec![("people".to_owned(), SourceText::new("lists/people.yaml", list))],
            ..RuleSources::default()
        };
        load(&sources, &LoadOptions::default())
    };
    let loaded = load_with(LIST_VALUES_MAX);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    assert_eq!(loaded.rules.unwrap().predicates.len(), 1);
    let codes: Vec<&str> =
        load_with(LIST_VALUES_MAX + 1).diagnostics.iter().map(|one| one.code).collect();
    assert!(codes.contains(&code::TOO_MANY), "{codes:?}");
}

#[test]
fn long_chains_of_correlations_load_and_circles_are_found_in_them() {
    let chain = |count: usize, first: &str| {
        let mut text = format!("{HEAD}name: c0\ndetection: {{a: {{verb: get}}, condition: a}}\n");
        for n in 1..=count {
            let input = if n == 1 { first.to_owned() } else { format!("c{}", n - 1) };
            text += &format!(
                "---\ntitle: t{n}\nname: c{n}\ncorrelation: {{type: event_count, rules: [{input}], \
                 timespan: 5m, condition: {{gte: 2}}}}\n"
            );
        }
        text
    };
    let source = SourceText::new("r.yaml", chain(1_000, "c0"));
    let sources = RuleSources { rules: vec![source], ..RuleSources::default() };
    let loaded = load(&sources, &LoadOptions::default());
    let words: String = loaded.diagnostics.iter().map(|one| one.render(false)).take(3).collect();
    assert!(words.is_empty(), "{words}");
    assert_eq!(loaded.rules.unwrap().rules.len(), 1_001);
    assert_eq!(codes_of(chain(1_000, "c1000")), [code::CYCLE]);
}
