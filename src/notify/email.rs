//! `email`: one message for each notification, as text and as HTML, over SMTP.
//!
//! `tls: starttls` (port 587, the default) and `tls: implicit` (port 465) refuse to go on without
//! encryption; `tls: none` must be asked for. The `Message-ID` is made from the notification's id, so
//! that a copy that is sent again is recognised, and the messages of one group refer to one another, so
//! that they are one thread. Each recipient is told by itself: a mailbox that does not exist takes the
//! mail from nobody else. What comes from events never reaches a header but the subject, without line
//! breaks, and is escaped in HTML.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use askama::Template;
use jiff::tz::TimeZone;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    address::Envelope,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
        extension::ClientId,
    },
};

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms, cannot_build,
    message::{AlertText, digest, headline},
    parse_zone,
};
use crate::engine::{
    diagnostic::Diagnostic,
    digest::{Digest, hex},
    dispatch::{Audience, Notification, NotificationId, Outcome, OutcomeReason},
    text,
    yaml::{SecretRef, Section},
};

/// Recipients of one receiver: 50. More are an error; use a mailing list.
const RECIPIENTS_MAX: usize = 50;
/// Characters of a subject.
const SUBJECT_CHARACTERS_MAX: usize = 160;
/// Alerts that a message shows each by itself; a digest stands before them, and says of the others.
const ALERTS_SHOWN_MAX: usize = 20;
/// Notifications of which it is remembered who has them: 1,000. Then all are forgotten, and whoever is
/// owed one may see it twice, with the same Message-ID.
const UNFINISHED_MAX: usize = 1_000;
/// How long one recipient may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The kind.
pub(super) struct Email;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    StartTls,
    Implicit,
    None,
}

struct EmailConfig {
    to: Vec<Mailbox>,
    from: Mailbox,
    host: String,
    port: u16,
    encryption: Encryption,
    ca_file: Option<String>,
    login: Option<(String, SecretRef)>,
    hello: Option<String>,
    zone: TimeZone,
}

struct EmailNotifier {
    to: Vec<Mailbox>,
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    zone: TimeZone,
    external_url: Option<String>,
    /// How far notifications are that somebody is still owed.
    unfinished: Mutex<BTreeMap<NotificationId, Progress>>,
}

/// The text of a mail; the template is its form in HTML.
#[derive(Template)]
#[template(path = "mail.html", config = "src/html/askama.toml")]
struct Said<'a> {
    headline: String,
    digest: Vec<String>,
    alerts: Vec<AlertText>,
    external_url: Option<&'a str>,
}

/// What came of one notification so far, so that another attempt is made only for those who need it.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Recipients, by index, whose server took the mail or refused it for good.
    settled: BTreeSet<usize>,
    /// Somebody has it.
    is_delivered: bool,
    /// What the last server said that refused it for good.
    refused: Option<Outcome>,
}

impl NotifierKind for Email {
    fn name(&self) -> &'static str {
        "email"
    }

    fn summary(&self) -> &'static str {
        "Email over SMTP, text and HTML, one thread for each group of alerts."
    }

    fn example(&self) -> &'static str {
        "to: [oncall@example.com]\nfrom: 'Tripline <tripline@example.com>'\nsmarthost: smtp.example.com:587\n\
         username: tripline\npassword: ${SMTP_PASSWORD}\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>> {
        let to: Vec<Mailbox> = section
            .strings("to")
            .unwrap_or_default()
            .iter()
            .filter_map(|text| mailbox(section, "to", text))
            .collect();
        if !section.has("to") {
            section.missing("to", "name who gets the mail: `to: [oncall@example.com]`");
        }
        if to.len() > RECIPIENTS_MAX {
            let title = format!("{} has {} recipients", section.path_of("to"), to.len());
            section.invalid("to", title, format!("at most {RECIPIENTS_MAX}; use a mailing list"));
        }
        let from = section
            .required_string("from", "name the sender: `from: tripline@example.com`")
            .and_then(|text| mailbox(section, "from", &text));
        let encryption = section
            .one_of(
                "tls",
                &[
                    ("starttls", Encryption::StartTls),
                    ("implicit", Encryption::Implicit),
                    ("none", Encryption::None),
                ],
            )
            .unwrap_or(Encryption::StartTls);
        let smarthost = section
            .required_string("smarthost", "name the mail server: `smarthost: smtp.example.com:587`")
            .and_then(|text| host_port(section, &text, encryption));
        let username = section.string("username");
        let password = section.secret("password");
        let login = match (username, password) {
            (Some(username), Some(password)) => Some((username, password)),
            (None, None) => None,
            (Some(_), None) => {
                section.missing("password", "write `password_file: PATH` or `password_env: NAME`");
                None
            }
            (None, Some(_)) => {
                section.missing("username", "a password needs a user name");
                None
            }
        };
        if login.is_some() && encryption == Encryption::None {
            let title = format!("{} would send the password unencrypted", section.path());
            section.invalid("tls", title, "use `tls: starttls` or `tls: implicit`");
        }
        let zone = parse_zone(section);
        let (ca_file, hello) = (section.string("ca_file"), section.string("hello"));
        let (host, port) = smarthost?;
        let from = from?;
        Some(Box::new(EmailConfig {
            to,
            from,
            host,
            port,
            encryption,
            ca_file,
            login,
            hello,
            zone,
        }))
    }
}

