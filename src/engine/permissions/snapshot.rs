//! Roles and bindings of a cluster as entries of the ledger: what was granted when somebody looked.
//!
//! They are written in one form and order, and cut into parts that fit into a row; the hash over all of them
//! says which parts belong together, and whether all are there.

use serde::{Deserialize, Serialize};

use super::{
    import::{ImportMistake, Imported, key_of},
    rbac::Object,
};
use crate::engine::{
    digest::{Digest, hex},
    ledger::{Entry, EntryKind},
    limits::{RBAC_PART_BYTES_MAX, RBAC_SNAPSHOT_BYTES_MAX},
    time::EventTime,
};

/// What is one snapshot, for joining its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Over the texts of all objects.
    pub(super) hash: String,
    /// Counts up from 1.
    pub(super) number: u64,
    /// How many there are.
    pub(super) of: u64,
    /// One object a line.
    pub(super) lines: String,
}

/// The entries that keep a snapshot of a cluster. `taken` is when its list was printed.
///
/// # Errors
/// It is more than the ledger takes.
pub fn snapshot_entries(
    cluster: &str,
    by: &str,
    taken: EventTime,
    imported: &Imported,
) -> Result<Vec<Entry>, ImportMistake> {
    let mut objects: Vec<&Object> = imported.objects.iter().collect();
    objects.sort_by_key(|object| key_of(object));
    let lines: Vec<String> = objects.iter().map(|object| line_of(object)).collect();
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let longest = lines.iter().map(String::len).max().unwrap_or(0);
    if bytes > RBAC_SNAPSHOT_BYTES_MAX || longest > RBAC_SNAPSHOT_BYTES_MAX / 8 {
        return Err(ImportMistake {
            place: "items".to_owned(),
            what: format!(
                "the rules and subjects have {bytes} bytes, the longest object {longest}; at most \
                 {RBAC_SNAPSHOT_BYTES_MAX} and {} are kept",
                RBAC_SNAPSHOT_BYTES_MAX / 8
            ),
            hint: "leave out what nobody is to be asked about".to_owned(),
        });
    }
    let hash = hex(&Digest::of(&lines).first::<16>());
    let mut parts: Vec<String> = vec![String::new()];
    for line in &lines {
        if parts
            .last()
            .is_some_and(|part| !part.is_empty() && part.len() + line.len() >= RBAC_PART_BYTES_MAX)
        {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    let of = parts.len() as u64;
    let [roles, bindings, accounts] = imported.counts().map(|count| count as u64);
    let entry = |(number, lines): (u64, String)| {
        let mut entry = Entry::new(EntryKind::RbacSnapshot, cluster, "imported")
            .by(by)
            .at(taken)
            .detail("roles and bindings as they were then")
            .fact("hash", &hash)
            .count("part", number)
            .count("parts", of)
            .count("roles", roles)
            .count("bindings", bindings)
            .count("service_accounts", accounts);
        // Longer than other facts may be, and bounded here.
        entry.facts.push(("objects".to_owned(), lines));
        entry
    };
    Ok((1..).zip(parts).map(entry).collect())
}

fn line_of(object: &Object) -> String {
    serde_json::to_string(object).expect("an object is made of texts")
}

/// The part that an entry keeps.
pub(super) fn part_of(entry: &Entry) -> Option<Part> {
    Some(Part {
        hash: entry.fact_of("hash")?.to_owned(),
        number: entry.count_of("part"),
        of: entry.count_of("parts"),
        lines: entry.fact_of("objects")?.to_owned(),
    })
}

/// The objects of a snapshot, if its parts are whole.
pub(super) fn objects_of(parts: &[Part]) -> Option<Vec<Object>> {
    let first = parts.first()?;
    let is_whole = parts.len() as u64 == first.of
        && (1..).zip(parts).all(|(number, part)| part.number == number && part.hash == first.hash);
    let lines: Vec<&str> = parts.iter().flat_map(|part| part.lines.lines()).collect();
    if !is_whole || hex(&Digest::of(&lines).first::<16>()) != first.hash {
        return None;
    }
    lines.into_iter().map(|line| serde_json::from_str(line).ok()).collect()
}
