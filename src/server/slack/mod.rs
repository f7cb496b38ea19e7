//! `POST /slack/interactions`: buttons in Slack's messages.
//!
//! What Slack signed is taken once. Who clicked must be in `http.auth.slack` and may act; what they do goes
//! the way of all acts. Slack wants to hear within three seconds that a click came, and an act may wait longer
//! for the disk: so it hears that at once, and whoever clicked reads what came of it when it is durable, in a
//! message that they alone see.

mod modal;
mod payload;
mod signature;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    ServerContext,
    acts::{carry_out, read_matchers},
    caller::{Caller, Right},
    console::{act::words_of, silences::matchers_of_labels},
    guard::Guard,
    problem::Problem,
    status::now,
};
use crate::{
    engine::{
        act::{
            Act, ActId, Acted, AlertName, NewSilence, Person, Refused, SilenceEnd, What, preview,
        },
        duration::parse_duration,
        ledger::hex_of,
        yaml::SecretRef,
    },
    telemetry::{Quiet, Refusal},
    web::{Peer, SecretSource, bare},
};
use payload::{Carried, Clicked, Payload, REASON, SPAN, Submitted, User, Wanted};
use signature::{Seen, Signature, Signed, Untrusted};

/// The path, for entries.
const PATH: &str = "/slack/interactions";

/// Clicks that are carried out at once: 32. Whoever clicks then is told to do it again, and counted as `busy`.
const CLICKS_MAX: usize = 32;

/// What others did before, of which an answer tells: 3.
const BEFORE_MAX: usize = 3;

/// What Slack is asked for.
#[derive(Clone, Debug)]
pub enum SlackCall {
    /// To show a form to whoever clicked.
    Open {
        /// What Slack gave for it with the click; good for three seconds.
        trigger: String,
        /// The form.
        view: Value,
    },
    /// To tell whoever clicked what came of it, and nobody else.
    Answer {
        /// Where, as Slack said with the click.
        url: String,
        /// Plain text.
        text: String,
    },
}

/// What came of a call; why it did not work is for people, without secrets.
pub type SlackAnswer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Calls Slack as an app.
pub type CallSlack = Arc<dyn Fn(SlackCall) -> SlackAnswer + Send + Sync>;

/// An app of Slack whose buttons are in messages.
pub struct SlackApp {
    /// What Slack signs clicks with.
    pub signing_secret: SecretRef,
    /// Calls Slack.
    pub call: CallSlack,
}

/// The apps of Slack that are known. Cheap to clone.
#[derive(Clone)]
pub struct Slack(Arc<Inner>);

struct Inner {
    apps: Vec<KnownApp>,
    read: SecretSource,
    seen: Mutex<Seen>,
    room: Arc<Semaphore>,
    quiet: Quiet,
}

struct KnownApp {
    app: SlackApp,
    /// The secret as it could be read last.
    secret: Mutex<Option<String>>,
}

impl Slack {
    /// These apps; secrets are read whenever they are needed, so that a new one is seen.
    pub fn new(apps: Vec<SlackApp>, read: SecretSource) -> Slack {
        let known = |app| KnownApp { app, secret: Mutex::default() };
        Slack(Arc::new(Inner {
            apps: apps.into_iter().map(known).collect(),
            read,
            seen: Mutex::default(),
            room: Arc::new(Semaphore::new(CLICKS_MAX)),
            quiet: Quiet::new(),
        }))
    }

    /// None: nobody's signature is right.
    pub fn none() -> Slack {
        Slack::new(Vec::new(), Arc::new(|_| Err("there is none".to_owned())))
    }

    /// The app that a request is for, and its signature, if Slack sent it just now and for the first time.
    fn verified(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(CallSlack, Signature), Untrusted> {
        let now = now();
        let signed = Signed::read(headers, now)?;
        let is_by = |known: &&KnownApp| {
            self.secret(known).is_some_and(|secret| signed.is_by(&secret, body))
        };
        let known = self.0.apps.iter().find(is_by).ok_or(Untrusted::Wrong)?;
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take(&signed, now)?;
        Ok((Arc::clone(&known.app.call), signed.signature))
    }

    /// The secret as it is now; if it cannot be read, as it was before.
    fn secret(&self, known: &KnownApp) -> Option<String> {
        let mut last = known.secret.lock().unwrap_or_else(PoisonError::into_inner);
        let found = (self.0.read)(&known.app.signing_secret);
        match found.as_deref().map_err(Clone::clone).and_then(bare) {
            Ok(secret) => *last = Some(secret.to_owned()),
            Err(why) => {
                if self.0.quiet.happened("secret", Instant::now()).is_some() {
                    tracing::error!(
                        "signing_secret of Slack: {why}; going on with what was there before"
                    );
                }
            }
        }
        last.clone()
    }
}

impl Untrusted {
    const fn counted_as(self) -> Refusal {
        match self {
            Untrusted::Replayed => Refusal::Replayed,
            Untrusted::TooMany => Refusal::Busy,
            Untrusted::Unsigned | Untrusted::Old | Untrusted::Wrong => Refusal::Unauthorized,
        }
    }

