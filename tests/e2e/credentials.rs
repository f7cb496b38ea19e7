//! Kafka over TLS, with each way to say who one is.

use std::fs;

use crate::{
    harness::{
        Service, available, eventually,
        hook::{self, Hook},
        kafka::{self, Kafka},
        tripline::Tripline,
    },
    rules::{READS_COUNTED, SECRET_READ, is_told, read, to_hook, users},
};

/// A source of one topic with TLS and a `sasl` section, and the hook.
fn config(kafka: &Kafka, hook: &Hook, topic: &str, sasl: &str) -> String {
    format!(
        "sources:
  - kafka:
      brokers: ['{brokers}']
      topics: [{topic}]
      group: {topic}
      tls: {{ca_file: {ca}}}
      sasl: {sasl}
{to_hook}",
        brokers = kafka.sasl_brokers(),
        ca = kafka.ca().display(),
        to_hook = to_hook(hook),
    )
}

fn by_password(mechanism: &str, file: &str) -> String {
    format!("{{mechanism: {mechanism}, username: {}, password_file: {file}}}", kafka::USER)
}

/// Starts, reads one record and stops. What it says at its most talkative has no secret in it.
fn reads(tripline: &mut Tripline, hook: &Hook, user: &str) {
    tripline.start_ready();
    eventually("the alert arrives", || is_told(hook, "secret_read", user));
    let log = tripline.log();
    for secret in [kafka::PASSWORD, hook::CLIENT_SECRET, &hook::access_token()] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
    }
    tripline.stop();
}

#[test]
fn each_mechanism_with_a_password() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let topic = format!("with-{}", mechanism.to_lowercase());
        kafka.create_topic(&topic, 1);
        kafka.producer().send(&topic, read(mechanism, "s"));
        let sasl = by_password(mechanism, "./right");
        let config = config(kafka, &hook, &topic, &sasl) + "log: {level: trace}\n";
        let mut tripline = Tripline::new(&config, &[SECRET_READ]);
        tripline.write("right", kafka::PASSWORD);
        reads(&mut tripline, &hook, mechanism);
    }
}

#[test]
fn a_wrong_password_is_said_and_may_be_mended() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("wrong", 1);
    kafka.producer().send("wrong", read("user-a", "s"));
    let sasl = by_password("SCRAM-SHA-512", "./password");
    let mut tripline = Tripline::new(&config(kafka, &hook, "wrong", &sasl), &[SECRET_READ]);
    tripline.write("password", "not-the-password");
    tripline.start();
    let (_, reason) = eventually("/readyz says that the credentials are refused", || {
        tripline.readiness().filter(|(_, text)| text.contains("refuse the credentials"))
    });
    assert!(!reason.contains("not-the-password"), "{reason}");
    // The next one is no better, and is tried as well.
    tripline.write("password", "not-that-either");
    tripline.write("password", kafka::PASSWORD);
    tripline.wait_ready();
    eventually("the alert arrives without a restart", || is_told(&hook, "secret_read", "user-a"));
    assert!(!tripline.log().contains(kafka::PASSWORD), "the password is in the log");
    tripline.stop();
}

#[test]
fn a_password_that_is_rotated_loses_no_record_and_repeats_none() {
    rotates("rotated", |_| ());
}

/// The process before left without a word, so that Kafka goes on telling its names for the one that took its place.
#[test]
fn a_password_is_rotated_after_a_restart_within_a_session() {
    rotates("rotated-later", |tripline| {
        tripline.kill();
        tripline.start_ready();
    });
}

