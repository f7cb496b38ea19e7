//! What people do: durable once it is answered, and nobody is told what is silenced.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    harness::{
        Service, available, block_on, eventually, get_json, hook::Hook, kafka::Kafka, never,
        tripline::Tripline,
    },
    rules::{SECRET_READ, read, source, to_hook, users},
};

/// How often the process is killed.
const KILLS: usize = 8;

/// Comments that are sent one after another before and while it is killed.
const COMMENTS: usize = 40;

/// A source that nobody answers, and an alert that always fires.
const CONFIG: &str = "sources: [{kafka: {brokers: ['127.0.0.1:1'], topics: [t], group: t}}]
receivers: [{name: out, stdout: {}}]
route: {receiver: out}
heartbeat: {receiver: out}
";

async fn post_in(url: &str, body: &Value) -> Option<(u16, Value)> {
    let client = ::tripline::tls::http(Vec::new()).ok()?.no_proxy().build().ok()?;
    let answer = client.post(url).json(body).send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().await.ok()?))
}

/// Status and body, if there is an answer.
pub(crate) fn post(url: &str, body: &Value) -> Option<(u16, Value)> {
    block_on(post_in(url, body))
}

fn comment(fingerprint: &str, id: &str) -> Value {
    json!({ "act": "comment", "alerts": [fingerprint], "text": id, "id": id, "by": "ann" })
}

#[test]
fn killed_between_click_and_answer_an_act_is_there_once_or_was_said_to_have_failed() {
    let mut tripline = Tripline::new(CONFIG, &[SECRET_READ]);
    let acts = tripline.url("/api/v1/alerts/acts");
    let alerts = tripline.url("/api/v1/alerts");
    // Whether each comment was answered.
    let mut sent: BTreeMap<String, bool> = BTreeMap::new();
    let mut known: Option<String> = None;
    for kill in 0..KILLS {
        tripline.start();
        let before = known.clone();
        let fingerprint = eventually("the heartbeat fires, and is known from then on", || {
            if let Some(fingerprint) = &before {
                let path = format!("/api/v1/alerts/{fingerprint}/acts");
                return get_json(&tripline.url(&path)).map(|_| fingerprint.clone());
            }
            let answer = get_json(&alerts)?;
            Some(answer["alerts"][0]["fingerprint"].as_str()?.to_owned())
        });
        known = Some(fingerprint.clone());
        // One of the last process that nobody answered is sent again: it is done once.
        let again = sent.iter().find(|(_, is_answered)| !**is_answered);
        if let Some(id) = again.map(|(id, _)| id.clone()) {
            let (status, answer) = post(&acts, &comment(&fingerprint, &id)).expect("an answer");
            assert_eq!(status, 200, "{answer}");
            sent.insert(id, true);
        }
        let (url, fingerprint) = (acts.clone(), fingerprint.clone());
        let clicked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&clicked);
        let clicking = std::thread::spawn(move || {
            let one = |number| {
                counted.fetch_add(1, Ordering::Relaxed);
                let id = format!("{kill}-{number}");
                let answer = post(&url, &comment(&fingerprint, &id));
                let is_answered = answer.is_some_and(|(status, _)| status == 200);
                (id, is_answered)
            };
            (0..COMMENTS).map(one).collect::<Vec<_>>()
        });
        // At another moment each time; the first ones are on their way then.
        eventually("some are on their way", || {
            (clicked.load(Ordering::Relaxed) > 2 * kill).then_some(())
        });
        tripline.kill();
        sent.extend(clicking.join().unwrap());
    }
    tripline.start();
    let answered = sent.values().filter(|is_answered| **is_answered).count();
    assert!(answered > 0 && answered < sent.len(), "{answered} of {}", sent.len());
    let episode = eventually("what was done is shown", || {
        let answer = get_json(&acts)?;
        answer["alerts"].as_array()?.iter().find(|one| one["deeds"][0].is_object()).cloned()
    });
    let mut texts: BTreeMap<&str, usize> = BTreeMap::new();
    for deed in episode["deeds"].as_array().unwrap() {
        assert_eq!(deed["by"]["name"].as_str().map(|name| name.starts_with("ann")), Some(true));
        *texts.entry(deed["text"].as_str().unwrap()).or_default() += 1;
    }
    for (id, is_answered) in &sent {
        let count = texts.get(id.as_str()).copied().unwrap_or(0);
        assert!(count <= 1, "{id} is there {count} times");
        assert!(count == 1 || !is_answered, "{id} was answered and is lost");
    }
    tripline.kill();
}

#[test]
fn what_is_silenced_is_told_to_nobody_until_the_silence_ends() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("silenced", 1);
    let mut tripline =
        Tripline::new(&(source(kafka, "silenced") + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start_ready();
    let silence = json!({
        "matchers": ["alertname=secret_read", "user=~\"user-(a|c)\""],
        "reason": "our own test", "for": "1h", "by": "ann", "id": "s",
    });
    let (status, made) = post(&tripline.url("/api/v1/silences"), &silence).unwrap();
    assert_eq!(status, 200, "{made}");
    let id = made["silence"]["id"].as_str().unwrap().to_owned();
    let producer = kafka.producer();
    for user in ["user-a", "user-b"] {
        producer.send("silenced", read(user, "s"));
    }
    let told = || users(&hook.alerts("/alerts"), "secret_read");
    eventually("whoever is not silenced is told", || {
        told().contains(&"user-b".to_owned()).then_some(())
    });
    tripline.kill();
    tripline.start_ready();
    never("a silence is forgotten by a crash", Duration::from_secs(2), || {
        told().iter().find(|user| *user == "user-a").cloned()
    });
    let preview = json!({ "matchers": ["user=user-a"] });
    let (_, preview) = post(&tripline.url("/api/v1/silences/preview"), &preview).unwrap();
    assert_eq!(preview["firing_count"], 1, "{preview}");
    assert_eq!(preview["alerts"][0]["silenced_already"], true, "{preview}");
    let end = tripline.url(&format!("/api/v1/silences/{id}/end"));
    let (status, ended) = post(&end, &json!({ "by": "bob" })).unwrap();
    assert_eq!((status, &ended["silence"]["state"]), (200, &json!("expired")), "{ended}");
    assert_eq!(ended["silence"]["hidden_count"], 1, "{ended}");
    eventually("what still fires is told when the silence ends", || {
        told().contains(&"user-a".to_owned()).then_some(())
    });
    assert_eq!(post(&end, &json!({ "by": "bob" })).map(|(status, _)| status), Some(409));
    tripline.stop();
}
