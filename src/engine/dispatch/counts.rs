//! What the dispatcher counts for metrics, and what it writes down for auditors.

use std::collections::BTreeMap;

use super::{Notification, NotifyReason, OutcomeReason};
use crate::engine::{alert::Fingerprint, time::WallTime, words::words};

/// Everything counted since start. The shell shows it as metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DispatchCounts {
    /// By name of the receiver and kind of the notifier.
    pub notifiers: BTreeMap<(String, String), NotifierCounts>,
    /// Alerts that joined an overflow group, at [`super::super::limits::GROUPS_PER_ROUTE_MAX`].
    pub groups_overflowed: u64,
    /// Ledger entries left out, at [`super::super::limits::LEDGER_ENTRIES_MAX`].
    pub ledger_dropped: u64,
    /// Outcomes of notifications that nobody waits for any more.
    pub outcomes_unknown: u64,
}

/// What was counted for one notifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifierCounts {
    /// Notifications made, by why.
    pub notifications: BTreeMap<NotifyReason, u64>,
    /// Attempts started.
    pub attempts: u64,
    /// Notifications that the receiver took.
    pub delivered: u64,
    /// Attempts that will be repeated, by why they failed.
    pub retried: BTreeMap<OutcomeReason, u64>,
    /// Attempts that the receiver refused, by why.
    pub rejected: BTreeMap<OutcomeReason, u64>,
    /// Notifications replaced by a newer one before they were delivered.
    pub superseded: u64,
    /// Alerts given up after [`super::super::limits::UNDELIVERED_AGE_MAX`].
    pub alerts_expired: u64,
    /// Alerts dropped at [`super::super::limits::ALERTS_PER_GROUP_MAX`] or
    /// [`super::super::limits::ALERTS_IN_GROUPS_MAX`], or owed to a receiver that is gone, with nobody in its place.
    pub alerts_dropped: u64,
}

/// One line for auditors: what became of a notification, or of an alert that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// When, by the operator's clock.
    pub at: WallTime,
    /// What it is about.
    pub about: LedgerSubject,
    /// Name of the receiver.
    pub receiver: String,
    /// Kind of its notifier, and behind a slash its recipient if it has several.
    pub notifier: String,
    /// What happened.
    pub what: LedgerKind,
    /// For people: why, and which alerts.
    pub detail: String,
}

/// Alerts that a line for auditors names: 20. Further ones of the same notification are not named.
const ALERTS_NAMED: usize = 20;

/// What a line for auditors is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSubject {
    /// Id of the notification, or fingerprint of an alert that was given up.
    pub id: String,
    /// Why the notification was sent; `None` for an alert that was given up.
    pub reason: Option<NotifyReason>,
    /// The alerts that it tells of, at most 20 of them.
    pub alerts: Vec<Fingerprint>,
}

impl LedgerSubject {
    /// An alert that is given up.
    pub fn of_alert(fingerprint: Fingerprint) -> LedgerSubject {
        LedgerSubject { id: fingerprint.to_string(), reason: None, alerts: vec![fingerprint] }
    }

    /// A notification.
    pub fn of(notification: &Notification) -> LedgerSubject {
        let alerts = notification.alerts.iter().map(|alert| alert.fingerprint);
        LedgerSubject {
            id: notification.id.to_string(),
            reason: Some(notification.reason),
            alerts: alerts.take(ALERTS_NAMED).collect(),
        }
    }
}

words! {
    /// What a ledger entry says.
    pub enum LedgerKind {
        /// The receiver took it.
        Delivered = "delivered",
        /// An attempt failed; it will be repeated.
        Retry = "retry",
        /// The receiver refused it; it stays owed.
        Rejected = "rejected",
        /// An alert was given up, because its receiver was away for too long.
        Expired = "expired",
        /// An alert was dropped, because too many were owed, or its receiver is gone.
        Dropped = "dropped",
    }
}
