//! A real Alertmanager, alone (no cluster), with a receiver that tells nobody.

use std::{fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{alertmanager_path, free_port, get_json, process::Process, scratch, service_path};

const CONFIG: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";

/// It may be stopped and started again on the same port.
pub(crate) struct Alertmanager {
    process: Option<Process>,
    port: u16,
    directory: TempDir,
}

impl Alertmanager {
    /// Configured, but not started.
    pub(crate) fn stopped() -> Alertmanager {
        Alertmanager::with(CONFIG)
    }

    /// Running, with a configuration of one's own.
    pub(crate) fn configured(config: &str) -> Alertmanager {
        let mut alertmanager = Alertmanager::with(config);
        alertmanager.start();
        alertmanager
    }

    fn with(config: &str) -> Alertmanager {
        let directory = scratch("alertmanager");
        fs::write(directory.path().join("alertmanager.yml"), config).unwrap();
        Alertmanager { directory, port: free_port(), process: None }
    }

    /// Running.
    pub(crate) fn started() -> Alertmanager {
        let mut alertmanager = Alertmanager::stopped();
        alertmanager.start();
        alertmanager
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(&mut self) {
        let path = self.directory.path();
        let mut command = Command::new(service_path(alertmanager_path()));
        command
            .arg(format!("--config.file={}", path.join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", path.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .arg("--cluster.listen-address=");
        let mut process = Process::start("alertmanager", &mut command, path);
        process.serves(&format!("{}/-/ready", self.url()));
        self.process = Some(process);
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The alerts that it holds as firing, as its API gives them.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        match get_json(&format!("{}/api/v2/alerts", self.url())) {
            Some(Value::Array(alerts)) => alerts,
            other => panic!("Alertmanager answered {other:?}"),
        }
    }
}
