//! Bodies of requests that are acts.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use axum::{Json, extract::rejection::JsonRejection, http::StatusCode};
use serde::Deserialize;

use super::{Act, DeedKind, Fingerprint, Person, Problem, What};
use crate::engine::{
    act::{ActId, AlertName, NewSilence, Refused, SilenceEnd, Verdict},
    dispatch::Matcher,
    duration::parse_duration,
    time::{EventTime, WallTime},
};

/// Characters of an `id`: 128.
const ID_CHARS_MAX: usize = 128;

fn bad(message: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", message, hint)
}

pub(super) fn no_fingerprint(text: &str) -> Problem {
    let shown: String = text.chars().take(64).collect();
    bad(format!("`{shown}` is no fingerprint"), "a fingerprint has 32 hexadecimal digits")
}

/// The body of a request, or what is wrong with it.
pub(super) fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(body)| body).map_err(|error| {
        bad(error.body_text(), "send a JSON object, with Content-Type: application/json")
    })
}

/// `POST /api/v1/alerts/acts`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    act: String,
    alerts: Vec<Name>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    verdict: Option<String>,
    #[serde(default)]
    text: String,
}

/// A fingerprint, or one episode of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Alert(String),
    Episode { fingerprint: String, starts_at: String },
}

impl Name {
    fn read(&self) -> Result<AlertName, Problem> {
        let fingerprint =
            |text: &str| text.parse::<Fingerprint>().map_err(|()| no_fingerprint(text));
        match self {
            Name::Alert(text) => Ok(AlertName { fingerprint: fingerprint(text)?, starts_at: None }),
            Name::Episode { fingerprint: text, starts_at } => {
                let time = EventTime::parse(starts_at).ok_or_else(|| no_time("starts_at"))?;
                Ok(AlertName { fingerprint: fingerprint(text)?, starts_at: Some(time) })
            }
        }
    }
}

fn no_time(name: &str) -> Problem {
    bad(format!("`{name}` is no time"), "write it as 2026-11-29T22:00:00Z")
}

impl Body {
    pub(super) fn act(self, person: impl Fn(Option<&str>) -> Person) -> Result<Act, Problem> {
        let by = person(named(self.by.as_deref())?);
        let names: Result<Vec<AlertName>, Problem> = self.alerts.iter().map(Name::read).collect();
        let deed = deed(&self.act, self.to, self.verdict.as_deref())?;
        let needs_text = matches!(deed, DeedKind::Comment | DeedKind::Resolve);
        if needs_text && self.text.trim().is_empty() {
            return Err(bad("`text` is empty", "say what you have to say, or why"));
        }
        let id = id(&by, self.id.as_deref())?;
        Ok(Act { id, by, what: What::Alerts { alerts: names?, deed, text: self.text } })
    }
}

/// What is done, by its word.
fn deed(word: &str, to: Option<String>, verdict: Option<&str>) -> Result<DeedKind, Problem> {
    let deed = match word {
        "acknowledge" => DeedKind::Acknowledge,
        "assign" => {
            let to = to.clone().ok_or_else(|| bad("`to` is missing", "say whose it is to be"))?;
            DeedKind::Assign { to }
        }
        "verdict" => {
            let words = Verdict::ALL.map(Verdict::as_str).join(", ");
            let verdict = verdict.and_then(Verdict::parse);
            let verdict = verdict.ok_or_else(|| {
                bad("`verdict` is missing or no verdict", format!("there are: {words}"))
            })?;
            DeedKind::Verdict { verdict }
        }
        "comment" => DeedKind::Comment,
        "resolve" => DeedKind::Resolve,
        _ => {
            let hint = "there are: acknowledge, assign, verdict, comment, resolve";
            return Err(bad("there is no such act", hint));
        }
    };
    let is_surplus = (to.is_some() && word != "assign") || (verdict.is_some() && word != "verdict");
    if is_surplus {
        return Err(bad(
            format!("`to` or `verdict` says nothing for {word}"),
            "leave it out, or send another act",
        ));
    }
    Ok(deed)
}

/// Who somebody says they are.
fn named(by: Option<&str>) -> Result<Option<&str>, Problem> {
    let is_whole = by.is_none_or(|by| Person::whole_name(by).is_some());
    if is_whole { Ok(by) } else { Err(Refused::TextTooLong.into()) }
}

