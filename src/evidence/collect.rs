//! Collects the evidence of one alert from the ledger, and from where its events are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    events::{self, Events, FetchEvent, OpenHistory, Shown},
    package::{ALERT, LIFE, Manifest, Package, README, TIMELINE, VERSION, made_by},
    proof, rules,
    snapshot::Snapshot,
    told::{Told, tells_of_alerts},
};
use crate::{
    archive::{ArchiveError, Filter, Reader, rules_at},
    engine::{
        ledger::{Body, Entry, EntryKind, Row},
        text::{counted, printable, thousands},
        time::EventTime,
    },
};

/// Rows of the time around an alert that are handed over: 10,000.
const TIMELINE_ROWS_MAX: usize = 10_000;

/// How the manifest says that there are more.
pub(super) const TIMELINE_IS_CUT: &str = "the time around it has more than";

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// There is no such alert, or more than one.
    #[error("{0}")]
    Mistake(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Which evidence is wanted, and where its events can be had.
pub struct Asked<'a> {
    /// The fingerprint of the alert, or its beginning.
    pub fingerprint: &'a str,
    /// How long before and after it is shown.
    pub around: Duration,
    /// The operator's clock.
    pub now: EventTime,
    /// How long an alert of a plain rule fires after its last event.
    pub resolve_after: Duration,
    /// Fetches the events that the alert shows.
    pub fetch: FetchEvent<'a>,
    /// Opens what was recorded meanwhile, for the events that counted besides.
    pub history: Option<OpenHistory<'a>>,
}

/// Makes the evidence of an alert.
///
/// # Errors
/// There is no such alert, or the ledger cannot be read. What else cannot be had is said in the manifest.
pub fn collect(reader: &Reader, asked: &Asked<'_>) -> Result<(Package, Manifest), EvidenceError> {
    // What comes while it is made is not in it, in no part of it.
    let through = reader.last_id();
    let life = life_of(reader, asked.fingerprint, through)?;
    let mut package = Package::default();
    let mut manifest = Manifest {
        version: VERSION,
        made_by: made_by(),
        made_at: asked.now.rfc3339(),
        fingerprint: life.fingerprint.clone(),
        rule: life.rule.clone(),
        resolve_after: asked.resolve_after.as_secs(),
        around: Some(asked.around.as_secs()),
        ..Manifest::default()
    };
    for warning in reader.warnings() {
        manifest.missing.push(format!("a part of the ledger is missing: {warning}"));
    }
    let mut wanted: BTreeSet<u64> = life.rows.iter().map(|row| row.id).collect();
    let then = rules_at(reader, life.first_of_episode())?;
    wanted.extend(then.rows.iter().copied());
    manifest.rule_set.clone_from(&then.version);
    if then.version.is_empty() {
        manifest.missing.push("the ledger does not say which rules were in force".to_owned());
    }
    for file in then.files.iter().filter(|file| file.text.is_none()) {
        manifest.missing.push(format!("the ledger does not have the text of {}", file.name));
    }
    manifest.rules = rules::add_to(&mut package, then.files);
    package.add(LIFE, lines(&life.rows));
    let mut timeline = timeline_of(reader, &life, asked.around, &mut manifest.missing)?;
    timeline.retain(|row| row.id <= through);
    package.add(TIMELINE, lines(&timeline));
    if let Some((json, snapshot)) = life.snapshot() {
        package.add(ALERT, format!("{json}\n"));
        manifest.starts_at.clone_from(&snapshot.starts_at);
        manifest.cluster = snapshot.key.get("cluster").cloned();
        add_events(&mut package, &mut manifest, asked, &life, &snapshot);
    } else {
        let why =
            "the ledger has no snapshot of the alert: an earlier version of Tripline wrote it";
        manifest.missing.push(why.to_owned());
    }
    let timeline = timeline.iter().map(|row| row.id).collect();
    proof::add(reader, (wanted, timeline, through), &mut package, &mut manifest)?;
    package.add(README, readme(&manifest));
    let manifest = package.seal(manifest);
    Ok((package, manifest))
}

