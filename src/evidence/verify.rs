//! Whether a package is what it says: every part, the chain, and that what it tells stands in the chain.
#![allow(clippy::indexing_slicing, reason = "JSON answers `null` for what is not there")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::package::{ALERT, EventFile, LIFE, MANIFEST, Manifest, Package, TIMELINE, hash_of};
use crate::{
    archive::verify::{Asked, verify_lines},
    engine::{
        ledger::{Hash, hex_of, parse_hex},
        text::{counted, thousands},
    },
};

/// What checking came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong, for people, by part.
    pub faults: Vec<String>,
    /// What is as it should be, and what it rests on, for people.
    pub found: Vec<String>,
    /// Hashes of seals in it, to be compared with what was written down elsewhere: the row, and the hash.
    pub seals: Vec<(u64, String)>,
}

impl Checked {
    /// Whether nothing is wrong.
    pub const fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Checks a package. `asked` may name a seal that it must have, and a key that its seals must be signed by.
///
/// # Errors
/// It has no manifest that can be read.
pub fn verify(package: &Package, asked: Asked<'_>) -> Result<Checked, String> {
    let manifest = package.manifest()?;
    let mut checked = Checked::default();
    check_parts(package, &manifest, &mut checked);
    let lines = check_chain(package, &manifest, asked, &mut checked);
    check_rows(package, &manifest, &lines, &mut checked);
    check_rules(package, &manifest, &lines, &mut checked);
    check_events(package, &manifest, &lines, &mut checked);
    Ok(checked)
}

/// Every part is there, and is what its hash says; nothing was added.
fn check_parts(package: &Package, manifest: &Manifest, checked: &mut Checked) {
    for (name, hash) in &manifest.files {
        match package.files.get(name) {
            None => checked.faults.push(format!("{name}: it is missing")),
            Some(bytes) if hash_of(bytes) != *hash => {
                checked.faults.push(format!("{name}: it was changed"));
            }
            Some(_) => {}
        }
    }
    for name in package.files.keys().filter(|name| *name != MANIFEST) {
        if !manifest.files.contains_key(name) {
            checked.faults.push(format!("{name}: the manifest does not know it"));
        }
    }
    let parts = counted(manifest.files.len(), "part");
    checked.found.push(format!("{parts} compared with the manifest"));
}

/// Lines that stand in the chain, by the id of their row.
type Lines<'p> = BTreeMap<u64, &'p str>;

fn check_chain<'p>(
    package: &'p Package,
    manifest: &Manifest,
    asked: Asked<'_>,
    checked: &mut Checked,
) -> Lines<'p> {
    let mut lines = Lines::new();
    let (mut rows, mut seals, mut signed, mut has_seal) = (0, 0, 0, false);
    for segment in &manifest.chain {
        let name = &segment.file;
        let Some(text) = package.text(name) else {
            checked.faults.push(format!("{name}: it is missing, or no text"));
            continue;
        };
        let previous: Option<Hash> = parse_hex(&segment.previous);
        if previous.is_none() {
            checked.faults.push(format!("{name}: the hash before it is damaged"));
        }
        let asked = Asked { previous, ..asked };
        let Ok(verified) = verify_lines(text.as_bytes(), asked) else { continue };
        for fault in &verified.faults {
            let (from, to) = (thousands(fault.from), thousands(fault.to));
            checked.faults.push(format!("{name}: rows {from} to {to}: {}", fault.what));
        }
        if verified.head() != segment.head || verified.last.id != segment.last {
            let what =
                "the rows after its last seal do not come to the hash that the manifest says";
            checked.faults.push(format!("{name}: {what}"));
        }
        if verified.first != Some(segment.first) {
            checked.faults.push(format!("{name}: it does not begin with row {}", segment.first));
        }
        (rows, seals, signed) =
            (rows + verified.rows, seals + verified.seals, signed + verified.signed);
        has_seal |= verified.has_seal == Some(true);
        let mut sealed = segment.first.saturating_sub(1);
        for line in text.lines() {
            let Some((id, kind, subject)) = head_of(line) else { continue };
            if kind == "seal" {
                checked.seals.push((id, subject));
                sealed = id;
            }
            lines.insert(id, line);
        }
        if sealed < segment.last {
            let (from, to) = (thousands(sealed + 1), thousands(segment.last));
            checked.found.push(format!(
                "rows {from} to {to} had no seal behind them yet; the chain came to {} there",
                segment.head
            ));
        }
    }
    if asked.seal.is_some() && !has_seal {
        let seal = asked.seal.map(|seal| hex_of(&seal)).unwrap_or_default();
        checked.faults.push(format!("chain: no part of it has the hash {seal}"));
    }
    let signed = match (asked.check.is_some(), signed) {
        (true, signed) => format!(", {} with a signature of the key", thousands(signed)),
        (false, _) => String::new(),
    };
    checked.found.push(format!(
        "{} of the ledger's chain, {} hold{signed}",
        counted(rows, "row"),
        counted(seals, "seal"),
    ));
    lines
}

/// Id, kind and subject of a line.
fn head_of(line: &str) -> Option<(u64, String, String)> {
    let row: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    Some((row["id"].as_u64()?, text("kind"), text("subject")))
}

