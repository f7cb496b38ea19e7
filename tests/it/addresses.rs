//! A file that names where alerts go is changed while the process runs.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::{SignedDuration, Timestamp};

use crate::{
    fake_receivers::FakeHttp,
    http_server::write_rule,
    running::{Running, event},
};

/// How long ago, as events write it.
fn ago(minutes: i64) -> String {
    let time = Timestamp::now() - SignedDuration::from_mins(minutes);
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// What a receiver was told of each alert, in order.
fn told(http: &FakeHttp) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in http.requests() {
        for alert in request.json()["alerts"].as_array().unwrap() {
            let text = |name: &str| alert[name].as_str().unwrap().to_owned();
            told.entry(text("fingerprint")).or_default().push(text("state"));
        }
    }
    told
}

fn start(directory: &Path, first: &FakeHttp, look: &str) -> Running {
    write_rule(directory);
    fs::write(directory.join("url"), first.base()).unwrap();
    let notifier = "webhook: [{url_file: url}]";
    let more = format!("reload: {{interval: {look}}}\n");
    Running::between("[{file: {paths: ['-']}}]", notifier, directory, &more)
}

/// Whoever is at the new address hears at once what fires, and of an end only after that.
#[tokio::test(flavor = "multi_thread")]
async fn another_address_in_a_file_is_another_receiver() {
    // Found by the next look at the files, and by the next attempt.
    for look in ["1s", "1h"] {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (FakeHttp::start().await, FakeHttp::start().await);
        let mut running = start(directory.path(), &first, look);
        running.wait("/healthz", |code, _| code == 200).await;
        running.write(&event("create", "eve", &ago(30)));
        running.until("the first is told", |_| told(&first).len() == 1).await;
        let eve = told(&first).into_keys().next().unwrap();
        fs::write(directory.path().join("url"), second.base()).unwrap();
        if look == "1s" {
            running.until("the second is told", |_| told(&second).contains_key(&eve)).await;
        }
        running.write(&event("create", "bob", &ago(0)));
        let is_over = |http: &FakeHttp| told(http).get(&eve).is_some_and(|all| all.len() == 2);
        running.until("it is over", |_| is_over(&second)).await;
        assert_eq!(told(&second)[&eve], ["firing", "resolved"], "{look}");
        assert_eq!(told(&first), BTreeMap::from([(eve, vec!["firing".to_owned()])]), "{look}");
    }
}
