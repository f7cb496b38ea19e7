//! Forms of the real binary: two people at once, one form twice, another site's form, text of all sorts.

use serde_json::Value;

use crate::{
    http_server::write_rule,
    running::{Running, event},
};

const FORM: &str = "application/x-www-form-urlencoded";

/// What a form has in its hidden field.
fn hidden<'t>(page: &'t str, name: &str) -> &'t str {
    let field = format!("name=\"{name}\" value=\"");
    let begin = page.find(&field).unwrap_or_else(|| panic!("no {name} in {page}")) + field.len();
    page[begin..].split('"').next().unwrap()
}

async fn with_an_alert(directory: &std::path::Path) -> (Running, String) {
    write_rule(directory);
    let mut running = Running::start(directory, "");
    running.wait("/readyz", |code, _| code == 200).await;
    running.write(&event("create", "eve", "2026-01-05T22:14:01"));
    let text = running.wait("/api/v1/alerts", |_, text| text.contains("\"fingerprint\"")).await;
    let all: Value = serde_json::from_str(&text).unwrap();
    let fingerprint = all["alerts"][0]["fingerprint"].as_str().unwrap().to_owned();
    (running, fingerprint)
}

/// A form of an act, as a browser fills it in from its page.
async fn form(running: &Running, act: &str, fingerprint: &str, more: &str) -> String {
    let (code, page) = running.get(&format!("/act?act={act}&alert={fingerprint}")).await;
    assert_eq!(code, 200, "{page}");
    let (id, token, made) = (hidden(&page, "id"), hidden(&page, "token"), hidden(&page, "made"));
    format!("act={act}&alert={fingerprint}&id={id}&token={token}&made={made}&back=%2Falerts{more}")
}

/// Which act a filled-in form is.
fn id_of(form: &str) -> &str {
    form.split('&').find_map(|field| field.strip_prefix("id=")).unwrap()
}

#[tokio::test]
async fn a_second_window_sees_what_was_done_in_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let (running, alert) = with_an_alert(directory.path()).await;
    let first = form(&running, "comment", &alert, "&text=seen+by+the+first").await;
    let second = form(&running, "acknowledge", &alert, "").await;
    let (code, text) = running.post("/act", (FORM, &first), &[]).await;
    assert!(
        code == 200 && text.contains("<h1>Alerts</h1>"),
        "{code}: it does not lead back: {text}"
    );
    let (code, text) = running.post("/act", (FORM, &second), &[]).await;
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("seen by the first"), "{text}");
    // The same form again is the same act.
    let (code, text) = running.post("/act", (FORM, &first), &[]).await;
    assert_eq!(code, 200, "{text}");
    let acts = format!("/api/v1/alerts/{alert}/acts");
    assert_eq!(running.get(&acts).await.1.matches("seen by the first").count(), 1);
    // Another one with it is not done, and can be sent from the form that is shown.
    let changed = first.replace("seen+by", "meant+for");
    let (code, page) = running.post("/act", (FORM, &changed), &[]).await;
    assert_eq!(code, 409, "{page}");
    assert!(page.contains("was sent before, with something else in it"), "{page}");
    assert!(!running.get(&acts).await.1.contains("meant for the first"));
    let meant = changed.replace(id_of(&first), hidden(&page, "id"));
    let (code, page) = running.post("/act", (FORM, &meant), &[]).await;
    assert_eq!(code, 200, "{page}");
    assert!(running.get(&acts).await.1.contains("meant for the first"));
}

#[tokio::test]
async fn forms_of_others_do_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (running, alert) = with_an_alert(directory.path()).await;
    let good = form(&running, "comment", &alert, "&text=not+to+be+done").await;
    for headers in [
        [("sec-fetch-site", "cross-site")],
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("host", "evil.example")],
    ] {
        let (code, text) = running.post("/act", (FORM, &good), &headers).await;
        assert_eq!(code, 403, "{headers:?}: {text}");
    }
    let stale = good.replace("token=", "token=0");
    let (code, text) = running.post("/act", (FORM, &stale), &[]).await;
    assert_eq!(code, 403, "{text}");
    assert!(text.contains("what you wrote is still in the form"), "{text}");
    // A person is shown what they wrote.
    let html = [("accept", "text/html,*/*")];
    let (code, text) = running.post("/act", (FORM, &stale), &html).await;
    assert_eq!(code, 403, "{text}");
    assert!(text.contains("<textarea") && text.contains("not to be done"), "{text}");
    let (_, acts) = running.get(&format!("/api/v1/alerts/{alert}/acts")).await;
    assert!(!acts.contains("not to be done"), "{acts}");
}