    fn problem(self) -> Problem {
        let (status, code, message, hint) = match self {
            Untrusted::Unsigned => (
                StatusCode::UNAUTHORIZED,
                "no_credentials",
                "there is no signature of Slack",
                "Slack sends what people click here; nobody else has to",
            ),
            Untrusted::Old => (
                StatusCode::UNAUTHORIZED,
                "no_credentials",
                "it was signed more than 5 minutes ago, or will be",
                "if Slack sent it just now, the clock of this machine is wrong",
            ),
            Untrusted::Wrong => (
                StatusCode::UNAUTHORIZED,
                "no_credentials",
                "no app that is configured signs like this",
                "`signing_secret` of the receiver is the Signing Secret of the app in Slack",
            ),
            Untrusted::Replayed => (
                StatusCode::UNAUTHORIZED,
                "no_credentials",
                "it was here before",
                "Slack sends each click once",
            ),
            Untrusted::TooMany => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", "too many clicks", "click again")
            }
        };
        Problem::new(status, code, message, hint)
    }
}

/// `POST /slack/interactions`.
pub(super) async fn receive(
    State(context): State<ServerContext>,
    Extension(guard): Extension<Arc<Guard>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (call, signature) = match context.slack.verified(&headers, &body) {
        Ok(verified) => verified,
        Err(why) => {
            guard.count(why.counted_as());
            let problem = why.problem();
            context.desk.unknown(("", &peer.address.to_string()), PATH, &problem.message);
            return problem.into_text();
        }
    };
    let payload = match Payload::read(&body) {
        Ok(payload) => payload,
        Err(why) => {
            let hint = "Slack sends `block_actions` and `view_submission` here";
            return Problem::new(StatusCode::BAD_REQUEST, "bad_request", why, hint).into_text();
        }
    };
    let (user, response_url) = match &payload {
        Payload::BlockActions(clicked) => (&clicked.user, clicked.response_url.clone()),
        Payload::ViewSubmission(submitted) => {
            if let Some(wrong) = missing(submitted) {
                return Json(wrong).into_response();
            }
            let carried = submitted.carried();
            let url = carried.map(|(carried, _)| carried.response_url).unwrap_or_default();
            (&submitted.user, url)
        }
        Payload::Other => return StatusCode::OK.into_response(),
    };
    let Ok(room) = Arc::clone(&context.slack.0.room).try_acquire_owned() else {
        guard.count(Refusal::Busy);
        return Untrusted::TooMany.problem().into_text();
    };
    let caller = who(&context, &guard, user, &peer);
    if caller.is_err() {
        guard.count(Refusal::Forbidden);
    }
    let work = Work { context, call, signature, response_url };
    tokio::spawn(async move {
        let text = match caller {
            Ok(caller) => work.carry_out(&caller, payload).await,
            Err(why) => Some(why),
        };
        if let Some(text) = text {
            work.answer(text).await;
        }
        drop(room);
    });
    StatusCode::OK.into_response()
}

/// What has to be written into a form before it can be sent.
fn missing(submitted: &Submitted) -> Option<Value> {
    if submitted.field(REASON).is_empty() {
        return Some(modal::wrong(REASON, "Say why, for whoever asks in a week."));
    }
    let span = parse_duration(submitted.field(SPAN));
    span.is_none().then(|| modal::wrong(SPAN, "Choose how long."))
}

/// Who clicked, if they may act; otherwise what they are told, and it is an entry.
fn who(
    context: &ServerContext,
    guard: &Guard,
    user: &User,
    peer: &Peer,
) -> Result<(Caller, String), String> {
    let (id, address) = (&user.id, peer.address.to_string());
    let Some(caller) = guard.door.slack_user(id, peer.address) else {
        let name = format!("Slack {}", user.shown());
        context.desk.refused((&name, &address), PATH, "this user of Slack is not known");
        return Err(format!(
            "Nothing was done: Tripline does not know you. Whoever runs it can add you to `http.auth.slack`: {{id: {id}, name: …, roles: [responder]}}."
        ));
    };
    if !caller.may(Right::Act) {
        let roles = caller.roles_text();
        let why = format!("who does this is a responder ({roles})");
        context.desk.refused((&caller.name, &address), PATH, &why);
        return Err(format!(
            "Nothing was done: who does this is a responder, and {} is {roles}. Roles are given in `http.auth.slack`.",
            caller.name
        ));
    }
    Ok((caller, format!("{address} (Slack user {id})")))
}