/// What the ledger tells of an alert.
struct Life {
    fingerprint: String,
    rule: String,
    /// In the order of the chain.
    rows: Vec<Row>,
    /// When its last episode began.
    starts_at: Option<String>,
}

impl Life {
    /// The changes of its last episode.
    fn episode(&self) -> impl DoubleEndedIterator<Item = (&Row, &Entry)> {
        self.rows.iter().filter_map(|row| {
            let entry = row.entry().filter(|entry| entry.kind == EntryKind::Alert)?;
            (entry.fact_of("starts_at") == self.starts_at.as_deref()).then_some((row, entry))
        })
    }

    fn first_of_episode(&self) -> u64 {
        self.episode().next().map_or(u64::MAX, |(row, _)| row.id)
    }

    /// The last state of it, as JSON and read.
    fn snapshot(&self) -> Option<(&str, Snapshot)> {
        self.episode().rev().find_map(|(_, entry)| {
            let Some(Body::Alert(json)) = &entry.body else { return None };
            Some((json.as_str(), serde_json::from_str(json).ok()?))
        })
    }

    /// All events that it has shown in its last episode.
    fn shown(&self) -> Vec<Shown> {
        let bodies = self.episode().filter_map(|(_, entry)| match &entry.body {
            Some(Body::Alert(json)) => serde_json::from_str::<Snapshot>(json).ok(),
            _ => None,
        });
        let mut shown: Vec<Shown> = Vec::new();
        for one in bodies.flat_map(|snapshot| snapshot.evidence).filter_map(Shown::of) {
            if !shown.iter().any(|known| known.event == one.event) {
                shown.push(one);
            }
        }
        shown
    }
}

/// All rows about an alert, up to one.
fn life_of(reader: &Reader, beginning: &str, through: u64) -> Result<Life, EvidenceError> {
    let beginning = beginning.to_ascii_lowercase();
    let (mut rows, mut names) = (Vec::new(), BTreeSet::new());
    reader.each_of(&[Filter::Entries(EntryKind::Alert)], |row| {
        let entry = row.entry().filter(|_| row.id <= through);
        if let Some(entry) = entry.filter(|entry| entry.subject.starts_with(&beginning)) {
            names.insert(entry.subject.clone());
            rows.push(row.clone());
        }
    })?;
    let mut names = names.into_iter();
    let fingerprint = match (names.next(), names.next()) {
        (Some(name), None) => name,
        (None, _) => {
            let beginning = printable(&beginning);
            let what = format!(
                "the ledger has no alert with the fingerprint `{beginning}`; `tripline alerts list` and \
                 every notification show them"
            );
            return Err(EvidenceError::Mistake(what));
        }
        (Some(one), Some(other)) => {
            let what = format!(
                "the ledger has several alerts whose fingerprint begins so: {one}, {other} …; write more \
                 of it"
            );
            return Err(EvidenceError::Mistake(what));
        }
    };
    for kind in EntryKind::ALL.into_iter().filter(|kind| tells_of_alerts(*kind)) {
        reader.each_of(&[Filter::Entries(kind)], |row| {
            let is_about = row.entry().is_some_and(|entry| {
                let mut named = entry.fact_of("alerts").into_iter().flat_map(str::split_whitespace);
                entry.subject == fingerprint || named.any(|name| name == fingerprint)
            });
            if is_about && row.id <= through {
                rows.push(row.clone());
            }
        })?;
    }
    rows.sort_by_key(|row| row.id);
    let last = rows.iter().rev().filter_map(Row::entry).find(|one| one.kind == EntryKind::Alert);
    let starts_at = last.and_then(|entry| entry.fact_of("starts_at")).map(str::to_owned);
    let rule = last.map(|entry| entry.party.clone()).unwrap_or_default();
    Ok(Life { fingerprint, rule, rows, starts_at })
}

