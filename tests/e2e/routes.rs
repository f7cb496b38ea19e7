//! Who is told of what: routes below routes, `continue`, and matchers on labels.

use crate::{
    harness::{Service, available, eventually, hook::Hook, kafka::Kafka, tripline::Tripline},
    rules::{SECRET_READ, read, source, users},
};

#[test]
fn alerts_find_their_receivers_by_labels() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("routes", 1);
    let receiver = |name: &str| {
        format!("  - {{name: {name}, webhook: {{url: '{}'}}}}\n", hook.url(&format!("/{name}")))
    };
    let names = ["fallback", "audit", "security", "pager", "unreached"];
    let config = format!(
        "{}receivers:
{}route:
  receiver: fallback
  group_by: ['...']
  group_wait: 0s
  routes:
    - {{receiver: audit, matchers: ['alertname!=\"of_nobody\"'], continue: true}}
    - receiver: security
      matchers: [team=security]
      routes:
        - receiver: pager
          matchers: ['severity=~\"high|critical\"', 'user!=\"user-test\"']
    - {{receiver: unreached, matchers: ['team=~\".+\"']}}
",
        source(kafka, "routes"),
        names.map(receiver).concat(),
    );
    // Another rule, for another verb, that belongs to no team.
    let of_nobody = SECRET_READ
        .1
        .replace("name: secret_read", "name: of_nobody")
        .replace("8a01", "8a21")
        .replace("verb: get", "verb: list")
        .replace("labels: {team: security}", "labels: {}");
    let mut tripline = Tripline::new(&config, &[SECRET_READ, ("of_nobody.yaml", &of_nobody)]);
    tripline.start_ready();
    let producer = kafka.producer();
    for user in ["user-a", "user-test"] {
        producer.send("routes", read(user, "s"));
    }
    producer.send("routes", read("user-list", "s").replace("\"get\"", "\"list\""));
    let told = |name: &str, rule: &str| {
        let mut told = users(&hook.alerts(&format!("/{name}")), rule);
        told.sort();
        told
    };
    for (receiver, rule, expected) in [
        ("audit", "secret_read", &["user-a", "user-test"][..]),
        ("pager", "secret_read", &["user-a"]),
        ("security", "secret_read", &["user-test"]),
        ("fallback", "of_nobody", &["user-list"]),
    ] {
        eventually(&format!("{receiver} is told what is for it"), || {
            (told(receiver, rule) == expected).then_some(())
        });
    }
    // It stops when nothing is owed any more.
    tripline.stop();
    for (receiver, rule) in [
        ("audit", "of_nobody"),
        ("fallback", "secret_read"),
        ("pager", "of_nobody"),
        ("security", "of_nobody"),
        ("unreached", "secret_read"),
        ("unreached", "of_nobody"),
    ] {
        assert_eq!(told(receiver, rule), Vec::<String>::new(), "{receiver} is told of {rule}");
    }
}
