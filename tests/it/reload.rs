//! Rules that are edited while the real binary runs: by whatever means, taken whole or not at all.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::running::{Running, event};

/// Looks often, so that tests need not wait.
const OFTEN: &str = "reload: {interval: 100ms}\n";
const NEVER: &str = "reload: {interval: 0s}\n";

/// Name of the alert that says an edit was refused.
const REFUSED: &str = "TriplineReloadFailed";

fn rule(name: &str, condition: &str, more: &str) -> String {
    format!(
        "title: Rule {name}\nname: {name}\nlogsource: {{product: kubernetes, service: audit}}\n\
         detection:\n  exec: {{verb: [create, get], objectRef.subresource: exec}}\n  condition: {condition}\n\
         level: medium\ngenerate: true\n{more}"
    )
}

const BURST: &str = "---\ntitle: Burst\nname: burst\ncorrelation:\n  type: event_count\n  \
    rules: [shell]\n  group-by: [user.username]\n  timespan: 1h\n  condition: {gte: 3}\n";

/// A directory with a rule `shell`.
fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("shell.yaml"), rule("shell", "exec", "")).unwrap();
    (directory, rules)
}

async fn ready(directory: &Path, more: &str) -> Running {
    let running = Running::start(directory, more);
    running.wait("/readyz", |code, _| code == 200).await;
    running
}

/// Alerts of a rule that were told, in order.
fn told(running: &Running, name: &str) -> Vec<Value> {
    let all = running.told();
    let alerts = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    alerts.filter(|alert| alert["labels"]["alertname"] == name).collect()
}

fn states(running: &Running, name: &str) -> Vec<String> {
    let state = |alert: &Value| alert["state"].as_str().unwrap().to_owned();
    told(running, name).iter().map(state).collect()
}

async fn loaded(running: &Running, name: &str) {
    let name = format!("\"name\":\"{name}\"");
    running.wait("/api/v1/rules", |_, text| text.contains(&name)).await;
}

/// Of the rules that are in force, as it is written in JSON.
async fn version(running: &Running) -> String {
    let (_, rules) = running.get("/api/v1/rules").await;
    serde_json::from_str::<Value>(&rules).unwrap()["version"].to_string()
}

/// Other rules than those of a version are in force, and not only read.
async fn replaced(running: &Running, before: &str) {
    running.wait("/api/v1/rules", |code, text| code == 200 && !text.contains(before)).await;
}

async fn refused(running: &Running, count: usize) {
    let what = format!("refused {count} times");
    let firing = |running: &Running| {
        states(running, REFUSED).iter().filter(|state| *state == "firing").count()
    };
    running.until(&what, |running| firing(running) >= count).await;
}

async fn resolved(running: &Running) {
    let is_over =
        |running: &Running| states(running, REFUSED).last().is_some_and(|last| last == "resolved");
    running.until("the refusal is over", is_over).await;
}

#[tokio::test]
async fn a_request_to_reload_is_answered_once_the_rules_are_in_force_or_with_what_is_wrong() {
    let (directory, rules) = directory();
    let mut running = ready(directory.path(), NEVER).await;
    assert_eq!(running.reload().await, (200, "1 rule loaded\n".to_owned()));
    fs::write(rules.join("more.yaml"), rule("more", "exec", "")).unwrap();
    assert_eq!(running.reload().await, (200, "2 rules loaded\n".to_owned()));
    let (_, now) = running.get("/api/v1/rules").await;
    assert!(now.contains("\"name\":\"more\""), "the answer is given too early: {now}");
    running.write(&event("create", "eve", "2026-01-05T22:14:01"));
    running.until("the new rule alerts", |running| !told(running, "more").is_empty()).await;

    let broken = rule("more", "exce", "").replace("verb:", "vreb:");
    fs::write(rules.join("more.yaml"), broken).unwrap();
    let (code, body) = running.reload().await;
    assert_eq!(code, 422);
    for part in [
        "error[R041]: there is no selection `exce`",
        "--> rules/more.yaml:6:14",
        "did you mean `exec`?",
        "1 error",
    ] {
        assert!(body.contains(part), "no {part} in {body}");
    }
    assert!(!body.contains('\u{1b}'), "no colours: {body}");
    assert_eq!(running.get("/-/reload").await.0, 405);
    assert_eq!(running.end(), Some(0));
}

