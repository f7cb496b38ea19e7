//! Clicks, as Slack reports them: requests go to the router, acts to an engine, and what Slack is told is kept.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc;

use super::*;
use crate::{
    engine::{
        act::{Acts, DeedKind, Verdict},
        alert::Alert,
        diagnostic::{Problems, SourceText},
        ledger::{Entry, EntryKind, hex_of},
        rule::Severity,
        time::EventTime,
        yaml::{Section, parse},
    },
    server::{ActRequest, Credentials, Desk, Events, ServerSettings, Status, guarded},
    telemetry::Metrics,
    web::AuthConfig,
};

const AUTH: &str = "
slack:
  - {id: U0ANNA, name: anna, roles: [responder]}
  - {id: U0VERA, name: vera, roles: [viewer, auditor]}
";

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

struct World {
    service: TowerToHyperService<axum::Router>,
    context: ServerContext,
    /// Slack's, as it would be read now.
    secret: Arc<Mutex<Result<String, String>>>,
    calls: mpsc::UnboundedReceiver<SlackCall>,
    acts: Option<mpsc::Receiver<ActRequest>>,
    entries: mpsc::Receiver<Entry>,
    metrics: Arc<Metrics>,
    /// What the alert is called.
    alert: String,
    engine: Option<Acts>,
    number: AtomicU32,
}

