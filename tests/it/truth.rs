//! Which of several sources is the truth for a cluster (`truth_for`): what others bring of it is counted, and
//! no rule sees it.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use crate::running::{Running, event};

const RULE: &str = "title: exec
logsource: {product: kubernetes, service: audit}
detection: {e: {objectRef.subresource: exec}, condition: e}
level: high
tripline: {group-by: [user.username]}
";

/// A line of a log, of a cluster that the event names itself.
fn append(log: &Path, user: &str, cluster: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(log).unwrap();
    let event = event("get", user, "2026-01-05T10:00:00");
    writeln!(file, "{{\"cluster\":\"{cluster}\",{}", &event[1..]).unwrap();
}

fn is_told(running: &Running, user: &str) -> bool {
    running.told().contains(&format!("\"{user}\""))
}

#[tokio::test]
async fn what_another_source_says_of_a_cluster_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("rules")).unwrap();
    fs::write(dir.path().join("rules/exec.yaml"), RULE).unwrap();
    let [own, other] = ["own.log", "other.log"].map(|name| dir.path().join(name));
    append(&own, "ann", "prod");
    // The other one says different things of the same cluster, and is all there is for a second one.
    append(&other, "bob", "prod");
    append(&other, "cyd", "lab");
    append(&other, "dan", "PROD");
    let sources = |truth: &str| {
        let (own, other) = (own.display(), other.display());
        format!(
            "[{{name: own, {truth} file: {{paths: ['{own}'], follow: true}}}}, \
              {{name: other, file: {{paths: ['{other}'], follow: true}}}}]"
        )
    };
    let mut running = Running::over(&sources("truth_for: [prod],"), dir.path(), "");
    running
        .until("ann, cyd and dan", |running| {
            ["ann", "cyd", "dan"].iter().all(|user| is_told(running, user))
        })
        .await;
    assert!(!is_told(&running, "bob"), "{}", running.told());
    let elsewhere = running.metric("tripline_events_elsewhere_total").await;
    assert_eq!(elsewhere, Some(1.0), "names of clusters are as they are written");
    running.signal("-TERM");
    assert_eq!(running.end(), Some(0), "{}", running.logged());

    // Without it both are believed.
    append(&other, "eve", "prod");
    let mut running = Running::over(&sources(""), dir.path(), "");
    running.until("eve", |running| is_told(running, "eve")).await;
    assert_eq!(running.metric("tripline_events_elsewhere_total").await, Some(0.0));
    running.signal("-TERM");
    assert_eq!(running.end(), Some(0), "{}", running.logged());
}
