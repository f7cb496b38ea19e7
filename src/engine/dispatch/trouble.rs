//! A receiver that takes nothing of what it is owed: an alert about Tripline itself, for the others.

use std::collections::BTreeMap;

use super::Slot;
use crate::engine::{
    alert::{Alert, AlertState},
    time::WallTime,
};

/// Name of the alert.
const NAME: &str = "TriplineReceiverFailing";

/// What stands for the rule of the alert.
const RULE_ID: &str = "tripline.receiver";

/// Name of the part of its key that says which notifier it is about.
const ABOUT: &str = "receiver";

/// How a notifier does, or one of its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverState<'a> {
    /// All of it in one: `oncall/email/ann@example.org`.
    pub name: &'a str,
    /// Name of the receiver.
    pub receiver: &'a str,
    /// Kind of its notifier.
    pub kind: &'a str,
    /// The recipient, if the notifier has several.
    pub recipient: Option<&'a str>,
    /// Since when it takes nothing of something that it is owed; `None` if all is well.
    pub failing_since: Option<WallTime>,
    /// It is so for so long that the other receivers are told.
    pub is_in_trouble: bool,
    /// What its last failure was, for people.
    pub words: &'a str,
}

/// It fails since a time, for long enough.
pub(in crate::engine) fn in_trouble(
    slot: &Slot,
    now: WallTime,
    since: WallTime,
    words: &str,
) -> Alert {
    let mut labels = BTreeMap::from([
        ("receiver".to_owned(), slot.receiver.clone()),
        ("notifier".to_owned(), slot.notifier.clone()),
    ]);
    if let Some(recipient) = &slot.recipient {
        labels.insert("recipient".to_owned(), recipient.clone());
    }
    let who = &slot.identity;
    let mut annotations = BTreeMap::from([(
        "summary".to_owned(),
        format!("{who} has taken nothing since {since}; what it is owed is kept and tried again"),
    )]);
    if !words.is_empty() {
        annotations.insert("description".to_owned(), words.to_owned());
    }
    let rule = (RULE_ID, "A receiver of alerts takes nothing");
    Alert {
        annotations,
        key: vec![(ABOUT.to_owned(), who.clone())],
        starts_at: since.as_event(),
        first_seen: since.as_event(),
        ..Alert::about_tripline(now, NAME, rule, labels)
    }
}

/// The end of such an alert.
pub(in crate::engine) fn out_of_trouble(alert: &Alert, now: WallTime) -> Alert {
    Alert {
        state: AlertState::Resolved,
        ends_at: Some(now.as_event()),
        last_seen: alert.last_seen.max(now.as_event()),
        changed_at: now,
        revision: alert.revision + 1,
        ..alert.clone()
    }
}

/// The identity of the notifier that such an alert is about; `None` if it is another sort of alert.
pub(in crate::engine) fn about(alert: &Alert) -> Option<&str> {
    let is_such = alert.rule_id == RULE_ID;
    let key = alert.key.iter().find(|(name, _)| is_such && name == ABOUT);
    key.map(|(_, identity)| identity.as_str())
}