/// Rotates the password under a process, after what is done to it first.
fn rotates(topic: &str, first: impl FnOnce(&mut Tripline)) {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (mut kafka, hook) = (Kafka::started(), Hook::started());
    kafka.create_topic(topic, 1);
    let sasl = by_password("PLAIN", "./password");
    let config = config(&kafka, &hook, topic, &sasl) + "log: {level: debug}\n";
    let mut tripline = Tripline::new(&config, &[READS_COUNTED]);
    tripline.write("password", kafka::PASSWORD);
    tripline.start_ready();
    let send = |kafka: &Kafka, from: usize, to: usize| {
        let producer = kafka.producer();
        (from..to).for_each(|read_number| {
            producer.send(topic, read("user-a", &format!("s{read_number}")));
        });
    };
    send(&kafka, 0, 2);
    first(&mut tripline);
    send(&kafka, 2, 4);
    eventually("all are counted", || {
        (tripline.metric("tripline_records_total", &[])? >= 2.0).then_some(())
    });
    eventually("it knows what Kafka calls it", || {
        tripline.log().contains("Kafka says what it calls the owner").then_some(())
    });
    // Connections that are open go on; the broker asks again when it comes back.
    kafka.stop();
    kafka.change_password("another-horse");
    kafka.start();
    send(&kafka, 4, 5);
    eventually("/readyz says that the credentials are refused", || {
        tripline.readiness().filter(|(_, text)| text.contains("refuse the credentials"))
    });
    tripline.write("password", "another-horse");
    eventually("the fifth read is an alert", || {
        users(&hook.alerts("/alerts"), "five_reads").first().cloned()
    });
    assert!(users(&hook.alerts("/alerts"), "six_reads").is_empty(), "a read was counted twice");
    tripline.stop();
}

#[test]
fn a_token_from_an_oauth_endpoint() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("oauth", 1);
    kafka.producer().send("oauth", read("user-a", "s"));
    let sasl = format!(
        "{{mechanism: OAUTHBEARER, oauth: {{token_url: '{}', client_id: tripline, \
         client_secret_env: CLIENT_SECRET, scopes: [kafka]}}}}",
        hook.url("/token")
    );
    let config = config(kafka, &hook, "oauth", &sasl) + "log: {level: trace}\n";
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.set_variable("CLIENT_SECRET", "wrong");
    tripline.start();
    eventually("the endpoint's refusal is said", || {
        tripline.log().contains("no OAuth token for Kafka").then_some(())
    });
    tripline.kill();
    tripline.set_variable("CLIENT_SECRET", hook::CLIENT_SECRET);
    reads(&mut tripline, &hook, "user-a");
}

#[test]
fn a_certificate_of_a_stranger_is_refused() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook, stranger) = (Kafka::shared(), Hook::started(), Kafka::stopped());
    kafka.create_topic("stranger", 1);
    let sasl = by_password("PLAIN", "./right");
    let trusted = kafka.ca().display().to_string();
    let config = config(kafka, &hook, "stranger", &sasl);
    let config = config.replace(&trusted, "./ca.pem");
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.write("right", kafka::PASSWORD);
    fs::copy(stranger.ca(), tripline.path().join("ca.pem")).unwrap();
    tripline.start();
    eventually("/readyz says that TLS fails", || {
        tripline.readiness().filter(|(_, text)| text.contains("TLS to the brokers fails"))
    });
    // The authority is put right while it runs.
    fs::copy(kafka.ca(), tripline.path().join("ca.pem")).unwrap();
    tripline.wait_ready();
    tripline.stop();
}

/// Needs no service, so it always runs.
#[test]
fn without_a_ca_file_the_authorities_of_the_system_are_trusted() {
    // Whether this machine has any is not for us to say; but the library must look for them.
    let config = "sources:
  - kafka:
      brokers: ['127.0.0.1:1']
      topics: [t]
      group: t
      tls: {}
      properties: {debug: security}
log: {level: trace}
receivers: [{name: out, stdout: {}}]
route: {receiver: out}
";
    let mut tripline = Tripline::new(config, &[SECRET_READ]);
    tripline.start_by_shell("unset SSL_CERT_FILE SSL_CERT_DIR; exec \"$@\"");
    eventually("the library looks for authorities where they are", || {
        tripline.log().contains("\"facility\":\"CACERTS\"").then_some(())
    });
    tripline.kill();
}
