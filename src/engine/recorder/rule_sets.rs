//! Rule sets in the ledger: which rules were added, removed and changed, and what files said then.
//!
//! The text of a file is written once, by its hash, and again after a month, so that it is there as long as
//! rows that refer to it: the archive deletes old months.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::engine::{
    digest::Digest,
    ledger::{Body, Entry, EntryKind, Hash, hex_of},
    limits::{ENTRY_BODY_BYTES_MAX, RULE_TEXTS_BYTES_MAX},
    rule::{Rule, RuleIndex, RuleSet},
    time::WallTime,
};

/// After so long a rule set that is still in force is told again: 30 days.
const TOLD_AGAIN: Duration = Duration::from_secs(30 * 86_400);

/// Files that one entry lists: 200, so that it stays below the bound of a body.
const FILES_LISTED: usize = 200;

/// Bytes of the name of a file in a list of them.
const FILE_NAME_BYTES_MAX: usize = 200;

/// A rule set as it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    version: String,
    at: WallTime,
    /// What each rule says, by its name.
    rules: BTreeMap<String, [u8; 8]>,
    /// Hash of each file, by its name.
    files: BTreeMap<String, Hash>,
}

/// What was told of rule sets.
#[derive(Debug, Default)]
pub(super) struct RuleSets {
    told: Option<Told>,
    told_changed: bool,
    /// When the text with a hash was written last.
    texts: BTreeMap<Hash, WallTime>,
    texts_changed: BTreeSet<Hash>,
}

/// A file in the list of a rule set's files.
#[derive(Serialize)]
struct FileLine<'a> {
    part: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<&'a str>,
    name: &'a str,
    sha256: String,
    bytes: usize,
    /// Whether the ledger has its text.
    kept: bool,
}

impl RuleSets {
    /// Whether it is time to tell the rule set in force again.
    pub(super) fn are_due(&self, now: WallTime) -> bool {
        self.told.as_ref().is_some_and(|told| now.since(told.at) >= TOLD_AGAIN)
    }

    /// Entries for a rule set that is in force from now on, if they are not there yet.
    pub(super) fn in_force(&mut self, now: WallTime, rules: &RuleSet, trigger: &str) -> Vec<Entry> {
        let is_known = |told: &Told| told.version == rules.version;
        if self.told.as_ref().is_some_and(is_known) && !self.are_due(now) {
            return Vec::new();
        }
        let fresh = told_of(now, rules);
        let mut entries = Vec::new();
        let files = self.write_texts(now, rules, &mut entries);
        let parts = files.chunks(FILES_LISTED);
        let count = parts.len() as u64;
        for (part, files) in (1..).zip(parts) {
            let Ok(json) = serde_json::to_string(files) else { continue };
            let entry = Entry::new(EntryKind::Rules, &rules.version, "files")
                .count("part", part)
                .count("parts", count);
            entries.push(entry.body(Body::Files(json)));
        }
        entries.push(change_entry(self.told.as_ref(), &fresh, trigger));
        self.forget_texts(now, &fresh);
        self.told = Some(fresh);
        self.told_changed = true;
        entries
    }

