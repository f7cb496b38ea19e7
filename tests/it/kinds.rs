//! The table of kinds: what each line of it promises to people who write rules.

use std::{fs, path::Path};

use tripline::engine::{
    diagnostic::SourceText,
    kind::{KINDS, Life, ONE_EVENT, Written},
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
    let scenarios: Vec<String> = fs::read_dir(root.join("tests/data/scenarios"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for entry in KINDS {
        let name = entry.name;
        let (said, word) = match entry.written {
            Written::Type => (format!("type: {name}"), format!("| `{name}` |")),
            Written::Key | Written::Contribution => {
                (format!("{name}: {{"), format!("| `tripline.{name}` |"))
            }
        };
        assert!(scenarios.iter().any(|text| text.contains(&said)), "no scenario has {said}");
        assert!(readme.contains(&word), "README.md has no line {word}");
    }
}

/// The table of all lives, as README.md has it: kinds whose alerts live alike share a line.
fn lives() -> String {
    let mut lines: Vec<(&Life, Vec<String>)> = vec![(&ONE_EVENT, vec!["one event".to_owned()])];
    for entry in KINDS {
        for life in entry.lives {
            let name = format!("`{}`", entry.name);
            match lines.iter_mut().find(|(known, _)| *known == life) {
                Some((_, names)) => names.push(name),
                None => lines.push((life, vec![name])),
            }
        }
    }
    let mut table = String::from(
        "| rules about | if they are | an alert begins with | is told again when | ends with |\n\
         |---|---|---|---|---|\n",
    );
    for (Life { of, begins, again, ends }, names) in lines {
        table += &format!("| {} | {of} | {begins} | {again} | {ends} |\n", names.join(", "));
    }
    table
}

#[test]
fn the_readme_says_how_alerts_live() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let begin = readme.find("| rules about |").expect("README.md has the table");
    let end = begin + readme[begin..].find("\n\n").unwrap() + 1;
    let table = lives();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{}{table}{}", &readme[..begin], &readme[end..])).unwrap();
        return;
    }
    assert_eq!(readme[begin..end], table, "UPDATE=1 writes it anew");
}
