//! The form of a silence in Slack: what it would hide, why, and for how long.

use serde_json::{Value, json};

use super::{
    super::console::silences::{SPAN_DEFAULT, SPANS},
    payload::{Carried, REASON, SILENCE, SPAN},
};
use crate::engine::{
    act::{Episode, Preview},
    text::{cut, one_line},
};

/// Characters of the text above the fields; Slack's limit is 3,000.
const TEXT_CHARACTERS_MAX: usize = 2_900;

/// Characters of a reason.
const REASON_CHARACTERS_MAX: usize = 1_000;

fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

fn choice(span: &str) -> Value {
    json!({"text": plain(span), "value": span})
}

/// The form for an alert.
pub(super) fn silence(
    episode: &Episode,
    matchers: &[String],
    preview: &Preview,
    carried: &Carried,
) -> Value {
    let matchers: Vec<String> = matchers.iter().map(|matcher| one_line(matcher, 300)).collect();
    let about = format!(
        "{}\n\nNobody is told of alerts with\n{}\n\nIt would hide {} of {} alerts that fire, and {} of the last 24 hours.",
        one_line(&episode.title, 300),
        cut(&matchers.join("\n"), TEXT_CHARACTERS_MAX - 600),
        preview.firing_count,
        preview.all_firing_count,
        preview.day_count,
    );
    let reason = json!({
        "type": "plain_text_input",
        "action_id": REASON,
        "multiline": true,
        "min_length": 1,
        "max_length": REASON_CHARACTERS_MAX,
    });
    let span = json!({
        "type": "static_select",
        "action_id": SPAN,
        "initial_option": choice(SPAN_DEFAULT),
        "options": SPANS.map(choice),
    });
    json!({
        "type": "modal",
        "callback_id": SILENCE,
        "private_metadata": serde_json::to_string(carried).expect("it is two texts"),
        "title": plain("Silence"),
        "submit": plain("Silence"),
        "close": plain("Cancel"),
        "blocks": [
            {"type": "section", "text": plain(&cut(&about, TEXT_CHARACTERS_MAX))},
            {"type": "input", "block_id": REASON, "label": plain("Reason"), "element": reason},
            {"type": "input", "block_id": SPAN, "label": plain("For"), "element": span},
        ],
    })
}

/// The same form again, with what is wrong with one of its fields.
pub(super) fn wrong(field: &str, what: &str) -> Value {
    json!({"response_action": "errors", "errors": { field: what }})
}
