//! The rule set that was in force at some time, as the ledger has it.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{ArchiveError, Filter, Query, Reader};
use crate::engine::{
    diagnostic::SourceText,
    ledger::{EntryKind, Row, hex_of},
    rule::{RuleSources, SourcePart},
    time::EventTime,
};

/// Rows that are in memory at once while they are looked through.
const ROWS_AT_ONCE: usize = 10_000;

/// A rule set of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesThen {
    /// Its version; empty if the ledger does not say.
    pub version: String,
    /// Its files.
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
    /// Its text; `None` if the ledger does not have it.
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

/// The rule set that was in force before some row: the last one of which a row tells that is before.
///
/// # Errors
/// The ledger cannot be read.
pub fn rules_then(
    reader: &Reader,
    is_before: impl Fn(&Row) -> bool,
) -> Result<RulesThen, ArchiveError> {
    let (mut then, mut lists) = (RulesThen::default(), BTreeMap::new());
    let mut listed: Vec<(u64, String, String)> = Vec::new();
    each(reader, &mut |row| {
        let Some(entry) = row.entry().filter(|_| is_before(row)) else { return };
        match (entry.what.as_str(), &entry.body) {
            ("text", _) => {}
            ("files", Some(body)) => {
                listed.push((row.id, entry.subject.clone(), body.text().to_owned()));
            }
            // The order of time is not that of rows.
            _ if then.rows.first().is_none_or(|last| row.id > *last) => {
                then.version.clone_from(&entry.subject);
                then.rows = vec![row.id];
            }
            _ => {}
        }
    })?;
    let main = then.rows.first().copied().unwrap_or_default();
    listed.retain(|(row, version, _)| *row < main && *version == then.version);
    listed.sort_unstable_by_key(|(row, ..)| *row);
    for (row, _, json) in listed {
        for file in serde_json::from_str::<Vec<Listed>>(&json).unwrap_or_default() {
            // A set that was told again has the same files again.
            lists.insert((file.part.clone(), file.name.clone()), file);
        }
        then.rows.push(row);
    }
    let texts = texts_of(reader, lists.values().map(|file| file.sha256.as_str()))?;
    for file in lists.into_values() {
        let Listed { part, list, name, sha256 } = file;
        let text = texts.get(&sha256).map(|(rows, text)| {
            then.rows.extend(rows);
            text.clone()
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
    each(reader, &mut |row: &Row| {
        let Some(entry) = row.entry().filter(|entry| entry.what == "text") else { return };
        if let (Some(parts), Some(body)) = (found.get_mut(&entry.subject), &entry.body) {
            parts.insert(entry.count_of("part"), (row.id, body.text().to_owned()));
        }
    })?;
    let whole = found.into_iter().filter_map(|(hash, parts)| {
        let (rows, texts): (Vec<u64>, Vec<String>) = parts.into_values().unzip();
        let text = texts.concat();
        let is_it = hex_of(&Sha256::digest(&text)) == hash && !rows.is_empty();
        is_it.then_some((hash, (rows, text)))
    });
    Ok(whole.collect())
}

/// Calls back with all entries on rule sets, in the order of time.
fn each(reader: &Reader, take: &mut dyn FnMut(&Row)) -> Result<(), ArchiveError> {
    let filters = vec![Filter::Entries(EntryKind::Rules)];
    let (from, to) = (EventTime::MIN, EventTime::MAX);
    let mut query = Query { filters, from, to, after: None, limit: ROWS_AT_ONCE };
    loop {
        let page = reader.page(&query)?;
        page.rows.iter().for_each(&mut *take);
        let Some(next) = page.next else { return Ok(()) };
        query.after = Some(next);
    }
}

impl RulesThen {
    /// Its files, to be loaded again. `None` if the ledger does not have all of their texts.
    pub fn sources(&self) -> Option<RuleSources> {
        if self.files.is_empty() {
            return None;
        }
        let mut sources = RuleSources::default();
        for file in &self.files {
            let source = SourceText::new(file.name.clone(), file.text.as_deref()?);
            sources.add(SourcePart::parse(&file.part)?, file.list.as_deref(), source);
        }
        sources.rules.sort_by(|a, b| a.name.cmp(&b.name));
        sources.lists.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
        Some(sources)
    }
}
