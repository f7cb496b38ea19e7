//! The table of kinds: what each line of it promises to people who write rules.

use std::{fs, path::Path};

use tripline::engine::{
    diagnostic::SourceText,
    kind::{KINDS, Written},
    rule::{LoadOptions, Rule, RuleSources, load},
};

#[test]
fn every_example_loads_without_a_word_and_is_of_its_kind() {
    for entry in KINDS {
        let sources = RuleSources {
            rules: vec![SourceText::new(format!("{}.yaml", entry.name), entry.example)],
            ..RuleSources::default()
        };
        let loaded = load(&sources, &LoadOptions::default());
        let words: String =
            loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
        assert!(loaded.diagnostics.is_empty(), "{}: {words}", entry.name);
        let rules = loaded.rules.unwrap();
        let is_of_kind = |rule: &Rule| match rule {
            Rule::Correlation(rule) => {
                rule.kind.entry().name == entry.name && !rule.kind.describe(&rule.frame).is_empty()
            }
            Rule::Detection(_) => false,
        };
        assert!(rules.rules.iter().any(is_of_kind), "{}", entry.name);
    }
}

#[test]
fn every_kind_has_a_scenario_and_a_line_in_the_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for entry in KINDS {
        let name = entry.name;
        let scenario = root.join(format!("tests/data/scenarios/{name}.txt"));
        assert!(scenario.is_file(), "there is no {}", scenario.display());
        let word = match entry.written {
            Written::Type => format!("| `{name}` |"),
            Written::Key | Written::Contribution => format!("| `tripline.{name}` |"),
        };
        assert!(readme.contains(&word), "README.md has no line {word}");
    }
}
