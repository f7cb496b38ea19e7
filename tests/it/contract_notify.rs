//! What every notifier must do, against fake receivers: one call is one attempt, an outcome says what
//! the answer meant, no secret is told, and a receiver can tell an attempt from a repetition.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use tripline::{
    engine::{
        alert::{Alert, AlertState, Evidence},
        diagnostic::{Problems, SourceText},
        dispatch::{
            Form, Notification, NotificationId, NotifyReason, Outcome, OutcomeReason, Receipt,
        },
        event_ref::{AuditId, EventPosition, EventRef},
        rule::Severity,
        time::{EventTime, WallTime},
        yaml::{SecretRef, Section, parse},
    },
    notify::{BuildContext, NOTIFIERS, Notifier, Printer},
};

use crate::{
    fake_receivers::{FakeHttp, Reply, Unfinished},
    slack_limits,
};

/// A text that must never be seen in an outcome: it stands for tokens, passwords and secret paths.
const SECRET: &str = "s3kret-s3kret-s3kret";

/// Every way to speak HTTP, with all the secrets that it can have.
pub(crate) const OVER_HTTP: [(&str, &str); 4] = [
    ("alertmanager", "urls: ['BASE']\nbearer_token: SECRET\ntimeout: 400ms\n"),
    ("slack", "url: 'BASE/services/T0/B0/SECRET'\ntimeout: 400ms\n"),
    ("slack", "bot_token: SECRET\nchannel: C1\napi_url: 'BASE/api'\ntimeout: 400ms\n"),
    (
        "webhook",
        "url: 'BASE/hook/SECRET?token=SECRET'\nsigning_secret: SECRET\n\
         basic_auth: {username: u, password: SECRET}\ntimeout: 400ms\n",
    ),
];

pub(crate) fn build_with(kind: &str, yaml: &str, printer: Printer) -> Arc<dyn Notifier> {
    build_for(kind, yaml, printer, Some("https://tripline.example.org"))
}

pub(crate) fn build_for(
    kind: &str,
    yaml: &str,
    printer: Printer,
    external_url: Option<&str>,
) -> Arc<dyn Notifier> {
    let source = SourceText::new("t.yaml", yaml.replace("SECRET", SECRET));
    let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
    let section = Section::new(&source, &problems, &nodes[0], "");
    let kind = NOTIFIERS.iter().find(|known| known.name() == kind).unwrap();
    let config = kind.parse(&section).unwrap();
    section.finish();
    assert_eq!(problems.into_sorted(), []);
    let secret = |secret: &SecretRef| match secret {
        SecretRef::Inline(text) => Ok(text.clone()),
        SecretRef::File(path) => std::fs::read_to_string(path).map_err(|error| error.to_string()),
        SecretRef::Env(_) => Ok(SECRET.to_owned()),
    };
    let external_url = external_url.map(str::to_owned);
    let context = BuildContext { secret: Arc::new(secret), external_url, printer };
    config.build(&context).unwrap()
}

pub(crate) fn nowhere() -> Printer {
    Printer { print: Arc::new(|_| Ok(())), is_terminal: false, has_colours: false }
}

pub(crate) fn build(kind: &str, yaml: &str) -> Arc<dyn Notifier> {
    build_with(kind, yaml, nowhere())
}

/// One way of [`OVER_HTTP`] to a fake receiver.
pub(crate) fn over_http(way: (&str, &str), http: &FakeHttp) -> Arc<dyn Notifier> {
    build(way.0, &way.1.replace("BASE", &http.base()))
}

/// Texts as an attacker would choose them.
pub(crate) const EVIL: &str =
    "<!channel> <https://evil.example|click> `x` \"q\" & \u{202e}\u{1b}[31m\r\nBcc: a@b";