/// What is told of the alert, and around it, stands in the chain; the alert is what the ledger says.
fn check_rows(package: &Package, manifest: &Manifest, lines: &Lines<'_>, checked: &mut Checked) {
    let is_in_chain = |line: &str| {
        head_of(line).is_some_and(|(id, ..)| lines.get(&id).is_some_and(|known| *known == line))
    };
    let is_unproven = |name: &str| {
        name == TIMELINE && manifest.missing.iter().any(|what| what.starts_with("the proof of"))
    };
    for name in [LIFE, TIMELINE] {
        let text = package.text(name).unwrap_or_default();
        if is_unproven(name) {
            checked.found.push(format!("{name}: handed over without its proof"));
            continue;
        }
        for (number, _) in (1..).zip(text.lines()).filter(|(_, line)| !is_in_chain(line)) {
            checked.faults.push(format!("{name}: line {number} does not stand in the chain"));
        }
        let rows = counted(text.lines().count(), "row");
        checked.found.push(format!("{name}: {rows} looked for in the chain"));
    }
    let Some(alert) = package.text(ALERT) else { return };
    let life = package.text(LIFE).unwrap_or_default();
    let told: Vec<Value> =
        life.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let alert: Value = serde_json::from_str(alert).unwrap_or_default();
    let is_last = told.iter().rev().find(|row| row["kind"] == "alert" && !row["alert"].is_null());
    if is_last.is_none_or(|row| row["alert"] != alert) {
        checked.faults.push(format!("{ALERT}: it is not what the ledger said last of the alert"));
    }
    if alert["fingerprint"] != manifest.fingerprint.as_str() {
        checked.faults.push(format!("{ALERT}: it is another alert than the manifest says"));
    }
}

/// The texts of rules are those of the hashes that the chain has.
fn check_rules(package: &Package, manifest: &Manifest, lines: &Lines<'_>, checked: &mut Checked) {
    let mut known = BTreeSet::new();
    for line in lines.values().filter(|line| line.contains("\"what\":\"files\"")) {
        let row: Value = serde_json::from_str(line).unwrap_or_default();
        if row["kind"] == "rules" && row["subject"] == manifest.rule_set.as_str() {
            let files = row["files"].as_array().into_iter().flatten();
            known.extend(files.filter_map(|file| {
                Some((file["name"].as_str()?.to_owned(), file["sha256"].as_str()?.to_owned()))
            }));
        }
    }
    let mut texts = 0;
    for file in &manifest.rules {
        if !known.contains(&(file.name.clone(), file.sha256.clone())) {
            let name = &file.name;
            checked.faults.push(format!("rules: the chain does not say that {name} was in force"));
        }
        let Some(part) = &file.file else { continue };
        texts += 1;
        if package.files.get(part).is_none_or(|bytes| hash_of(bytes) != file.sha256) {
            checked.faults.push(format!("{part}: it is not the text of {}", file.name));
        }
    }
    let files = counted(manifest.rules.len(), "file");
    checked.found.push(format!("{files} of the rule set in force, {texts} with their text"));
}

/// Events are what their hashes say; those that the alert shows are those that the chain names.
fn check_events(package: &Package, manifest: &Manifest, lines: &Lines<'_>, checked: &mut Checked) {
    for event in &manifest.events {
        let Some(name) = &event.file else { continue };
        if package.files.get(name).is_none_or(|bytes| hash_of(bytes) != event.event_hash) {
            checked.faults.push(format!("{name}: it is not the event that was read then"));
        }
    }
    let named = hashes_in(package, lines);
    for event in manifest.events.iter().filter(|event| event.is_shown) {
        if !named.contains(&event.event_hash) {
            let place = place(event);
            checked.faults.push(format!("events: the alert does not show the one at {place}"));
        }
    }
    let of_chain = manifest.events.iter().filter(|event| named.contains(&event.event_hash)).count();
    let there = manifest.events.iter().filter(|event| event.file.is_some()).count();
    checked.found.push(format!(
        "{}, {there} of them byte for byte, {of_chain} named by the ledger",
        counted(manifest.events.len(), "event")
    ));
    for event in manifest.events.iter().filter(|event| event.file.is_none()) {
        checked.found.push(format!("the event at {}: {}", place(event), event.outcome));
    }
}

fn place(event: &EventFile) -> String {
    event.position.to_string()
}

/// Hashes of events that rows of the chain name: accesses, and evidence of this alert.
fn hashes_in(package: &Package, lines: &Lines<'_>) -> BTreeSet<String> {
    let mut hashes = BTreeSet::new();
    let life = package.text(LIFE).unwrap_or_default();
    let life: BTreeSet<&str> = life.lines().collect();
    for line in lines.values() {
        if !line.contains("\"event_hash\"") {
            continue;
        }
        let row: Value = serde_json::from_str(line).unwrap_or_default();
        if row["kind"] == "alert" && !life.contains(line) {
            continue;
        }
        let own = row["event_hash"].as_str().into_iter();
        let shown = row["alert"]["evidence"].as_array().into_iter().flatten();
        let shown = shown.filter_map(|one| one["event_hash"].as_str());
        hashes.extend(own.chain(shown).map(str::to_owned));
    }
    hashes
}
