//! `email`: one message for each notification, as text and as HTML, over SMTP.
//!
//! `tls: starttls` (port 587, the default) and `tls: implicit` (port 465) refuse to go on without
//! encryption; `tls: none` must be asked for. The `Message-ID` is made from the notification's id, so
//! that a copy that is sent again is recognised, and the messages of one group refer to one another, so
//! that they are one thread. Each recipient is told, and owed, by himself: a mailbox that does not exist,
//! or a server that hangs at one of them, takes the mail from nobody else. What comes from events never
//! reaches a header but the subject, without line breaks, and is escaped in HTML.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use jiff::tz::TimeZone;
use lettre::{
    Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{Header, HeaderName, HeaderValue},
    },
    transport::smtp::{authentication::Credentials, extension::ClientId},
};

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms, cannot_build,
    message::{AlertText, digest, headline, page_of},
    parse_zone,
    smtp::{self, Encryption, Server},
};
use crate::{
    engine::{
        alert::Alert,
        diagnostic::Diagnostic,
        digest::{Digest, hex},
        dispatch::{Address, Audience, Form, Notification, Outcome, OutcomeReason, Receipt},
        dispatcher::ANSWER,
        text,
        yaml::{Node, SecretRef, Section},
    },
    tls,
};

/// Recipients of one receiver: 50. More are an error; use a mailing list.
const RECIPIENTS_MAX: usize = 50;
/// Characters of a subject.
const SUBJECT_CHARACTERS_MAX: usize = 160;
/// Alerts that a message shows each by itself; a digest stands before them, and says of the others.
const ALERTS_SHOWN_MAX: usize = 20;
/// Alerts that a short message shows.
const ALERTS_SHOWN_SHORT: usize = 3;

/// The kind.
pub(super) struct Email;

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
    server: Server,
    zone: TimeZone,
    external_url: Option<String>,
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
        let mut to: Vec<Mailbox> = Vec::new();
        for text in section.strings("to").unwrap_or_default() {
            let Some(mailbox) = mailbox(section, "to", &text) else { continue };
            if to.iter().any(|known| known.email == mailbox.email) {
                let title = format!("`{}` is named twice", mailbox.email);
                section.invalid("to", title, "name each recipient once");
            }
            to.push(mailbox);
        }
        let to_nobody = |node: &Node| node.as_list().is_some_and(<[_]>::is_empty);
        if section.node("to").is_none_or(to_nobody) {
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
        let recipients = self.to.iter().map(|mailbox| mailbox.email.to_string()).collect();
        let attempt_max = smtp::ATTEMPT_MAX;
        Terms { recipients, attempt_max, ..Terms::people(Audience::People) }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        let password = self.login.as_ref().map(|(_, password)| password.clone());
        password.into_iter().chain(self.ca_file.clone().map(SecretRef::File)).collect()
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let mut authorities = Vec::new();
        if let Some(path) = &self.ca_file {
            let pem = context.read(&SecretRef::File(path.clone()), "ca_file")?;
            let read = tls::certificates(pem.as_bytes());
            authorities = read.map_err(|why| cannot_build("ca_file", &why))?;
        }
        let tls = tls::client(authorities).map_err(|why| cannot_build("ca_file", &why))?;
        let login = match &self.login {
            Some((username, password)) => {
                let password = context.read(password, "password")?;
                Some(Credentials::new(username.clone(), password))
            }
            None => None,
        };
        let server = Server {
            host: self.host.clone(),
            port: self.port,
            encryption: self.encryption,
            tls: Arc::new(tls),
            hello: self.hello.clone().map_or_else(ClientId::default, ClientId::Domain),
            login,
        };
        Ok(Arc::new(EmailNotifier {
            to: self.to.clone(),
            from: self.from.clone(),
            server,
            zone: self.zone.clone(),
            external_url: context.external_url.clone(),
        }))
    }
}

impl Notifier for EmailNotifier {
    fn address(&self) -> Address {
        // Each mailbox is one of its own, whatever server takes the mail.
        Address::of(["email"])
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let unsendable = |detail: String| {
                let reason = OutcomeReason::Unsendable;
                Outcome::Rejected { reason, detail }
            };
            let is_meant = |mailbox: &&Mailbox| {
                notification.recipient.as_deref() == Some(mailbox.email.as_ref())
            };
            let Some(to) = self.to.iter().find(is_meant) else {
                return unsendable("there is no such recipient".to_owned());
            };
            let mail = match self.message(notification) {
                Ok(message) => message.formatted(),
                Err(detail) => return unsendable(detail),
            };
            match self.server.deliver(&self.from.email, &to.email, &mail).await {
                Ok(words) => {
                    let values = BTreeMap::from([(ANSWER.to_owned(), words)]);
                    Outcome::Delivered { receipt: Some(Receipt { values }) }
                }
                Err(outcome) => outcome,
            }
        })
    }
}

impl EmailNotifier {
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
        let plain = SinglePart::plain(said.plain());
        let message = if notification.form == Form::Plain {
            builder.singlepart(plain)
        } else {
            let html = SinglePart::html(said.render().expect("a mail is written to memory"));
            builder.multipart(MultiPart::alternative().singlepart(plain).singlepart(html))
        };
        message.map_err(|error| format!("the message cannot be made: {error}"))
    }

    /// An alert in as many words as a form leaves.
    fn words(&self, alert: &Alert, form: Form) -> AlertText {
        let mut words = AlertText::new(alert, &self.zone);
        words.page = self.external_url.as_deref().map(|url| page_of(url, alert));
        if form != Form::Full {
            words.evidence.clear();
        }
        if form == Form::Plain {
            words.facts.clear();
        }
        words
    }

    /// What a mail says, for both of its forms.
    fn said<'a>(&'a self, notification: &'a Notification) -> Said<'a> {
        let is_storm = notification.alerts.len() > 1 || notification.truncated_count > 0;
        let shown = notification.alerts.iter().take(shown_max(notification.form));
        Said {
            headline: headline(notification),
            digest: if is_storm { digest(notification) } else { Vec::new() },
            alerts: shown.map(|alert| self.words(alert, notification.form)).collect(),
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
            if let Some(url) = &alert.page {
                out += &format!("More: {url}\n");
            }
        }
        if let Some(url) = self.external_url {
            out += &format!("\n{url}/\n");
        }
        out
    }
}

/// Alerts that a message in a form shows each by itself.
const fn shown_max(form: Form) -> usize {
    match form {
        Form::Full => ALERTS_SHOWN_MAX,
        Form::Short | Form::Plain => ALERTS_SHOWN_SHORT,
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
