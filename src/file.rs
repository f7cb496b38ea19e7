//! Reading files that others may replace at any time, by things that are no files.
//!
//! What is read again while the process runs must never hold it up: a pipe without a writer would for ever.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Bytes of a file of certificates, or of one key: 16 MiB. The authorities of a whole system are a quarter of one.
pub const PEM_BYTES_MAX: usize = 16 << 20;

/// Opens a file. Never waits, and does nothing to what is no file.
///
/// # Errors
/// If it cannot be opened. [`io::ErrorKind::InvalidInput`] if it is no file; then the words say what it is.
pub fn open(path: &Path) -> io::Result<File> {
    // To open a device may do something to it, and a socket cannot be opened at all.
    must_be_file(&fs::metadata(path)?)?;
    // It may be something else by now.
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    must_be_file(&file.metadata()?)?;
    Ok(file)
}

/// All bytes of a file. Never waits for anybody but the disk.
///
/// # Errors
/// As [`open`], and [`io::ErrorKind::FileTooLarge`] if it has more than `bytes_max`.
pub fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let words = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    Ok(bytes)
}

fn must_be_file(about: &Metadata) -> io::Result<()> {
    let kind = about.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a file")))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, process::Command};

    use super::*;

    #[test]
    fn only_files_are_read_and_whatever_else_is_there_is_named_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::write(place("file"), "said").unwrap();
        std::os::unix::fs::symlink("file", place("link")).unwrap();
        for name in ["file", "link"] {
            assert_eq!(read(&place(name), 4).unwrap(), b"said");
        }
        assert_eq!(read(&place("file"), 3).unwrap_err().to_string(), "it has more than 3 bytes");

        fs::create_dir(place("directory")).unwrap();
        assert!(Command::new("mkfifo").arg(place("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(place("socket")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", place("device")).unwrap();
        for name in ["directory", "pipe", "socket", "device"] {
            let error = read(&place(name), 4).unwrap_err();
            assert_eq!(error.to_string(), format!("it is a {name}, not a file"));
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(read(&place("gone"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
