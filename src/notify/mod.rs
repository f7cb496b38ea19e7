//! How notifications reach people and systems: one contract for all receivers.
//!
//! A kind of notifier is one file and one line of [`NOTIFIERS`]. What all of them need is in `http`
//! (requests, and what answers mean) and `message` (what a good message says). What is sent when, and
//! when again, is not decided here but by [`crate::engine::dispatcher`].
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod alertmanager;
mod discreet;
mod email;
mod form;
mod fresh;
mod http;
mod json;
mod kafka;
mod matchers;
mod message;
mod quiet;
mod receivers;
mod route;
mod slack;
mod slack_app;
mod slack_buttons;
mod slack_words;
mod smtp;
mod smtp_lines;
mod stdout;
mod webhook;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::tz::TimeZone;

use crate::{
    engine::{
        diagnostic::{Diagnostic, code},
        dispatch::{Address, Audience, GroupBy, Grouping, Notification, Outcome},
        text::Secrets,
        yaml::{SecretRef, Section},
    },
    kafka::Connection,
    web::SecretSource,
};
use discreet::Discreet;

pub use json::alert_line;
pub use quiet::parse_inhibit_rules;
pub use receivers::{
    ReceiverConfig, ReceiverNotifier, Receivers, build, parse_receivers, plan, slack_apps,
};
pub use route::parse_route;
pub use slack_app::{SlackApp, could_reach};
pub use stdout::{Printer, print_to_stdout};

/// Every kind of notifier that this binary knows, sorted by name.
pub const NOTIFIERS: &[&dyn NotifierKind] = &[
    &alertmanager::Alertmanager,
    &email::Email,
    &kafka::Kafka,
    &slack::Slack,
    &stdout::Stdout,
    &webhook::Webhook,
];

/// A future that a notifier hands out.
pub type NotifyFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One configured way to tell somebody.
///
/// Contract, held by `tests/it/contract_notify.rs` for every kind: one call is one attempt; it never
/// sleeps to retry, has its own deadline ([`Terms::attempt_max`]), puts no secret into an outcome's
/// detail, and sends the notification's id so that the receiver can deduplicate. It says no more than
/// the notification's form asks for, and tells nobody but its recipient.
pub trait Notifier: Send + Sync {
    /// Where it sends. Whoever sends elsewhere is told everything anew, so a token that stands apart from it is no
    /// part of it, nor are recipients.
    fn address(&self) -> Address;
    /// One attempt.
    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a>;
}

/// A kind of notifier: a line of [`NOTIFIERS`] and a file.
pub trait NotifierKind: Sync {
    /// Its key in a receiver's configuration.
    fn name(&self) -> &'static str;
    /// One sentence for help and README.
    fn summary(&self) -> &'static str;
    /// A configuration that works as it stands, as YAML of the section below the kind's key.
    fn example(&self) -> &'static str;
    /// Reads the section, but for `send_resolved`, which all kinds share. Reports every mistake in it;
    /// returns `None` if it cannot stand for anything. Pure: nothing is opened, no secret is read.
    /// Unknown keys are the caller's to report.
    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>>;
}

/// A section that was read and is correct in itself.
pub trait NotifierConfig: Send + Sync {
    /// How it wants to be told things.
    fn terms(&self) -> Terms;
    /// The secrets that [`NotifierConfig::make`] will ask for, so that `check` can try them, and that
    /// are cut from what the receiver says.
    fn secrets(&self) -> Vec<SecretRef>;
    /// Further files that decide how it is built: certificates that it opens itself.
    fn files(&self) -> Vec<String> {
        Vec::new()
    }
    /// The app of Slack that hears what people click in its messages, if it is to have buttons.
    fn slack_app(&self) -> Option<SlackApp> {
        None
    }
    /// The Kafka topic that it writes, and how the cluster is reached, if it does.
    fn topic(&self) -> Option<(&Connection, &str)> {
        None
    }
    /// Makes the notifier, again whenever its secrets or files have changed. Others call
    /// [`NotifierConfig::build`].
    ///
    /// # Errors
    /// What is wrong, for people: a secret that cannot be read, a certificate that is none.
    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>>;
    /// Builds the notifier: one that tells no secret, whatever its receiver repeats.
    ///
    /// # Errors
    /// Those of [`NotifierConfig::make`].
    fn build(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let notifier = self.make(context)?;
        let known = self.secrets();
        let secrets = Secrets::of(known.iter().filter_map(|one| (context.secret)(one).ok()));
        Ok(Arc::new(Discreet { notifier, secrets }))
    }
}

/// How a notifier wants to be told things.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Who reads it.
    pub audience: Audience,
    /// Grouping that suits it when a route says nothing.
    pub grouping: Grouping,
    /// Least time between two notifications.
    pub spacing: Duration,
    /// Who takes notifications each for himself; empty if the notifier is one. Shown in metrics and
    /// logs, so without secrets. Each once.
    pub recipients: Vec<String>,
    /// How long one attempt may take; it is cut off then.
    pub attempt_max: Duration,
}

/// How long an attempt may take if its kind says no more: 60 seconds.
const ATTEMPT_MAX: Duration = Duration::from_secs(60);

impl Terms {
    /// For people: Alertmanager's defaults, one conversation for each rule.
    fn people(audience: Audience) -> Terms {
        let grouping = Grouping {
            by: GroupBy::Labels(vec!["alertname".to_owned()]),
            wait: Duration::from_secs(30),
            interval: Duration::from_secs(300),
            repeat: Duration::from_secs(4 * 3_600),
        };
        Terms::new(audience, grouping)
    }

    fn new(audience: Audience, grouping: Grouping) -> Terms {
        let (spacing, recipients) = (Duration::ZERO, Vec::new());
        Terms { audience, grouping, spacing, recipients, attempt_max: ATTEMPT_MAX }
    }

    /// For machines: every change at once, growing evidence every 10 seconds, no repetition.
    fn machine() -> Terms {
        let grouping = Grouping {
            by: GroupBy::Labels(Vec::new()),
            wait: Duration::ZERO,
            interval: Duration::from_secs(10),
            repeat: Duration::ZERO,
        };
        Terms::new(Audience::Machine, grouping)
    }
}

/// What building a notifier needs from the shell.
pub struct BuildContext {
    /// Reads a secret, or another small file that the configuration names.
    pub secret: SecretSource,
    /// Base URL under which people reach this Tripline; for links in messages.
    pub external_url: Option<String>,
    /// Where `stdout` prints.
    pub printer: Printer,
}

impl BuildContext {
    /// Reads what a key refers to.
    fn read(&self, secret: &SecretRef, key: &str) -> Result<String, Box<Diagnostic>> {
        read(&self.secret, secret, key)
    }
}

/// Reads what a key refers to.
fn read(secrets: &SecretSource, secret: &SecretRef, key: &str) -> Result<String, Box<Diagnostic>> {
    secrets(secret).map_err(|why| cannot_build(key, &why))
}

/// Reads `time_zone`; UTC if there is none.
fn parse_zone(section: &Section<'_>) -> TimeZone {
    let Some(name) = section.string("time_zone") else { return TimeZone::UTC };
    TimeZone::get(&name).unwrap_or_else(|_| {
        let title = format!("{}: there is no time zone `{name}`", section.path_of("time_zone"));
        section.invalid("time_zone", title, "write a name such as `Europe/Berlin` or `UTC`");
        TimeZone::UTC
    })
}

/// Something that only shows when a notifier is built (code `C020`).
fn cannot_build(key: &str, why: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error_nowhere(code::RECEIVER_IMPOSSIBLE, format!("{key}: {why}")))
}