fn mailbox(section: &Section<'_>, key: &str, text: &str) -> Option<Mailbox> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let title = format!("`{}` is not a mail address", text::one_line(text, 80));
        section.invalid(key, title, "write `name@host` or `Name <name@host>`");
    }
    parsed
}

fn host_port(section: &Section<'_>, text: &str, encryption: Encryption) -> Option<(String, u16)> {
    let default = match encryption {
        Encryption::StartTls => 587,
        Encryption::Implicit => 465,
        Encryption::None => 25,
    };
    let parsed = match text.rsplit_once(':') {
        Some((host, port)) => port.parse().ok().map(|port| (host.to_owned(), port)),
        None => Some((text.to_owned(), default)),
    };
    let parsed = parsed.filter(|(host, _)| !host.is_empty() && !host.contains(['/', ' ']));
    if parsed.is_none() {
        let title = format!("{} is not a host and port", section.path_of("smarthost"));
        section.invalid("smarthost", title, "write `smtp.example.com:587`");
    }
    parsed
}

impl NotifierConfig for EmailConfig {
    fn terms(&self) -> Terms {
        Terms::people(Audience::People)
    }

    fn secrets(&self) -> Vec<SecretRef> {
        let password = self.login.as_ref().map(|(_, password)| password.clone());
        password.into_iter().chain(self.ca_file.clone().map(SecretRef::File)).collect()
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.ca_file {
            let pem = context.read(&SecretRef::File(path.clone()), "ca_file")?;
            let certificate = Certificate::from_pem(pem.as_bytes())
                .map_err(|_| cannot_build("ca_file", "there is no certificate in it"))?;
            parameters = parameters.add_root_certificate(certificate);
        }
        let parameters =
            parameters.build().map_err(|error| cannot_build("tls", &error.to_string()))?;
        let tls = match self.encryption {
            Encryption::StartTls => Tls::Required(parameters),
            Encryption::Implicit => Tls::Wrapper(parameters),
            Encryption::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .tls(tls)
            .timeout(Some(TIMEOUT));
        if let Some(name) = &self.hello {
            builder = builder.hello_name(ClientId::Domain(name.clone()));
        }
        if let Some((username, password)) = &self.login {
            let password = context.read(password, "password")?;
            builder = builder.credentials(Credentials::new(username.clone(), password));
        }
        Ok(Arc::new(EmailNotifier {
            to: self.to.clone(),
            from: self.from.clone(),
            transport: builder.build(),
            zone: self.zone.clone(),
            external_url: context.external_url.clone(),
            unfinished: Mutex::default(),
        }))
    }
}

impl Notifier for EmailNotifier {
    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let message = match self.message(notification) {
                Ok(message) => message.formatted(),
                Err(detail) => {
                    return Outcome::Rejected { reason: OutcomeReason::Unsendable, detail };
                }
            };
            let known = self.unfinished().get(&notification.id).cloned();
            let mut progress = known.unwrap_or_default();
            let mut again = None;
            for (index, recipient) in self.to.iter().enumerate() {
                if progress.settled.contains(&index) {
                    continue;
                }
                match self.send(&recipient.email, &message).await {
                    // The server says no to this recipient, for now; others may be luckier.
                    retry @ Outcome::Retry { reason: OutcomeReason::ServerError, .. } => {
                        again = Some(retry);
                        continue;
                    }
                    retry @ Outcome::Retry { .. } => {
                        again = Some(retry);
                        break;
                    }
                    Outcome::Delivered { .. } => progress.is_delivered = true,
                    rejected @ Outcome::Rejected { .. } => {
                        tracing::error!(recipient = %recipient.email, "mail refused for good");
                        progress.refused = Some(rejected);
                    }
                }
                progress.settled.insert(index);
                // At once, not at the end: an attempt that takes too long is cut off.
                self.remember(notification.id, &progress);
            }
            if let Some(again) = again {
                return again;
            }
            self.unfinished().remove(&notification.id);
            match progress.refused {
                Some(rejected) if !progress.is_delivered => rejected,
                _ => Outcome::Delivered { receipt: None },
            }
        })
    }
}

