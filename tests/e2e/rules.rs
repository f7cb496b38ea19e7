//! The rules and configurations that scenarios share.

use serde_json::Value;

use crate::harness::{audit, hook::Hook, kafka::Kafka};

/// Every read of a secret is an alert, one for each user and secret.
pub(crate) const SECRET_READ: (&str, &str) = (
    "secret_read.yaml",
    "title: Secret read
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a01
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: get}
  condition: read
level: high
tripline:
  group-by: [user.username, objectRef.name]
  labels: {team: security}
  annotations: {summary: '{{ user.username }} read {{ objectRef.name }}'}
  evidence: [objectRef.namespace, objectRef.name, sourceIPs, userAgent]
",
);

/// Reads of secrets are counted by user: five are an alert, six another one.
pub(crate) const READS_COUNTED: (&str, &str) = (
    "reads_counted.yaml",
    "title: Secret read
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a02
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: get}
  condition: read
level: informational
generate: false
---
title: Five secrets read
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a03
name: five_reads
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 1h
  condition: {gte: 5}
level: high
---
title: Six secrets read
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a04
name: six_reads
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 1h
  condition: {gte: 6}
level: critical
",
);

/// The part of a configuration that reads one topic of a broker, without encryption.
pub(crate) fn source(kafka: &Kafka, topic: &str) -> String {
    source_at(&kafka.brokers(), topic)
}

/// The same for a broker that may be stopped while this is used.
pub(crate) fn source_at(brokers: &str, topic: &str) -> String {
    format!("sources: [{{kafka: {{brokers: ['{brokers}'], topics: [{topic}], group: {topic}}}}}]\n")
}

/// The part of a configuration that posts every alert to `/alerts` at once.
pub(crate) fn to_hook(hook: &Hook) -> String {
    format!(
        "receivers: [{{name: hook, webhook: {{url: '{}'}}}}]
route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s}}
",
        hook.url("/alerts")
    )
}

/// A user read a secret just now.
pub(crate) fn read(user: &str, secret: &str) -> String {
    audit::event(user, "get", "secrets", "payments", secret).to_string()
}

/// The users of firing alerts of a rule among `alerts`.
pub(crate) fn users(alerts: &[Value], rule: &str) -> Vec<String> {
    let of_rule = alerts
        .iter()
        .filter(|alert| alert["labels"]["alertname"] == rule && alert["state"] == "firing");
    of_rule.filter_map(|alert| Some(alert["key"]["user.username"].as_str()?.to_owned())).collect()
}

/// Whether an alert of a rule was told about a user.
pub(crate) fn is_told(hook: &Hook, rule: &str, user: &str) -> Option<()> {
    users(&hook.alerts("/alerts"), rule).iter().any(|told| told == user).then_some(())
}
