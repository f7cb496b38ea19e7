//! The rule set that was in force when something happened, as the ledger has it.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{
    package::{Package, RuleFile, hash_of},
    rows::each,
};
use crate::{
    archive::{ArchiveError, Filter, Reader},
    engine::{
        diagnostic::SourceText,
        ledger::{EntryKind, Row},
        rule::{RuleSources, SourcePart},
    },
};

/// A rule set of the ledger.
#[derive(Debug, Default)]
pub(super) struct RulesThen {
    /// Its version; empty if the ledger does not say.
    pub(super) version: String,
    /// Its files, with the texts that the ledger has.
    pub(super) files: Vec<(RuleFile, Option<String>)>,
    /// The rows that say so.
    pub(super) rows: Vec<u64>,
}

/// A file as an entry lists it.
#[derive(Deserialize)]
struct Listed {
    part: String,
    list: Option<String>,
    name: String,
    sha256: String,
}

/// The rule set that was in force when a row was written.
///
/// # Errors
/// The ledger cannot be read.
pub(super) fn rules_at(reader: &Reader, id: u64) -> Result<RulesThen, ArchiveError> {
    let (mut then, mut lists) = (RulesThen::default(), BTreeMap::new());
    let mut listed: Vec<(u64, String, String)> = Vec::new();
    each(reader, vec![Filter::Entries(EntryKind::Rules)], &mut |row| {
        let Some(entry) = row.entry().filter(|_| row.id < id) else { return };
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
    let mut texts = texts_of(reader, lists.values().map(|file| file.sha256.as_str()))?;
    for file in lists.into_values() {
        let Listed { part, list, name, sha256 } = file;
        let text = texts.remove(&sha256).map(|(rows, text)| {
            then.rows.extend(rows);
            text
        });
        then.files.push((RuleFile { part, list, name, sha256, file: None }, text));
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
    each(reader, vec![Filter::Entries(EntryKind::Rules)], &mut |row: &Row| {
        let Some(entry) = row.entry().filter(|entry| entry.what == "text") else { return };
        if let (Some(parts), Some(body)) = (found.get_mut(&entry.subject), &entry.body) {
            parts.insert(entry.count_of("part"), (row.id, body.text().to_owned()));
        }
    })?;
    let whole = found.into_iter().filter_map(|(hash, parts)| {
        let (rows, texts): (Vec<u64>, Vec<String>) = parts.into_values().unzip();
        let text = texts.concat();
        (hash_of(text.as_bytes()) == hash && !rows.is_empty()).then_some((hash, (rows, text)))
    });
    Ok(whole.collect())
}

impl RulesThen {
    /// Adds the texts to a package. Returns the list of files.
    pub(super) fn add_to(self, package: &mut Package) -> Vec<RuleFile> {
        let numbered = (1..).zip(self.files);
        let add = |(number, (mut file, text)): (u32, (RuleFile, Option<String>))| {
            if let Some(text) = text {
                let name = format!("rules/{number:04}.txt");
                package.add(&name, text);
                file.file = Some(name);
            }
            file
        };
        numbered.map(add).collect()
    }
}

/// The rule files of a package.
///
/// # Errors
/// A text that is not there, or is not what its hash says.
pub(super) fn sources(package: &Package, files: &[RuleFile]) -> Result<RuleSources, String> {
    let mut sources = RuleSources::default();
    for file in files {
        let text = file.file.as_deref().and_then(|name| package.text(name));
        let text = text.ok_or_else(|| format!("the text of {} is not in it", file.name))?;
        if hash_of(text.as_bytes()) != file.sha256 {
            return Err(format!("the text of {} is not what its hash says", file.name));
        }
        let part = SourcePart::parse(&file.part)
            .ok_or_else(|| format!("{}: nobody knows what `{}` is", file.name, file.part))?;
        let source: Arc<SourceText> = SourceText::new(file.name.clone(), text);
        sources.add(part, file.list.as_deref(), source);
    }
    sources.rules.sort_by(|a, b| a.name.cmp(&b.name));
    sources.lists.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
    Ok(sources)
}
