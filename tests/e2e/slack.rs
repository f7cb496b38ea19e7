//! A group of alerts in Slack, by bot token: one message that changes, and a thread below it.

use std::time::Duration;

use crate::{
    harness::{
        Service, available, eventually,
        hook::{self, Hook, Request, slack_ts},
        kafka::Kafka,
        tripline::Tripline,
    },
    rules::{SECRET_READ, read, source},
};

use axum::http::StatusCode;

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
    assert_eq!(anew.body["thread_ts"], serde_json::Value::Null);
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
