//! What the newest versions of Kubernetes write, as their enhancement proposals and sources define it:
//! `tests/data/kubernetes/*.json`, an event each, beside two rules of which one matches. None of these
//! events has been seen live; each file of rules says where its event comes from.

use std::{fs, path::Path};

use tripline::engine::{
    detect::explain_record,
    diagnostic::SourceText,
    rule::{LoadOptions, RuleIndex, RuleSources, load},
};

#[test]
fn events_are_read_and_rules_about_them_load_without_a_word() {
    let mut count = 0;
    for entry in fs::read_dir("tests/data/kubernetes").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        count += 1;
        let rules = fs::read_to_string(path.with_extension("yaml")).unwrap();
        assert_eq!(matching(&path, rules, &fs::read(&path).unwrap()), ["matches"], "{path:?}");
    }
    assert!(count >= 4, "only {count} events");
}

/// The names of the rules that match.
fn matching(path: &Path, rules: String, event: &[u8]) -> Vec<String> {
    let rules = vec![SourceText::new("rules.yaml", rules)];
    let loaded = load(&RuleSources { rules, ..RuleSources::default() }, &LoadOptions::default());
    let words: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    assert!(words.is_empty(), "{}: {words}", path.display());
    let rules = loaded.rules.unwrap();
    let explained = explain_record(&rules, &[RuleIndex(0), RuleIndex(1)], event);
    assert!(explained.undecodable.is_empty(), "{}: {:?}", path.display(), explained.undecodable);
    let [event] = explained.events.as_slice() else { panic!("{}", path.display()) };
    event.rules.iter().filter(|rule| rule.holds).map(|rule| rule.name.clone()).collect()
}
