//! Pages of `tripline run` over a pipe of events.

use crate::{
    http_server::write_rule,
    running::{Running, event},
};

/// Markup, a direction mark, a control character, a quote, and much of it.
const EVIL: &str = "<script>alert(1)</script>\\u202e\\u001b[31m'\\\"&";

/// Starts with alerts of an ordinary user and of a hostile one.
async fn started(directory: &std::path::Path) -> Running {
    write_rule(directory);
    let mut running = Running::start(directory, "");
    running.wait("/readyz", |code, _| code == 200).await;
    for (user, second) in [("anna", 1), (EVIL, 2)] {
        running.write(&event("create", user, &format!("2026-01-05T22:14:0{second}")));
    }
    running.wait("/api/v1/alerts", |_, text| text.contains("\"total\":")).await;
    running.wait("/alerts", |_, text| text.contains("anna") || text.contains("Exec")).await;
    running
}

/// Every page that needs no parameter.
const PAGES: &[&str] = &[
    "/",
    "/alerts",
    "/alerts?state=all",
    "/visits",
    "/sessions",
    "/who",
    "/timeline",
    "/coverage",
    "/rules",
    "/delivery",
    "/sources",
    "/ledger",
    "/settings",
];

#[tokio::test]
async fn pages_show_what_attackers_wrote_as_text() {
    let directory = tempfile::tempdir().unwrap();
    let running = started(directory.path()).await;
    let actor = "/actor?id=%3Cscript%3Ealert(1)%3C/script%3E&since=30d";
    for path in PAGES.iter().copied().chain([actor]) {
        let (code, text) = running.get(path).await;
        assert!(code == 200 || path == actor, "{path}: {code} {text}");
        assert!(!text.contains("<script>alert"), "{path}");
        for acts in ['\u{202e}', '\u{1b}'] {
            assert!(!text.contains(acts), "{path}");
        }
        assert!(text.len() <= 150_000, "{path} has {} bytes", text.len());
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_said_with_what_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    let running = started(directory.path()).await;
    for (path, code, said) in [
        ("/alerts?severty=high", 400, "did you mean `severity`?"),
        ("/alerts?severity=loud", 400, "no severity `loud`"),
        ("/alerts?state=gone", 400, "firing, resolved, all"),
        ("/alerts?from=2026-01-02&to=2026-01-01", 400, "nothing lies between"),
        ("/alerts?from=1990-01-01", 400, "narrow the range"),
        ("/alerts?zone=Europe/Rom", 400, "did you mean Europe/Rome?"),
        ("/alerts?q=%3Cb%3E", 200, "No alert fits"),
        (
            "/alerts/0123456789abcdef0123456789abcdef/2026-01-05T22:14:01Z",
            404,
            "there is no such alert",
        ),
        ("/alerts/nonsense", 404, "there is no such alert"),
        ("/rule?id=nonsense", 404, "there is no rule"),
        ("/visit?start=2026-01-05T22:14:01Z", 404, "there is no such visit"),
        ("/actor", 400, "`id` is missing"),
    ] {
        let (found, text) = running.get(path).await;
        let text = text.replace("&#39;", "'").replace("&quot;", "\"");
        assert_eq!(found, code, "{path}: {text}");
        assert!(text.contains(said), "{path}: {said} in {text}");
    }
}

#[tokio::test]
async fn a_page_of_an_alert_answers_who_what_and_when() {
    let directory = tempfile::tempdir().unwrap();
    let running = started(directory.path()).await;
    let (_, list) = running.get("/alerts").await;
    let begin = list.find("href=\"/alerts/").unwrap() + 6;
    let link = &list[begin..begin + list[begin..].find('"').unwrap()];
    let text = running.wait(link, |_, text| text.contains("Evidence")).await;
    for shown in ["Why", "Who", "Usual?", "Evidence", "Told", "2026-01-05", "Exec"] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
}

#[tokio::test]
async fn files_have_their_hash_in_the_name_and_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let running = started(directory.path()).await;
    let (_, page) = running.get("/").await;
    for kind in ["css", "js", "svg"] {
        let end = page.find(&format!(".{kind}\"")).unwrap() + kind.len() + 1;
        let begin = page[..end].rfind('"').unwrap() + 1;
        let (code, text) = running.get(&page[begin..end]).await;
        assert_eq!(code, 200, "{}", &page[begin..end]);
        assert!(kind != "js" || text.len() <= 20_000);
    }
    assert_eq!(running.get("/static/app-000000000000.css").await.0, 404);
}
