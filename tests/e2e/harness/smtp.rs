//! A real SMTP server that demands encryption and a login, with STARTTLS and with implicit TLS.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde::Deserialize;
use tempfile::TempDir;

use super::{
    eventually, free_port,
    process::Process,
    project_file, scratch, service_path,
    tls::{self, Certificates},
};

/// The login that it takes.
pub(crate) const USER: &str = "tripline@example.org";
/// And its password.
pub(crate) const PASSWORD: &str = "mail-secret";
/// A mailbox that it refuses for good.
pub(crate) const REFUSED: &str = "nobody@example.org";

/// A mailbox whose first mail must come again, or each if it is so [held](Smtp::hold_deferred).
pub(crate) const DEFERRED: &str = "greylisted@example.org";

/// A message as the server's mail parser saw it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mail {
    /// Of the envelope, as are the recipients.
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    /// `starttls` or `tls`: by which port it came.
    pub(crate) via: String,
    pub(crate) user: Option<String>,
    pub(crate) content_type: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) parts: Vec<Part>,
}

/// One leaf of its MIME tree.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Part {
    pub(crate) content_type: String,
    pub(crate) text: String,
}

impl Mail {
    /// The decoded text of its part of this type.
    pub(crate) fn part(&self, content_type: &str) -> &str {
        let part = self.parts.iter().find(|part| part.content_type == content_type);
        &part.unwrap_or_else(|| panic!("no {content_type} part in {self:?}")).text
    }

    /// A header, by its exact name.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name} in {self:?}"))
    }
}

/// Runs until dropped.
pub(crate) struct Smtp {
    _process: Process,
    pub(crate) starttls_port: u16,
    pub(crate) tls_port: u16,
    certificates: Certificates,
    directory: TempDir,
}

impl Smtp {
    /// Starts it and waits until it serves.
    pub(crate) fn started() -> Smtp {
        let directory = scratch("smtp");
        let certificates = tls::make(directory.path());
        let mails = directory.path().join("mails");
        fs::create_dir(&mails).unwrap();
        let (starttls_port, tls_port) = (free_port(), free_port());
        let mut command = Command::new("python3");
        command
            .arg(project_file("tests/setup/smtp_server.py"))
            .env("PYTHONPATH", service_path("python"))
            .arg("--directory")
            .arg(&mails)
            .arg("--certificate")
            .arg(&certificates.certificate)
            .arg("--key")
            .arg(&certificates.key)
            .args(["--user", USER, "--password", PASSWORD, "--refuse", REFUSED])
            .args(["--defer", DEFERRED])
            .args(["--starttls-port", &starttls_port.to_string()])
            .args(["--tls-port", &tls_port.to_string()]);
        let mut process = Process::start("smtp", &mut command, directory.path());
        eventually("the SMTP server starts", || {
            assert!(process.exited().is_none(), "the SMTP server ended:\n{}", process.err());
            process.out().contains("ready").then_some(())
        });
        Smtp { directory, certificates, starttls_port, tls_port, _process: process }
    }

    /// The authority that signed its certificate.
    pub(crate) fn ca(&self) -> &Path {
        &self.certificates.ca
    }

    /// Whether the deferred mailbox is put off again and again, not only the first time.
    pub(crate) fn hold_deferred(&self, is_held: bool) {
        let path = self.directory.path().join("mails/hold");
        if is_held { fs::write(path, "") } else { fs::remove_file(path) }.unwrap();
    }

    /// What it has taken so far, oldest first.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        let path = |number: usize| self.directory.path().join(format!("mails/{number}.json"));
        (1..)
            .map_while(|number| fs::read(path(number)).ok())
            .map(|text| serde_json::from_slice(&text).unwrap())
            .collect()
    }
}
