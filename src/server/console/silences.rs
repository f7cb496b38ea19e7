//! `/silences`: what is hidden, by whom, why, and until when; and the form that makes one, with a preview of
//! what it would hide.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    Extension,
    body::Bytes,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Redirect, Response},
};

use super::{
    super::{
        acts::carry_out,
        caller::{Caller, Right},
        problem::Problem,
    },
    asked::{Asked, When},
    form::{Sent, fresh_id, person, said},
    frame::{Frame, refuse, show},
    link::Link,
    view::View,
};
use crate::{
    ask::{Parameter, ParameterKind},
    engine::{
        act::{
            Act, ActId, AlertName, NewSilence, Silence, SilenceEnd, SilencePhase, What, preview,
        },
        dispatch::Matcher,
        duration::parse_duration,
        text::one_line,
        time::EventTime,
    },
};

/// Labels that say nothing about which alert it is.
const BROAD: [&str; 2] = ["severity", "rule_id"];

/// How long a silence is, unless somebody says otherwise.
pub(in crate::server) const SPAN_DEFAULT: &str = "2h";

/// Spans that are offered.
pub(in crate::server) const SPANS: [&str; 6] = ["30m", "2h", "8h", "24h", "3d", "7d"];

const PARAMETERS: &[Parameter] = &[
    Parameter::of(ParameterKind::OneOf(&["now", "expired", "all"]), "state", "Which ones."),
    Parameter::text("alert", "Those that hide this alert, or did: its fingerprint."),
];

/// One silence as a line.
struct SilenceLine {
    id: String,
    matchers: Vec<String>,
    phase: &'static str,
    author: String,
    reason: String,
    starts: When,
    ends: When,
    hidden: u64,
    hiding: u64,
    ended_by: Option<String>,
    list: Link,
    is_over: bool,
    form_id: String,
}

impl SilenceLine {
    fn new(asked: &Asked, silence: &Silence) -> SilenceLine {
        let is_over = silence.phase == SilencePhase::Expired;
        SilenceLine {
            id: silence.id.to_string(),
            matchers: silence.matchers.iter().map(Matcher::to_string).collect(),
            phase: silence.phase.as_str(),
            author: silence.author.name.clone(),
            reason: silence.reason.clone(),
            starts: asked.when(silence.starts_at.as_event()),
            ends: asked.when(silence.ends_at.as_event()),
            hidden: silence.hidden_count,
            hiding: silence.hiding_count,
            ended_by: silence.ended_by.as_ref().map(|(by, why)| {
                if why.is_empty() { by.name.clone() } else { format!("{}: {why}", by.name) }
            }),
            list: asked.link("/silences/new").with_all(
                &silence
                    .matchers
                    .iter()
                    .map(|matcher| ("matcher".to_owned(), matcher.to_string()))
                    .collect::<Vec<_>>(),
            ),
            is_over,
            form_id: fresh_id(),
        }
    }
}

#[derive(Template)]
#[template(path = "console/silences.html", config = "src/html/askama.toml")]
struct SilencesPage {
    frame: Frame,
    lines: Vec<SilenceLine>,
    states: Vec<(&'static str, Link, bool)>,
    may_act: bool,
    token: String,
}

/// `GET /silences`
pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let state = asked.get("state").unwrap_or("now").to_owned();
    let hidden_by = asked.get("alert").and_then(|text| text.parse().ok()).map(|fingerprint| {
        let episode = context.status.acts(fingerprint);
        episode.map(|episode| episode.hidden_by.clone()).unwrap_or_default()
    });
    let mut silences = context.status.silences();
    silences.retain(|silence| {
        let is_over = silence.phase == SilencePhase::Expired;
        hidden_by.as_ref().map_or_else(
            || state == "all" || is_over == (state == "expired"),
            |hidden_by| hidden_by.contains(&silence.id),
        )
    });
    silences.sort_by_key(|silence| {
        (silence.phase == SilencePhase::Expired, silence.ends_at, silence.id)
    });
    let words = ["now", "expired", "all"];
    let page = SilencesPage {
        lines: silences.iter().map(|silence| SilenceLine::new(&asked, silence)).collect(),
        states: words
            .into_iter()
            .map(|word| (word, asked.here_with("state", word).without("alert"), word == state))
            .collect(),
        may_act: caller.may(Right::Act),
        token: caller.form_token().to_owned(),
        frame: Frame::new(&context, asked, "/silences", "Silences"),
    };
    show(&page)
}

