//! A group of alerts in Slack, by bot token: one message that changes, a thread below it, and buttons.

use std::time::Duration;

use crate::{
    acts::post,
    harness::{
        Service, available, block_on, eventually, get_json,
        hook::{self, Hook, Request, slack_ts},
        kafka::Kafka,
        tripline::Tripline,
    },
    rules::{SECRET_READ, read, source},
};

use axum::http::StatusCode;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

const POST: &str = "/api/chat.postMessage";
const UPDATE: &str = "/api/chat.update";

/// The newest request that speaks of a user.
fn newest(hook: &Hook, path: &str, user: &str) -> Option<Request> {
    hook.requests(path).into_iter().rev().find(|request| request.body.to_string().contains(user))
}

#[test]
fn a_group_is_one_message_that_follows_it_and_begins_anew_when_somebody_deletes_it() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("slack", 1);
    let config = format!(
        "{}engine: {{grace: 1s, idle_after: 1s, resolve_after: 8s}}
log: {{level: trace}}
receivers:
  - name: slack
    slack: {{bot_token_file: ./bot-token, channel: C012345, api_url: '{}'}}
route: {{receiver: slack, group_wait: 0s, group_interval: 1s}}
",
        source(kafka, "slack"),
        hook.url("/api"),
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.write("bot-token", hook::SLACK_TOKEN);
    tripline.start_ready();
    let producer = kafka.producer();

    // Slack asks for a pause, and gets all of it.
    hook.refuse_with(Some((StatusCode::TOO_MANY_REQUESTS, "3")));
    producer.send("slack", read("user-a", "s"));
    eventually("it tries", || (!hook.refused().is_empty()).then_some(()));
    hook.refuse_with(None);
    let first = eventually("the group is posted", || newest(&hook, POST, "user-a"));
    assert_eq!(hook.refused().len(), 1, "it tried again too early");
    assert!(first.at - hook.refused()[0] >= Duration::from_secs(3));
    assert_eq!(first.body["channel"], "C012345");

    producer.send("slack", read("user-b", "s"));
    let update = eventually("the message is changed", || newest(&hook, UPDATE, "user-b"));
    assert_eq!(update.body["ts"], slack_ts(0), "it is the same message");
    let reply = eventually("and what is new is said in its thread", || {
        hook.requests(POST).into_iter().find(|request| request.body["thread_ts"] == slack_ts(0))
    });
    assert!(!reply.body["text"].as_str().unwrap().is_empty());

    hook.delete_slack_messages();
    producer.send("slack", read("user-c", "s"));
    let anew = eventually("the group is posted anew", || newest(&hook, POST, "user-c"));
    assert_eq!(anew.body["thread_ts"], Value::Null);
    let number = u32::try_from(hook.requests(POST).len()).unwrap() - 1;
    let end = eventually("the new message tells the end", || {
        let requests = hook.requests(UPDATE);
        requests.into_iter().find(|request| {
            let text = request.body["text"].as_str().unwrap_or_default();
            text.starts_with("[resolved]") && request.body["ts"] == slack_ts(number)
        })
    });
    assert!(end.body.to_string().contains("resolved"), "{end:?}");
    assert_eq!(hook.violations(), Vec::<String>::new());
    assert!(!tripline.log().contains(hook::SLACK_TOKEN), "the token is in the log");
    tripline.stop();
}

