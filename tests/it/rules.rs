//! Whole rule directories: the shipped pack loads, and so does what other people write.

use std::path::Path;

use tripline::{
    config::rules_dir::read_rules_dir,
    engine::rule::{LoadOptions, Loaded, load},
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
