//! Whether a package is what it says: every part, the chain, and that it tells what stands in the chain, all of it. What
//! nothing in it proves is said.
#![allow(clippy::indexing_slicing, reason = "JSON answers `null` for what is not there")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize as _;
use serde_json::Value;

use super::{
    collect::{TIMELINE_IS_CUT, around_words, readme},
    package::{
        ALERT, EventFile, LIFE, MANIFEST, Manifest, Package, README, TIMELINE, hash_of, made_by,
    },
    proof::IS_WITHOUT_PROOF,
    told::Told,
};
use crate::{
    archive::verify::{Asked, verify_lines},
    engine::{
        event_ref::EventPosition,
        ledger::{Hash, hex_of, parse_hex},
        text::{counted, thousands},
    },
};

/// Rows that are named of those that a part lacks, or has and should not: 10.
const ROWS_NAMED: usize = 10;

/// What checking came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong, for people, by part.
    pub faults: Vec<String>,
    /// What is as it should be, and what it rests on, for people.
    pub found: Vec<String>,
    /// What whoever made it says and nothing in it proves, for people.
    pub unproven: Vec<String>,
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
    let told = Told::of(&lines, &manifest.fingerprint);
    check_rows(package, &manifest, (&lines, &told), &mut checked);
    check_manifest(package, &manifest, &told, &mut checked);
    check_rules(package, &manifest, &told, &mut checked);
    check_events(package, &manifest, (&lines, &told), &mut checked);
    checked.unproven.extend(unproven(&manifest, asked));
    Ok(checked)
}

