//! `/act`: what people do about alerts, one or many at once: acknowledge, assign, judge, comment, end.
//!
//! A `GET` shows what is about to be done and changes nothing; the form on it does it. What was written is in
//! the form again if it could not be done.

use askama::Template;
use axum::{
    Extension,
    body::Bytes,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Redirect, Response},
};

use super::{
    super::{acts::carry_out, caller::Caller},
    asked::{Asked, When},
    form::{Sent, back, fresh_id, person, said},
    frame::{Frame, refuse, show},
    link::Link,
    list::verdict_words,
    view::View,
};
use crate::{
    ask::{Mistake, Parameter},
    engine::{
        act::{Act, ActId, AlertName, Deed, DeedKind, OnAlert, Verdict, What},
        text::one_line,
    },
};

/// Alerts that a form names one by one: 20. The others are counted.
const NAMED: usize = 20;

/// What can be done, with what it means.
const ACTS: [(&str, &str, &str); 5] = [
    FIRST,
    ("assign", "Assign", "It is somebody's."),
    ("verdict", "Verdict", "What it turned out to be. Precision of rules is counted from it."),
    ("comment", "Comment", "Something that others should know."),
    ("resolve", "Resolve", "It ends now, whatever its rule says; what follows begins anew."),
];

const FIRST: (&str, &str, &str) =
    ("acknowledge", "Acknowledge", "It is yours, and is not repeated until its severity rises.");

const PARAMETERS: &[Parameter] = &[
    Parameter::text("act", "What is to be done."),
    Parameter::text("alert", "With which alert: its fingerprint, or FINGERPRINT@START."),
    Parameter::text("back", "The page to go back to."),
];

/// An alert that is meant.
struct Meant {
    title: String,
    severity: &'static str,
    link: Link,
    is_firing: bool,
    /// What others did, the last of it.
    deeds: Vec<String>,
}

#[derive(Template)]
#[template(path = "console/act.html", config = "src/html/askama.toml")]
struct ActPage {
    frame: Frame,
    act: &'static str,
    words: &'static str,
    others: Vec<(&'static str, Link)>,
    alerts: Vec<Meant>,
    more: usize,
    /// The same, as the form says it.
    names: Vec<String>,
    problem: Option<(String, String)>,
    text: String,
    to: String,
    verdicts: Vec<(&'static str, &'static str, bool)>,
    needs_text: bool,
    id: String,
    token: String,
    back: String,
}

/// An alert, and what was done with it meanwhile.
type Line = (String, Link, Vec<(When, String)>);

/// What somebody did before this act, between the form and its sending.
#[derive(Template)]
#[template(path = "console/acted.html", config = "src/html/askama.toml")]
struct ActedPage {
    frame: Frame,
    lines: Vec<Line>,
    unknown: usize,
    back: String,
}

/// `GET /act`
pub(in crate::server) async fn form(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/alerts", mistake),
    };
    let sent = Sent::of(&asked.pairs);
    if sent.text("act") == "silence" {
        return super::silences::form_for(&context, &caller, asked, &names_of(&sent));
    }
    let act = sent.text("act");
    if !act.is_empty() && ACTS.iter().all(|(word, _, _)| *word != act) {
        let known = ACTS.map(|(word, _, _)| word).join(", ");
        let message = format!("there is no act `{}`", one_line(act, 60));
        return refuse(
            &context,
            "/alerts",
            Mistake::bad(message, format!("there are: {known}, silence")),
        );
    }
    show(&ActPage::new(&context, &caller, asked, &sent, None))
}

/// `POST /act`
pub(in crate::server) async fn send(
    context: View,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let sent = Sent::read(&body);
    let asked = Asked::nothing("/act");
    let act = match read(&caller, &sent) {
        Ok(act) => act,
        Err((what, hint)) => {
            let problem = Some((what.to_owned(), hint.to_owned()));
            let page = show(&ActPage::new(&context, &caller, asked, &sent, problem));
            return (StatusCode::BAD_REQUEST, page).into_response();
        }
    };
    match carry_out(&context, act).await {
        Ok(acted) => {
            let since = sent.text("made").parse().unwrap_or(i64::MAX);
            let news = |on: &&OnAlert| {
                let before = on.episode.deeds.iter().take(on.before);
                before.rev().any(|deed| deed.at.micros() > since)
            };
            let lines: Vec<_> = acted
                .alerts
                .iter()
                .filter(news)
                .map(|on| {
                    let key = on.episode.key;
                    let link = asked.alert_link(&key.fingerprint.to_string(), key.starts_at);
                    let deeds = on.episode.deeds.iter().take(on.before);
                    let deeds = deeds.filter(|deed| deed.at.micros() > since);
                    let deeds = deeds
                        .map(|deed| (asked.when(deed.at.as_event()), words_of(deed)))
                        .collect();
                    (on.episode.title.clone(), link, deeds)
                })
                .collect();
            let back = back(sent.text("back"));
            if lines.is_empty() && acted.unknown.is_empty() {
                return Redirect::to(back).into_response();
            }
            let frame = Frame::new(&context, asked, "/alerts", "Done");
            let (unknown, back) = (acted.unknown.len(), back.to_owned());
            show(&ActedPage { frame, lines, unknown, back })
        }
        Err(problem) => {
            let said = Some(said(&problem));
            let sent = sent.after(&problem);
            let page = show(&ActPage::new(&context, &caller, asked, &sent, said));
            (problem.status, page).into_response()
        }
    }
}

