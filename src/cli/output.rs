//! Printing: colours where they are wanted, and no panic when a pipe closes.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::OnceLock,
};

use anyhow::Context as _;
use clap::ValueEnum;

use super::exit;
use crate::{
    ask::{fold, wrap},
    engine::{
        diagnostic::{Diagnostic, DiagnosticLevel, Format, render_all},
        text::paint::{BAD, paint},
    },
};

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On terminals, unless NO_COLOR is set or TERM is `dumb`; anywhere, if CLICOLOR_FORCE is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

static CHOICE: OnceLock<Colour> = OnceLock::new();

/// Says what the command line said, once.
pub(super) fn choose(colour: Colour) {
    CHOICE.get_or_init(|| colour);
}

fn wanted(is_terminal: bool) -> bool {
    match CHOICE.get().copied().unwrap_or_default() {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if anstyle_query::no_color() => false,
        Colour::Auto if anstyle_query::clicolor_force() => true,
        Colour::Auto => is_terminal && anstyle_query::term_supports_color(),
    }
}

/// Whether standard output shows colours.
pub(super) fn stdout_colours() -> bool {
    wanted(io::stdout().is_terminal())
}

/// Whether standard error shows colours.
pub(super) fn stderr_colours() -> bool {
    wanted(io::stderr().is_terminal())
}

/// Prints to standard output.
///
/// # Errors
/// It cannot be written to; a closed pipe among the reasons, see [`is_broken_pipe`].
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints the whole of what a command has to say. A reader that went away changes nothing: the exit
/// code still tells.
///
/// # Errors
/// It cannot be written, for another reason.
pub(super) fn print_all(text: &str) -> anyhow::Result<()> {
    print(text).or_else(|error| if is_broken_pipe(&error) { Ok(()) } else { Err(error) })
}

/// Prints an answer that begins with a table. On a terminal it is folded where it is too wide; a pipe gets whole lines.
///
/// # Errors
/// As [`print_all`].
pub(super) fn print_table(text: &str) -> anyhow::Result<()> {
    match columns() {
        Some(width) => print_all(&fold(text, width)),
        None => print_all(text),
    }
}

/// Prints lines that are no table, folded in the same way.
///
/// # Errors
/// As [`print_all`].
pub(super) fn print_lines(text: &str) -> anyhow::Result<()> {
    match columns() {
        Some(width) => print_all(&wrap(text, width)),
        None => print_all(text),
    }
}

/// How wide the terminal is: what COLUMNS says, or else the terminal. `None` if standard output is none.
fn columns() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into());
    said.or_else(asked).filter(|columns| *columns > 0)
}

/// A file that is whole or not there: it is written beside its place, and goes there at last. What is no file (a device, a
/// pipe) is written to as it is, and a link leads to its file.
pub(super) struct WholeFile {
    pub(super) file: File,
    /// Where it is meanwhile, and its place; `None` if it is there already.
    moves: Option<(PathBuf, PathBuf)>,
    path: PathBuf,
}

impl WholeFile {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn begin(path: &Path) -> anyhow::Result<WholeFile> {
        let begin = || -> io::Result<_> {
            let place = match std::fs::metadata(path) {
                Ok(known) if !known.is_file() => {
                    return Ok((File::options().write(true).open(path)?, None));
                }
                Ok(_) => path.canonicalize()?,
                Err(_) => path.to_owned(),
            };
            let mut beside = place.as_os_str().to_owned();
            beside.push(".part");
            let beside = PathBuf::from(beside);
            Ok((File::create(&beside)?, Some((beside, place))))
        };
        let (file, moves) = begin().with_context(|| cannot_write(path))?;
        Ok(WholeFile { file, moves, path: path.to_owned() })
    }

    /// Puts it into its place, and says so.
    ///
    /// # Errors
    /// It cannot be written. What was written of it stands beside its place.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let WholeFile { file, moves, path } = self;
        if let Some((beside, place)) = moves {
            file.sync_all().with_context(|| cannot_write(&path))?;
            std::fs::rename(&beside, &place).with_context(|| cannot_write(&path))?;
        }
        tell(&format!("written to {}", path.display()));
        Ok(())
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// Tells people on standard error. Whether they can read it changes nothing.
pub(super) fn tell(text: &str) {
    let outcome = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    drop(outcome);
}

/// Tells people on standard error what stopped a command.
pub(super) fn complain(text: &str) {
    tell(&format!("{}: {text}", paint("error", BAD, stderr_colours())));
}

/// Writes a line on the terminal behind standard error that the next one takes the place of; an empty
/// one takes it away. Whatever the terminal's width is, now or after it was changed, the line does not
/// wrap, since what has wrapped could not be taken back.
pub(super) fn show_status(line: &str) {
    let text = match line {
        "" => "\r\x1b[K".to_owned(),
        line => format!("\r\x1b[K\x1b[?7l{line}\x1b[?7h"),
    };
    let mut out = io::stderr().lock();
    let outcome = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    drop(outcome);
}

/// Shows the errors in rules or other files, and what was not done because of them.
pub(super) fn refuse(problems: &[Diagnostic], what: &str) -> ExitCode {
    let errors: Vec<Diagnostic> =
        problems.iter().filter(|p| p.level == DiagnosticLevel::Error).cloned().collect();
    tell(render_all(&errors, Format::Text, stderr_colours()).trim_end());
    complain(what);
    ExitCode::from(exit::USAGE)
}

/// Whether an error only says that nobody reads our output any more.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command, thread};

    use super::*;

    fn write(path: &Path) {
        let mut whole = WholeFile::begin(path).unwrap();
        whole.file.write_all(b"said").unwrap();
        whole.finish().unwrap();
    }

    #[test]
    fn what_is_no_file_stays_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::write(place("file"), "before").unwrap();
        symlink("file", place("link")).unwrap();
        write(&place("link"));
        assert!(place("link").is_symlink() && !place("file").is_symlink());
        assert_eq!(fs::read(place("file")).unwrap(), b"said");
        assert!(Command::new("mkfifo").arg(place("pipe")).status().unwrap().success());
        let reader = thread::spawn({
            let pipe = place("pipe");
            move || fs::read(pipe).unwrap()
        });
        write(&place("pipe"));
        assert_eq!(reader.join().unwrap(), b"said");
        assert!(!fs::metadata(place("pipe")).unwrap().is_file());
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["file", "link", "pipe"]);
    }
}
