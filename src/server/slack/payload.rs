//! What Slack says of a click: the form field `payload`, JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::{
    act::{AlertName, DeedKind, Verdict},
    text::one_line,
};

/// `callback_id` of the form of a silence.
pub(super) const SILENCE: &str = "tripline_silence";

/// Blocks of that form, and the elements in them.
pub(super) const REASON: &str = "reason";
pub(super) const SPAN: &str = "for";

/// What somebody did in Slack.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Payload {
    /// Clicked.
    BlockActions(Clicked),
    /// Sent a form.
    ViewSubmission(Submitted),
    /// Something that none of ours asks for.
    #[serde(other)]
    Other,
}

/// A click on a button, or a choice from a menu.
#[derive(Debug, Deserialize)]
pub(super) struct Clicked {
    pub(super) user: User,
    #[serde(default)]
    pub(super) trigger_id: String,
    #[serde(default)]
    pub(super) response_url: String,
    actions: Vec<Given>,
}

/// Who.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    name: String,
}

impl User {
    /// As Slack calls them: their id, and a name if it says one.
    pub(super) fn shown(&self) -> String {
        let name = if self.username.is_empty() { &self.name } else { &self.username };
        one_line(&format!("{} ({name})", self.id), 100).replace(" ()", "")
    }
}

/// A form that was sent.
#[derive(Debug, Deserialize)]
pub(super) struct Submitted {
    pub(super) user: User,
    view: View,
}

#[derive(Debug, Deserialize)]
struct View {
    callback_id: String,
    private_metadata: String,
    state: State,
}

#[derive(Debug, Deserialize)]
struct State {
    values: BTreeMap<String, BTreeMap<String, Given>>,
}

/// What a button stands for, was chosen, or written.
#[derive(Debug, Deserialize)]
struct Given {
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    selected_option: Option<Chosen>,
}

#[derive(Debug, Deserialize)]
struct Chosen {
    value: String,
}

/// What goes along with the form of a silence, to and fro.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Carried {
    /// Which alert it is about.
    pub(super) alert: String,
    /// Where the answer goes.
    pub(super) response_url: String,
}

/// What is wanted of an alert.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Something at once. Who is assigned is whoever asks.
    Deed(DeedKind),
    /// The form of a silence.
    Silence,
}

impl Payload {
    /// From the body of a request.
    pub(super) fn read(body: &[u8]) -> Result<Payload, String> {
        let mut fields = form_urlencoded::parse(body);
        let (_, text) = fields
            .find(|(name, _)| name == "payload")
            .ok_or_else(|| "the form has no field `payload`".to_owned())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }
}

impl Given {
    fn text(&self) -> &str {
        let chosen = self.selected_option.as_ref().map(|chosen| chosen.value.as_str());
        chosen.or(self.value.as_deref()).unwrap_or_default()
    }
}

impl Clicked {
    /// What is wanted of which alert, as `notify` writes it into a button: `acknowledge FINGERPRINT@START`.
    pub(super) fn wanted(&self, by: &str) -> Option<(Wanted, AlertName)> {
        let (word, alert) = self.actions.first()?.text().split_once(' ')?;
        let wanted = match word {
            "acknowledge" => Wanted::Deed(DeedKind::Acknowledge),
            "assign" => Wanted::Deed(DeedKind::Assign { to: by.to_owned() }),
            "silence" => Wanted::Silence,
            _ => Wanted::Deed(DeedKind::Verdict { verdict: Verdict::parse(word)? }),
        };
        Some((wanted, alert.parse().ok()?))
    }
}

impl Submitted {
    /// What went along with the form of a silence.
    pub(super) fn carried(&self) -> Option<(Carried, AlertName)> {
        if self.view.callback_id != SILENCE {
            return None;
        }
        let carried: Carried = serde_json::from_str(&self.view.private_metadata).ok()?;
        let alert = carried.alert.parse().ok()?;
        Some((carried, alert))
    }

    /// What was written into a block of it, without blanks around.
    pub(super) fn field(&self, name: &str) -> &str {
        let block = self.view.state.values.get(name);
        block.and_then(|block| block.get(name)).map_or("", |given| given.text().trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str) -> Result<Payload, String> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", payload)
            .finish();
        Payload::read(body.as_bytes())
    }

    const ALERT: &str = "00112233445566778899aabbccddeeff@2026-01-05T22:14:01.000000Z";

    fn clicked(action: &str) -> Option<(Wanted, AlertName)> {
        let payload = format!(
            r#"{{"type":"block_actions","user":{{"id":"U1","username":"ann.b","name":"ann.b","team_id":"T1"}},"trigger_id":"t",
                "response_url":"https://hooks.slack.com/actions/T1/2/3","actions":[{action}],"message":{{"ts":"1.2"}}}}"#
        );
        match read(&payload).unwrap() {
            Payload::BlockActions(clicked) => clicked.wanted("ann"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clicks_are_read() {
        let button = |word: &str| {
            clicked(&format!(r#"{{"type":"button","action_id":"a","value":"{word} {ALERT}"}}"#))
        };
        let alert: AlertName = ALERT.parse().unwrap();
        for (word, expected) in [
            ("acknowledge", Some(Wanted::Deed(DeedKind::Acknowledge))),
            ("assign", Some(Wanted::Deed(DeedKind::Assign { to: "ann".to_owned() }))),
            ("silence", Some(Wanted::Silence)),
            ("benign", Some(Wanted::Deed(DeedKind::Verdict { verdict: Verdict::Benign }))),
            ("resolve", None),
        ] {
            assert_eq!(button(word), expected.map(|wanted| (wanted, alert)), "{word}");
        }
        let chosen = format!(
            r#"{{"type":"overflow","selected_option":{{"text":{{}},"value":"acknowledge {ALERT}"}}}}"#
        );
        assert!(clicked(&chosen).is_some());
        for bad in ["", r#"{"value":"acknowledge"}"#, r#"{"value":"acknowledge x@y"}"#, "{}"] {
            assert_eq!(clicked(bad), None, "{bad}");
        }
    }

    #[test]
    fn forms_are_read() {
        let payload = format!(
            r#"{{"type":"view_submission","user":{{"id":"U1","name":"ann.b"}},"view":{{
                "callback_id":"tripline_silence","private_metadata":"{{\"alert\":\"{ALERT}\",\"response_url\":\"u\"}}",
                "state":{{"values":{{"reason":{{"reason":{{"type":"plain_text_input","value":" a test "}}}},
                                     "for":{{"for":{{"type":"static_select","selected_option":{{"value":"2h"}}}}}}}}}}}}}}"#
        );
        let Payload::ViewSubmission(submitted) = read(&payload).unwrap() else { panic!() };
        assert_eq!((submitted.field("reason"), submitted.field("for")), ("a test", "2h"));
        assert_eq!((submitted.field("other"), submitted.user.shown().as_str()), ("", "U1 (ann.b)"));
        let (carried, alert) = submitted.carried().unwrap();
        assert_eq!((carried.response_url.as_str(), alert), ("u", ALERT.parse().unwrap()));
    }

    #[test]
    fn what_is_nothing_of_ours_is_told_apart_from_what_cannot_be_read() {
        assert!(matches!(read(r#"{"type":"shortcut","user":{"id":"U1"}}"#), Ok(Payload::Other)));
        for bad in ["", "{", "[]", r#"{"type":"block_actions"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Payload::read(b"text=x").unwrap_err().contains("payload"));
    }
}
