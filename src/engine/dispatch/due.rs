//! When something is to be said of an alert, new or again, as far as that is a matter of the alert alone.
//!
//! Everything here is a pure function of an alert in its group, and of the group's policy.

use super::{Audience, GroupedAlert, Policy, grouped_alert::News};
use crate::engine::{rule::Severity, time::WallTime};

/// What decides when something is said of an alert, beside a time of its own before which it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Pace {
    /// Nothing else.
    Own,
    /// The group says again what it said.
    Repeat,
    /// There is something new.
    News {
        /// Of an alert that does not wait for company.
        is_grave: bool,
        /// It does not wait for the group's interval.
        is_urgent: bool,
    },
}

impl Pace {
    /// All of them.
    pub(in crate::engine) const ALL: [Pace; 6] = [
        Pace::Own,
        Pace::Repeat,
        Pace::News { is_grave: false, is_urgent: false },
        Pace::News { is_grave: false, is_urgent: true },
        Pace::News { is_grave: true, is_urgent: false },
        Pace::News { is_grave: true, is_urgent: true },
    ];
}

/// When something is to be said of an alert, new or again, as far as that is a matter of the alert alone.
pub(in crate::engine) fn due_of(
    grouped: &GroupedAlert,
    news: Option<News>,
    policy: &Policy,
) -> Option<(Pace, WallTime)> {
    let Some(news) = news else { return repeat_of(grouped, policy) };
    let not_before = not_before(grouped, news, policy);
    if let Some(refused) = grouped.refused {
        return Some((Pace::Own, refused.until.max(not_before)));
    }
    let is_grave = grouped.latest.severity >= Severity::High;
    let is_urgent = match policy.audience {
        Audience::People | Audience::Editable => {
            is_grave && matches!(news, News::New | News::Severity)
        }
        Audience::Machine | Audience::Resend => news != News::Revised,
    };
    Some((Pace::News { is_grave, is_urgent }, not_before))
}

/// When an alert of which nothing is new is to be named again.
pub(in crate::engine) fn repeat_of(
    grouped: &GroupedAlert,
    policy: &Policy,
) -> Option<(Pace, WallTime)> {
    let repeat = policy.grouping.repeat;
    if repeat.is_zero() || grouped.is_not_repeated(policy) {
        return None;
    }
    let own = grouped.told_at.plus(repeat).max(grouped.held_until());
    match policy.audience {
        Audience::People | Audience::Editable => {
            grouped.is_firing().then_some((Pace::Repeat, grouped.held_until()))
        }
        Audience::Machine => grouped.is_firing().then_some((Pace::Own, own)),
        Audience::Resend => Some((Pace::Own, own)),
    }
}

/// Alertmanager must have had time to tell that an alert fires before it hears that it ended.
pub(in crate::engine) fn not_before(
    grouped: &GroupedAlert,
    news: News,
    policy: &Policy,
) -> WallTime {
    if policy.audience == Audience::Resend && news == News::Resolved {
        grouped.since.plus(policy.grouping.repeat)
    } else {
        WallTime::MIN
    }
}
