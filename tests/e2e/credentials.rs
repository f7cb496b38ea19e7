//! Kafka over TLS, with each way to say who one is.

use crate::{
    harness::{
        Service, available, eventually,
        hook::{self, Hook},
        kafka::{self, Kafka},
        tripline::Tripline,
    },
    rules::{SECRET_READ, read, to_hook, users},
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
    eventually("the alert arrives", || {
        users(&hook.alerts("/alerts"), "secret_read").contains(&user.to_owned()).then_some(())
    });
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
    tripline.kill();
    tripline.write("password", kafka::PASSWORD);
    reads(&mut tripline, &hook, "user-a");
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
    let config = config.replace(&trusted, &stranger.ca().display().to_string());
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.write("right", kafka::PASSWORD);
    tripline.start();
    eventually("/readyz says that TLS fails", || {
        tripline.readiness().filter(|(_, text)| text.contains("TLS to the brokers fails"))
    });
    tripline.kill();
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
