//! The real binary, as people and scripts start it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

/// The binary in a directory, without anything of ours from this environment.
pub(crate) fn tripline(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.current_dir(directory).env_remove("NO_COLOR").env("TERM", "xterm");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRIPLINE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Exit code, standard output and standard error.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    read(command.output().unwrap())
}

/// The same, with something on standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> (i32, String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments does not read.
    drop(child.stdin.take().unwrap().write_all(input));
    read(child.wait_with_output().unwrap())
}

fn read(Output { status, stdout, stderr }: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}
