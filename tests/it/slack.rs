//! Slack's messages: in which channel they are, and buttons where a click is heard.

use std::sync::Arc;

use serde_json::{Value, json};
use tripline::{
    engine::{
        alert::{Alert, AlertState},
        dispatch::{Notification, Outcome, Receipt},
    },
    notify::Notifier,
};

use crate::{
    contract_notify::{
        OVER_HTTP, alert, build, build_for, notification, nowhere, one_alert, over_http, slack_ok,
        told,
    },
    fake_receivers::{FakeHttp, Reply},
    slack_limits,
};

/// The values of all buttons and options of a message, in their order.
fn values(message: &Value) -> Vec<String> {
    let below: Vec<&Value> = match message {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    let own = message["value"].as_str().map(str::to_owned);
    own.into_iter().chain(below.into_iter().flat_map(values)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn slack_messages_have_buttons_where_a_click_is_heard() {
    let http = FakeHttp::start().await;
    let (kind, links) = OVER_HTTP[2];
    let yaml = format!("{links}signing_secret: SECRET\n").replace("BASE", &http.base());
    let said = async |notifier: &Arc<dyn Notifier>, alerts: Vec<Alert>| {
        http.answer(slack_ok("1.1"));
        assert_eq!(told(&notifier.notify(&notification(alerts)).await).0, "delivered");
        let message = http.requests().pop().unwrap().json();
        assert_eq!(slack_limits::violations(&message), Vec::<String>::new());
        message
    };
    let heard = build(kind, &yaml);
    let one = alert("eve", AlertState::Firing);
    let name = format!("{}@{}", one.fingerprint, one.starts_at.rfc3339());
    let of = |words: &[&str]| words.iter().map(|word| format!("{word} {name}")).collect::<Vec<_>>();
    let verdicts = ["true_positive", "benign", "false_positive"];
    let acts = ["acknowledge", "assign", "silence"];
    let message = said(&heard, vec![one.clone()]).await;
    assert_eq!(values(&message), of(&[&acts[..], &verdicts].concat()));
    assert!(!message.to_string().contains("/act?act="), "no links beside buttons: {message}");
    let over = said(&heard, vec![alert("eve", AlertState::Resolved)]).await;
    assert_eq!(values(&over), of(&verdicts), "what is over can still be judged");
    let both = said(&heard, vec![one.clone(), alert("bob", AlertState::Resolved)]).await;
    assert_eq!(values(&both), of(&acts), "a menu beside what fires");
    for (external_url, yaml) in [
        (Some("http://127.0.0.1:9464"), yaml.clone()),
        (None, yaml),
        (Some("https://tripline.example.org"), links.replace("BASE", &http.base())),
    ] {
        let unheard = build_for(kind, &yaml, nowhere(), external_url);
        let message = said(&unheard, vec![one.clone()]).await;
        assert_eq!(values(&message), Vec::<String>::new(), "{external_url:?}");
        assert_eq!(message.to_string().contains("/act?act="), external_url.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn slack_messages_go_to_the_channel_that_is_configured_now() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[2], &http);
    let receipt = |values: &[(&str, &str)]| {
        let owned = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Some(Receipt { values: owned.collect() })
    };
    for (values, is_edited) in [
        (&[("channel", "C1"), ("ts", "1.1"), ("configured", "C1")][..], true),
        (&[("channel", "C1"), ("ts", "1.1")], true),
        (&[("channel", "C2"), ("ts", "1.1"), ("configured", "#old")], false),
        // As receipts were at first.
        (&[("channel", "C2"), ("ts", "1.1")], false),
    ] {
        let before = http.requests().len();
        let told_about = Notification { receipt: receipt(values), ..one_alert() };
        http.answer(slack_ok("2.1"));
        http.answer(slack_ok("2.2"));
        notifier.notify(&told_about).await;
        let first = &http.requests()[before];
        assert_eq!(first.path.ends_with("chat.update"), is_edited, "{values:?}");
        assert_eq!(first.json()["channel"], "C1", "{values:?}");
    }
}

/// An edit tells nobody, so a reply that is refused is no delivery: what is new is said in the channel, and
/// if that is refused too, or the reply may be taken later, it stays owed.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_the_thread_does_not_take_is_said_anew() {
    let http = FakeHttp::start().await;
    let notifier = over_http(OVER_HTTP[2], &http);
    let refused = |error: &str| Reply::json(&json!({"ok": false, "error": error}));
    let values = [("channel", "C1"), ("ts", "1.1")].map(|(key, of)| (key.into(), of.into()));
    let news = Notification { receipt: Some(Receipt { values: values.into() }), ..one_alert() };
    for (error, after, expected) in [
        ("restricted_action_thread_locked", slack_ok("2.1"), ("delivered", "")),
        ("cannot_reply_to_message", slack_ok("2.1"), ("delivered", "")),
        ("message_not_found", slack_ok("2.1"), ("delivered", "")),
        ("of_tomorrow", slack_ok("2.1"), ("delivered", "")),
        ("restricted_action", refused("restricted_action"), ("rejected", "client_error")),
        ("msg_too_long", refused("msg_too_long"), ("rejected", "too_large")),
        ("cannot_reply_to_message", refused("ratelimited"), ("retry", "rate_limited")),
    ] {
        let before = http.requests().len();
        for answer in [slack_ok("1.1"), refused(error), after] {
            http.answer(answer);
        }
        let outcome = notifier.notify(&news).await;
        let (word, reason, _) = told(&outcome);
        assert_eq!((word, reason), expected, "{error}");
        let all = http.requests();
        let [update, reply, post] = &all[before..] else { panic!("{error}") };
        assert_eq!(update.path, "/api/chat.update");
        assert_eq!(reply.json()["thread_ts"], "1.1");
        assert!(
            post.path.ends_with("postMessage") && post.json()["thread_ts"].is_null(),
            "{error}"
        );
        if let Outcome::Delivered { receipt } = outcome {
            assert_eq!(
                receipt.unwrap().values["ts"],
                "2.1",
                "the next one changes the new message"
            );
        }
    }
    for (error, expected) in [
        ("invalid_auth", ("rejected", "auth_error")),
        ("internal_error", ("retry", "server_error")),
    ] {
        for answer in [slack_ok("1.1"), refused(error)] {
            http.answer(answer);
        }
        let (word, reason, _) = told(&notifier.notify(&news).await);
        assert_eq!((word, reason), expected, "{error}");
    }
}