/// An alert that a silence would hide.
struct WouldHide {
    title: String,
    severity: &'static str,
    link: Link,
    labels: String,
    is_firing: bool,
    is_silenced: bool,
}

#[derive(Template)]
#[template(path = "console/silence.html", config = "src/html/askama.toml")]
struct SilencePage {
    frame: Frame,
    matchers: Vec<String>,
    reason: String,
    span: String,
    spans: &'static [&'static str],
    problem: Option<(String, String)>,
    is_shown: bool,
    firing: usize,
    of_all: usize,
    day: usize,
    hidden: Vec<WouldHide>,
    id: String,
    token: String,
    may_act: bool,
}

const FORM_PARAMETERS: &[Parameter] = &[
    Parameter::text("matcher", "What must match: alertname=\"x\"."),
    Parameter::text("reason", "Why."),
    Parameter::of(ParameterKind::Span, "for", "How long."),
    Parameter::text("id", "Of the form."),
    Parameter::text("token", "Of the form."),
];

/// `GET /silences/new`: the form, with what it would hide.
pub(in crate::server) async fn form(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[FORM_PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/silences", mistake),
    };
    let sent = Sent::of(&asked.pairs);
    show(&SilencePage::new(&context, &caller, asked, &sent, None))
}

/// The form for alerts that were chosen: what all of them have in common.
pub(super) fn form_for(
    context: &View,
    caller: &Caller,
    asked: Asked,
    names: &[AlertName],
) -> Response {
    let labels = names
        .iter()
        .filter_map(|name| context.status.episode(*name).map(|episode| episode.labels.clone()));
    let common = labels.reduce(|mut common, labels| {
        common.retain(|name, value| labels.get(name) == Some(value));
        common
    });
    let common: BTreeMap<String, String> = common.unwrap_or_default();
    let matchers = matchers_of_labels(&common);
    let pairs: Vec<(String, String)> =
        matchers.map(|matcher| ("matcher".to_owned(), matcher)).collect();
    let sent = Sent::of(&pairs);
    show(&SilencePage::new(context, caller, asked, &sent, None))
}

/// Matchers, as text, of what has all of these labels that say which alert it is.
pub(in crate::server) fn matchers_of_labels(
    labels: &BTreeMap<String, String>,
) -> impl Iterator<Item = String> {
    labels.iter().filter(|(name, _)| !BROAD.contains(&name.as_str())).map(|(name, value)| {
        let value = serde_json::to_string(value).unwrap_or_default();
        format!("{name}={value}")
    })
}

/// `POST /silences`: makes one.
pub(in crate::server) async fn send(
    context: View,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let mut sent = Sent::read(&body);
    let asked = Asked::nothing("/silences");
    let (status, problem) = match new_silence(&caller, &sent) {
        Err(problem) => (StatusCode::BAD_REQUEST, problem),
        Ok(act) => match carry_out(&context, act).await {
            Ok(_) => return Redirect::to("/silences").into_response(),
            Err(problem) => {
                sent = sent.after(&problem);
                (problem.status, said(&problem))
            }
        },
    };
    let page = show(&SilencePage::new(&context, &caller, asked, &sent, Some(problem)));
    (status, page).into_response()
}

/// `POST /silences/end`: ends one before its time.
pub(in crate::server) async fn end(
    context: View,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let sent = Sent::read(&body);
    let by = person(&caller);
    let Ok(id) = sent.text("silence").parse() else {
        let hint = "Choose one from the list.";
        return super::frame::missing(&context, "/silences", "there is no such silence", hint);
    };
    let act = Act {
        id: ActId::of(&by.name, sent.text("id")),
        by,
        what: What::EndSilence { id, why: sent.text("why").to_owned() },
    };
    match carry_out(&context, act).await {
        Ok(_) => Redirect::to("/silences").into_response(),
        Err(problem) => failed(&context, &problem),
    }
}