/// With one alert that fires.
fn world() -> World {
    let secret = Arc::new(Mutex::new(Ok(SECRET.to_owned())));
    let shown = Arc::clone(&secret);
    let read: SecretSource = Arc::new(move |_| shown.lock().unwrap().clone());
    let (called, calls) = mpsc::unbounded_channel();
    let call: CallSlack = Arc::new(move |call| {
        let answer = match &call {
            SlackCall::Open { trigger, .. } if trigger == "expired" => {
                Err("Slack says expired_trigger_id".to_owned())
            }
            _ => Ok(()),
        };
        called.send(call).unwrap();
        let answer: SlackAnswer = Box::pin(async { answer });
        answer
    });
    let app = SlackApp { signing_secret: SecretRef::Env("S".to_owned()), call };
    let source = SourceText::new("t.yaml", AUTH);
    let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
    let section = Section::new(&source, &problems, &nodes[0], "http.auth");
    let config = AuthConfig::parse(section, false, false);
    assert_eq!(problems.into_sorted(), []);
    let credentials = Credentials::build(&config, Arc::clone(&read)).unwrap();
    let settings = ServerSettings {
        credentials: Some(credentials),
        is_for_anybody: false,
        hosts: vec!["tripline.example.org".to_owned()],
        ..ServerSettings::open()
    };
    let (recorded, entries) = mpsc::channel(64);
    let (acts, requests) = mpsc::channel(64);
    let nowhere = std::path::Path::new("/nonexistent");
    let context = ServerContext {
        status: Arc::new(Status::new(&[])),
        metrics: Arc::new(Metrics::new()),
        reload: mpsc::channel(1).0,
        acts,
        events: Events::none(),
        desk: Desk::new(nowhere, nowhere, Some(recorded)),
        slack: Slack::new(vec![app], read),
    };
    let labels = BTreeMap::from(
        [("alertname", "exec"), ("severity", "high"), ("user", "a\"b")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let time = EventTime::parse("2026-01-05T22:14:01Z").unwrap();
    let alert = Alert::begun(time.as_wall(), ("rule-1", "Exec"), Severity::High, labels);
    let name = AlertName { fingerprint: alert.fingerprint, starts_at: Some(alert.starts_at) };
    let mut engine = Acts::default();
    engine.note(now(), &alert);
    context.status.acts_changed(engine.take_news());
    let (router, _) = guarded(context.clone(), settings, true);
    World {
        service: TowerToHyperService::new(router),
        secret,
        calls,
        acts: Some(requests),
        entries,
        metrics: Arc::clone(&context.metrics),
        context,
        alert: name.to_string(),
        engine: Some(engine),
        number: AtomicU32::new(0),
    }
}

/// A request, as it is put together.
struct Sent {
    body: String,
    timestamp: i64,
    signature: String,
}

fn signed(secret: &str, body: String) -> Sent {
    let timestamp = now().micros() / 1_000_000;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    let signature = format!("v0={}", hex_of(&mac.finalize().into_bytes()));
    Sent { body, timestamp, signature }
}

fn form(payload: &Value) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("payload", &payload.to_string()).finish()
}

impl World {
    fn click(&self, user: &str, word: &str) -> Value {
        // No two clicks are alike.
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        json!({
            "type": "block_actions",
            "user": {"id": user, "username": format!("{user}.name"), "name": "n"},
            "trigger_id": format!("t{number}"),
            "response_url": "https://hooks.slack.com/actions/T1/2/3",
            "actions": [{"type": "button", "value": format!("{word} {}", self.alert)}],
        })
    }

    async fn send(&self, sent: &Sent) -> (StatusCode, String) {
        let request = Request::builder()
            .method("POST")
            .uri("/slack/interactions")
            .header("host", "tripline.example.org")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-slack-request-timestamp", sent.timestamp)
            .header("x-slack-signature", &sent.signature)
            .extension(Peer { address: [192, 0, 2, 7].into(), subject: None })
            .body(Body::from(sent.body.clone()))
            .unwrap();
        let answer = self.service.call(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn sent(&self, payload: &Value) -> (StatusCode, String) {
        self.send(&signed(SECRET, form(payload))).await
    }

    /// Carries acts out from now on, as the coordinator does.
    fn work(&mut self) {
        let (mut acts, mut engine) = (self.acts.take().unwrap(), self.engine.take().unwrap());
        let status = Arc::clone(&self.context.status);
        tokio::spawn(async move {
            while let Some(ActRequest { act, reply }) = acts.recv().await {
                let answer = engine.perform(now(), act);
                status.acts_changed(engine.take_news());
                drop(reply.send(Ok(answer)));
            }
        });
    }

    /// What whoever clicked is told next.
    async fn told(&mut self) -> String {
        match self.calls.recv().await.unwrap() {
            SlackCall::Answer { url, text } => {
                assert_eq!(url, "https://hooks.slack.com/actions/T1/2/3");
                text
            }
            SlackCall::Open { .. } => panic!("a form"),
        }
    }

    fn refused(&self, why: &str) -> bool {
        let line = format!("{{reason=\"{why}\",server=\"http\"}} 1");
        self.metrics.render().lines().any(|metric| metric.ends_with(&line))
    }
}

#[tokio::test]
async fn what_is_clicked_is_done_by_whoever_clicked_and_told_to_them_alone() {
    let mut world = world();
    world.work();
    for (word, part) in [
        ("acknowledge", "Exec: anna acknowledged it."),
        ("assign", "Exec: anna assigned it to anna. Before: anna acknowledged it."),
        ("benign", "Exec: anna judged it: benign. Before: anna assigned it to anna; anna ack"),
    ] {
        let answer = world.sent(&world.click("U0ANNA", word)).await;
        assert_eq!(answer, (StatusCode::OK, String::new()), "{word}");
        let told = world.told().await;
        assert!(told.starts_with(part), "{word}: {told}");
    }
    let name = world.alert.parse().unwrap();
    let episode = world.context.status.episode(name).unwrap();
    let deed = &episode.deeds[0];
    assert_eq!((deed.by.name.as_str(), deed.by.role.as_str()), ("anna", "responder"));
    assert_eq!(deed.by.address, "192.0.2.7 (Slack user U0ANNA)");
    assert_eq!(episode.verdict(), Some(Verdict::Benign));

    world.alert = format!("{}@2026-01-05T22:14:02.000000Z", "0".repeat(32));
    world.sent(&world.click("U0ANNA", "acknowledge")).await;
    let told = world.told().await;
    assert!(told.starts_with("Not done: no such alert is known;"), "{told}");
    world.sent(&world.click("U0ANNA", "resolve")).await;
    assert!(world.told().await.starts_with("Nothing was done: this button"));
}

#[tokio::test]
async fn who_is_not_known_or_may_not_act_is_told_so_and_it_is_an_entry() {
    let mut world = world();
    for (user, told, name, why) in [
        ("U0EVE", "add you to `http.auth.slack`: {id: U0EVE", "Slack U0EVE (U0EVE.name)", "known"),
        ("U0VERA", "vera is viewer, auditor", "vera", "responder (viewer, auditor)"),
    ] {
        for word in ["acknowledge", "silence"] {
            let answer = world.sent(&world.click(user, word)).await;
            assert_eq!(answer, (StatusCode::OK, String::new()));
            let said = world.told().await;
            assert!(said.starts_with("Nothing was done") && said.contains(told), "{said}");
            let entry = world.entries.recv().await.unwrap();
            assert_eq!((entry.kind, entry.party.as_str()), (EntryKind::Login, name));
            assert!(entry.subject == PATH && entry.detail.contains(why), "{entry:?}");
        }
    }
    assert!(world.acts.as_mut().unwrap().try_recv().is_err(), "nothing is done");
    assert!(world.metrics.render().contains("{reason=\"forbidden\",server=\"http\"} 4"));
}

#[tokio::test]
async fn what_slack_did_not_sign_just_now_and_for_the_first_time_does_nothing() {
    let mut world = world();
    let click = || form(&world.click("U0ANNA", "acknowledge"));
    let good = signed(SECRET, click());
    let of = |change: fn(&mut Sent)| {
        let mut sent = signed(SECRET, click());
        change(&mut sent);
        sent
    };
    for (sent, part) in [
        (signed("another secret", click()), "signs like this"),
        (of(|sent| sent.body.push('x')), "signs like this"),
        (of(|sent| sent.timestamp += 1), "signs like this"),
        (of(|sent| sent.timestamp -= 302), "5 minutes ago"),
        (of(|sent| sent.signature = "v0=".to_owned()), "no signature"),
    ] {
        let (status, text) = world.send(&sent).await;
        assert!(status == StatusCode::UNAUTHORIZED && text.contains(part), "{status} {text}");
        let entry = world.entries.try_recv().unwrap();
        assert!(entry.kind == EntryKind::Login && entry.detail.contains(part), "{entry:?}");
    }
    assert!(world.acts.as_mut().unwrap().try_recv().is_err(), "nothing is done");
    assert_eq!(world.send(&good).await.0, StatusCode::OK);
    let again = world.send(&good).await;
    assert!(again.0 == StatusCode::UNAUTHORIZED && again.1.contains("before"), "{again:?}");
    assert!(world.refused("replayed"));
    let acts = world.acts.as_mut().unwrap();
    assert!(acts.recv().await.is_some() && acts.try_recv().is_err(), "it is done once");

    let large = signed(SECRET, format!("payload={}", "x".repeat(257 << 10)));
    assert_eq!(world.send(&large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let unread = world.send(&signed(SECRET, "payload=%7B".to_owned())).await;
    assert_eq!(unread.0, StatusCode::BAD_REQUEST);
    let other = json!({"type": "view_closed", "user": {"id": "U0ANNA"}});
    assert_eq!(world.sent(&other).await.0, StatusCode::OK, "nothing of ours, and nothing is done");
}

#[tokio::test]
async fn the_secret_is_that_of_now_and_if_it_cannot_be_read_that_of_before() {
    let world = world();
    let by = |secret: &str| signed(secret, form(&world.click("U0ANNA", "acknowledge")));
    assert_eq!(world.send(&by(SECRET)).await.0, StatusCode::OK);
    *world.secret.lock().unwrap() = Err("it is empty".to_owned());
    assert_eq!(world.send(&by(SECRET)).await.0, StatusCode::OK);
    *world.secret.lock().unwrap() = Ok("new\n".to_owned());
    assert_eq!(world.send(&by(SECRET)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.send(&by("new")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_silence_is_asked_about_before_it_is_made() {
    let mut world = world();
    world.work();
    world.sent(&world.click("U0ANNA", "silence")).await;
    let Some(SlackCall::Open { view, .. }) = world.calls.recv().await else { panic!("no form") };
    let about = view["blocks"][0]["text"]["text"].as_str().unwrap();
    assert_eq!(view["blocks"][0]["text"]["type"], "plain_text", "nothing in it is markup");
    for part in ["Exec", "alertname=\"exec\"\nuser=\"a\\\"b\"\n", "hide 1 of 1 alerts"] {
        assert!(about.contains(part), "{about}");
    }
    let submitted = |reason: &str, span: &str| {
        json!({
            "type": "view_submission",
            "user": {"id": "U0ANNA", "username": "anna.b"},
            "view": {
                "callback_id": view["callback_id"],
                "private_metadata": view["private_metadata"],
                "state": {"values": {
                    "reason": {"reason": {"type": "plain_text_input", "value": reason}},
                    "for": {"for": {"type": "static_select", "selected_option": {"value": span}}},
                }},
            },
        })
    };
    for (reason, span, field) in [(" ", "2h", "reason"), ("x", "soon", "for")] {
        let (status, text) = world.sent(&submitted(reason, span)).await;
        assert!(status == StatusCode::OK && text.contains("\"errors\""), "{text}");
        let wrong: Value = serde_json::from_str(&text).unwrap();
        assert!(wrong["errors"][field].is_string(), "{text}");
    }
    let answer = world.sent(&submitted("our own test", "8h")).await;
    assert_eq!(answer, (StatusCode::OK, String::new()), "the form closes");
    let told = world.told().await;
    assert!(told.contains("alertname=\"exec\"") && told.contains("hides 1 now"), "{told}");
    let silences = world.context.status.silences();
    let [silence] = silences.as_slice() else { panic!("{silences:?}") };
    assert_eq!((silence.reason.as_str(), silence.author.name.as_str()), ("our own test", "anna"));
    let span = silence.ends_at.since(silence.starts_at).as_secs();
    assert!((8 * 3_600 - 60..=8 * 3_600).contains(&span), "{span}");

    let mut late = world.click("U0ANNA", "silence");
    late["trigger_id"] = json!("expired");
    world.sent(&late).await;
    drop(world.calls.recv().await);
    let told = world.told().await;
    assert!(told.contains("did not show the form (Slack says expired_trigger_id)"), "{told}");
}

#[tokio::test]
async fn who_clicks_while_many_clicks_wait_is_told_to_do_it_again() {
    let world = world();
    for _ in 0..CLICKS_MAX {
        assert_eq!(world.sent(&world.click("U0ANNA", "acknowledge")).await.0, StatusCode::OK);
    }
    let busy = world.sent(&world.click("U0ANNA", "acknowledge")).await;
    assert_eq!(busy.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.refused("busy"));
}

#[tokio::test]
async fn an_act_that_is_not_durable_is_said_not_to_be() {
    let mut world = world();
    let mut acts = world.acts.take().unwrap();
    tokio::spawn(async move {
        while let Some(ActRequest { reply, .. }) = acts.recv().await {
            drop(reply.send(Err(crate::server::NotDone::StoreDown)));
        }
    });
    world.sent(&world.click("U0ANNA", "acknowledge")).await;
    let told = world.told().await;
    assert!(told.starts_with("Not done: the state cannot be written"), "{told}");
    let deed = DeedKind::Acknowledge;
    let episode = world.context.status.episode(world.alert.parse().unwrap()).unwrap();
    assert!(!episode.deeds.iter().any(|one| one.kind == deed));
}
