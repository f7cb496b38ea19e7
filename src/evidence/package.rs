//! The file that is handed over: its parts by name, and a manifest that says what each is.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::tar;
use crate::engine::{event_ref::EventPosition, ledger::hex_of};

/// Version of the form.
pub(super) const VERSION: u32 = 1;

/// Bytes of all parts together: 1 GiB. A file that holds more is refused before it fills the memory.
const BYTES_MAX: u64 = 1 << 30;

/// How hard `zstd` tries: 9 of 22.
const LEVEL: i32 = 9;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const ALERT: &str = "alert.json";
pub(super) const LIFE: &str = "life.jsonl";
pub(super) const TIMELINE: &str = "timeline.jsonl";
pub(super) const README: &str = "README.txt";

/// What a package says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the form: 1.
    pub version: u32,
    /// The version of Tripline that made it.
    pub made_by: String,
    /// When, as RFC 3339.
    pub made_at: String,
    /// The alert.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// When the episode began that it is about, as RFC 3339.
    pub starts_at: String,
    /// The version of the rule set that was in force; empty if the ledger does not say.
    pub rule_set: String,
    /// How long an alert of a plain rule fires after its last event, in seconds.
    pub resolve_after: u64,
    /// How long before and after the alert is shown what happened, in seconds; earlier versions did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub around: Option<u64>,
    /// The cluster that keeps the alert apart from others.
    pub cluster: Option<String>,
    /// Files of the rule set.
    pub rules: Vec<RuleFile>,
    /// Events, in the order of time.
    pub events: Vec<EventFile>,
    /// Parts of the chain, in its order.
    pub chain: Vec<Segment>,
    /// What is not in it, and why, for people.
    pub missing: Vec<String>,
    /// SHA-256 of each part but this one, by name.
    pub files: BTreeMap<String, String>,
}

/// A file of the rule set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// What it is for: `rules`, `list` …
    pub part: String,
    /// Name of the list, if it is one.
    pub list: Option<String>,
    /// Its path, as it was.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: String,
    /// The part of the package that has its text; `None` if the ledger does not have it.
    pub file: Option<String>,
}

/// An event that the alert shows, or that counted for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFile {
    /// When it happened, as RFC 3339.
    pub time: String,
    /// Where it was read.
    pub position: EventPosition<String>,
    /// Its audit id.
    pub audit_id: String,
    /// SHA-256 of its bytes.
    pub event_hash: String,
    /// The alert shows it; else it only counted.
    pub is_shown: bool,
    /// The part of the package that has it; `None` if it could not be had.
    pub file: Option<String>,
    /// What came of looking for it, for people.
    pub outcome: String,
}

/// Rows that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The part of the package that has their lines.
    pub file: String,
    /// Its first row.
    pub first: u64,
    /// Its last row.
    pub last: u64,
    /// The hash before the first row.
    pub previous: String,
    /// The hash of the last row.
    pub head: String,
}

/// A package in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its parts by name, the manifest among them.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// Adds a part.
    pub(super) fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(name.into(), bytes.into());
    }

    /// A part as text; `None` if it is not there, or no text.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.files.get(name)?).ok()
    }

    /// Adds the manifest, with the hash of each other part.
    pub(super) fn seal(&mut self, mut manifest: Manifest) -> Manifest {
        let hashes = self.files.iter().map(|(name, bytes)| (name.clone(), hash_of(bytes)));
        manifest.files = hashes.collect();
        let text = serde_json::to_string_pretty(&manifest).expect("it is made of texts");
        self.add(MANIFEST, text + "\n");
        manifest
    }

    /// The manifest.
    ///
    /// # Errors
    /// It is not there, damaged, or of a newer version.
    pub fn manifest(&self) -> Result<Manifest, String> {
        let text =
            self.text(MANIFEST).ok_or("there is no manifest.json: it is no evidence file")?;
        let manifest: Manifest =
            serde_json::from_str(text).map_err(|error| format!("manifest.json: {error}"))?;
        if manifest.version > VERSION {
            let version = manifest.version;
            return Err(format!(
                "it is of a newer form ({version}, this Tripline knows {VERSION})"
            ));
        }
        Ok(manifest)
    }

    /// Writes it as `.tar.zst`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let packed = tar::write(&self.files)?;
        let write = || -> std::io::Result<()> {
            let mut file = File::create(path)?;
            file.write_all(&zstd::encode_all(packed.as_slice(), LEVEL)?)?;
            file.sync_all()
        };
        write().map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// Reads it back.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn read(path: &Path) -> Result<Package, String> {
        let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let file = File::open(path).map_err(failed)?;
        let mut packed = Vec::new();
        let unpacked = zstd::stream::read::Decoder::new(file).map_err(failed)?;
        unpacked.take(BYTES_MAX + 1).read_to_end(&mut packed).map_err(failed)?;
        if packed.len() as u64 > BYTES_MAX {
            return Err(format!("{}: it holds more than {BYTES_MAX} bytes", path.display()));
        }
        let files = tar::read(&packed).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Package { files })
    }
}

/// SHA-256 of bytes, as it is written.
pub(super) fn hash_of(bytes: &[u8]) -> String {
    hex_of(&Sha256::digest(bytes))
}

/// Who makes packages here.
pub(super) fn made_by() -> String {
    format!("tripline {}", env!("CARGO_PKG_VERSION"))
}