/// A deed in words.
pub(in crate::server) fn words_of(deed: &Deed) -> String {
    let what = match &deed.kind {
        DeedKind::Acknowledge => "acknowledged it".to_owned(),
        DeedKind::Assign { to } if to.is_empty() => "assigned it to nobody".to_owned(),
        DeedKind::Assign { to } => format!("assigned it to {to}"),
        DeedKind::Verdict { verdict } => format!("judged it: {}", verdict_words(*verdict)),
        DeedKind::Comment => "said".to_owned(),
        DeedKind::Resolve => "ended it".to_owned(),
    };
    let text = if deed.text.is_empty() { String::new() } else { format!(": {}", deed.text) };
    format!("{} {what}{text}", deed.by.name)
}

/// The alerts that a form names.
fn names_of(sent: &Sent) -> Vec<AlertName> {
    sent.all("alert").filter_map(|text| text.parse().ok()).collect()
}

/// What is to be done, or what is missing.
fn read(caller: &Caller, sent: &Sent) -> Result<Act, (&'static str, &'static str)> {
    let alerts = names_of(sent);
    if alerts.is_empty() {
        return Err(("No alert is chosen.", "Go back and choose some."));
    }
    let text = sent.text("text").to_owned();
    let deed = match sent.text("act") {
        "acknowledge" => DeedKind::Acknowledge,
        "assign" => DeedKind::Assign { to: sent.text("to").to_owned() },
        "verdict" => match Verdict::parse(sent.text("verdict")) {
            Some(verdict) => DeedKind::Verdict { verdict },
            None => return Err(("No verdict is chosen.", "Choose one of the three.")),
        },
        "comment" => DeedKind::Comment,
        "resolve" => DeedKind::Resolve,
        _ => return Err(("There is no such act.", "Choose one of those below.")),
    };
    if matches!(deed, DeedKind::Comment | DeedKind::Resolve) && text.is_empty() {
        return Err(("The text is empty.", "Say what you have to say, or why."));
    }
    let by = person(caller);
    let id = match sent.text("id") {
        "" => return Err(("The form is not one of ours.", "Send the form below.")),
        id => ActId::of(&by.name, id),
    };
    Ok(Act { id, by, what: What::Alerts { alerts, deed, text } })
}

impl ActPage {
    fn new(
        context: &View,
        caller: &Caller,
        asked: Asked,
        sent: &Sent,
        problem: Option<(String, String)>,
    ) -> ActPage {
        let names: Vec<String> = sent.all("alert").map(str::to_owned).collect();
        let wanted = names_of(sent);
        let chosen = sent.text("act");
        let (act, title, words) =
            ACTS.iter().find(|(word, _, _)| *word == chosen).copied().unwrap_or(FIRST);
        let alerts: Vec<Meant> =
            wanted.iter().take(NAMED).filter_map(|name| meant(context, &asked, *name)).collect();
        let other = |(word, title, _): &(&'static str, &'static str, &'static str)| {
            let mut link = Link::to("/act").with("act", word);
            for name in &names {
                link = link.with("alert", name);
            }
            (*title, link.with("back", sent.text("back")))
        };
        ActPage {
            act,
            words,
            others: ACTS.iter().filter(|(word, _, _)| *word != act).map(other).collect(),
            more: wanted.len().saturating_sub(NAMED),
            alerts,
            problem: problem.or_else(|| {
                wanted.is_empty().then(|| {
                    ("No alert is chosen.".to_owned(), "Go back and choose some.".to_owned())
                })
            }),
            text: sent.text("text").to_owned(),
            to: match sent.text("to") {
                "" => caller.name.clone(),
                to => to.to_owned(),
            },
            verdicts: [
                (
                    Verdict::TruePositive,
                    "somebody did what the rule looks for, and should not have",
                ),
                (Verdict::Benign, "somebody did it, and was allowed to"),
                (Verdict::FalsePositive, "nobody did what the rule looks for"),
            ]
            .into_iter()
            .map(|(verdict, about)| {
                (verdict.as_str(), about, verdict.as_str() == sent.text("verdict"))
            })
            .collect(),
            needs_text: matches!(act, "comment" | "resolve"),
            id: match sent.text("id") {
                "" => fresh_id(),
                id => id.to_owned(),
            },
            token: caller.form_token().to_owned(),
            back: back(sent.text("back")).to_owned(),
            names,
            frame: Frame::new(context, asked, "/alerts", title),
        }
    }

    /// When the form was made, for telling what others did meanwhile.
    fn made(&self) -> i64 {
        self.frame.asked.now.micros()
    }
}

fn meant(context: &View, asked: &Asked, name: AlertName) -> Option<Meant> {
    let episode = context.status.episode(name)?;
    let key = episode.key;
    Some(Meant {
        title: episode.title.clone(),
        severity: episode.severity.as_str(),
        link: asked.alert_link(&key.fingerprint.to_string(), key.starts_at),
        is_firing: episode.is_firing(),
        deeds: episode.deeds.iter().rev().take(3).map(|deed| words_of(deed)).collect(),
    })
}
