//! What is left out of alerts that a receiver cannot take whole. For machines; messages for people leave
//! out what suits their medium.

use std::borrow::Cow;

use crate::engine::{
    alert::Alert,
    dispatch::{Form, Notification},
    text,
};

/// Characters that are left of an annotation.
const ANNOTATION_CHARACTERS_MAX: usize = 200;

/// The notification with as much of its alerts as its form leaves: all; without evidence and with short
/// annotations; without annotations.
pub(super) fn in_form(notification: &Notification) -> Cow<'_, Notification> {
    if notification.form == Form::Full {
        return Cow::Borrowed(notification);
    }
    let mut smaller = notification.clone();
    for alert in smaller.alerts.iter_mut().chain(&mut smaller.relabelled) {
        reduce(alert, notification.form);
    }
    Cow::Owned(smaller)
}

fn reduce(alert: &mut Alert, form: Form) {
    alert.evidence.clear();
    if form == Form::Plain {
        alert.annotations.clear();
        alert.tags.clear();
    }
    for value in alert.annotations.values_mut() {
        *value = text::lines(value, ANNOTATION_CHARACTERS_MAX);
    }
}