#[tokio::test]
async fn a_refused_edit_is_told_by_metric_log_and_alert_until_it_is_mended() {
    let (directory, rules) = directory();
    let mut running = ready(directory.path(), NEVER).await;
    let outcomes = |outcome: &str| format!("tripline_rules_reloads_total{{outcome=\"{outcome}\"}}");
    let (success, failure) = (outcomes("success"), outcomes("failure"));
    let successful = "tripline_rules_last_reload_successful";
    let loaded_at = "tripline_rules_last_load_timestamp_seconds";
    assert_eq!(running.metric(&success).await, Some(0.0));
    assert_eq!(running.metric(successful).await, Some(1.0));
    let first_load = running.metric(loaded_at).await.unwrap();
    assert!(first_load > 1.7e9);

    fs::write(rules.join("shell.yaml"), rule("shell", "exce", "")).unwrap();
    assert_eq!(running.reload().await.0, 422);
    refused(&running, 1).await;
    let firing = told(&running, REFUSED).remove(0);
    assert_eq!(firing["severity"], "high");
    assert_eq!(firing["labels"]["rule_id"], "tripline.reload");
    let says = "rules/shell.yaml:6:14: error[R041]: there is no selection `exce`";
    assert_eq!(firing["annotations"]["description"], says);
    assert!(firing["annotations"]["summary"].as_str().unwrap().contains("refused"), "{firing}");
    let log = running.logged();
    assert!(log.contains("there is no selection `exce`") && log.contains("rules not reloaded"));
    assert_eq!(running.metric(successful).await, Some(0.0));
    assert_eq!(running.metric(&failure).await, Some(1.0));
    assert_eq!(running.metric(loaded_at).await, Some(first_load), "the rules in use are those");
    let (code, text) = running.get("/readyz").await;
    assert!(code == 200 && text.contains("degraded  the last edit was refused"), "{text}");
    running.write(&event("create", "eve", "2026-01-05T22:14:01"));
    running.until("the last good rules go on", |running| !told(running, "shell").is_empty()).await;

    // Another mistake is the same trouble; the same mistake again is no news.
    assert_eq!(running.reload().await.0, 422);
    fs::write(rules.join("shell.yaml"), rule("shell", "exec", "levle: high\n") + "x: [\n").unwrap();
    assert_eq!(running.reload().await.0, 422);
    refused(&running, 2).await;
    let again = told(&running, REFUSED).remove(1);
    assert_eq!(again["starts_at"], firing["starts_at"], "it goes on");
    assert_ne!(again["annotations"]["description"], firing["annotations"]["description"]);

    fs::write(rules.join("shell.yaml"), rule("shell", "exec", "")).unwrap();
    assert_eq!(running.reload().await.0, 200);
    resolved(&running).await;
    let over = told(&running, REFUSED).pop().unwrap();
    assert_eq!(over["starts_at"], firing["starts_at"]);
    assert!(over["ends_at"].is_string(), "{over}");
    assert_eq!(states(&running, REFUSED), ["firing", "firing", "resolved"]);
    assert_eq!(running.metric(successful).await, Some(1.0));
    assert_eq!(running.metric(&failure).await, Some(3.0));
    assert_eq!(running.metric(&success).await, Some(1.0));
    assert!(running.metric(loaded_at).await.unwrap() > first_load);
    assert!(!running.get("/readyz").await.1.contains("degraded"));
}