fn failed(context: &View, problem: &Problem) -> Response {
    let mistake = crate::ask::Mistake::bad(problem.message.clone(), problem.hint.clone());
    (problem.status, refuse(context, "/silences", mistake)).into_response()
}

/// The lines of the field of matchers.
fn matchers_of(sent: &Sent) -> Vec<String> {
    let lines = sent.all("matcher").flat_map(str::lines).map(str::trim);
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn read_matchers(texts: &[String]) -> Result<Vec<Matcher>, (String, String)> {
    let read = |text: &String| {
        Matcher::parse(text).map_err(|error| {
            let hint = "Write one a line: label=\"value\", or !=, =~, !~.".to_owned();
            (one_line(&error.to_string(), 300), hint)
        })
    };
    texts.iter().map(read).collect()
}

fn new_silence(caller: &Caller, sent: &Sent) -> Result<Act, (String, String)> {
    let wrong = |what: &str, hint: &str| (what.to_owned(), hint.to_owned());
    let matchers = read_matchers(&matchers_of(sent))?;
    let reason = sent.text("reason").to_owned();
    if reason.is_empty() {
        return Err(wrong("The reason is empty.", "Say why, for whoever asks in a week."));
    }
    let ends = match sent.text("until") {
        "" => parse_duration(sent.text("for")).map(SilenceEnd::After),
        text => EventTime::parse(text).map(|at| SilenceEnd::At(at.as_wall())),
    };
    let Some(ends) = ends else {
        return Err(wrong("It does not say how long.", "Write 30m, 2h or 3d."));
    };
    let by = person(caller);
    let id = ActId::of(&by.name, sent.text("id"));
    let silence = NewSilence { matchers, reason, starts_at: None, ends };
    Ok(Act { id, by, what: What::AddSilence(silence) })
}

impl SilencePage {
    fn new(
        context: &View,
        caller: &Caller,
        asked: Asked,
        sent: &Sent,
        problem: Option<(String, String)>,
    ) -> SilencePage {
        let matchers = matchers_of(sent);
        let (read, wrong) = match read_matchers(&matchers) {
            Ok(read) => (read, None),
            Err(wrong) => (Vec::new(), Some(wrong)),
        };
        let episodes = context.status.episodes();
        let seen = match read.as_slice() {
            [] => preview(asked.now, &[], [].iter()),
            read => preview(asked.now, read, episodes.iter()),
        };
        let hidden = seen.hidden.iter().map(|one| {
            let key = one.episode.key;
            let labels: Vec<String> = one
                .episode
                .labels
                .iter()
                .filter(|(name, _)| *name != "alertname" && *name != "rule_id")
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            WouldHide {
                title: one.episode.title.clone(),
                severity: one.episode.severity.as_str(),
                link: asked.alert_link(&key.fingerprint.to_string(), key.starts_at),
                labels: one_line(&labels.join(" "), 200),
                is_firing: one.episode.is_firing(),
                is_silenced: one.is_silenced,
            }
        });
        SilencePage {
            hidden: hidden.collect(),
            firing: seen.firing_count,
            of_all: seen.all_firing_count,
            day: seen.day_count,
            is_shown: !read.is_empty(),
            problem: problem.or(wrong),
            reason: sent.text("reason").to_owned(),
            span: match sent.text("for") {
                "" => SPAN_DEFAULT.to_owned(),
                span => span.to_owned(),
            },
            spans: &SPANS,
            id: match sent.text("id") {
                "" => fresh_id(),
                id => id.to_owned(),
            },
            token: caller.form_token().to_owned(),
            may_act: caller.may(Right::Act),
            matchers,
            frame: Frame::new(context, asked, "/silences", "Silence"),
        }
    }
}
