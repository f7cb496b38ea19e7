//! The rule set that was in force when something happened, as the ledger has it.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{ArchiveError, Filter, Reader};
use crate::engine::{
    ledger::{EntryKind, Row, hex_of},
    rule::RuleSources,
    time::EventTime,
};

/// A rule set of the ledger.
#[derive(Debug, Default)]
pub struct RulesThen {
    /// Its version; empty if the ledger does not say.
    pub version: String,
    /// Since when it was in force, as far as the ledger says; `None` if it does not.
    pub since: Option<EventTime>,
    /// Its files, with the texts that the ledger has.
    pub files: Vec<FileThen>,
    /// The rows that say so.
    pub rows: Vec<u64>,
}

/// A file of a rule set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileThen {
    /// What it is for: `rules`, `list` …
    pub part: String,
    /// Name of the list, if it is one.
    pub list: Option<String>,
    /// Its path, as it was.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: String,
    /// Its text, if the ledger has all of it, and it is what its hash says.
    pub text: Option<String>,
}

/// A file as an entry lists it.
#[derive(Deserialize)]
struct Listed {
    part: String,
    list: Option<String>,
    name: String,
    sha256: String,
}

/// A rule set was put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The first row that says so.
    pub row: u64,
    /// Its version.
    pub version: String,
    /// When that was.
    pub at: EventTime,
    /// It had been in force before: an older row that said so is not there any more.
    pub is_still: bool,
}

/// All rule sets that were put in force, in the order of rows; of one that is told again, the first time. Cost: as of
/// [`rules_at`].
///
/// # Errors
/// The ledger cannot be read.
pub fn turns(reader: &Reader) -> Result<Vec<Turn>, ArchiveError> {
    let mut turns: Vec<Turn> = Vec::new();
    reader.each_of(&[Filter::Entries(EntryKind::Rules)], |row| {
        let of = row.entry().filter(|entry| !matches!(entry.what.as_str(), "text" | "files"));
        turns.extend(of.map(|entry| Turn {
            row: row.id,
            version: entry.subject.clone(),
            at: row.at(),
            is_still: entry.what == "still",
        }));
    })?;
    turns.sort_unstable_by_key(|turn| turn.row);
    turns.dedup_by(|next, turn| next.version == turn.version);
    Ok(turns)
}

/// The rule set that was in force when a row was written. Cost: a pass over what the ledger has of rules.
///
/// # Errors
/// The ledger cannot be read.
pub fn rules_at(reader: &Reader, id: u64) -> Result<RulesThen, ArchiveError> {
    rules_before(reader, |row| row.id < id)
}

/// The rule set that the last row names of those that are before something. Cost: as of [`rules_at`].
///
/// # Errors
/// The ledger cannot be read.
pub fn rules_before(
    reader: &Reader,
    is_before: impl Fn(&Row) -> bool,
) -> Result<RulesThen, ArchiveError> {
    let (mut then, mut lists) = (RulesThen::default(), BTreeMap::new());
    let mut listed: Vec<(u64, String, String)> = Vec::new();
    // Since when each set was in force: the first of the entries that follow each other and name it.
    let mut turns: BTreeMap<u64, (String, EventTime)> = BTreeMap::new();
    reader.each_of(&[Filter::Entries(EntryKind::Rules)], |row| {
        let Some(entry) = row.entry().filter(|_| is_before(row)) else { return };
        match (entry.what.as_str(), &entry.body) {
            ("text", _) => {}
            ("files", Some(body)) => {
                listed.push((row.id, entry.subject.clone(), body.text().to_owned()));
            }
            // The order of time is not that of rows.
            _ => drop(turns.insert(row.id, (entry.subject.clone(), row.at()))),
        }
    })?;
    let Some((main, (version, _))) = turns.last_key_value() else { return Ok(then) };
    then.version.clone_from(version);
    then.rows.push(*main);
    let same = turns.values().rev().take_while(|(known, _)| known == version);
    then.since = same.last().map(|(_, at)| *at);
    listed.retain(|(row, of, _)| row < main && of == version);
    listed.sort_unstable_by_key(|(row, ..)| *row);
    for (row, _, json) in listed {
        for file in serde_json::from_str::<Vec<Listed>>(&json).unwrap_or_default() {
            // A set that was told again has the same files again.
            lists.insert((file.part.clone(), file.name.clone()), file);
        }
        then.rows.push(row);
    }
    let mut texts = texts_of(reader, lists.values().map(|file| file.sha256.as_str()))?;
    for Listed { part, list, name, sha256 } in lists.into_values() {
        let text = texts.remove(&sha256).map(|(rows, text)| {
            then.rows.extend(rows);
            text
        });
        then.files.push(FileThen { part, list, name, sha256, text });
    }
    Ok(then)
}

/// Texts by their hash, with the rows that have them. Only those that are whole, and are what their hash says.
fn texts_of<'w>(
    reader: &Reader,
    wanted: impl Iterator<Item = &'w str>,
) -> Result<BTreeMap<String, (Vec<u64>, String)>, ArchiveError> {
    /// Parts of a text by their number: the row, and the part.
    type Parts = BTreeMap<u64, (u64, String)>;
    let mut found: BTreeMap<String, Parts> =
        wanted.map(|hash| (hash.to_owned(), Parts::new())).collect();
    reader.each_of(&[Filter::Entries(EntryKind::Rules)], |row: &Row| {
        let Some(entry) = row.entry().filter(|entry| entry.what == "text") else { return };
        if let (Some(parts), Some(body)) = (found.get_mut(&entry.subject), &entry.body) {
            parts.insert(entry.count_of("part"), (row.id, body.text().to_owned()));
        }
    })?;
    let whole = found.into_iter().filter_map(|(hash, parts)| {
        let (rows, texts): (Vec<u64>, Vec<String>) = parts.into_values().unzip();
        let text = texts.concat();
        let is_whole = hex_of(&Sha256::digest(&text)) == hash && !rows.is_empty();
        is_whole.then_some((hash, (rows, text)))
    });
    Ok(whole.collect())
}

impl RulesThen {
    /// Its files, to be loaded.
    ///
    /// # Errors
    /// The ledger does not have the text of a file, or nobody knows what that was for.
    pub fn sources(&self) -> Result<RuleSources, String> {
        let mut sources = RuleSources::default();
        for file in &self.files {
            let text = file.text.as_deref();
            let text =
                text.ok_or_else(|| format!("the ledger does not have the text of {}", file.name))?;
            sources.add_kept((&file.part, file.list.as_deref()), (&file.name, text))?;
        }
        sources.sort();
        Ok(sources)
    }
}