#[tokio::test]
async fn files_are_looked_at_lists_schedules_and_links_included() {
    let (directory, rules) = directory();
    let mut running = ready(directory.path(), OFTEN).await;
    fs::write(rules.join("shell.yaml"), rule("shell", "exec", BURST)).unwrap();
    loaded(&running, "burst").await;

    // A list and a schedule, and the rule that uses them.
    fs::create_dir(rules.join("lists")).unwrap();
    fs::write(rules.join("lists/admins.txt"), "alice\n").unwrap();
    fs::write(
        rules.join("schedules.yaml"),
        "schedules: {always: {zone: UTC, hours: mon-sun 00:00-24:00}}\n",
    )
    .unwrap();
    let listed = rule("listed", "exec and known", "tripline: {inside: always}\n")
        .replace("  condition", "  known: {user.username|expand: '%admins%'}\n  condition");
    fs::write(rules.join("listed.yaml"), listed).unwrap();
    loaded(&running, "listed").await;
    running.write(&event("create", "eve", "2026-01-05T22:14:01"));
    running.until("the other rule alerts", |running| !told(running, "shell").is_empty()).await;
    assert_eq!(told(&running, "listed").len(), 0, "eve is no admin");

    let before = version(&running).await;
    fs::write(rules.join("lists/admins.txt"), "alice\neve\n").unwrap();
    replaced(&running, &before).await;
    running.write(&event("create", "eve", "2026-01-05T22:14:02"));
    running.until("now eve is one", |running| !told(running, "listed").is_empty()).await;

    let before = version(&running).await;
    fs::write(
        rules.join("schedules.yaml"),
        "schedules: {always: {zone: UTC, hours: mon-tue 00:00-01:00}}\n",
    )
    .unwrap();
    replaced(&running, &before).await;
    let told_before = told(&running, "listed").len();
    running.write(&event("create", "eve", "2026-01-05T22:14:03"));
    running
        .until("the window was kept all the time", |running| !told(running, "burst").is_empty())
        .await;
    assert_eq!(told(&running, "listed").len(), told_before, "it is outside of the schedule now");
}