impl EmailNotifier {
    /// The map stays usable if somebody panicked with it: it is only a memory.
    fn unfinished(&self) -> MutexGuard<'_, BTreeMap<NotificationId, Progress>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifications that a newer one replaced are never finished, so the map is bounded.
    fn remember(&self, id: NotificationId, progress: &Progress) {
        let mut unfinished = self.unfinished();
        if unfinished.len() >= UNFINISHED_MAX {
            unfinished.clear();
        }
        unfinished.insert(id, progress.clone());
    }

    fn message(&self, notification: &Notification) -> Result<Message, String> {
        let host = self.from.email.domain();
        let thread = format!("<{}@{host}>", thread_of(notification));
        let own = format!("<{}@{host}>", notification.id);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(text::one_line(&headline(notification), SUBJECT_CHARACTERS_MAX))
            .message_id(Some(own))
            .in_reply_to(thread.clone())
            .references(thread)
            .header(AutoSubmitted);
        for recipient in &self.to {
            builder = builder.to(recipient.clone());
        }
        let said = self.said(notification);
        let html = said.render().expect("a mail is written to memory");
        builder
            .multipart(
                MultiPart::alternative()
                    .singlepart(SinglePart::plain(said.plain()))
                    .singlepart(SinglePart::html(html)),
            )
            .map_err(|error| format!("the message cannot be made: {error}"))
    }

    async fn send(&self, recipient: &Address, message: &[u8]) -> Outcome {
        let envelope = match Envelope::new(Some(self.from.email.clone()), vec![recipient.clone()]) {
            Ok(envelope) => envelope,
            Err(error) => {
                let detail = error.to_string();
                return Outcome::Rejected { reason: OutcomeReason::Unsendable, detail };
            }
        };
        let Err(error) = self.transport.send_raw(&envelope, message).await else {
            return Outcome::Delivered { receipt: None };
        };
        let code = error.status().map(|code| code.to_string());
        let detail = text::one_line(&error.to_string(), 200);
        match code.as_deref() {
            Some("530" | "534" | "535" | "538") => {
                Outcome::Rejected { reason: OutcomeReason::AuthError, detail }
            }
            _ if error.is_permanent() => {
                Outcome::Rejected { reason: OutcomeReason::ClientError, detail }
            }
            _ if error.is_transient() => {
                Outcome::Retry { reason: OutcomeReason::ServerError, detail, after: None }
            }
            _ if error.is_timeout() => {
                Outcome::Retry { reason: OutcomeReason::Timeout, detail, after: None }
            }
            _ => Outcome::Retry { reason: OutcomeReason::Connection, detail, after: None },
        }
    }

    /// What a mail says, for both of its forms.
    fn said<'a>(&'a self, notification: &'a Notification) -> Said<'a> {
        let is_storm = notification.alerts.len() > 1 || notification.truncated_count > 0;
        let shown = notification.alerts.iter().take(ALERTS_SHOWN_MAX);
        Said {
            headline: headline(notification),
            digest: if is_storm { digest(notification) } else { Vec::new() },
            alerts: shown.map(|alert| AlertText::new(alert, &self.zone)).collect(),
            external_url: self.external_url.as_deref(),
        }
    }
}

impl Said<'_> {
    fn plain(&self) -> String {
        let mut out = format!("{}\n", self.headline);
        if !self.digest.is_empty() {
            out += &format!("\n{}\n", self.digest.join("\n"));
        }
        for alert in &self.alerts {
            out += &format!("\n== {} ({})\n", alert.title, alert.state.as_str());
            if let Some(summary) = &alert.summary {
                out += &format!("{summary}\n");
            }
            for (name, value) in &alert.facts {
                out += &format!("{name}: {value}\n");
            }
            if !alert.evidence.is_empty() {
                out += &format!("Evidence:\n  {}\n", alert.evidence.join("\n  "));
            }
            if let Some(url) = &alert.runbook {
                out += &format!("Runbook: {url}\n");
            }
        }
        if let Some(url) = self.external_url {
            out += &format!("\n{url}/\n");
        }
        out
    }
}

/// One name for all messages of a group.
fn thread_of(notification: &Notification) -> String {
    let group = format!("{}\n{}", notification.receiver, notification.group_key);
    hex(&Digest::default().bytes(group).first::<16>())
}

/// `Auto-Submitted: auto-generated` (RFC 3834): no out-of-office reply comes back.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(AutoSubmitted::name(), "auto-generated".to_owned())
    }
}
