//! Pages of a part of the time: what lies at its edges is shown as it is.

use std::path::Path;

use crate::running::Running;

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"@ID@","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets/@NAME@","verb":"get","user":{"username":"system:serviceaccount:shop:api","groups":["system:serviceaccounts"]},"sourceIPs":["10.8.1.24"],"userAgent":"api/v1","objectRef":{"resource":"secrets","namespace":"shop","name":"@NAME@","apiVersion":"v1"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-03-04T@TIME@.000000Z","stageTimestamp":"2026-03-04T@TIME@.100000Z","cluster":"prod"}"#;

/// A process that has read what a machine did, whose reads of one secret are rolled up by the hour.
async fn recorded(directory: &Path) -> Running {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    std::os::unix::fs::symlink(rules, directory.join("rules")).unwrap();
    let mut running = Running::start(directory, "");
    running.wait("/readyz", |code, _| code == 200).await;
    let reads = [
        ("a", "10:00:00"),
        ("b", "10:05:00"),
        ("a", "10:20:00"),
        ("b", "10:40:00"),
        ("c", "10:42:00"),
        ("c", "10:50:00"),
        // The hour is over.
        ("d", "11:30:00"),
    ];
    for (name, time) in reads {
        let event = EVENT.replace("@NAME@", name).replace("@TIME@", time);
        running.write(&event.replace("@ID@", &format!("{name}{time}")));
    }
    let told = "/api/v1/coverage?from=2026-03-04T10:00:00Z&to=2026-03-04T11:00:00Z";
    running.wait(told, |_, text| text.contains("\"complete\"")).await;
    running
}

/// The first link to a path.
fn link_to(page: &str, path: &str) -> String {
    let begin = page.find(&format!("href=\"{path}")).unwrap_or_else(|| panic!("{page}")) + 6;
    page[begin..].split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&")
}

#[tokio::test]
async fn an_hour_of_which_a_part_is_shown_was_observed() {
    let directory = tempfile::tempdir().unwrap();
    let running = recorded(directory.path()).await;
    let actor = "/actor?id=system:serviceaccount:shop:api&from=2026-03-04T10:01:00Z";
    let (code, text) = running.get(&format!("{actor}&to=2026-03-04T10:59:00Z")).await;
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("secrets") && !text.contains("nobody looked from"), "{text}");
    let before = "/actor?id=system:serviceaccount:shop:api&from=2026-03-04T09:01:00Z";
    let (_, text) = running.get(&format!("{before}&to=2026-03-04T10:59:00Z")).await;
    assert!(text.contains("nobody looked from 2026-03-04 09:01:00"), "{text}");
}

#[tokio::test]
async fn a_visit_that_the_range_cuts_or_that_another_pause_ends_is_the_one_of_the_list() {
    let directory = tempfile::tempdir().unwrap();
    let running = recorded(directory.path()).await;
    let list = "/visits?machines=true&from=2026-03-04T10:30:00Z&to=2026-03-04T11:00:00Z";
    for list in [list.to_owned(), format!("{list}&pause=1m")] {
        let (code, text) = running.get(&list).await;
        assert_eq!(code, 200, "{text}");
        let pause = if list.ends_with("1m") { "1 min" } else { "15 min" };
        assert!(text.contains(&format!("without a pause over {pause}")), "{text}");
        let link = link_to(&text, "/visit?");
        let (code, text) = running.get(&link).await;
        assert_eq!(code, 200, "{link}: {text}");
        assert!(text.contains("2026-03-04 10:05:00"), "{link}: {text}");
    }
}

#[tokio::test]
async fn names_that_nothing_has_are_refused_on_pages_too() {
    let directory = tempfile::tempdir().unwrap();
    let running = recorded(directory.path()).await;
    let day = "from=2026-03-04&to=2026-03-05";
    for (path, said) in [
        ("/who?verb=get&resource=po", "did you mean `pods`?"),
        ("/who?verb=get&resource=exec", "did you mean `pods/exec`?"),
        ("/timeline?resource=pods/exce", "did you mean `pods/exec`?"),
        ("/timeline?verb=GET", "did you mean `get`?"),
        ("/visits?cluster=prodd", "did you mean `prod`?"),
        ("/sessions?cluster=prodd", "did you mean `prod`?"),
    ] {
        let (_, text) = running.get(&format!("{path}&{day}")).await;
        assert!(text.contains(said), "{path}: {said} in {text}");
    }
}