#[tokio::test]
async fn a_config_map_is_swapped_by_its_link() {
    let (directory, rules) = directory();
    // As Kubernetes mounts it: names are links into `..data`, which is a link to a version.
    fs::remove_file(rules.join("shell.yaml")).unwrap();
    let version = |name: &str, condition: &str| {
        fs::create_dir(rules.join(name)).unwrap();
        fs::write(rules.join(name).join("shell.yaml"), rule(name.trim_matches('.'), condition, ""))
            .unwrap();
        symlink(name, rules.join("..data_tmp")).unwrap();
        fs::rename(rules.join("..data_tmp"), rules.join("..data")).unwrap();
    };
    version("..first", "exec");
    symlink("..data/shell.yaml", rules.join("shell.yaml")).unwrap();
    let running = ready(directory.path(), OFTEN).await;
    loaded(&running, "first").await;
    version("..second", "exec");
    fs::remove_dir_all(rules.join("..first")).unwrap();
    loaded(&running, "second").await;
    version("..third", "exce");
    refused(&running, 1).await;
    version("..fourth", "exec");
    resolved(&running).await;
    loaded(&running, "fourth").await;
    assert_eq!(states(&running, REFUSED), ["firing", "resolved"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_what_comes_back_is_taken() {
    let (directory, rules) = directory();
    let mut running = ready(directory.path(), OFTEN).await;
    let away = directory.path().join("away");
    let description = |running: &Running| {
        let last = told(running, REFUSED).pop().unwrap();
        last["annotations"]["description"].as_str().unwrap().to_owned()
    };
    fs::rename(&rules, &away).unwrap();
    refused(&running, 1).await;
    assert!(description(&running).contains("No such file"), "{}", description(&running));
    fs::rename(&away, &rules).unwrap();
    resolved(&running).await;

    symlink("gone.yaml", rules.join("link.yaml")).unwrap();
    refused(&running, 2).await;
    assert!(description(&running).contains("link.yaml"), "{}", description(&running));
    fs::remove_file(rules.join("link.yaml")).unwrap();
    resolved(&running).await;

    fs::write(rules.join("latin.yaml"), b"title: caf\xe9\n").unwrap();
    refused(&running, 3).await;
    assert!(description(&running).contains("UTF-8"), "{}", description(&running));
    fs::remove_file(rules.join("latin.yaml")).unwrap();
    resolved(&running).await;

    // Nothing but a directory with the name of a rule file: no rules are left.
    fs::rename(rules.join("shell.yaml"), &away).unwrap();
    fs::create_dir(rules.join("shell.yaml")).unwrap();
    refused(&running, 4).await;
    assert!(description(&running).contains("no rule files"), "{}", description(&running));
    fs::remove_dir(rules.join("shell.yaml")).unwrap();
    fs::rename(&away, rules.join("shell.yaml")).unwrap();
    resolved(&running).await;
    running.write(&event("create", "eve", "2026-01-05T22:14:01"));
    running.until("the rule still alerts", |running| !told(running, "shell").is_empty()).await;
}

#[tokio::test]
async fn an_edit_in_several_steps_is_one_edit() {
    let (directory, rules) = directory();
    let running = Running::start(directory.path(), "reload: {interval: 1s}\n");
    running.wait("/readyz", |code, _| code == 200).await;
    // A correlation first, and the rule that it names a little later, as a copy of many files does.
    fs::write(rules.join("burst.yaml"), BURST.replace("shell", "step").replace("---\n", ""))
        .unwrap();
    let is_seen = |running: &Running| running.logged().contains("rule files change");
    running.until("the change is seen", is_seen).await;
    fs::write(rules.join("step.yaml"), rule("step", "exec", "")).unwrap();
    loaded(&running, "step").await;
    assert_eq!(states(&running, REFUSED), Vec::<String>::new());
    assert!(!running.logged().contains("rules not reloaded"), "{}", running.logged());
}

#[tokio::test]
async fn a_signal_reloads_even_before_everything_has_started() {
    let (directory, rules) = directory();
    let mut first = ready(directory.path(), NEVER).await;
    fs::write(rules.join("shell.yaml"), rule("second", "exec", "")).unwrap();
    first.signal("-HUP");
    loaded(&first, "second").await;

    // Another process waits for the state that the first still holds. What is edited meanwhile counts.
    let second = Running::start(directory.path(), OFTEN);
    second.wait("/readyz", |_, text| text.contains("taking over")).await;
    fs::write(rules.join("shell.yaml"), rule("third", "exec", "")).unwrap();
    second.signal("-HUP");
    assert_eq!(first.end(), Some(0));
    loaded(&second, "third").await;
}

#[tokio::test]
async fn a_secret_that_has_become_a_pipe_is_named_and_holds_up_nothing() {
    let (directory, rules) = directory();
    let place = |name: &str| directory.path().join(name);
    let (token, fresh) = (place("token"), place("fresh"));
    let pipe = |path: &Path| {
        drop(fs::remove_file(path));
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    fs::write(&token, "of-yesterday").unwrap();
    let receivers = "receivers:\n  - name: out\n    stdout: {format: json}\n    \
        webhook: {url: 'http://127.0.0.1:9/', bearer_token_file: token}\n";
    let more = format!("{OFTEN}{receivers}");
    let mut running = ready(directory.path(), &more).await;

    pipe(&token);
    let words = "token: it is a pipe, not a file";
    let is_named = |code: u16, text: &str| code == 200 && text.contains(words);
    let said = running.wait("/readyz", is_named).await;
    assert!(said.contains("going on with what was there before"), "{said}");
    assert!(running.logged().contains(words), "{}", running.logged());
    assert_eq!(running.reload().await, (200, "1 rule loaded\n".to_owned()));
    fs::write(rules.join("second.yaml"), rule("second", "exec", "")).unwrap();
    loaded(&running, "second").await;

    // As a Secret is replaced: whole, under its name.
    fs::write(&fresh, "of-today").unwrap();
    fs::rename(&fresh, &token).unwrap();
    running.wait("/readyz", |_, text| text.contains("all of them can be read")).await;
    pipe(&token);
    running.wait("/readyz", is_named).await;
    running.signal("-TERM");
    assert_eq!(running.end(), Some(0));

    // And a start says at once what is wrong.
    let refused = Running::start(directory.path(), &more).refused();
    assert!(refused.contains(words), "{refused}");
}