/// The rows that belong to the time around the last episode.
fn timeline_of(
    reader: &Reader,
    life: &Life,
    around: Duration,
    missing: &mut Vec<String>,
) -> Result<Vec<Row>, ArchiveError> {
    let lines: BTreeMap<u64, String> = life.rows.iter().map(|row| (row.id, row.line())).collect();
    let lines = lines.iter().map(|(id, line)| (*id, line.as_str())).collect();
    let around = Told::of(&lines, &life.fingerprint).around(around);
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for query in around.iter().flat_map(|around| around.queries(TIMELINE_ROWS_MAX)) {
        let page = reader.page(&query)?;
        if page.next.is_some() {
            let most = counted(TIMELINE_ROWS_MAX, "row");
            missing.push(format!("{TIMELINE_IS_CUT} {most} of one sort"));
        }
        rows.extend(page.rows.into_iter().map(|row| (row.id, row)));
    }
    Ok(rows.into_values().collect())
}

/// The events that the alert shows, and those that counted.
fn add_events(
    package: &mut Package,
    manifest: &mut Manifest,
    asked: &Asked<'_>,
    life: &Life,
    snapshot: &Snapshot,
) {
    let shown = life.shown();
    if shown.is_empty() {
        let why =
            "the alert does not say which events it shows: an earlier version of Tripline made it";
        manifest.missing.push(why.to_owned());
    }
    let mut events = Events::new(shown, asked.fetch);
    if let Some(history) = &asked.history {
        let sources = rules::sources(package, &manifest.rules);
        let found = sources
            .and_then(|sources| events::rules_of(&sources, asked.resolve_after))
            .and_then(|rules| events.add_counted(&rules, &manifest.rule, snapshot, *history));
        if let Err(why) = found {
            let what = format!("the events that counted besides cannot be had: {why}");
            manifest.missing.push(what);
        }
    } else {
        let what = "nobody said where to look for the events that counted besides";
        manifest.missing.push(what.to_owned());
    }
    manifest.events = events.add_to(package);
    let lost = manifest.events.iter().filter(|event| event.file.is_none()).count();
    if lost > 0 {
        let what =
            format!("{} could not be had again; the manifest says why", counted(lost, "event"));
        manifest.missing.push(what);
    }
}

fn lines(rows: &[Row]) -> String {
    rows.iter().map(|row| row.line() + "\n").collect()
}

/// Which time around an alert is shown, for people; `None` if an earlier version did not say.
pub(super) fn around_words(manifest: &Manifest) -> Option<String> {
    let around = thousands(manifest.around?);
    Some(format!("from {around} s before to {around} s after"))
}

/// What the parts are, for whoever opens the file without Tripline.
pub(super) fn readme(manifest: &Manifest) -> String {
    let lines = manifest.missing.iter().flat_map(|what| ["- ", what, "\n"]);
    let missing: String = lines.collect();
    let missing = if missing.is_empty() { "- nothing\n".to_owned() } else { missing };
    let around = around_words(manifest).map_or_else(String::new, |around| format!(", {around}"));
    format!(
        "Evidence of alert {} ({}), made by {} at {}.

Check it:   tripline evidence verify FILE
Replay it:  tripline evidence replay FILE

manifest.json   what each part is, and its SHA-256
alert.json      the alert as it was last (deploy/alert.schema.json)
life.jsonl      rows of the ledger about it: its changes, whom it was told, what people did with it
timeline.jsonl  rows of the ledger around it: what those did who did it{around}
rules/          rules and lists as they were; their names are in the manifest
events/         the events, byte for byte as they were read, where they could be had
chain/          parts of the ledger's chain with the rows above: the hash of a row is SHA-256 of the hash
                before it (32 bytes) and its line. A seal's `subject` is the hash of the row before it.

Without Tripline, with the `previous` of a part from the manifest:

    import hashlib, json, sys
    head = bytes.fromhex(sys.argv[1])
    for line in sys.stdin.buffer.read().splitlines():
        row = json.loads(line)
        assert row['kind'] != 'seal' or row['subject'] == head.hex(), row['id']
        head = hashlib.sha256(head + line).digest()
    print(head.hex())

Compare a seal's hash with one that was written down elsewhere: who owns the ledger could have written all
of this anew.

What is not in it:
{missing}",
        manifest.fingerprint, manifest.rule, manifest.made_by, manifest.made_at
    )
}
