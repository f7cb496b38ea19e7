//! A child process that never outlives the test process, and whose output is kept.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use super::{eventually, get};

/// A running service. Killed when dropped; a struct that owns one and its directory must declare the
/// process first, so that it ends before the directory goes.
pub(crate) struct Process {
    name: String,
    child: Child,
    /// Kills the child when this test process ends in a way that runs no destructors: libtest drops
    /// no statics. It waits for the end of its standard input, whose other end is ours.
    leash: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `command`; its output is appended to `NAME.out` and `NAME.err` in `directory`.
    pub(crate) fn start(name: &str, command: &mut Command, directory: &Path) -> Process {
        Process::start_leashed(name, command, directory, None)
    }

    /// Also removes a directory when the test process ends, for services that live in a static.
    pub(crate) fn start_leashed(
        name: &str,
        command: &mut Command,
        directory: &Path,
        remove: Option<&Path>,
    ) -> Process {
        let out = directory.join(format!("{name}.out"));
        let err = directory.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(append(&out))
            .stderr(append(&err))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let leash = Command::new("sh")
            .args(["-c", r#"read -r _; kill -9 "$1"; [ -z "$2" ] || rm -rf "$2""#, "leash"])
            .arg(child.id().to_string())
            .arg(remove.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Process { name: name.to_owned(), child, leash, out, err }
    }

    /// Its exit status, if it has ended.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until a URL that it serves answers 2xx.
    pub(crate) fn serves(&mut self, url: &str) {
        eventually(&format!("{} answers 2xx at {url}", self.name), || {
            let exited = self.exited();
            assert!(exited.is_none(), "{} ended, {exited:?}", self.name);
            get(url)
        });
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        eventually(&what, || self.exited())
    }

    /// SIGKILL: it gets no chance to tidy up.
    pub(crate) fn kill(&mut self) {
        if self.exited().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&mut self, name: &str) {
        let pid = self.id().to_string();
        let status =
            Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "", name, &pid]).status();
        assert!(status.unwrap().success(), "{} has ended before it got SIG{name}", self.name);
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// What it wrote to standard output, over all its starts.
    pub(crate) fn out(&self) -> String {
        read(&self.out)
    }

    /// What it wrote to standard error, over all its starts.
    pub(crate) fn err(&self) -> String {
        read(&self.err)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.leash.kill().unwrap();
        self.leash.wait().unwrap();
        if thread::panicking() {
            println!("--- end of {}'s output ---\n{}", self.name, tail(&self.out()));
            println!("--- end of {}'s errors ---\n{}", self.name, tail(&self.err()));
        }
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