#[tokio::test]
async fn a_silence_that_is_sent_twice_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let (running, _) = with_an_alert(directory.path()).await;
    let (_, page) = running.get("/silences/new").await;
    let (id, token) = (hidden(&page, "id"), hidden(&page, "token"));
    let sent = format!(
        "id={id}&token={token}&matcher=user%3D%22nobody%22&reason=sent+twice&for=2h&act=silence"
    );
    for _ in 0..2 {
        let (code, text) = running.post("/silences", (FORM, &sent), &[]).await;
        assert_eq!(code, 200, "{text}");
    }
    let (_, silences) = running.get("/api/v1/silences").await;
    assert_eq!(silences.matches("sent twice").count(), 1, "{silences}");
    // Who goes back and changes the form is asked whether both are meant.
    let changed = sent.replace("sent+twice", "sent+with+a+change");
    let (code, page) = running.post("/silences", (FORM, &changed), &[]).await;
    assert_eq!(code, 409, "{page}");
    assert!(page.contains("was sent before, with something else in it"), "{page}");
    assert!(page.contains("sent with a change"), "{page}");
    let (_, silences) = running.get("/api/v1/silences").await;
    assert!(!silences.contains("sent with a change"), "{silences}");
    let meant = changed.replace(id, hidden(&page, "id"));
    let (code, page) = running.post("/silences", (FORM, &meant), &[]).await;
    assert_eq!(code, 200, "{page}");
    let (_, silences) = running.get("/api/v1/silences").await;
    assert!(silences.contains("sent twice") && silences.contains("sent with a change"));
}

#[tokio::test]
async fn many_comments_leave_the_page_small() {
    let directory = tempfile::tempdir().unwrap();
    let (running, alert) = with_an_alert(directory.path()).await;
    for number in 0..500 {
        let act = serde_json::json!({
            "act": "comment", "alerts": [alert], "text": format!("comment {number} {}", "x".repeat(200)),
        });
        let act = act.to_string();
        let (code, text) =
            running.post("/api/v1/alerts/acts", ("application/json", &act), &[]).await;
        assert_eq!(code, 200, "{text}");
    }
    let (_, list) = running.get("/alerts").await;
    let begin = list.find("href=\"/alerts/").unwrap() + 6;
    let page = list[begin..].split('"').next().unwrap();
    let (code, text) = running.get(page).await;
    assert_eq!(code, 200);
    assert!(text.contains("comment 499") && !text.contains("comment 7 "), "{text}");
    assert!(text.contains("earlier ones are"), "{text}");
    assert!(text.len() <= 150_000, "{} bytes", text.len());
}

#[tokio::test]
async fn lines_of_a_comment_stay_lines() {
    let directory = tempfile::tempdir().unwrap();
    let (running, alert) = with_an_alert(directory.path()).await;
    let sent = form(&running, "comment", &alert, "&text=one+%3Cb%3E%0D%0Atwo%0Athree").await;
    let (code, text) = running.post("/act", (FORM, &sent), &[]).await;
    assert_eq!(code, 200, "{text}");
    let (_, page) = running.get(&format!("/alerts/{alert}?since=400d")).await;
    let page = page.replace(" <br>", "<br>");
    assert!(page.contains("said: one &lt;b&gt;<br>two<br>three</span>"), "{page}");
}

#[tokio::test]
async fn whatever_somebody_writes_is_text() {
    let directory = tempfile::tempdir().unwrap();
    let (running, alert) = with_an_alert(directory.path()).await;
    let long =
        "%E2%80%AE%1B%5B31m%00%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned() + &"x".repeat(8_000);
    let sent = form(&running, "comment", &alert, &format!("&text={long}")).await;
    let (code, text) = running.post("/act", (FORM, &sent), &[]).await;
    assert_eq!(code, 200, "{text}");
    let (_, page) = running.get(&format!("/act?act=comment&alert={alert}")).await;
    let (_, moved) = running.get(&format!("/alerts/{alert}?since=400d")).await;
    for text in [page, moved] {
        assert!(!text.contains("<script>alert"), "{text}");
        assert!(!text.contains(['\u{202e}', '\u{1b}', '\0']), "{text:?}");
    }
    let longer = form(&running, "comment", &alert, &format!("&text={long}{long}")).await;
    let (code, text) = running.post("/act", (FORM, &longer), &[]).await;
    assert!(code == 400 && text.contains("at most 8,192 bytes"), "{code} {text}");
    let empty = form(&running, "comment", &alert, "&text=+%0A+").await;
    let (code, text) = running.post("/act", (FORM, &empty), &[]).await;
    assert_eq!(code, 400, "{text}");
    assert!(text.contains("The text is empty"), "{text}");
}