    /// The texts that are not there yet, within a bound; lists all files.
    fn write_texts<'r>(
        &mut self,
        now: WallTime,
        rules: &'r RuleSet,
        entries: &mut Vec<Entry>,
    ) -> Vec<FileLine<'r>> {
        let mut room = RULE_TEXTS_BYTES_MAX;
        let mut files = Vec::new();
        for file in rules.sources.files() {
            let text = &file.source.text;
            let hash: Hash = Sha256::digest(text).into();
            let written = self.texts.get(&hash);
            let mut kept = written.is_some_and(|at| now.since(*at) < TOLD_AGAIN);
            if !kept && text.len() <= room {
                room -= text.len();
                write_text(&hash, &file.source.name, text, entries);
                self.texts.insert(hash, now);
                self.texts_changed.insert(hash);
                kept = true;
            }
            let name = &file.source.name;
            let name = name.get(..name.floor_char_boundary(FILE_NAME_BYTES_MAX)).unwrap_or(name);
            let (part, bytes) = (file.part.as_str(), text.len());
            files.push(FileLine {
                part,
                list: file.list,
                name,
                sha256: hex_of(&hash),
                bytes,
                kept,
            });
        }
        files
    }

    /// Texts that no rule set in force has are written again if they come back.
    fn forget_texts(&mut self, now: WallTime, fresh: &Told) {
        let in_force: BTreeSet<&Hash> = fresh.files.values().collect();
        let changed = &mut self.texts_changed;
        self.texts.retain(|hash, at| {
            let is_kept = in_force.contains(hash) || now.since(*at) < TOLD_AGAIN;
            if !is_kept {
                changed.insert(*hash);
            }
            is_kept
        });
    }

    /// What was told, if it changed since the last call.
    pub(super) fn take_told(&mut self) -> Option<&Told> {
        if std::mem::take(&mut self.told_changed) { self.told.as_ref() } else { None }
    }

    /// Texts that were written, or are forgotten, since the last call.
    pub(super) fn take_texts(&mut self) -> Vec<(Hash, Option<WallTime>)> {
        let changed = std::mem::take(&mut self.texts_changed).into_iter();
        changed.map(|hash| (hash, self.texts.get(&hash).copied())).collect()
    }

    pub(super) fn restore_told(&mut self, told: Told) {
        self.told = Some(told);
    }

    pub(super) fn restore_text(&mut self, hash: Hash, at: WallTime) {
        self.texts.insert(hash, at);
    }
}

/// The text of a file, in as many entries as it needs.
fn write_text(hash: &Hash, name: &str, text: &str, entries: &mut Vec<Entry>) {
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.is_empty() || !rest.is_empty() {
        let (part, behind) = rest.split_at(rest.floor_char_boundary(ENTRY_BODY_BYTES_MAX));
        parts.push(part);
        rest = behind;
    }
    let count = parts.len() as u64;
    entries.extend((1..).zip(parts).map(|(part, text)| {
        Entry::new(EntryKind::Rules, &hex_of(hash), "text")
            .detail(name)
            .count("part", part)
            .count("parts", count)
            .body(Body::Text(text.to_owned()))
    }));
}

/// That another rule set is in force, and what is different about it.
fn change_entry(before: Option<&Told>, after: &Told, trigger: &str) -> Entry {
    let is_same = before.is_some_and(|before| before.version == after.version);
    let entry =
        Entry::new(EntryKind::Rules, &after.version, if is_same { "still" } else { trigger })
            .fact("before", before.map_or("", |before| &before.version));
    let (no_rules, no_files) = (BTreeMap::new(), BTreeMap::new());
    let rules = before.map_or(&no_rules, |before| &before.rules);
    let files = before.map_or(&no_files, |before| &before.files);
    let entry = changes(entry, ["added", "removed", "changed"], rules, &after.rules);
    let names = ["files_added", "files_removed", "files_changed"];
    changes(entry, names, files, &after.files)
        .count("rules", after.rules.len() as u64)
        .count("files", after.files.len() as u64)
}

/// Facts and counts of what was added, removed and changed.
fn changes<V: PartialEq>(
    entry: Entry,
    words: [&str; 3],
    before: &BTreeMap<String, V>,
    after: &BTreeMap<String, V>,
) -> Entry {
    let without = |these: &BTreeMap<String, V>, those: &BTreeMap<String, V>| -> Vec<String> {
        these.keys().filter(|name| !those.contains_key(*name)).cloned().collect()
    };
    let differs = |(name, what): &(&String, &V)| before.get(*name).is_some_and(|old| old != *what);
    let changed = after.iter().filter(differs).map(|(name, _)| name.clone()).collect();
    let lists = [without(after, before), without(before, after), changed];
    words.into_iter().zip(lists).fold(entry, |entry, (word, names)| {
        entry.fact(word, &names.join(", ")).count(word, names.len() as u64)
    })
}

