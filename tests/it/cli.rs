//! The command line as people and scripts meet it: the real binary, its output and its exit codes.

use std::{fs, process::Stdio};

use crate::{
    binary::{run, tripline},
    certificates::sign,
    running::{Running, event},
};

const SMALLEST: &str = include_str!("../data/config/smallest.yaml");

const RULE: &str = "\
title: Shell in a pod
id: 5d3f1c9e-7b0a-4c53-9f7e-0a3a4a6f0b11
status: stable
logsource: {product: kubernetes, service: audit}
detection:
  exec: {verb: [create, get], objectRef.resource: pods, objectRef.subresource: exec}
  condition: exec
level: medium
";

/// A directory with a configuration that can be used.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tripline.yaml"), SMALLEST).unwrap();
    fs::create_dir(directory.path().join("rules")).unwrap();
    fs::write(directory.path().join("rules/exec.yaml"), RULE).unwrap();
    directory
}

#[test]
fn check_says_what_is_wrong_by_text_and_by_exit_code() {
    let directory = directory();
    let (code, out, err) = run(tripline(directory.path()).arg("check"));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out, "tripline.yaml, 1 rule in rules: ok\n");

    let wrong = ["check", "--set", "http.listen=here", "--set", "log.level=loud"];
    let (code, out, _) = run(tripline(directory.path()).args(wrong));
    assert_eq!(code, 2);
    assert!(out.contains("http.listen is not") && out.contains("log.level cannot be"), "{out}");
    assert!(out.ends_with("2 errors\ntripline.yaml, 1 rule in rules: failed\n"), "{out}");

    let (code, out, _) = run(tripline(directory.path()).args(["check", "--config", "gone.yaml"]));
    assert_eq!(code, 2);
    assert!(out.contains("gone.yaml: No such file"), "{out}");
}

#[test]
fn check_shows_mistakes_of_configuration_and_rules_together_in_every_format() {
    let directory = directory();
    let broken = RULE.replace("condition: exec", "condition: exce").replace("5d3f", "6d3f");
    fs::write(directory.path().join("rules/broken.yaml"), broken).unwrap();
    let check = |args: &[&str]| {
        let (code, out, err) = run(tripline(directory.path()).arg("check").args(args));
        assert_eq!((code, err.as_str()), (2, ""), "{out}");
        out
    };
    let text = check(&["--set", "log.level=loud"]);
    assert!(text.contains("command line:1:17") && text.contains("rules/broken.yaml:"), "{text}");
    assert!(
        !check(&["--rules", "rules"]).contains("tripline.yaml"),
        "only the rules were asked for"
    );
    assert!(
        check(&["--rules", "rules/broken.yaml", "--config", "tripline.yaml"])
            .contains("tripline.yaml")
    );

    let json: serde_json::Value = serde_json::from_str(&check(&["--format", "json"])).unwrap();
    assert_eq!(json["diagnostics"][0]["file"], "rules/broken.yaml");
    let sarif: serde_json::Value = serde_json::from_str(&check(&["--format", "sarif"])).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(check(&["--format", "github"]).starts_with("::error "));
    let (code, _, err) = run(tripline(directory.path()).args(["check", "--format", "xml"]));
    assert!(code == 2 && err.contains("text, json, sarif, github"), "{err}");
}

/// What `run` would refuse at its next start is found before.
#[test]
fn check_finds_certificates_that_do_not_fit() {
    let directory = directory();
    let root = directory.path();
    sign(root, &[("ca", "one"), ("ca", "two")]);
    fs::write(root.join("none.pem"), "x\n").unwrap();
    let config = "sources: [{webhook: {listen: '127.0.0.1:0', tls: {cert_file: none.pem, key_file: one.key}, insecure: true}}]\n\
        rules: rules\nstate: state\nhttp: {tls: {cert_file: one.pem, key_file: two.key}}\n\
        receivers: [{name: r, webhook: {url: 'https://localhost', ca_file: none.pem}}]\nroute: {receiver: r}\n";
    fs::write(root.join("tripline.yaml"), config).unwrap();
    let (code, out, _) = run(tripline(root).arg("check"));
    assert_eq!(code, 2, "{out}");
    for wrong in
        ["http.tls.key_file: ", "tls.cert_file: there is no certificate", "webhook.ca_file"]
    {
        assert!(out.contains(wrong), "{wrong}: {out}");
    }
    assert!(out.contains("3 errors"), "{out}");
}

#[test]
fn a_warning_is_an_error_only_when_strict() {
    let directory = directory();
    let mut command = tripline(directory.path());
    command.arg("check").env("TRIPLINE_HTTP_LISTN", ":9464");
    let (code, out, _) = run(&mut command);
    assert!(code == 0 && out.contains("did you mean TRIPLINE_HTTP_LISTEN?"), "{code} {out}");
    assert_eq!(run(command.arg("--strict")).0, 2);
}

#[test]
fn the_environment_names_the_configuration() {
    let directory = directory();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = directory.path().join("tripline.yaml");
    let (code, out, _) = run(tripline(elsewhere.path()).arg("check").env("TRIPLINE_CONFIG", &path));
    assert_eq!(code, 0, "{out}");
    assert!(!out.contains("TRIPLINE_CONFIG"), "it is no setting: {out}");
}

#[test]
fn mistakes_on_the_command_line_end_with_2_and_help_with_0() {
    let directory = directory();
    for (args, code) in [
        (vec![], 2),
        (vec!["frobnicate"], 2),
        (vec!["check", "--frobnicate"], 2),
        (vec!["check", "--set", "novalue"], 2),
        (vec!["--help"], 0),
        (vec!["check", "--help"], 0),
        (vec!["--version"], 0),
        (vec!["version"], 0),
    ] {
        assert_eq!(run(tripline(directory.path()).args(&args)).0, code, "{args:?}");
    }
    let (_, help, _) = run(tripline(directory.path()).arg("--help"));
    for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  "] {
        assert!(help.contains(code), "exit code {code} is not explained:\n{help}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let directory = directory();
    let check = |args: &[&str], no_color: bool| {
        let mut command = tripline(directory.path());
        command.args(["check", "--set", "log.level=loud"]).args(args);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        run(&mut command).1.contains("\x1b[")
    };
    assert!(!check(&[], false), "a pipe is no terminal");
    assert!(check(&["--color", "always"], true), "the command line wins");
    assert!(!check(&["--color", "never"], false));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let directory = directory();
    let mut child = tripline(directory.path())
        .args(["check", "--set", "log.level=loud"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "the exit code still tells");
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(err, "", "neither a panic nor a complaint");
}

#[tokio::test]
async fn a_run_tells_serves_and_ends() {
    let directory = directory();
    let mut running = Running::start(directory.path(), "reload: {interval: 0s}\n");
    running.wait("/readyz", |code, _| code == 200).await;

    running.write(&event("create", "eve", "2026-01-05T22:14:01"));
    running.write("not json");
    let failures = "tripline_decode_failures_total{reason=\"not_json\"} 1";
    running.wait("/metrics", |_, text| text.contains(failures)).await;
    running.wait("/api/v1/alerts", |_, text| text.contains("Shell in a pod")).await;
    running.wait("/", |_, text| text.contains("Shell in a pod")).await;

    let (code, out, _) = run(tripline(directory.path()).args(["run", "--set", "state=elsewhere"]));
    assert_eq!((code, out.as_str()), (1, ""), "the port is in use");

    assert_eq!(running.end(), Some(0));
    let told = running.told();
    assert!(told.lines().next().unwrap().contains("Shell in a pod"), "{told}");
}
