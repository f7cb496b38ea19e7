//! The configuration: `tests/data/config/*.yaml` against what is said about them, one mistake each.
//!
//! Lines `# environment NAME=VALUE` and `# set PATH=VALUE` at the head of a file are laid over it.
//! `UPDATE=1` writes the `.out` files anew; look at the difference before you keep it.

use std::{fmt::Write as _, fs, path::Path};

use proptest::prelude::*;

use tripline::{
    app::configuration::Configuration,
    config::{ConfigDocument, Input, SETTINGS},
    engine::diagnostic::Diagnostic,
};

const DIRECTORY: &str = "tests/data/config";

/// Everything that is said about a configuration, and whether it can be used.
fn check(text: &str, input: &Input) -> (Vec<Diagnostic>, bool) {
    let document = match ConfigDocument::from_text(text, input) {
        Ok(document) => document,
        Err(problems) => return (problems, false),
    };
    let read = document.parse(|root| Configuration::parse(root, &document, document.secrets()));
    match read {
        Ok((_, warnings)) => (warnings, true),
        Err(problems) => (problems, false),
    }
}

fn rendered(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut input = Input { path: path.file_name().unwrap().into(), ..Input::default() };
    for line in text.lines().map_while(|line| line.strip_prefix("# ")) {
        let pair = |rest: &str| {
            let (name, value) = rest.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        if let Some(rest) = line.strip_prefix("environment ") {
            input.environment.push(pair(rest));
        } else if let Some(rest) = line.strip_prefix("set ") {
            input.overrides.push(pair(rest));
        }
    }
    let (problems, usable) = check(&text, &input);
    let mut out = String::new();
    for problem in &problems {
        let _ = writeln!(out, "{}", problem.render(false));
    }
    let _ = writeln!(out, "{}", if usable { "usable" } else { "not usable" });
    out
}

#[test]
fn every_mistake_is_explained_as_its_golden_file_says() {
    let mut files: Vec<_> = fs::read_dir(DIRECTORY)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 25, "the golden files are gone: {}", files.len());
    let mut different = Vec::new();
    for path in files {
        let (actual, golden) = (rendered(&path), path.with_extension("out"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &actual).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if actual != expected {
            different
                .push(format!("=== {}\n--- expected\n{expected}--- got\n{actual}", path.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn the_smallest_file_needs_nothing_else() {
    let text = fs::read_to_string(Path::new(DIRECTORY).join("smallest.yaml")).unwrap();
    let (problems, usable) = check(&text, &Input::default());
    assert!(usable && problems.is_empty(), "{problems:?}");
}

#[test]
fn settings_are_described_once_each() {
    let mut paths: Vec<&str> = SETTINGS.iter().map(|setting| setting.path).collect();
    paths.sort_unstable();
    let count = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), count);
    for setting in SETTINGS {
        assert!(setting.summary.ends_with('.'), "{}: no sentence", setting.path);
    }
}

/// The example with every setting switched on that is switched off: `#` and no space before it.
fn switched_on(example: &str) -> String {
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        match line[indent..].strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => {
                format!("{}{rest}\n", &line[..indent])
            }
            _ => format!("{line}\n"),
        }
    };
    example.lines().map(line).collect()
}

#[test]
fn the_example_can_be_used_as_it_stands_and_with_everything_switched_on() {
    let example = fs::read_to_string("tripline.example.yaml").unwrap();
    let input = Input { path: "tripline.example.yaml".into(), ..Input::default() };
    for text in [example.clone(), switched_on(&example)] {
        let (problems, usable) = check(&text, &input);
        let shown: String = problems.iter().map(|problem| problem.render(false)).collect();
        assert!(usable && problems.is_empty(), "{shown}");
    }
}

/// Whether a key is shown, switched on or off, or named in prose as `{key` or `key (`.
fn is_shown(example: &str, key: &str) -> bool {
    let plain = |line: &str| line.trim_start().trim_start_matches(['#', '-', ' ']).to_owned();
    let forms = [format!("{key}:"), format!("{key}_file:")];
    let inner = [format!("{{{key}"), format!(", {key}"), format!(" {key} ("), format!("`{key}:")];
    example.lines().any(|line| {
        forms.iter().any(|form| plain(line).starts_with(form))
            || inner.iter().any(|form| line.contains(form))
    })
}

#[test]
fn the_example_shows_every_key_that_is_read() {
    use tripline::{notify::NOTIFIERS, source::SOURCES};
    let example = fs::read_to_string("tripline.example.yaml").unwrap();
    let text = switched_on(&example);
    let mut missing = Vec::new();
    // What a section knows, it tells whoever writes a key that it does not know.
    for section in [
        "",
        "sources[0].",
        "sources[0].kafka.",
        "sources[0].kafka.tls.",
        "sources[0].kafka.sasl.",
        "sources[1].file.",
        "sources[3].webhook.",
        "sources[3].webhook.tls.",
        "sources[3].webhook.basic_auth.",
        "http.",
        "receivers[0].",
        "receivers[0].stdout.",
        "receivers[1].alertmanager.",
        "receivers[1].alertmanager.basic_auth.",
        "receivers[2].slack.",
        "receivers[2].email.",
        "receivers[3].webhook.",
        "receivers[3].kafka.",
        "route.",
        "route.routes[0].",
        "engine.",
        "heartbeat.",
        "canary.",
        "http.tls.",
        "http.basic_auth.",
        "dead_letter.",
        "ledger.",
        "log.",
        "reload.",
    ] {
        let unknown = format!("{section}zzzzzzzzzzzz");
        let overrides = vec![(unknown.clone(), "1".to_owned())];
        let (problems, _) = check(&text, &Input { overrides, ..Input::default() });
        let problem = problems.iter().find(|problem| problem.title.contains(&unknown)).unwrap();
        let known = problem.help[0].strip_prefix("known keys here: ").unwrap();
        for key in known.split(", ") {
            let plain = key.strip_suffix("_env").or(key.strip_suffix("_file")).unwrap_or(key);
            if !is_shown(&example, plain) {
                missing.push(format!("{section}{key}"));
            }
        }
    }
    let kinds = SOURCES.iter().map(|kind| kind.name()).chain(NOTIFIERS.iter().map(|k| k.name()));
    missing.extend(kinds.filter(|kind| !is_shown(&example, kind)).map(str::to_owned));
    assert!(missing.is_empty(), "tripline.example.yaml does not show: {missing:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is done to a file, its problems can be shown, each at a place that exists, and no
    /// secret is shown.
    #[test]
    fn no_damage_to_a_file_breaks_its_explanation(
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[\\PC\n]{0,6}", 0_usize..12), 1..6),
        variable in "[A-Z0-9_]{1,24}",
        path in "[a-z0-9.\\[\\]_]{0,20}",
        value in "[\\PC\n]{0,20}",
    ) {
        let secret = "c0rrect-horse";
        let mut text = fs::read_to_string(Path::new(DIRECTORY).join("smallest.yaml")).unwrap();
        text.push_str("log:\n  level: info");
        for (at, insert, remove) in edits {
            let boundary = |text: &str, mut at: usize| {
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let from = boundary(&text, at.index(text.len() + 1));
            let to = boundary(&text, (from + remove).min(text.len()));
            text.replace_range(from..to, &insert);
        }
        text.push_str(&format!("\n  api_token: {secret}\n"));
        let input = Input {
            path: "t.yaml".into(),
            environment: vec![(format!("TRIPLINE_{variable}"), value.clone())],
            overrides: vec![(path, value)],
        };
        let (problems, _) = check(&text, &input);
        for problem in &problems {
            if let Some(place) = &problem.place {
                prop_assert!(place.span.start <= place.span.end);
                prop_assert!(place.source.text.get(place.span.clone()).is_some(), "{problem:?}");
            }
            let shown = problem.render(false);
            prop_assert!(!shown.contains(secret), "{shown}");
        }
    }
}