fn told_of(now: WallTime, rules: &RuleSet) -> Told {
    let starts = starts(rules);
    let of_rule = |(_, rule): (RuleIndex, &Rule)| {
        let meta = rule.meta();
        let about = serde_json::to_string(&meta.about).unwrap_or_default();
        let text = text_of(rule, &starts);
        let plan = rules.describe_rule(rule);
        (meta.name.clone(), Digest::of([text, &plan, &about]).first())
    };
    let of_file = |file: crate::engine::rule::SourceFile<'_>| {
        (file.source.name.clone(), Sha256::digest(&file.source.text).into())
    };
    Told {
        version: rules.version.clone(),
        at: now,
        rules: rules.written().map(of_rule).collect(),
        files: rules.sources.files().map(of_file).collect(),
    }
}

/// Where documents begin in each file.
fn starts(rules: &RuleSet) -> BTreeMap<String, BTreeSet<usize>> {
    let mut starts: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for place in rules.written().filter_map(|(_, rule)| rule.meta().place.as_ref()) {
        starts.entry(place.source.name.clone()).or_default().insert(place.span.start);
    }
    starts
}

/// The text of a rule's document: up to where the next one begins.
fn text_of<'r>(rule: &'r Rule, starts: &BTreeMap<String, BTreeSet<usize>>) -> &'r str {
    let Some(place) = &rule.meta().place else { return "" };
    let start = place.span.start;
    let next = starts.get(&place.source.name).and_then(|all| all.range(start + 1..).next());
    let end = next.copied().unwrap_or(place.source.text.len());
    place.source.text.get(start..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        diagnostic::SourceText,
        rule::{LoadOptions, RuleSources, load},
    };

    fn rule(name: &str, verb: &str) -> String {
        format!(
            "title: {name}\nname: {name}\nid: 00000000-0000-0000-0000-0000000000{:02x}\n\
             logsource: {{product: kubernetes, service: audit}}\n\
             detection: {{s: {{verb: {verb}}}, condition: s}}\nlevel: low\n---\n",
            name.len()
        )
    }

    fn set(text: &str) -> RuleSet {
        let rules = vec![SourceText::new("rules/a.yaml", text.trim_end().trim_end_matches("---"))];
        let loaded =
            load(&RuleSources { rules, ..RuleSources::default() }, &LoadOptions::default());
        loaded.rules.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
    }

    #[test]
    fn a_text_is_told_once_and_again_when_it_may_be_gone() {
        let now = WallTime::from_micros(1_000_000_000_000_000);
        let mut sets = RuleSets::default();
        let first = set(&(rule("a", "get") + &rule("bb", "list")));
        let words = |entries: &[Entry]| -> Vec<String> {
            entries.iter().map(|entry| entry.what.clone()).collect()
        };
        assert_eq!(words(&sets.in_force(now, &first, "started")), ["text", "files", "started"]);
        assert_eq!(words(&sets.in_force(now, &first, "started")), [""; 0]);
        let second = set(&(rule("a", "create") + &rule("ccc", "list")));
        let entries = sets.in_force(now, &second, "replaced");
        assert_eq!(words(&entries), ["text", "files", "replaced"]);
        let entry = entries.last().unwrap();
        for (fact, value) in
            [("added", "ccc"), ("removed", "bb"), ("changed", "a"), ("before", &first.version)]
        {
            assert_eq!(entry.fact_of(fact), Some(value), "{fact}");
        }
        // Its text is known; nothing of it is written twice.
        assert_eq!(words(&sets.in_force(now, &first, "replaced")), ["files", "replaced"]);
        let later = now.plus(TOLD_AGAIN);
        assert!(sets.are_due(later) && !sets.are_due(now));
        assert_eq!(words(&sets.in_force(later, &first, "")), ["text", "files", "still"]);
    }

    #[test]
    fn a_long_text_is_whole_in_its_parts() {
        let text = "é".repeat(ENTRY_BODY_BYTES_MAX);
        let mut entries = Vec::new();
        write_text(&[0; 32], "list", &text, &mut entries);
        assert_eq!(entries.len(), 2);
        let parts: Vec<&str> =
            entries.iter().map(|one| one.body.as_ref().unwrap().text()).collect();
        assert_eq!(parts.concat(), text);
        assert!(entries.iter().all(|entry| entry.count_of("parts") == 2));
    }
}
