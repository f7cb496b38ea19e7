//! Files of our own: for nobody else, and never behind a symbolic link that somebody put in their place.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Set on a directory whose group is that of a volume, as Kubernetes does for `fsGroup`.
const SET_GROUP_ID: u32 = 0o2000;

/// Makes a directory with mode 0700 if it is missing, and warns of one that others may write: whoever
/// does can take the files in it away.
pub(crate) fn make_directory(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = std::fs::metadata(dir)?.mode();
    if let Some(who) = others_who_may_write(mode) {
        tracing::warn!(
            "{who} may write into {}, and so delete or replace what Tripline keeps there; make it \
             `chmod 700`",
            dir.display()
        );
    }
    Ok(())
}

/// Who beside the owner may write into a directory of this mode.
const fn others_who_may_write(mode: u32) -> Option<&'static str> {
    match (mode & 0o002 != 0, mode & 0o020 != 0 && mode & SET_GROUP_ID == 0) {
        (true, _) => Some("everybody"),
        (false, true) => Some("a group of users"),
        (false, false) => None,
    }
}

/// Opens a file for reading and writing; it is made with mode 0600 if it is missing.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => io::Error::other(
                "it is a symbolic link, which is not followed; see who put it there, and remove it",
            ),
            _ => error,
        })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

/// Opens a file, or makes it, and locks it against other processes for as long as what comes back lives; the kernel lets
/// go of it when the process dies. It holds the owner's process id, for people. `None` if another one has it.
pub(crate) fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut file = open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()))?;
    Ok(Some(file))
}

/// Which file a path leads to: device and number. Whoever replaces it puts another one there.
pub(crate) fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("passwd"), dir.path().join("lock"));
        std::fs::write(&target, "root").unwrap();
        symlink(&target, &link).unwrap();
        assert!(open(&link).unwrap_err().to_string().contains("symbolic link"));
        symlink(dir.path().join("nowhere"), dir.path().join("new")).unwrap();
        assert!(open(&dir.path().join("new")).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "nothing was made");
        assert!(open(dir.path()).is_err());
        let mode = open(&target).and_then(|_| open(&dir.path().join("a"))).unwrap();
        assert_eq!(mode.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_of_others_is_known() {
        let who = |mode| others_who_may_write(mode);
        assert_eq!([0o700, 0o755, 0o2775, 0o2770].map(who), [None; 4]);
        assert_eq!([0o777, 0o1777, 0o2777].map(who), [Some("everybody"); 3]);
        assert_eq!(who(0o775), Some("a group of users"));
    }
}