/// A click that is carried out.
struct Work {
    context: ServerContext,
    call: CallSlack,
    signature: Signature,
    response_url: String,
}

impl Work {
    /// Does what is wanted; what came of it, if there is something to tell.
    async fn carry_out(
        &self,
        (caller, address): &(Caller, String),
        payload: Payload,
    ) -> Option<String> {
        let by = Person::new(&caller.name, &caller.roles_text(), address);
        match payload {
            Payload::BlockActions(clicked) => match clicked.wanted(&by.name) {
                Some((Wanted::Deed(deed), alert)) => {
                    let (alerts, text) = (vec![alert], String::new());
                    Some(self.done(by, What::Alerts { alerts, deed, text }).await)
                }
                Some((Wanted::Silence, alert)) => self.open_form(&clicked, alert).await,
                None => Some(
                    "Nothing was done: this button is of another version of Tripline.".to_owned(),
                ),
            },
            Payload::ViewSubmission(submitted) => Some(match self.new_silence(&submitted) {
                Ok(silence) => self.done(by, What::AddSilence(silence)).await,
                Err(problem) => not_done(&problem),
            }),
            Payload::Other => None,
        }
    }

    /// Carries an act out, and says what came of it.
    async fn done(&self, by: Person, what: What) -> String {
        let id = ActId::of(&by.name, &hex_of(&self.signature));
        match carry_out(&self.context, Act { id, by, what }).await {
            Ok(acted) => told(&acted),
            Err(problem) => not_done(&problem),
        }
    }

    /// Shows the form of a silence. Only why it cannot be shown has to be told.
    async fn open_form(&self, clicked: &Clicked, alert: AlertName) -> Option<String> {
        let Some(episode) = self.context.status.episode(alert) else {
            return Some(not_done(&Refused::UnknownAlert.into()));
        };
        let matchers: Vec<String> = matchers_of_labels(&episode.labels).collect();
        let seen = match read_matchers(&matchers) {
            Ok(read) => preview(now(), &read, self.context.status.episodes().iter()),
            Err(problem) => return Some(not_done(&problem)),
        };
        let response_url = self.response_url.clone();
        let carried = Carried { alert: alert.to_string(), response_url };
        let view = modal::silence(&episode, &matchers, &seen, &carried);
        let trigger = clicked.trigger_id.clone();
        let opened = (self.call)(SlackCall::Open { trigger, view }).await;
        opened.err().map(|why| {
            self.failed("open", &why);
            format!("Nothing was done: Slack did not show the form ({why}). The alert's page has one, too.")
        })
    }

    fn new_silence(&self, submitted: &Submitted) -> Result<NewSilence, Problem> {
        let unknown = || Problem::from(Refused::UnknownAlert);
        let (_, alert) = submitted.carried().ok_or_else(unknown)?;
        let episode = self.context.status.episode(alert).ok_or_else(unknown)?;
        let matchers: Vec<String> = matchers_of_labels(&episode.labels).collect();
        let span = parse_duration(submitted.field(SPAN)).unwrap_or_default();
        Ok(NewSilence {
            matchers: read_matchers(&matchers)?,
            reason: submitted.field(REASON).to_owned(),
            starts_at: None,
            ends: SilenceEnd::After(span),
        })
    }

    /// Tells whoever clicked, and nobody else.
    async fn answer(&self, text: String) {
        let url = self.response_url.clone();
        if let Err(why) = (self.call)(SlackCall::Answer { url, text }).await {
            self.failed("answer", &why);
        }
    }

    /// What was clicked is done or not all the same: it is said in the log, and counted.
    fn failed(&self, what: &str, why: &str) {
        self.context.metrics.act_unanswered();
        if self.context.slack.0.quiet.happened(what, Instant::now()).is_some() {
            tracing::warn!("Slack was not told what came of a click: {why}");
        }
    }
}

fn not_done(problem: &Problem) -> String {
    format!("Not done: {}; {}.", problem.message, problem.hint)
}

/// What came of an act, and what others did first.
fn told(acted: &Acted) -> String {
    if let Some(silence) = &acted.silence {
        let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
        let (ends, count) = (silence.ends_at.rfc3339(), silence.hiding_count);
        return format!("Silenced until {ends}: {}. It hides {count} now.", matchers.join(", "));
    }
    let lines = acted.alerts.iter().map(|on| {
        let (before, done) = on.episode.deeds.split_at(on.before.min(on.episode.deeds.len()));
        let done = done.first().map(|deed| words_of(deed)).unwrap_or_default();
        let earlier = before.iter().rev().take(BEFORE_MAX).map(|deed| words_of(deed));
        let earlier: Vec<String> = earlier.collect();
        let earlier = match earlier.as_slice() {
            [] => String::new(),
            earlier => format!(" Before: {}.", earlier.join("; ")),
        };
        format!("{}: {done}.{earlier}", on.episode.title)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
