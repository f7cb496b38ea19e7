//! `/alerts/FINGERPRINT/START/events/HASH`: one event of an alert, fetched again by where it was read, and what
//! held of the rule that was in force then. Whoever looks is recorded.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::Path,
    http::{Uri, header},
    response::{IntoResponse as _, Response},
};
use tokio::task::JoinError;

use super::{
    super::{caller::Caller, events::Fetched},
    alert::{episode_of, nowhere, then},
    asked::{Asked, When},
    frame::{Frame, missing, refuse, seen, show},
    ledger::Trouble,
    link::Link,
    view::View,
};
use crate::{
    ask::{Parameter, ParameterKind},
    engine::{
        alert::Alert,
        decode::Again,
        detect::{ExplainedLine, explain_record},
        event::redact_record,
        event_ref::EventRef,
        ledger::{hex_of, parse_hex},
        rule::RuleSet,
        text::{cut, indented_json, thousands},
    },
};

/// Characters of the event that the page shows: 60,000. The whole of it is a click away.
const EVENT_CHARS: usize = 60_000;

const PARAMETERS: &[Parameter] = &[Parameter::of(
    ParameterKind::OneOf(&["page", "json"]),
    "as",
    "As a page, or the event alone as JSON.",
)];

/// Why an event is not shown of which it could not be said what of it is a secret.
const NOT_REDACTED: &str = "The event was found, and is not shown: leaving out its secrets broke down over it. That is \
                            a mistake of Tripline's, whose log has it; what the alert says of it is unaffected.";

/// What the rule makes of the event.
struct Explained {
    lines: Vec<ExplainedLine>,
    holds: bool,
    /// Which rules these were.
    words: String,
}

#[derive(Template)]
#[template(path = "console/event.html", config = "src/html/askama.toml")]
struct EventPage {
    frame: Frame,
    title: String,
    alert: Link,
    rule: Link,
    rule_name: String,
    when: When,
    fields: Vec<(String, String)>,
    position: String,
    audit_id: String,
    hash: String,
    /// What came of looking for it, for people: what is so, and what that means.
    found: (&'static str, String, &'static str),
    /// Its lines.
    event: Option<Vec<String>>,
    bytes: String,
    /// Why it is not shown although it was found.
    unshown: &'static str,
    is_cut: bool,
    whole: Link,
    explained: Option<Explained>,
    /// Why there is nothing to explain.
    unexplained: String,
    troubles: Vec<Trouble>,
}

/// One event.
pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    Path((fingerprint, start, hash)): Path<(String, String, String)>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/alerts", mistake),
    };
    let (Some((fingerprint, start)), Some(hash)) =
        (episode_of(&fingerprint, &start), parse_hex(&hash))
    else {
        return nowhere(&context);
    };
    let told = then::load(&context, (fingerprint, start)).await;
    let Some(alert) = told.found.alert() else { return nowhere(&context) };
    let shown = told.found.alerts.iter().flat_map(|alert| &alert.evidence);
    let mut shown = shown.filter_map(|one| Some((one, one.event.as_deref()?)));
    let Some((evidence, event)) = shown.find(|(_, event)| event.event_hash.get() == hash) else {
        let hint = "Its evidence may have changed since. The alert shows what it has now.";
        return missing(&context, "/alerts", "the alert shows no such event", hint);
    };
    // Nobody sees it without an entry.
    if let Err(answer) = seen(&context, &caller, &asked, 1) {
        return *answer;
    }
    let fetched = context.events.fetch(event.clone(), &context.metrics).await;
    let json = match &fetched {
        Fetched::Looked(Again::Found(json)) => Some(json.clone()),
        _ => None,
    };
    let rules =
        told.found.rules.clone().map_err(|why| (why, Arc::clone(&context.status.read().rules)));
    let id = alert.rule_id.clone();
    let bytes = json.as_ref().map_or(0, String::len);
    let to_explain = json.clone();
    let bare = tokio::task::spawn_blocking(move || {
        let redacted = redact_record(json?.as_bytes());
        Some(String::from_utf8_lossy(&redacted).into_owned())
    });
    let (bare, unshown) = match bare.await {
        Ok(bare) => (bare, ""),
        Err(_) => (None, NOT_REDACTED),
    };
    let explained = match to_explain {
        Some(json) => said(tokio::task::spawn_blocking(move || explain(&rules, &id, &json)).await),
        None => {
            Err("Without the event nobody can say which part of the rule held for it.".to_owned())
        }
    };
    if asked.get("as") == Some("json")
        && let Some(bare) = bare
    {
        let name = format!("attachment; filename=\"event-{}.json\"", hex_of(&hash));
        let kind = "application/json".to_owned();
        return ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], bare)
            .into_response();
    }
    let whole = bare.as_deref().map(indented_json);
    let event_shown = whole.as_ref().map(|text| cut(text, EVENT_CHARS));
    let (explained, unexplained) = match explained {
        Ok(explained) => (Some(explained), String::new()),
        Err(why) => (None, why),
    };
    let link = asked.alert_link(&alert.fingerprint.to_string(), start);
    let page = EventPage {
        title: alert.rule_title.clone(),
        rule: link.clone().below("rule"),
        alert: link,
        rule_name: alert.name().to_owned(),
        when: asked.when(evidence.time),
        fields: evidence.fields.clone(),
        position: event.position.to_string(),
        audit_id: event.audit_id.to_string(),
        hash: hex_of(&hash),
        found: words_of(&fetched, event),
        is_cut: event_shown != whole,
        event: event_shown.map(|text| text.lines().map(str::to_owned).collect()),
        bytes: thousands(bytes as u64),
        whole: asked.here().set("as", "json"),
        unshown,
        explained,
        unexplained,
        troubles: told.troubles,
        frame: Frame::new(&context, asked, "/alerts", "Event of an alert"),
    };
    show(&page)
}

