//! Notifications as JSON, and alerts as lines: what webhooks, the Kafka topic and `stdout` in a pipe carry.
//!
//! The shape is documented by `deploy/alert.schema.json`, which a test holds to this code. Fields are only
//! ever added; a change of meaning raises [`SCHEMA_VERSION`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::{
    alert::{
        Alert, AlertState,
        json::{AlertJson, SCHEMA_VERSION},
    },
    dispatch::Notification,
};

/// One notification with its alerts.
#[derive(Serialize)]
pub(super) struct NotificationJson<'a> {
    version: &'static str,
    id: String,
    receiver: &'a str,
    reason: &'static str,
    state: &'static str,
    group_key: &'a str,
    group_labels: &'a BTreeMap<String, String>,
    created_at: String,
    external_url: Option<&'a str>,
    truncated_count: u64,
    alerts: Vec<AlertJson<'a>>,
}

impl<'a> NotificationJson<'a> {
    pub(super) fn new(
        notification: &'a Notification,
        external_url: Option<&'a str>,
    ) -> NotificationJson<'a> {
        let any_firing = notification.firing_count() > 0;
        NotificationJson {
            version: SCHEMA_VERSION,
            id: notification.id.to_string(),
            receiver: &notification.receiver,
            reason: notification.reason.as_str(),
            state: (if any_firing { AlertState::Firing } else { AlertState::Resolved }).as_str(),
            group_key: &notification.group_key,
            group_labels: &notification.group_labels,
            created_at: notification.created_at.rfc3339(),
            external_url,
            truncated_count: notification.truncated_count,
            alerts: notification.alerts.iter().map(AlertJson::new).collect(),
        }
    }
}

/// One alert as one line, as receivers write it.
pub fn alert_line(alert: &Alert) -> Vec<u8> {
    let mut line = to_bytes(&AlertJson::new(alert));
    line.push(b'\n');
    line
}

/// As bytes. Only maps with text keys and finite numbers go in, so it cannot fail: a number that JSON
/// does not know is written as `null`.
pub(super) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("text keys and plain values can be written as JSON")
}
