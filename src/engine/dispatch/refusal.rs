//! What follows when a receiver refuses an alert.
//!
//! A refusal is not a delivery: nobody was told. The same again at once would be refused again, so it
//! waits for the next group interval, then for twice as long, and so on, for as long as there is
//! something to tell. If only its size or form is wrong, it is made smaller and tried at once. Alerts
//! that were refused together are tried again in halves, since one of them may be the reason for all.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Audience, Form, OutcomeReason, Policy, SetBack};
use crate::engine::{limits, time::WallTime};

/// An alert that its receiver refused, in one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Refusal {
    /// Since when it is owed in vain.
    pub(in crate::engine) since: WallTime,
    /// When it was refused last.
    pub(in crate::engine) at: WallTime,
    /// It is not tried again before.
    pub(in crate::engine) until: WallTime,
    /// How often it was refused as small as it can be.
    pub(in crate::engine) count: u32,
    /// How small it has to be.
    pub(in crate::engine) form: Form,
}

impl Refusal {
    /// Of one alert among `company`, the `place`th of them (from 0), all of which were refused together.
    /// `since` says when they were first tried.
    pub(in crate::engine) fn after(
        before: Option<Refusal>,
        now: WallTime,
        since: WallTime,
        reason: OutcomeReason,
        policy: &Policy,
        (place, company): (usize, usize),
    ) -> Refusal {
        let first = Refusal { since, at: now, until: now, count: 0, form: Form::Full };
        let before = before.unwrap_or(first);
        let is_machine = matches!(policy.audience, Audience::Machine | Audience::Resend);
        let splits = company > 1;
        let smaller = match (reason, before.form) {
            (OutcomeReason::TooLarge, form) if splits && is_machine => Some(form),
            (OutcomeReason::TooLarge, Form::Full) => Some(Form::Short),
            (OutcomeReason::TooLarge, Form::Short)
            | (OutcomeReason::BadForm, Form::Full | Form::Short) => Some(Form::Plain),
            _ => None,
        };
        // What is wrong with the credentials is wrong with none of the alerts.
        let is_halved = splits
            && reason != OutcomeReason::AuthError
            && (smaller.is_none() || smaller == Some(before.form));
        let count = if smaller.is_some() { before.count } else { before.count.saturating_add(1) };
        let pause = match smaller {
            Some(_) => limits::BACKOFF_MIN,
            None => pause(policy, count),
        };
        let is_second = is_halved && place >= company.div_ceil(2);
        let later = if is_second { limits::BACKOFF_MIN } else { Duration::ZERO };
        let until = now.plus(pause).plus(later);
        Refusal { at: now, until, count, form: smaller.unwrap_or(before.form), ..before }
    }

    /// There is more to say of the alert than what was refused: it waits no longer than at first.
    pub(in crate::engine) fn hasten(&mut self, policy: &Policy) {
        self.until = self.until.min(self.at.plus(pause(policy, 1)));
    }

    /// Goes on with a clock that was set back.
    pub(in crate::engine) fn rebase(&mut self, set_back: SetBack, policy: &Policy) {
        self.since = set_back.of(self.since);
        self.at = set_back.of(self.at);
        let longest = set_back.now.plus(pause(policy, self.count));
        self.until = set_back.of(self.until).min(longest);
    }
}

/// The pause behind a refusal: the group interval, doubled with each further one.
fn pause(policy: &Policy, count: u32) -> Duration {
    let (first, longest) = match policy.audience {
        // What is not resent in time ends there by itself.
        Audience::Resend => (policy.grouping.repeat, policy.grouping.repeat),
        Audience::People | Audience::Editable | Audience::Machine => {
            (policy.grouping.interval, limits::REFUSAL_PAUSE_MAX)
        }
    };
    let first = first.max(limits::BACKOFF_MIN);
    first.saturating_mul(1 << count.saturating_sub(1).min(16)).min(longest.max(first))
}
