//! Buttons of Slack's messages: what people do most about an alert, by one click.
//!
//! A button's value says what is wanted of which episode: `acknowledge FINGERPRINT@START`. Slack reports a
//! click on it to `POST /slack/interactions`; `server/slack` does it.

use serde_json::{Value, json};

use super::message::name_of;
use crate::engine::{
    act::Verdict,
    alert::{Alert, AlertState},
};

fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

fn option(words: &str, act: &str, alert: &Alert) -> Value {
    json!({"text": plain(words), "value": format!("{act} {}", name_of(alert))})
}

/// What is done with one that fires.
const ACTS: [(&str, &str); 3] =
    [("acknowledge", "Acknowledge"), ("assign", "Assign to me"), ("silence", "Silence…")];

/// A row of buttons below an alert that is alone in its message: the acts while it fires, and the verdict.
pub(super) fn row(alert: &Alert) -> Value {
    let mut elements = Vec::new();
    if alert.state == AlertState::Firing {
        elements.extend(ACTS.map(|(act, words)| {
            let value = format!("{act} {}", name_of(alert));
            let id = format!("tripline_{act}");
            json!({"type": "button", "action_id": id, "text": plain(words), "value": value})
        }));
    }
    let verdicts = Verdict::ALL.iter().map(|verdict| {
        let words = match verdict {
            Verdict::TruePositive => "True positive",
            Verdict::Benign => "Benign: it was allowed",
            Verdict::FalsePositive => "False positive",
        };
        option(words, verdict.as_str(), alert)
    });
    elements.push(json!({
        "type": "static_select",
        "action_id": "tripline_verdict",
        "placeholder": plain("Verdict"),
        "options": verdicts.collect::<Vec<_>>(),
    }));
    json!({"type": "actions", "elements": elements})
}

/// A menu beside an alert that fires among others.
pub(super) fn menu(alert: &Alert) -> Option<Value> {
    let options = ACTS.map(|(act, words)| option(words, act, alert));
    (alert.state == AlertState::Firing)
        .then(|| json!({"type": "overflow", "action_id": "tripline_act", "options": options}))
}
