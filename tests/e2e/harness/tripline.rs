//! The real binary with a directory of its own: configuration, rules and state.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use tempfile::TempDir;

use super::{free_port, get, get_any, process::Process, scratch};

/// One Tripline: it may be killed and started again, and goes on with its state.
pub(crate) struct Tripline {
    process: Option<Process>,
    http_port: u16,
    variables: BTreeMap<String, String>,
    directory: TempDir,
}

impl Tripline {
    /// A directory with the rule files, each a name and its YAML, and a configuration: `config`
    /// with the parts that every scenario shares put before it.
    pub(crate) fn new(config: &str, rules: &[(&str, &str)]) -> Tripline {
        let directory = scratch("tripline");
        fs::create_dir(directory.path().join("rules")).unwrap();
        let mut tripline = Tripline {
            directory,
            http_port: free_port(),
            variables: BTreeMap::new(),
            process: None,
        };
        for (name, text) in rules {
            tripline.write(&format!("rules/{name}"), text);
        }
        tripline.configure(config);
        tripline
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file below its directory.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Takes the rules from a directory elsewhere.
    pub(crate) fn link_rules(&self, rules: &Path) {
        let own = self.path().join("rules");
        fs::remove_dir(&own).unwrap();
        std::os::unix::fs::symlink(rules, own).unwrap();
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&mut self, config: &str) {
        self.configure_http("", config);
    }

    /// The same, with more keys for its HTTP server.
    pub(crate) fn configure_http(&mut self, http: &str, config: &str) {
        let port = self.http_port;
        self.write(
            "tripline.yaml",
            &format!(
                "rules: ./rules\nstate: ./state\nhttp: {{listen: 127.0.0.1:{port}, {http}}}\n{config}"
            ),
        );
    }

    /// A command of the binary with its configuration.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.arg(subcommand).args(["--config", "tripline.yaml"]).current_dir(self.path());
        // Variables with this prefix are settings; this one is ours.
        command.env_remove("TRIPLINE_E2E").envs(&self.variables);
        command
    }

    /// Gives the processes that are started from now on a variable.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Starts `tripline run`; waits for nothing.
    pub(crate) fn start(&mut self) {
        let mut command = self.command("run");
        let process = Process::start("tripline", &mut command, self.directory.path());
        self.process = Some(process);
    }

    /// Starts `tripline run` from a shell's script, which finds the command in `"$@"`.
    pub(crate) fn start_by_shell(&mut self, script: &str) {
        let run = self.command("run");
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(run.get_program()).args(run.get_args());
        command.current_dir(self.path()).env_remove("TRIPLINE_E2E").envs(&self.variables);
        self.process = Some(Process::start("tripline", &mut command, self.directory.path()));
    }

    /// Starts `tripline run` and waits until it says that it is ready.
    pub(crate) fn start_ready(&mut self) {
        self.start();
        self.wait_ready();
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) fn wait_ready(&mut self) {
        let url = self.url("/readyz");
        self.process().serves(&url);
    }

    /// Waits until its HTTP server answers, whatever it says.
    pub(crate) fn wait_answering(&mut self) {
        let url = self.url("/readyz");
        super::eventually("its HTTP server answers", || get_any(&url));
    }

    /// The running process.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// SIGTERM, upon which it must end in good order.
    pub(crate) fn stop(&mut self) {
        let status = self.process().terminate();
        assert_eq!(status.code(), Some(0), "{status} after SIGTERM");
        self.process = None;
    }

    /// `HOST:PORT` of its HTTP server.
    pub(crate) fn http_address(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// URL of a path of its HTTP server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http_address())
    }

    /// Status and body of `/readyz`.
    pub(crate) fn readiness(&self) -> Option<(u16, String)> {
        get_any(&self.url("/readyz"))
    }

    /// The sum of a metric over its series whose labels contain all of `labels`, each `name="value"`;
    /// `None` while it has none.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let text = get(&self.url("/metrics"))?;
        let values: Vec<f64> = text
            .lines()
            .filter(|line| {
                let rest = line.strip_prefix(name);
                rest.is_some_and(|rest| rest.starts_with([' ', '{']))
                    && labels.iter().all(|label| line.contains(label))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// What it said on standard error.
    pub(crate) fn log(&mut self) -> String {
        self.process().err()
    }
}