/// What the maker of a package says and nobody can check by it.
fn unproven(manifest: &Manifest, asked: Asked<'_>) -> Vec<String> {
    let mut what = Vec::new();
    if asked.check.is_none() && asked.seal.is_none() {
        let whose = "whose ledger it is of: anybody can write a chain with seals; ask for a key or a known hash by \
                     --public-key or --seal";
        what.push(whose.to_owned());
    }
    what.push("that other parts of the ledger tell nothing of the alert".to_owned());
    what.push(format!(
        "that it was made by {} at {}, and that an alert fires {} s after its last event if its rule does not say",
        manifest.made_by, manifest.made_at, manifest.resolve_after
    ));
    what.extend(manifest.missing.iter().map(|missing| format!("why this is not in it: {missing}")));
    what
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

/// What is told of the alert, and around it, is all that stands in the chain of it; the alert is what the ledger says.
fn check_rows(
    package: &Package,
    manifest: &Manifest,
    (lines, told): (&Lines<'_>, &Told<'_>),
    checked: &mut Checked,
) {
    let says = |words: &str| manifest.missing.iter().any(|what| what.starts_with(words));
    check_whole(package, LIFE, &told.life(), (lines, true), checked);
    if says(IS_WITHOUT_PROOF) {
        checked.unproven.push(format!("{TIMELINE}: it was handed over without its proof"));
    } else {
        let (whole, is_whole) = match manifest.around {
            Some(around) => (told.timeline(Duration::from_secs(around)), !says(TIMELINE_IS_CUT)),
            None => (Vec::new(), false),
        };
        check_whole(package, TIMELINE, &whole, (lines, is_whole), checked);
        match around_words(manifest).filter(|_| is_whole) {
            Some(around) => {
                checked.found.push(format!("{TIMELINE}: it tells of the time {around}"));
            }
            None => checked.unproven.push(format!("{TIMELINE}: that it has all rows of its time")),
        }
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

/// A part has rows of the chain, in its order; just those that are wanted, if that is known.
fn check_whole(
    package: &Package,
    name: &str,
    wanted: &[&str],
    (lines, is_known): (&Lines<'_>, bool),
    checked: &mut Checked,
) {
    let id = |line: &str| head_of(line).map(|(id, ..)| id);
    let has: Vec<&str> = package.text(name).unwrap_or_default().lines().collect();
    let is_in_chain = |line: &str| id(line).is_some_and(|id| lines.get(&id) == Some(&line));
    let mut faults = Vec::new();
    for (number, _) in (1..).zip(&has).filter(|(_, line)| !is_in_chain(line)) {
        faults.push(format!("{name}: line {number} does not stand in the chain"));
    }
    if is_known {
        let (there, meant): (BTreeSet<&str>, BTreeSet<&str>) =
            (has.iter().copied().collect(), wanted.iter().copied().collect());
        let row = |line: &str| thousands(id(line).unwrap_or_default());
        let missing = meant.difference(&there);
        faults.extend(
            missing.map(|line| format!("{name}: row {} of the chain is missing", row(line))),
        );
        let strange = there.difference(&meant).filter(|line| is_in_chain(line));
        faults
            .extend(strange.map(|line| format!("{name}: row {} does not belong there", row(line))));
    }
    let ids: Vec<Option<u64>> = has.iter().map(|line| id(line)).collect();
    if faults.is_empty() && !ids.is_sorted_by(|one, next| one < next) {
        faults.push(format!("{name}: its rows are not in the order of the chain"));
    }
    faults.truncate(ROWS_NAMED);
    checked.faults.extend(faults);
    checked.found.push(format!("{name}: {} looked for in the chain", counted(has.len(), "row")));
}

/// What can be made again is what it was made of.
fn check_manifest(package: &Package, manifest: &Manifest, told: &Told<'_>, checked: &mut Checked) {
    let last = told.last_change().unwrap_or(&Value::Null);
    let cluster = told.snapshot().and_then(|alert| alert["key"]["cluster"].as_str());
    let starts_at = told.snapshot().and_then(|alert| alert["starts_at"].as_str());
    for (what, says, is) in [
        ("rule", Some(manifest.rule.as_str()), Some(last["party"].as_str().unwrap_or_default())),
        ("starts_at", Some(manifest.starts_at.as_str()), Some(starts_at.unwrap_or_default())),
        ("cluster", manifest.cluster.as_deref(), cluster),
    ] {
        if says != is {
            checked.faults.push(format!("{MANIFEST}: `{what}` is not what the ledger says"));
        }
    }
    if manifest.made_by != made_by() {
        let made_by = &manifest.made_by;
        checked
            .unproven
            .push(format!("{README}: {made_by} wrote it, and this version cannot write it again"));
    } else if package.text(README) != Some(readme(manifest).as_str()) {
        checked.faults.push(format!("{README}: it is not what belongs to this manifest"));
    }
}

/// The texts of rules are those of the hashes that the chain has.
fn check_rules(package: &Package, manifest: &Manifest, told: &Told<'_>, checked: &mut Checked) {
    let (version, known) = told.rules().unwrap_or_default();
    if version != manifest.rule_set {
        let what = "`rule_set` is not the one that the chain says was in force";
        checked.faults.push(format!("{MANIFEST}: {what}"));
    }
    let mut missing: BTreeSet<&str> = known.iter().map(|(.., name, _)| name.as_str()).collect();
    let mut texts = 0;
    for file in &manifest.rules {
        missing.remove(file.name.as_str());
        let listed = (file.part.clone(), file.list.clone(), file.name.clone(), file.sha256.clone());
        if !known.contains(&listed) {
            let name = &file.name;
            checked.faults.push(format!("rules: the chain does not say that {name} was in force"));
        }
        let Some(part) = &file.file else { continue };
        texts += 1;
        if package.files.get(part).is_none_or(|bytes| hash_of(bytes) != file.sha256) {
            checked.faults.push(format!("{part}: it is not the text of {}", file.name));
        }
    }
    for name in missing {
        checked.faults.push(format!("rules: {name} was in force, and is not listed"));
    }
    let files = counted(manifest.rules.len(), "file");
    checked.found.push(format!("{files} of the rule set in force, {texts} with their text"));
}

/// Events are what their hashes say; those that the alert shows are those that the chain names.
fn check_events(
    package: &Package,
    manifest: &Manifest,
    (lines, told): (&Lines<'_>, &Told<'_>),
    checked: &mut Checked,
) {
    let listed: BTreeSet<&str> = manifest
        .events
        .iter()
        .filter(|event| event.is_shown)
        .map(|event| event.event_hash.as_str())
        .collect();
    for hash in told.shown().difference(&listed) {
        checked.faults.push(format!("events: the alert shows one that is not listed: {hash}"));
    }
    for event in &manifest.events {
        let Some(name) = &event.file else { continue };
        if package.files.get(name).is_none_or(|bytes| hash_of(bytes) != event.event_hash) {
            checked.faults.push(format!("{name}: it is not the event that was read then"));
        }
    }
    let named = events_in(package, lines);
    let (of_chain, others): (Vec<_>, Vec<_>) =
        manifest.events.iter().partition(|event| named.hashes.contains(&event.event_hash));
    let mut unnamed = Vec::new();
    for event in others {
        let place = place(event);
        if event.is_shown {
            checked.faults.push(format!("events: the alert does not show the one at {place}"));
        } else if named.places.contains(&same_place(&event.position, &event.audit_id)) {
            checked.faults.push(format!("events: the ledger has another event at {place}"));
        } else {
            unnamed.push(place);
        }
    }
    if let Some(first) = unnamed.first() {
        let events = counted(unnamed.len(), "event");
        checked.unproven.push(format!(
            "events: {events} that the alert does not show and no row of the ledger names, the first at {first}"
        ));
    }
    let there = manifest.events.iter().filter(|event| event.file.is_some()).count();
    checked.found.push(format!(
        "{}, {there} of them byte for byte, {} named by the ledger",
        counted(manifest.events.len(), "event"),
        of_chain.len()
    ));
    for event in manifest.events.iter().filter(|event| event.file.is_none()) {
        checked.found.push(format!("the event at {}: {}", place(event), event.outcome));
    }
}

fn place(event: &EventFile) -> String {
    event.position.to_string()
}

/// One event stands there: in a file that has another name by now, too.
fn same_place(position: &EventPosition<String>, audit_id: &str) -> String {
    let EventPosition { partition, offset, index, .. } = position;
    format!("{partition}@{offset}#{index} {audit_id}")
}

/// Events that rows of the chain name.
#[derive(Default)]
struct Named {
    hashes: BTreeSet<String>,
    /// Where they were read, as [`same_place`] has it.
    places: BTreeSet<String>,
}

/// Events that rows of the chain name: those of accesses, and evidence of this alert.
fn events_in(package: &Package, lines: &Lines<'_>) -> Named {
    let mut named = Named::default();
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
        let shown = row["alert"]["evidence"].as_array().into_iter().flatten();
        for event in std::iter::once(&row).chain(shown) {
            let Some(hash) = event["event_hash"].as_str() else { continue };
            named.hashes.insert(hash.to_owned());
            let audit_id = event["audit_id"].as_str().unwrap_or_default();
            let position = EventPosition::<String>::deserialize(&event["position"]);
            named.places.extend(position.map(|position| same_place(&position, audit_id)));
        }
    }
    named
}