/// The identity of an act. Without one that was chosen it is another each time.
fn id(by: &Person, chosen: Option<&str>) -> Result<ActId, Problem> {
    match chosen {
        Some(chosen) if chosen.is_empty() || chosen.chars().count() > ID_CHARS_MAX => {
            Err(bad("`id` is empty or too long", "at most 128 characters; a random UUID is good"))
        }
        Some(chosen) => Ok(ActId::of(&by.name, chosen)),
        None => Ok(fresh_id(&by.name)),
    }
}

/// Random enough to be nobody's else: keys of the standard library's maps are.
pub(super) fn fresh_id(name: &str) -> ActId {
    let number = || RandomState::new().build_hasher().finish();
    ActId::of(name, &format!("{:x} {:x} {:?}", number(), number(), super::now()))
}

/// What somebody says who ends an alert.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveBody {
    by: String,
    why: String,
}

impl ResolveBody {
    pub(super) fn act(
        self,
        fingerprint: &str,
        person: impl Fn(Option<&str>) -> Person,
    ) -> Result<Act, Problem> {
        let parsed = fingerprint.parse::<Fingerprint>();
        let fingerprint = parsed.map_err(|()| no_fingerprint(fingerprint))?;
        if self.by.trim().is_empty() || self.why.trim().is_empty() {
            return Err(bad(
                "`by` or `why` is empty",
                "say who and why: {\"by\": \"…\", \"why\": \"…\"}",
            ));
        }
        let by = person(named(Some(&self.by))?);
        let alerts = vec![AlertName { fingerprint, starts_at: None }];
        let id = fresh_id(&by.name);
        Ok(Act { id, by, what: What::Alerts { alerts, deed: DeedKind::Resolve, text: self.why } })
    }
}

/// `POST /api/v1/silences`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSilenceBody {
    matchers: Vec<String>,
    reason: String,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    ends_at: Option<String>,
    /// How long, in place of `ends_at`.
    #[serde(default, rename = "for")]
    span: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    by: Option<String>,
}

impl NewSilenceBody {
    pub(super) fn act(self, person: impl Fn(Option<&str>) -> Person) -> Result<Act, Problem> {
        let by = person(named(self.by.as_deref())?);
        if self.reason.trim().is_empty() {
            return Err(bad("`reason` is empty", "say why, for whoever asks in a week"));
        }
        let time = |name: &str, text: &Option<String>| match text {
            None => Ok::<Option<WallTime>, Problem>(None),
            Some(text) => {
                let time = EventTime::parse(text).ok_or_else(|| no_time(name))?;
                Ok(Some(time.as_wall()))
            }
        };
        let starts_at = time("starts_at", &self.starts_at)?;
        let ends = match (time("ends_at", &self.ends_at)?, self.span.as_deref()) {
            (Some(ends_at), None) => SilenceEnd::At(ends_at),
            (None, Some(span)) => {
                let span = parse_duration(span)
                    .ok_or_else(|| bad("`for` is no duration", "write 30m, 2h or 3d"))?;
                SilenceEnd::After(span)
            }
            _ => return Err(bad("say either `ends_at` or `for`", "`\"for\": \"2h\"`")),
        };
        let matchers = matchers(&self.matchers)?;
        let id = id(&by, self.id.as_deref())?;
        let silence = NewSilence { matchers, reason: self.reason, starts_at, ends };
        Ok(Act { id, by, what: What::AddSilence(silence) })
    }
}

/// `POST /api/v1/silences/preview`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewBody {
    pub(super) matchers: Vec<String>,
}

/// `POST /api/v1/silences/ID/end`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndBody {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    why: String,
}

impl EndBody {
    pub(super) fn act(
        self,
        silence: &str,
        person: impl Fn(Option<&str>) -> Person,
    ) -> Result<Act, Problem> {
        let silence = silence
            .parse()
            .map_err(|()| bad("that is no id of a silence", "it has 32 hexadecimal digits"))?;
        let by = person(named(self.by.as_deref())?);
        let id = id(&by, self.id.as_deref())?;
        Ok(Act { id, by, what: What::EndSilence { id: silence, why: self.why } })
    }
}

/// Matchers as Alertmanager writes them.
pub(in crate::server) fn matchers(texts: &[String]) -> Result<Vec<Matcher>, Problem> {
    let read = |text: &String| {
        Matcher::parse(text)
            .map_err(|error| bad(error.to_string(), "write `label=\"value\"`, or `!=`, `=~`, `!~`"))
    };
    texts.iter().map(read).collect()
}