pub(crate) fn alert(name: &str, state: AlertState) -> Alert {
    let labels = BTreeMap::from([
        ("alertname".to_owned(), "burst".to_owned()),
        ("severity".to_owned(), "high".to_owned()),
        ("user_username".to_owned(), name.to_owned()),
    ]);
    let time = EventTime::parse("2026-01-05T22:14:01Z").unwrap();
    let fields = [("userAgent", name), ("verb", "get")];
    let fields = fields.map(|(field, value)| (field.to_owned(), value.to_owned())).into();
    let position = EventPosition { topic: "audit".into(), partition: 3, offset: 1712, index: 0 };
    let event = EventRef { position, audit_id: AuditId::new(name), event_hash: [7; 32].into() };
    Alert {
        state,
        annotations: BTreeMap::from([("summary".to_owned(), format!("{name} did it"))]),
        key: vec![("user.username".to_owned(), name.to_owned())],
        ends_at: (state == AlertState::Resolved).then_some(time),
        value: 7.0,
        threshold: "≥ 5 events in 5m".to_owned(),
        evidence: vec![Evidence { time, fields, event: Some(Arc::new(event)) }],
        ..Alert::begun(time.as_wall(), ("rule-1", "Burst"), Severity::High, labels)
    }
}

pub(crate) fn notification(alerts: Vec<Alert>) -> Notification {
    Notification {
        id: NotificationId([7; 16]),
        receiver: "oncall".to_owned(),
        notifier_index: 0,
        recipient: None,
        address: None,
        group_key: "0123456789abcdef".to_owned(),
        group_labels: BTreeMap::from([("alertname".to_owned(), "burst".to_owned())]),
        reason: NotifyReason::First,
        alerts,
        truncated_count: 0,
        created_at: WallTime::from_micros(1_767_651_300_000_000),
        sent_at: WallTime::from_micros(1_767_651_300_000_000),
        form: Form::Full,
        relabelled: Vec::new(),
        new_count: 0,
        attempts: 0,
        receipt: None,
    }
}

pub(crate) fn one_alert() -> Notification {
    notification(vec![alert("eve", AlertState::Firing)])
}

/// For one of the notifier's recipients.
pub(crate) fn to(recipient: &str, notification: Notification) -> Notification {
    Notification { recipient: Some(recipient.to_owned()), ..notification }
}

/// One alert by one way of [`OVER_HTTP`], of which Alertmanager knows its members by name.
fn one_alert_by(way: (&str, &str), http: &FakeHttp) -> Notification {
    if way.0 == "alertmanager" { to(&http.base(), one_alert()) } else { one_alert() }
}

/// The bounded word of an outcome, whether it is worth another try, and the pause asked for.
pub(crate) fn told(outcome: &Outcome) -> (&'static str, &'static str, Option<Duration>) {
    let (word, reason, detail, after) = match outcome {
        Outcome::Delivered { .. } => ("delivered", "", "", None),
        Outcome::Retry { reason, detail, after } => ("retry", reason.as_str(), &**detail, *after),
        Outcome::Rejected { reason, detail } => ("rejected", reason.as_str(), &**detail, None),
    };
    assert!(!detail.contains(SECRET), "a secret is told: {detail}");
    (word, reason, after)
}

