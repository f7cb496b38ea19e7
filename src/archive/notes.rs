//! Notes of who looked into the files of a ledger: a command leaves them, and the process that owns the
//! ledger makes entries of them.
//!
//! Whoever can read the files can also read them without a note; it is for those who go the usual way.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{ArchiveError, failed};
use crate::engine::{
    ledger::{Entry, EntryKind},
    time::WallTime,
};

/// The directory within the state directory.
const DIRECTORY: &str = "views";

/// Bytes of a note: 8 KiB. A larger one is thrown away.
const NOTE_BYTES_MAX: u64 = 8 << 10;

/// Notes that are taken at once: 1,000. The others wait for the next time.
const NOTES_MAX: usize = 1_000;

/// Who looked at what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Who, by their own words.
    pub who: String,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// The question: `timeline`.
    pub question: String,
    /// What was said with it.
    pub said: String,
    /// Rows of the answer.
    pub rows: u64,
}

/// Makes the directory in which others may leave notes, and see none.
///
/// # Errors
/// It cannot be made.
pub fn prepare(state: &Path) -> Result<(), ArchiveError> {
    let directory = state.join(DIRECTORY);
    let made = fs::create_dir_all(&directory)
        .and_then(|()| fs::set_permissions(&directory, fs::Permissions::from_mode(0o1733)));
    made.map_err(|error| failed(&directory, error))
}

/// Leaves a note with a state directory.
///
/// # Errors
/// It cannot be written: say so to who looks.
pub fn leave(state: &Path, note: &Note) -> Result<(), ArchiveError> {
    let directory = state.join(DIRECTORY);
    if !state.join("tripline.db").exists() {
        return Err(failed(state, "no process owns it"));
    }
    if !directory.is_dir() {
        prepare(state)?;
    }
    let path = directory.join(format!("{}-{}.json", note.at, std::process::id()));
    let text = serde_json::to_vec(note).map_err(|error| failed(&path, error))?;
    if text.len() as u64 > NOTE_BYTES_MAX {
        return Err(failed(&path, "the question is too long for a note"));
    }
    // What is not whole is not taken: it has its name when all of it is there.
    let unfinished = path.with_extension("new");
    let open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
    open.and_then(|mut file| std::io::Write::write_all(&mut file, &text))
        .and_then(|()| fs::rename(&unfinished, &path))
        .map_err(|error| failed(&path, error))
}

/// Takes the notes that are there, as entries. What is no note is thrown away.
pub fn take(state: &Path) -> Vec<Entry> {
    let Ok(listed) = fs::read_dir(state.join(DIRECTORY)) else { return Vec::new() };
    let is_note = |path: &std::path::PathBuf| path.extension().is_some_and(|name| name == "json");
    let paths = listed.filter_map(|one| Some(one.ok()?.path())).filter(is_note).take(NOTES_MAX);
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    let entries: Vec<Entry> = paths.iter().filter_map(|path| read(path)).collect();
    for path in &paths {
        drop(fs::remove_file(path));
    }
    entries
}

fn read(path: &Path) -> Option<Entry> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let about = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let mut text = Vec::new();
    file.take(NOTE_BYTES_MAX + 1).read_to_end(&mut text).ok()?;
    if text.len() as u64 > NOTE_BYTES_MAX {
        return None;
    }
    let note: Note = serde_json::from_slice(&text).ok()?;
    let entry = Entry::new(EntryKind::View, &note.question, "seen")
        .at(WallTime::from_micros(note.at).as_event())
        .by(&note.who)
        .detail(&note.said)
        .fact("way", "files")
        .fact("uid", &about.uid().to_string())
        .count("rows", note.rows);
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(at: i64) -> Note {
        Note {
            who: "anna".to_owned(),
            at,
            question: "timeline".to_owned(),
            said: "actor=eve".to_owned(),
            rows: 7,
        }
    }

    #[test]
    fn notes_become_entries_once_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        assert!(leave(state, &note(1)).is_err(), "nobody owns it");
        fs::write(state.join("tripline.db"), "").unwrap();
        leave(state, &note(2)).unwrap();
        leave(state, &note(1)).unwrap();
        let views = state.join(DIRECTORY);
        fs::write(views.join("0-1.json"), "{}").unwrap();
        fs::write(views.join("0-2.json"), vec![b' '; 9 << 10]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", views.join("0-3.json")).unwrap();
        fs::create_dir(views.join("0-4.json")).unwrap();
        let entries = take(state);
        let told: Vec<_> = entries.iter().map(|entry| (&*entry.party, entry.at)).collect();
        let at = |micros| Some(WallTime::from_micros(micros).as_event());
        assert_eq!(told, [("anna", at(1)), ("anna", at(2))]);
        assert_eq!((entries[0].detail.as_str(), entries[0].count_of("rows")), ("actor=eve", 7));
        assert!(entries[0].fact_of("uid").is_some());
        assert!(take(state).is_empty());
    }
}