/// What came of looking for it: class, words, and what that means.
fn words_of(fetched: &Fetched, event: &EventRef) -> (&'static str, String, &'static str) {
    let topic = &event.position;
    match fetched {
        Fetched::Looked(Again::Found(_)) => (
            "",
            format!(
                "It is at {topic}, byte for byte as it was read: its SHA-256 is the one of the alert."
            ),
            "Secrets that are recognised, and all that Secrets and ConfigMaps hold, are left out below.",
        ),
        Fetched::Looked(Again::Changed) => (
            "bad",
            format!(
                "What is at {topic} now is another event: its SHA-256 is not the one of the alert."
            ),
            "The topic was made anew or written over, or somebody changed it. What the alert and the ledger \
             say stays as it was.",
        ),
        Fetched::Looked(Again::PastRetention) => (
            "warn",
            format!("It is past retention: {topic} is no longer there."),
            "The source deleted it by age or size. `tripline evidence collect` keeps events of alerts that \
             matter, as long as they are there.",
        ),
        Fetched::Looked(Again::Unreadable(why)) => (
            "warn",
            format!("It cannot be had now: {why}."),
            "The source may be away: Sources says how it is. Try again later.",
        ),
        Fetched::Slow => (
            "warn",
            "Where it is has not answered for 8 s.".to_owned(),
            "The source may be away: Sources says how it is. Try again later.",
        ),
        Fetched::Busy => (
            "warn",
            "Others look at events just now.".to_owned(),
            "Load the page again in a moment.",
        ),
        Fetched::Nowhere => (
            "warn",
            "This process has nowhere to fetch events from.".to_owned(),
            "`tripline run` fetches them from the sources of its configuration.",
        ),
    }
}

/// The rules, and whether they are those that are in force; or why they are not had, and those that are in force.
type RulesOf = Result<(Arc<RuleSet>, bool), (String, Arc<RuleSet>)>;

/// What the rule of the alert makes of an event: the rule as it was then, or, where the ledger does not have that,
/// as it is now, with why.
fn explain(rules: &RulesOf, id: &str, json: &str) -> Result<Explained, String> {
    let (rules, words) = match rules {
        Ok((rules, true)) => {
            (rules, format!("By the rules that are in force, set {}.", rules.version))
        }
        Ok((rules, false)) => (
            rules,
            format!("By the rules as they were when the alert began, set {}.", rules.version),
        ),
        Err((why, rules)) => {
            (rules, format!("By the rules that are in force now, set {}: {why}.", rules.version))
        }
    };
    let index = rules.find(id).map(|index| rules.written_for(index));
    let index = index.ok_or_else(|| {
        format!("Rule set {} has no such rule, so nothing can be said of it.", rules.version)
    })?;
    let record = explain_record(rules, &[index], json.as_bytes());
    let first = record.events.into_iter().next().and_then(|event| event.rules.into_iter().next());
    let rule = first.ok_or("It is no event that can be decoded.")?;
    Ok(Explained { lines: rule.lines(0), holds: rule.holds, words })
}

/// What was made of it, or that the explainer broke down.
fn said(made: Result<Result<Explained, String>, JoinError>) -> Result<Explained, String> {
    made.unwrap_or_else(|_| {
        Err("The explainer broke down over this event, so nobody can say here which part of the rule held for it. \
             That is a mistake of Tripline's, whose log has it; the alert and the event are unaffected."
            .to_owned())
    })
}

impl Explained {
    /// Indentation of a line.
    fn indent(line: &ExplainedLine) -> String {
        "  ".repeat(line.depth)
    }

    /// The verdict in words.
    const fn verdict(&self) -> &'static str {
        if self.holds { "The rule holds for it." } else { "The rule does not hold for it." }
    }
}

impl then::Then {
    /// The alert as it was told last.
    fn alert(&self) -> Option<&Alert> {
        self.alerts.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_explainer_that_breaks_down_is_said_to_have_done_so() {
        let broken = tokio::task::spawn_blocking(|| panic!("a mistake of ours"));
        let why = said(broken.await).err().unwrap_or_default();
        assert!(why.contains("broke down"), "{why}");
        let known = tokio::task::spawn_blocking(|| Err("no such rule".to_owned()));
        assert_eq!(said(known.await).err().as_deref(), Some("no such rule"));
    }
}