#[tokio::test]
async fn the_table_is_sorted_and_every_entry_explains_itself() {
    let names: Vec<&str> = NOTIFIERS.iter().map(|kind| kind.name()).collect();
    assert!(names.is_sorted(), "{names:?}");
    for kind in NOTIFIERS {
        assert!(kind.summary().ends_with('.'), "{}", kind.name());
        // Examples take secrets from the environment, and servers that are not there.
        build(kind.name(), kind.example());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_call_is_one_request_and_the_answer_decides() {
    /// Status and headers of the answer; the outcome, its reason, and after how many seconds to retry.
    type Case = (StatusCode, &'static [(&'static str, &'static str)], Verdict);
    type Verdict = (&'static str, &'static str, Option<u64>);
    let cases: [Case; 12] = [
        (StatusCode::OK, &[], ("delivered", "", None)),
        (
            StatusCode::TOO_MANY_REQUESTS,
            &[("retry-after", "7")],
            ("retry", "rate_limited", Some(7)),
        ),
        (StatusCode::TOO_MANY_REQUESTS, &[], ("retry", "rate_limited", None)),
        (StatusCode::REQUEST_TIMEOUT, &[], ("retry", "timeout", None)),
        (StatusCode::INTERNAL_SERVER_ERROR, &[], ("retry", "server_error", None)),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &[("retry-after", "3")],
            ("retry", "server_error", Some(3)),
        ),
        (StatusCode::BAD_REQUEST, &[], ("rejected", "client_error", None)),
        (StatusCode::NOT_FOUND, &[], ("rejected", "client_error", None)),
        (StatusCode::PAYLOAD_TOO_LARGE, &[], ("rejected", "too_large", None)),
        (StatusCode::UNAUTHORIZED, &[], ("rejected", "auth_error", None)),
        (StatusCode::FORBIDDEN, &[], ("rejected", "auth_error", None)),
        // Following it would carry secrets to a host that nobody named.
        (StatusCode::FOUND, &[("location", "/elsewhere")], ("rejected", "client_error", None)),
    ];
    for way in OVER_HTTP {
        let http = FakeHttp::start().await;
        let notifier = over_http(way, &http);
        for (count, (status, headers, expected)) in cases.iter().enumerate() {
            http.answer(Reply::status(*status, headers));
            let outcome = notifier.notify(&one_alert_by(way, &http)).await;
            let (word, reason, after) = told(&outcome);
            let after = after.map(|after| after.as_secs());
            assert_eq!((word, reason, after), *expected, "{way:?} {status}: {outcome:?}");
            assert_eq!(http.requests().len(), count + 1, "{way:?} {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_receiver_that_repeats_our_secrets_is_not_quoted_with_them() {
    let login = STANDARD.encode(format!("u:{SECRET}"));
    let far = "x".repeat(190);
    let bodies = [
        format!("no such token: {SECRET}"),
        format!(r#"{{"ok": false, "error": "{SECRET}"}}"#),
        format!("POST /hook/{SECRET}?token={SECRET} is gone"),
        format!("you sent Authorization: Basic {login}"),
        // Cut short, its beginning would stay.
        format!("{far} {SECRET}"),
        format!("{} {login}", "x".repeat(180)),
    ];
    for way in OVER_HTTP {
        let http = FakeHttp::start().await;
        let notifier = over_http(way, &http);
        for body in &bodies {
            for status in [StatusCode::NOT_FOUND, StatusCode::BAD_GATEWAY] {
                http.answer(Reply::Now(status, Vec::new(), body.clone()));
                let outcome = notifier.notify(&one_alert_by(way, &http)).await;
                let (Outcome::Retry { detail, .. } | Outcome::Rejected { detail, .. }) = outcome
                else {
                    panic!("{way:?} {body}: {outcome:?}");
                };
                assert!(detail.contains("[secret]"), "{way:?} {body}: {detail}");
                for part in [&SECRET[..8], &login[..8]] {
                    assert!(!detail.contains(part), "{way:?} {body}: {detail}");
                }
            }
        }
    }
    let http = FakeHttp::start().await;
    http.answer(slack_ok(SECRET));
    let outcome = over_http(OVER_HTTP[2], &http).notify(&one_alert()).await;
    assert_eq!(outcome, Outcome::Delivered { receipt: None });
    http.answer(Reply::json(&json!({"ok": false, "error": SECRET})));
    let outcome = over_http(OVER_HTTP[2], &http).notify(&one_alert()).await;
    assert!(format!("{outcome:?}").contains("Slack says [secret]"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pause_may_be_asked_for_as_a_date() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[3], &http);
    let date = jiff::ZonedDateTime::now().with_time_zone(jiff::tz::TimeZone::UTC);
    let date = date.checked_add(jiff::SignedDuration::from_secs(90)).unwrap();
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    http.answer(Reply::status(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", &date)]));
    let (_, _, after) = told(&notifier.notify(&one_alert()).await);
    let seconds = after.unwrap().as_secs();
    assert!((60..=90).contains(&seconds), "{date}: {seconds}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_there_and_no_answer_are_worth_another_try() {
    for way in OVER_HTTP {
        let http = FakeHttp::start().await;
        let notifier = over_http(way, &http);
        let told_about = one_alert_by(way, &http);
        http.answer(Reply::Never);
        assert_eq!(told(&notifier.notify(&told_about).await), ("retry", "timeout", None));
        http.stop().await;
        assert_eq!(told(&notifier.notify(&told_about).await), ("retry", "connection", None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_webhook_can_be_verified_and_deduplicated() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[3], &http);
    http.answer(Reply::status(StatusCode::BAD_GATEWAY, &[]));
    for _ in 0..2 {
        notifier.notify(&one_alert()).await;
    }
    let requests = http.requests();
    for request in &requests {
        let header = |name: &str| request.headers[name].as_str();
        assert_eq!(header("idempotency-key"), one_alert().id.to_string());
        assert_eq!(header("webhook-id"), header("idempotency-key"));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
        mac.update(&request.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(header("webhook-signature"), expected);
        assert_eq!(
            header("authorization"),
            format!("Basic {}", STANDARD.encode(format!("u:{SECRET}")))
        );
    }
    assert_eq!(requests[0].body, requests[1].body, "an attempt more says the same");
    let body = requests[0].json();
    assert_eq!(body["alerts"][0]["key"]["user.username"], "eve");
    assert_eq!(body["external_url"], "https://tripline.example.org");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn alertmanager_takes_what_it_gets() {
    let (one, other) = (FakeHttp::start().await, FakeHttp::start().await);
    let yaml = format!("urls: ['{}', '{}/prefix/']\n", one.base(), other.base());
    let notifier = build("alertmanager", &yaml);
    let mut firing = alert("eve", AlertState::Firing);
    // The clock of an API server runs an hour ahead: Alertmanager refuses what ends before it began.
    firing.starts_at = firing.starts_at.plus(Duration::from_secs(3_600));
    firing.annotations =
        [("runbook-url", "a"), ("team.owner", "b"), ("1st", "c"), ("team_owner", "d")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let told_about = notification(vec![firing, alert("bob", AlertState::Resolved)]);
    one.answer(Reply::status(StatusCode::BAD_GATEWAY, &[]));
    let (to_one, to_other) = (
        to(&one.base(), told_about.clone()),
        to(&format!("{}/prefix", other.base()), told_about.clone()),
    );
    assert_eq!(told(&notifier.notify(&to_one).await).0, "retry", "each peer by itself");
    assert_eq!(other.requests().len(), 0);
    assert_eq!(told(&notifier.notify(&to_other).await).0, "delivered");
    assert_eq!(one.requests()[0].path, "/api/v2/alerts");
    assert_eq!(other.requests()[0].path, "/prefix/api/v2/alerts");
    let alerts = other.requests()[0].json();
    let time = |alert: &Value, name: &str| {
        alert[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
    };
    for alert in alerts.as_array().unwrap() {
        assert!(time(alert, "startsAt") <= time(alert, "endsAt"), "{alert}");
        // The page of the alert in the console.
        let page = alert["generatorURL"].as_str().unwrap();
        let fingerprint = alert["labels"]["fingerprint"].as_str().unwrap();
        let expected = format!("https://tripline.example.org/alerts/{fingerprint}/2");
        assert!(page.starts_with(&expected), "{page}");
    }
    let created = jiff::Timestamp::from_microsecond(told_about.created_at.micros()).unwrap();
    assert_eq!(time(&alerts[0], "endsAt").duration_since(created).as_secs(), 240);
    assert!(time(&alerts[1], "endsAt") <= created, "it has ended");
    // Names that some version refuses are mapped, and no value is lost.
    let annotations = &alerts[0]["annotations"];
    for (name, value) in
        [("runbook_url", "a"), ("team_owner", "d"), ("team_owner_", "b"), ("_1st", "c")]
    {
        assert_eq!(annotations[name], value, "{annotations}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_attempt_that_comes_late_tells_alertmanager_the_time_of_today() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[0], &http);
    let late = one_alert_by(OVER_HTTP[0], &http);
    let an_hour = Duration::from_secs(3_600);
    let late = Notification { sent_at: late.created_at.plus(an_hour), attempts: 9, ..late };
    notifier.notify(&late).await;
    let ends_at = http.requests()[0].json()[0]["endsAt"].as_str().unwrap().to_owned();
    assert_eq!(ends_at, late.sent_at.plus(Duration::from_secs(240)).rfc3339());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn alertmanager_ends_an_alert_under_the_labels_that_it_has_no_more() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[0], &http);
    let mut graver = one_alert_by(OVER_HTTP[0], &http);
    graver.relabelled = vec![alert("eve", AlertState::Resolved)];
    graver.alerts[0].severity = Severity::Critical;
    graver.alerts[0].labels.insert("severity".to_owned(), "critical".to_owned());
    notifier.notify(&graver).await;
    let alerts = http.requests()[0].json();
    let said: Vec<_> =
        alerts.as_array().unwrap().iter().map(|a| &a["labels"]["severity"]).collect();
    assert_eq!(said, ["critical", "high"], "in one request");
    assert!(alerts[1]["endsAt"].as_str() < alerts[0]["endsAt"].as_str(), "{alerts}");
    assert_eq!(alerts[0]["labels"]["fingerprint"], alerts[1]["labels"]["fingerprint"]);
}

/// Slack's answers to `chat.postMessage` and `chat.update`.
pub(crate) fn slack_ok(ts: &str) -> Reply {
    Reply::json(&json!({"ok": true, "channel": "C1", "ts": ts}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn slack_messages_are_edited_and_begin_anew_when_they_are_gone() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[2], &http);
    http.answer(slack_ok("1.1"));
    let Outcome::Delivered { receipt: Some(receipt) } = notifier.notify(&one_alert()).await else {
        panic!("Slack took it");
    };
    let post = &http.requests()[0];
    assert_eq!(
        (post.path.as_str(), &post.json()["channel"]),
        ("/api/chat.postMessage", &json!("C1"))
    );
    assert_eq!(post.headers["authorization"], format!("Bearer {SECRET}"));
    let id = &post.json()["metadata"]["event_payload"]["notification_id"];
    assert_eq!(*id, one_alert().id.to_string());

    let mut news = notification(vec![alert("eve", AlertState::Resolved)]);
    news.receipt = Some(receipt.clone());
    for ts in ["1.1", "1.2"] {
        http.answer(slack_ok(ts));
    }
    assert_eq!(notifier.notify(&news).await, Outcome::Delivered { receipt: Some(receipt.clone()) });
    let [_, update, reply] = &http.requests()[..] else { panic!("an edit and a reply") };
    assert_eq!((update.path.as_str(), &update.json()["ts"]), ("/api/chat.update", &json!("1.1")));
    assert_eq!(
        (reply.path.as_str(), &reply.json()["thread_ts"]),
        ("/api/chat.postMessage", &json!("1.1"))
    );

    for error in [
        "message_not_found",
        "edit_window_closed",
        "cant_update_message",
        "is_archived",
        "channel_not_found",
    ] {
        let before = http.requests().len();
        http.answer(Reply::json(&json!({"ok": false, "error": error})));
        http.answer(slack_ok("2.1"));
        let mut values = receipt.values.clone();
        values.insert("ts".into(), "2.1".into());
        let again = Outcome::Delivered { receipt: Some(Receipt { values }) };
        assert_eq!(notifier.notify(&news).await, again, "{error}");
        let posted = &http.requests()[before + 1];
        assert_eq!(posted.path, "/api/chat.postMessage");
        assert_eq!(
            (&posted.json()["ts"], &posted.json()["thread_ts"]),
            (&Value::Null, &Value::Null)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn slack_says_no_in_its_own_way() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[2], &http);
    for (error, expected) in [
        ("ratelimited", ("retry", "rate_limited")),
        ("internal_error", ("retry", "server_error")),
        ("invalid_auth", ("rejected", "auth_error")),
        ("channel_not_found", ("rejected", "client_error")),
        ("msg_too_long", ("rejected", "too_large")),
        ("invalid_blocks", ("rejected", "bad_form")),
        ("of_tomorrow", ("rejected", "client_error")),
    ] {
        http.answer(Reply::json(&json!({"ok": false, "error": error})));
        let (word, reason, _) = told(&notifier.notify(&one_alert()).await);
        assert_eq!((word, reason), expected, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn slack_messages_stay_within_its_limits_whatever_an_attacker_writes() {
    for way in [OVER_HTTP[1], OVER_HTTP[2]] {
        let http = FakeHttp::start().await;
        let notifier = over_http(way, &http);
        for (count, length) in [(1, 1), (1, 3_000), (5, 400), (256, 30)] {
            let many = (0..count).map(|number| {
                let mut alert =
                    alert(&format!("{}{number}", EVIL.repeat(length)), AlertState::Firing);
                alert.rule_title = EVIL.repeat(length);
                alert.annotations.insert("description".to_owned(), EVIL.repeat(length));
                alert
            });
            let told_about = notification(many.collect());
            http.answer(slack_ok("1.1"));
            assert_eq!(told(&notifier.notify(&told_about).await).0, "delivered");
            let message = http.requests().pop().unwrap().json();
            let violations = slack_limits::violations(&message);
            assert!(violations.is_empty(), "{count} × {length}: {violations:?}");
            let first = &told_about.alerts[0];
            let id = format!("{}/{}", first.fingerprint, first.starts_at.rfc3339());
            let page = format!("<https://tripline.example.org/alerts/{id}|Open the alert>");
            let all = "<https://tripline.example.org/alerts|Open the alerts>";
            let said = message.to_string();
            assert_eq!((said.contains(&page), said.contains(all)), (count == 1, count > 1));
            let name = id.replace('/', "@");
            let acts = [("acknowledge", "Acknowledge"), ("silence", "Silence")].map(|(act, word)| {
                format!("<https://tripline.example.org/act?act={act}&amp;alert={name}&amp;back=/alerts/{id}|{word}>")
            });
            assert!(acts.iter().all(|link| said.contains(link) == (count == 1)), "{said}");
            let known = [all, &page, &acts[0], &acts[1]].into_iter();
            let ours = known.fold(said, |rest, link| rest.replace(link, ""));
            assert!(!ours.contains('<'), "markup of others: {ours}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_webhook_of_slack_says_in_words_why_not() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[1], &http);
    for (status, word, expected) in [
        (StatusCode::BAD_REQUEST, "invalid_payload", "bad_form"),
        (StatusCode::FORBIDDEN, "invalid_token", "auth_error"),
        (StatusCode::NOT_FOUND, "no_service", "auth_error"),
        (StatusCode::GONE, "channel_is_archived", "client_error"),
        (StatusCode::NOT_FOUND, "what is this", "client_error"),
        // A status of success is none if the words say no, or are those of somebody else.
        (StatusCode::OK, r#"{"ok":false,"error":"invalid_auth"}"#, "auth_error"),
        (StatusCode::OK, r#"{"success":false}"#, "client_error"),
        (StatusCode::OK, "<!doctype html><title>Log in</title>", "client_error"),
    ] {
        http.answer(Reply::Now(status, Vec::new(), word.to_owned()));
        let outcome = notifier.notify(&one_alert()).await;
        assert_eq!(told(&outcome).0, "rejected", "{word}");
        assert_eq!(told(&outcome).1, expected, "{word}: {outcome:?}");
    }
    for word in ["ok", "", r#"{"ok":true}"#, r#"{"success":true}"#] {
        http.answer(Reply::Now(StatusCode::OK, Vec::new(), word.to_owned()));
        assert_eq!(told(&notifier.notify(&one_alert()).await).0, "delivered", "{word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_status_stands_whatever_becomes_of_the_body() {
    for (status, breaks, expected) in [
        (StatusCode::OK, true, "delivered"),
        (StatusCode::ACCEPTED, false, "delivered"),
        (StatusCode::NOT_FOUND, true, "rejected"),
        (StatusCode::BAD_GATEWAY, true, "retry"),
    ] {
        let http = Unfinished::start(status, breaks).await;
        for way in OVER_HTTP {
            let notifier = build(way.0, &way.1.replace("BASE", &http.base()));
            let told_about = match way.0 {
                "alertmanager" => to(&http.base(), one_alert()),
                _ => one_alert(),
            };
            // Slack's Web API says in the body of a 2xx whether it took the message.
            let needs_body = way.1.contains("bot_token") && status.is_success();
            let expected = if needs_body { "retry" } else { expected };
            let outcome = notifier.notify(&told_about).await;
            assert_eq!(told(&outcome).0, expected, "{way:?} {status}: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_too_large_is_said_in_fewer_words_and_blocks_are_left_out() {
    for way in OVER_HTTP {
        let http = FakeHttp::start().await;
        let notifier = over_http(way, &http);
        let mut large = one_alert_by(way, &http);
        let words = "why ".repeat(500);
        large.alerts[0].annotations.insert("description".to_owned(), words);
        let mut sizes = Vec::new();
        for form in [Form::Full, Form::Short, Form::Plain] {
            http.answer(slack_ok("1.1"));
            let told_about = Notification { form, ..large.clone() };
            assert_eq!(told(&notifier.notify(&told_about).await).0, "delivered");
            let request = http.requests().pop().unwrap();
            sizes.push(request.body.len());
            if form == Form::Plain && way.0 == "slack" {
                let message = request.json();
                assert_eq!(message["blocks"], json!([]));
                assert!(message["text"].as_str().unwrap().contains("eve"), "{message}");
            }
        }
        assert!(sizes.is_sorted_by(|larger, smaller| larger > smaller), "{way:?}: {sizes:?}");
    }
}

/// What rotates is no part of where a notifier sends; what leads elsewhere is.
#[tokio::test]
async fn an_address_is_where_it_goes_and_no_credential() {
    for (kind, one, same, other) in [
        (
            "webhook",
            "url: 'https://u:p@example.org/x'\nbearer_token: a\n",
            "url: 'https://example.org/x'\nbearer_token: b\nsigning_secret: c\n",
            "url: 'https://example.org/y'\nbearer_token: a\n",
        ),
        (
            "slack",
            "url: 'https://example.org/services/T/B/a'\n",
            "url: 'https://example.org/services/T/B/a'\ntimeout: 9s\n",
            "url: 'https://example.org/services/T/B/b'\n",
        ),
        (
            "slack",
            "bot_token: a\nchannel: C1\n",
            "bot_token: b\nchannel: C1\n",
            "bot_token: a\nchannel: C2\n",
        ),
        (
            "kafka",
            "brokers: ['a:1', 'b:1']\ntopic: t\n",
            "brokers: ['b:1', 'a:1']\ntopic: t\n",
            "brokers: ['a:1', 'b:1']\ntopic: u\n",
        ),
    ] {
        let [one, same, other] = [one, same, other].map(|yaml| build(kind, yaml).address());
        assert!(one == same && one != other, "{kind}");
    }
    // Mailboxes and members of Alertmanager are recipients, each of whom is somebody else.
    let mail = |server: &str| {
        build("email", &format!("to: [a@b.c]\nfrom: t@b.c\nsmarthost: '{server}:25'\ntls: none\n"))
    };
    assert!(mail("one").address() == mail("other").address());
}

#[tokio::test]
async fn standard_output_that_cannot_be_written_is_tried_again() {
    let full =
        Printer { print: Arc::new(|_| Err(std::io::ErrorKind::StorageFull.into())), ..nowhere() };
    let notifier = build_with("stdout", "format: json\n", full);
    assert_eq!(told(&notifier.notify(&one_alert()).await).0, "retry");
}

#[tokio::test]
async fn a_reader_of_standard_output_that_takes_its_time_holds_up_nothing_else() {
    let (release, released) = std::sync::mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let print = move |_: &str| {
        let wait = released.lock().unwrap().recv_timeout(Duration::from_secs(30));
        wait.map_err(std::io::Error::other)
    };
    let slow = Printer { print: Arc::new(print), ..nowhere() };
    let notifier = build_with("stdout", "format: json\n", slow);
    let notification = one_alert();
    // Both on the one thread of this runtime: the second runs only if the first gives way.
    let (outcome, ()) =
        tokio::join!(notifier.notify(&notification), async { release.send(()).unwrap() });
    assert_eq!(told(&outcome).0, "delivered");
}

/// Every reason has a word of its own: it is a label of metrics.
#[test]
fn reasons_are_told_apart() {
    let all = OutcomeReason::ALL;
    let words: std::collections::BTreeSet<&str> =
        all.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), all.len());
}
