//! A real Prometheus that scrapes Tripline every second and has the shipped alert rules loaded.

use std::{fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{free_port, get_json, process::Process, project_file, scratch, service_path};

/// A condition that holds after five minutes, and one like it that holds after five seconds.
const LASTING: (&str, &str) =
    ("tripline_checkpoint_age_seconds > 300", "tripline_checkpoint_age_seconds > 5");

/// Runs until dropped.
pub(crate) struct Prometheus {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it with one target, `HOST:PORT` of Tripline's HTTP server.
    pub(crate) fn scraping(target: &str) -> Prometheus {
        Prometheus::with_rules(target, |rules| rules)
    }

    /// The same, with alerts that fire as soon as their condition holds, and soon if the condition itself is
    /// how long something has lasted.
    pub(crate) fn impatient(target: &str) -> Prometheus {
        let at_once = |line: &str| !line.trim_start().starts_with("for: ");
        Prometheus::with_rules(target, |rules| {
            let rules: Vec<&str> = rules.lines().filter(|line| at_once(line)).collect();
            let (shipped, soon) = LASTING;
            assert!(
                rules.iter().any(|line| line.ends_with(shipped)),
                "no rule waits for {shipped}"
            );
            rules.join("\n").replace(shipped, soon)
        })
    }

    fn with_rules(target: &str, change: impl Fn(String) -> String) -> Prometheus {
        let directory = scratch("prometheus");
        let path = directory.path();
        let shipped = project_file("deploy/prometheus/tripline.rules.yml");
        let rules = path.join("rules.yml");
        fs::write(&rules, change(fs::read_to_string(shipped).unwrap())).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ['{}']
scrape_configs:
  - job_name: tripline
    static_configs: [{{targets: ['{target}']}}]
",
            rules.display()
        );
        fs::write(path.join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let mut command = Command::new(service_path("bin/prometheus"));
        command
            .arg(format!("--config.file={}", path.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut process = Process::start("prometheus", &mut command, path);
        process.serves(&format!("http://127.0.0.1:{port}/-/ready"));
        Prometheus { port, _process: process, _directory: directory }
    }

    /// The values of an instant query, with their labels; empty while there are none.
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let mut url = reqwest::Url::parse(&self.api("query")).unwrap();
        url.query_pairs_mut().append_pair("query", expression);
        let answer = get_json(url.as_str()).unwrap_or_else(|| panic!("cannot query {expression}"));
        answer["data"]["result"].as_array().expect("an instant vector").clone()
    }

    /// The names of the alert rules that it has loaded, each with whether it evaluates well.
    pub(crate) fn rules(&self) -> Vec<(String, String)> {
        let answer = get_json(&self.api("rules")).expect("Prometheus answers");
        let groups = answer["data"]["groups"].as_array().expect("groups").iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
        let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        rules.map(|rule| (text(rule, "name"), text(rule, "health"))).collect()
    }

    fn api(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v1/{path}", self.port)
    }
}
