//! A receiver that takes nothing of what it is owed: an alert about Tripline itself, for the others.

use super::Slot;
use crate::engine::{
    alert::{Alert, OwnAlert},
    rule::Severity,
    time::WallTime,
};

/// The alert.
const FAILING: OwnAlert = OwnAlert {
    name: "TriplineReceiverFailing",
    rule_id: "tripline.receiver",
    title: "A receiver of alerts takes nothing",
    severity: Severity::High,
};

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
    let mut about = vec![("receiver", slot.receiver.as_str()), ("notifier", &slot.notifier)];
    about.extend(slot.recipient.as_ref().map(|recipient| ("recipient", recipient.as_str())));
    let who = &slot.identity;
    let words = if words.is_empty() { "an attempt has not come back" } else { words };
    let summary =
        format!("{who} has taken nothing since {since}; what it is owed is kept and tried again");
    Alert {
        key: vec![(ABOUT.to_owned(), who.clone())],
        starts_at: since.as_event(),
        first_seen: since.as_event(),
        ..FAILING.begin(now, &about, &summary, words)
    }
}

/// The identity of the notifier that such an alert is about; `None` if it is another sort of alert.
pub(in crate::engine) fn about(alert: &Alert) -> Option<&str> {
    let is_such = alert.rule_id == FAILING.rule_id;
    let key = alert.key.iter().find(|(name, _)| is_such && name == ABOUT);
    key.map(|(_, identity)| identity.as_str())
}
