//! A running `tripline run` over a log that is written, rotated and compressed meanwhile.

use std::{
    fs::{self, File, OpenOptions},
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

fn append(path: &Path, users: &[&str]) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    for user in users {
        writeln!(file, "{}", event("get", user, "2026-01-05T10:00:00")).unwrap();
    }
}

fn compress(path: &Path) {
    let packed = File::create(path.with_extension("1.gz")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(path).unwrap();
}

/// Who was told of, in order.
fn told(running: &Running) -> Vec<String> {
    let users = ["ann", "bob", "cyd", "dan", "eve"];
    let mut told: Vec<(usize, &str)> = users
        .iter()
        .filter_map(|user| Some((running.told().find(&format!("\"{user}\""))?, *user)))
        .collect();
    told.sort_unstable();
    told.into_iter().map(|(_, user)| user.to_owned()).collect()
}

#[tokio::test]
async fn a_log_is_followed_through_rotations_and_kills() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("rules")).unwrap();
    fs::write(dir.path().join("rules/exec.yaml"), RULE).unwrap();
    let log = dir.path().join("audit.log");
    let rotated = dir.path().join("audit.log.1");
    let sources = format!("[{{file: {{paths: ['{}*'], follow: true}}}}]", log.display());
    append(&log, &["ann"]);
    let mut running = Running::over(&sources, dir.path(), "");
    running.until("ann", |running| told(running) == ["ann"]).await;
    append(&log, &["bob"]);
    running.until("bob", |running| told(running).len() == 2).await;
    running.signal("-KILL");
    running.end();

    append(&log, &["cyd"]);
    fs::rename(&log, &rotated).unwrap();
    append(&log, &["dan"]);
    compress(&rotated);
    let mut running = Running::over(&sources, dir.path(), "");
    running.until("dan", |running| told(running).contains(&"dan".to_owned())).await;
    assert!(told(&running).contains(&"cyd".to_owned()), "{}", running.told());
    // What was read before was not read again, neither from the old file nor from its compressed form.
    assert_eq!(running.metric("tripline_records_total").await, Some(2.0));

    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    running.wait("/readyz", |_, text| text.contains("is a directory")).await;
    fs::remove_dir(&log).unwrap();
    append(&log, &["eve"]);
    running.until("eve", |running| told(running).contains(&"eve".to_owned())).await;
    running.wait("/readyz", |code, _| code == 200).await;
    assert_eq!(running.metric("tripline_records_total").await, Some(3.0));
    running.signal("-TERM");
    assert_eq!(running.end(), Some(0), "{}", running.logged());
}