/// Tells Tripline of a click as Slack does; the status and what it says.
fn click(tripline: &Tripline, secret: &str, payload: &Value) -> (u16, String) {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let timestamp = since_epoch.as_secs();
    let mut form = form_urlencoded::Serializer::new(String::new());
    let body = form.append_pair("payload", &payload.to_string()).finish();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    let signature = mac.finalize().into_bytes();
    let digits =
        signature.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    let request = ::tripline::tls::http(Vec::new()).unwrap().no_proxy().build().unwrap();
    let request = request
        .post(tripline.url("/slack/interactions"))
        .header("host", "tripline.example.org")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-slack-request-timestamp", timestamp)
        .header("x-slack-signature", format!("v0={digits}"))
        .body(body);
    block_on(async {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

/// A process whose alert always fires, from a source that nobody answers, and which tells a channel of Slack: with
/// buttons that anna may press. And its configuration without these.
fn with_buttons(hook: &Hook) -> (Tripline, String) {
    let config = format!(
        "sources: [{{kafka: {{brokers: ['127.0.0.1:1'], topics: [t], group: t}}}}]
receivers:
  - name: slack
    slack: {{bot_token_file: ./bot-token, channel: C012345, signing_secret_file: ./signing, api_url: '{}'}}
route: {{receiver: slack, group_wait: 0s}}
heartbeat: {{receiver: slack}}
",
        hook.url("/api"),
    );
    let mut tripline = Tripline::new("", &[SECRET_READ]);
    let people = "public: [health, metrics], external_url: 'https://tripline.example.org', \
                  auth: {tokens: [{name: prober, token: prober-prober-prober-prober-prober, roles: [viewer]}], \
                  slack: [{id: U0ANNA, name: anna, roles: [responder]}]}";
    tripline.configure_http(people, &config);
    tripline.write("bot-token", hook::SLACK_TOKEN);
    tripline.write("signing", "the-signing-secret\n");
    tripline.start();
    (tripline, config)
}

#[test]
fn a_click_on_a_button_is_an_act_and_answered_to_whoever_clicked_alone() {
    let (hook, elsewhere) = (Hook::started(), Hook::started());
    let (mut tripline, config) = with_buttons(&hook);
    let message = eventually("the alert is posted", || hook.requests(POST).pop()).body;
    let blocks = message["blocks"].as_array().unwrap();
    let row = blocks.iter().find(|block| block["type"] == "actions").expect("there are buttons");
    let clicked = |user: &str, number: usize, url: &str| {
        json!({
            "type": "block_actions",
            "user": {"id": user, "username": format!("{user}.name"), "name": "n", "team_id": "T1"},
            "api_app_id": "A1", "token": "deprecated", "trigger_id": "1.2.3",
            "container": {"type": "message", "channel_id": "C012345"},
            "message": message, "response_url": url, "actions": [row["elements"][number]],
        })
    };
    let answers = || {
        let texts = hook.requests("/actions/T1/2/3").into_iter();
        texts.map(|request| request.body["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let answered = |part: &str| {
        eventually(part, || answers().into_iter().find(|text| text.contains(part)));
    };
    let here = hook.url("/actions/T1/2/3");
    let ok = (200, String::new());
    assert_eq!(click(&tripline, "the-signing-secret", &clicked("U0ANNA", 0, &here)), ok);
    answered("anna acknowledged it");
    // Everybody sees it in the message itself.
    let edited = |what: &str| {
        eventually(what, || newest(&hook, UPDATE, what).filter(|one| one.body["ts"] == slack_ts(0)))
    };
    edited("acknowledged by anna");
    let answer = &hook.requests("/actions/T1/2/3")[0];
    assert_eq!(answer.body["response_type"], "ephemeral");
    assert_eq!(answer.headers.get("authorization"), None, "no token leaves for there");
    assert_eq!(click(&tripline, "the-signing-secret", &clicked("U0EVE", 0, &here)), ok);
    answered("add you to `http.auth.slack`: {id: U0EVE");
    assert_eq!(click(&tripline, "another", &clicked("U0ANNA", 1, &here)).0, 401);

    // A form, and what is written into it.
    assert_eq!(click(&tripline, "the-signing-secret", &clicked("U0ANNA", 2, &here)), ok);
    let opened = eventually("the form opens", || hook.requests("/api/views.open").pop());
    assert_eq!(opened.headers["authorization"], format!("Bearer {}", hook::SLACK_TOKEN));
    let view = &opened.body["view"];
    let values = json!({
        "reason": {"reason": {"type": "plain_text_input", "value": "our own test"}},
        "for": {"for": {"type": "static_select", "selected_option": {"value": "30m"}}},
    });
    let sent = json!({
        "type": "view_submission",
        "user": {"id": "U0ANNA", "username": "anna.b"},
        "view": {"callback_id": view["callback_id"], "private_metadata": view["private_metadata"],
                 "state": {"values": values}},
    });
    assert_eq!(click(&tripline, "the-signing-secret", &sent), ok);
    answered("Silenced until ");
    edited("silenced until ");

    // What is signed may name a place elsewhere: nothing goes there, and the act is done all the same.
    let there = elsewhere.url("/actions/T1/2/3");
    assert_eq!(click(&tripline, "the-signing-secret", &clicked("U0ANNA", 1, &there)), ok);
    eventually("it is counted", || {
        (tripline.metric("tripline_acts_unanswered_total", &[]) == Some(1.0)).then_some(())
    });
    assert_eq!(elsewhere.requests("/actions/T1/2/3").len(), 0);
    // A new secret counts from now on, without a restart.
    tripline.write("signing", "another");
    assert_eq!(click(&tripline, "another", &clicked("U0ANNA", 0, &here)).0, 200);
    answered("Before: anna assigned it to anna");

    tripline.kill();
    tripline.configure(&config);
    tripline.start();
    // Until the state is there again, nothing is shown.
    let shown = |path: &str, first: &str| {
        let is_there = |answer: &Value| answer.pointer(first).is_some();
        eventually(path, || get_json(&tripline.url(path)).filter(is_there))
    };
    let acts = shown("/api/v1/alerts/acts", "/alerts/0/deeds");
    let deeds = acts["alerts"][0]["deeds"].as_array().unwrap();
    let done: Vec<&str> = deeds.iter().map(|deed| deed["what"].as_str().unwrap()).collect();
    assert_eq!(done, ["acknowledge", "assign", "acknowledge"], "{acts}");
    for deed in deeds {
        assert_eq!(
            (&deed["by"]["name"], &deed["by"]["role"]),
            (&json!("anna"), &json!("responder"))
        );
        let address = deed["by"]["address"].as_str().unwrap();
        assert_eq!(address, "127.0.0.1 (Slack user U0ANNA)");
    }
    // What is done elsewhere shows there, too, though the alert is silenced; and nobody is told anew.
    let alerts = [&acts["alerts"][0]["fingerprint"]];
    let judged = json!({"act": "verdict", "verdict": "benign", "alerts": alerts, "by": "kim"});
    let (status, answer) = post(&tripline.url("/api/v1/alerts/acts"), &judged).unwrap();
    assert_eq!(status, 200, "{answer}");
    edited("judged benign, by kim");
    assert_eq!(hook.requests(POST).len(), 1);
    let silences = shown("/api/v1/silences", "/silences/0");
    assert_eq!(silences["silences"][0]["reason"], "our own test", "{silences}");
    assert_eq!(hook.violations(), Vec::<String>::new());
    for secret in [hook::SLACK_TOKEN, "the-signing-secret"] {
        assert!(!tripline.log().contains(secret), "{secret} is in the log");
    }
    tripline.kill();
}
