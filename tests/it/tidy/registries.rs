//! Tables of kinds: sorted, and complete, so that adding a kind is one file and one line.

use super::source::{check, program_text, sources};

/// For each table, what shows that a file has something for it.
const TABLES: &[(&str, &str)] = &[
    ("KINDS", ": KindEntry = KindEntry {"),
    ("NOTIFIERS", "impl NotifierKind for "),
    ("SOURCES", "impl SourceKind for "),
];

/// A table of a file, with its entries as they are written.
struct Registry {
    name: String,
    path: String,
    line: usize,
    entries: Vec<String>,
}

/// Every `const NAME: … = &[…];` whose entries are references to items: `&slack::Slack`.
fn registries(path: &str, text: &str) -> Vec<Registry> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("const ") {
        let Some((head, rest)) = text[at..].split_once('=') else { continue };
        let Some(list) = rest.trim_start().strip_prefix("&[") else { continue };
        let list = list.split("];").next().unwrap();
        let entries: Vec<String> = list
            .split(',')
            .map(|entry| entry.trim().to_owned())
            .filter(|entry| !entry.is_empty())
            .collect();
        let is_item = |entry: &String| entry.starts_with('&') && entry.contains("::");
        if head.contains(':') && !entries.is_empty() && entries.iter().all(is_item) {
            let name = head["const ".len()..].split(':').next().unwrap().trim().to_owned();
            let line = text[..at].matches('\n').count() + 1;
            found.push(Registry { name, path: path.to_owned(), line, entries });
        }
    }
    found
}

fn all_registries() -> Vec<Registry> {
    let sources = sources();
    sources.iter().flat_map(|(path, text)| registries(path, &program_text(text))).collect()
}

#[test]
fn registries_are_sorted() {
    // Several kinds may share a file, so they stand by name, and a test beside them says so.
    let by_place = all_registries().into_iter().filter(|table| table.name != "KINDS");
    let errors = by_place.filter(|table| !table.entries.is_sorted());
    let errors =
        errors.map(|table| format!("{}:{}: {} is not sorted", table.path, table.line, table.name));
    check(&errors.collect::<Vec<_>>());
}

#[test]
fn registries_name_every_kind() {
    let (sources, tables) = (sources(), all_registries());
    let mut errors = Vec::new();
    for (name, sign) in TABLES {
        let Some(table) = tables.iter().find(|table| table.name == *name) else {
            errors.push(format!("there is no table {name}"));
            continue;
        };
        let signs: usize =
            sources.iter().map(|(_, text)| program_text(text).matches(sign).count()).sum();
        if signs != table.entries.len() {
            let count = table.entries.len();
            errors.push(format!(
                "{}:{}: {name} has {count} entries, but `{sign}` is written {signs} times",
                table.path, table.line
            ));
        }
    }
    check(&errors);
}

#[test]
fn every_decoder_with_code_of_its_own_is_in_the_table() {
    let sources = sources();
    let text_of = |wanted: &str| {
        let found = sources.iter().find(|(path, _)| path == wanted);
        found.map(|(_, text)| program_text(text)).unwrap_or_default()
    };
    let table = text_of("src/engine/decode/envelope.rs");
    let decoders: Vec<&str> = sources
        .iter()
        .filter(|(_, text)| program_text(text).contains("pub(super) fn is(members: &Members<'_>)"))
        .filter_map(|(path, _)| path.strip_prefix("src/engine/decode/")?.strip_suffix(".rs"))
        .collect();
    assert!(decoders.len() > 2, "{decoders:?}");
    let missing = decoders.iter().filter(|name| !table.contains(&format!("shape: {name}::is")));
    check(&missing.map(|name| format!("DECODERS lacks {name}")).collect::<Vec<_>>());
}

#[test]
fn what_is_out_of_order_is_seen() {
    let text = "pub const NOTIFIERS: &[&dyn NotifierKind] = &[\n    &b::B,\n    &a::A,\n];\n";
    let found = registries("src/x.rs", text);
    assert_eq!((found.len(), found[0].name.as_str()), (1, "NOTIFIERS"));
    assert!(!found[0].entries.is_sorted());
}
