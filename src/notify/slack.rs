//! `slack`: Block Kit messages by incoming webhook, or by bot token with updates and threads.
//!
//! An incoming webhook can only post. With a bot token the first message of a group is edited as its
//! alerts change, and each change is also said in its thread, but for what people do about them; channel and `ts` are kept durably as the
//! group's receipt. If the configuration names another channel by now, the message cannot be changed
//! any more, or its thread does not take what is new, it is said anew. Slack takes about one message a second for a channel, and says with 429 how
//! long to wait; what its words for errors mean stands in `slack_words`. Whatever comes from events is escaped: `<!channel>` in a user agent pings nobody.
//!
//! Messages have buttons (`slack_buttons`) where a click can be heard: with a bot token, whose app has a
//! `signing_secret`, and an `http.external_url` that is not of this machine alone. Elsewhere they have links.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms, cannot_build,
    http::{self, Answer, HttpClient, HttpConfig, UrlConfig},
    message::{AlertText, digest, form_of, headline, page_of},
    parse_zone,
    slack_app::{SlackApp, could_reach},
    slack_buttons,
    slack_words::{Meaning, meaning},
};
use crate::engine::{
    alert::{Alert, AlertState},
    diagnostic::{Diagnostic, code},
    dispatch::{
        Address, Audience, Form, Notification, NotifyReason, Outcome, OutcomeReason, Receipt,
    },
    rule::Severity,
    text,
    yaml::{SecretRef, Section},
};

/// Characters of a section's text; Slack's limit is 3,000.
const SECTION_CHARACTERS_MAX: usize = 2_900;
/// Characters of a header; Slack's limit is 150.
const HEADER_CHARACTERS_MAX: usize = 145;
/// Characters of a message in all; Slack refuses messages from about 11,000 on.
const MESSAGE_CHARACTERS_MAX: usize = 9_000;
/// Alerts that a message shows each by itself; more become a digest.
const ALERTS_SHOWN_MAX: usize = 5;
/// Alerts that a short message shows.
const ALERTS_SHOWN_SHORT: usize = 2;
/// Alerts that a plain message names.
const ALERTS_NAMED_MAX: usize = 10;
/// Requests of one attempt: change the message, say in its thread what is new, and say it anew.
const REQUESTS_MAX: u32 = 3;

/// The kind.
pub(super) struct Slack;

struct SlackConfig {
    way: WayConfig,
    http: HttpConfig,
    zone: TimeZone,
}

enum WayConfig {
    Webhook(UrlConfig),
    Bot { token: SecretRef, channel: String, api_url: String, signing_secret: Option<SecretRef> },
}

struct SlackNotifier {
    way: Way,
    client: HttpClient,
    zone: TimeZone,
    links: Links,
}

/// What a message leads to.
struct Links {
    external_url: Option<String>,
    /// Somebody hears what is clicked.
    has_buttons: bool,
}

enum Way {
    Webhook(reqwest::Url),
    Bot { token: String, channel: String, post: reqwest::Url, update: reqwest::Url },
}

impl NotifierKind for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn summary(&self) -> &'static str {
        "Slack messages, by incoming webhook or bot token (which can edit and thread)."
    }

    fn example(&self) -> &'static str {
        "bot_token: ${SLACK_BOT_TOKEN}\nchannel: '#security'\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>> {
        let url = UrlConfig::parse(section, "url");
        let token = section.secret("bot_token");
        let channel = section.string("channel");
        let api_url = section.string("api_url");
        let signing_secret = section.secret("signing_secret");
        let http = HttpConfig::parse(section);
        let zone = parse_zone(section);
        let way = match (url, token) {
            (Some(_), Some(_)) => {
                let title = format!("{} has both url and bot_token", section.path());
                let problem = Diagnostic::error(code::SETTING_TWICE, section.place(), title);
                section.report(problem.help("keep one; a bot token can edit its messages"));
                return None;
            }
            (Some(url), None) => {
                let of_apps = [
                    ("channel", channel.is_some(), "it goes to the channel that it was made for"),
                    ("api_url", api_url.is_some(), "its `url` says where it is"),
                    ("signing_secret", signing_secret.is_some(), "it has no buttons"),
                ];
                for (key, _, why) in of_apps.into_iter().filter(|(_, is_there, _)| *is_there) {
                    let title = format!("{} of an incoming webhook", section.path_of(key));
                    let help = format!("{why}; write `bot_token` and `channel` in place of `url`");
                    section.invalid(key, title, help);
                }
                WayConfig::Webhook(url)
            }
            (None, Some(token)) => {
                let Some(channel) = channel.filter(|channel| !channel.trim().is_empty()) else {
                    section
                        .missing("channel", "a bot token needs a channel: `channel: '#security'`");
                    return None;
                };
                let api_url = api_url.unwrap_or_else(|| "https://slack.com/api".to_owned());
                if reqwest::Url::parse(&api_url).is_err() {
                    section.invalid(
                        "api_url",
                        "api_url is not a URL",
                        "leave it out for Slack itself",
                    );
                    return None;
                }
                WayConfig::Bot { token, channel, api_url, signing_secret }
            }
            (None, None) => {
                section.missing(
                    "url",
                    "write `url_file: PATH` of an incoming webhook, or `bot_token`",
                );
                return None;
            }
        };
        Some(Box::new(SlackConfig { way, http, zone }))
    }
}

impl NotifierConfig for SlackConfig {
    fn terms(&self) -> Terms {
        let audience = match self.way {
            WayConfig::Webhook(_) => Audience::People,
            WayConfig::Bot { .. } => Audience::Editable,
        };
        Terms {
            spacing: Duration::from_secs(1),
            attempt_max: self.http.timeout() * REQUESTS_MAX + Duration::from_secs(5),
            ..Terms::people(audience)
        }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        let mut secrets = self.http.secrets();
        match &self.way {
            WayConfig::Webhook(url) => secrets.push(url.secret()),
            WayConfig::Bot { token, signing_secret, .. } => {
                secrets.push(token.clone());
                secrets.extend(signing_secret.clone());
            }
        }
        secrets
    }

    fn slack_app(&self) -> Option<SlackApp> {
        let WayConfig::Bot { token, api_url, signing_secret, .. } = &self.way else { return None };
        Some(SlackApp {
            signing_secret: signing_secret.clone()?,
            token: token.clone(),
            api_url: api_url.clone(),
            http: self.http.clone(),
        })
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let way = match &self.way {
            WayConfig::Webhook(url) => Way::Webhook(url.build(context)?),
            WayConfig::Bot { token, channel, api_url, .. } => {
                let method = |name: &str| {
                    reqwest::Url::parse(&format!("{}/{name}", api_url.trim_end_matches('/')))
                        .map_err(|_| cannot_build("api_url", "it is not a URL"))
                };
                Way::Bot {
                    token: context.read(token, "bot_token")?,
                    channel: channel.clone(),
                    post: method("chat.postMessage")?,
                    update: method("chat.update")?,
                }
            }
        };
        Ok(Arc::new(SlackNotifier {
            way,
            client: self.http.build(&context.secret)?,
            zone: self.zone.clone(),
            links: Links {
                has_buttons: self.slack_app().is_some()
                    && context.external_url.as_deref().is_some_and(could_reach),
                external_url: context.external_url.clone(),
            },
        }))
    }
}

impl Notifier for SlackNotifier {
    fn address(&self) -> Address {
        match &self.way {
            Way::Webhook(url) => http::address_of(url),
            Way::Bot { channel, post, .. } => Address::of([post.as_str(), channel]),
        }
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let message = message(notification, &self.zone, &self.links);
            match &self.way {
                Way::Webhook(url) => {
                    let body = serde_json::to_vec(&message).expect("a message is plain text");
                    match http::send(self.client.post_json(url, body)).await {
                        Ok(answer) => of_webhook(&answer),
                        Err(outcome) => outcome,
                    }
                }
                Way::Bot { token, channel, post, update } => {
                    let bot = Bot { client: &self.client, token, channel, post, update };
                    bot.tell(notification, message).await
                }
            }
        })
    }
}

struct Bot<'a> {
    client: &'a HttpClient,
    token: &'a str,
    channel: &'a str,
    post: &'a reqwest::Url,
    update: &'a reqwest::Url,
}

/// Why a method of the Web API did nothing.
struct Refusal {
    /// The message, or its channel, cannot be changed any more.
    is_gone: bool,
    /// What follows if the message was new.
    outcome: Outcome,
}

impl Refusal {
    fn other(outcome: Outcome) -> Refusal {
        Refusal { is_gone: false, outcome }
    }
}

/// What a word means for a message that was new.
fn outcome_of(word: &str, meaning: Option<Meaning>, retry_after: Option<Duration>) -> Outcome {
    let detail = format!("Slack says {}", text::one_line(word, 80));
    let reason = meaning.map_or(OutcomeReason::ClientError, Meaning::reason);
    match meaning {
        Some(Meaning::Busy) => Outcome::Retry { reason, detail, after: retry_after },
        Some(Meaning::Trouble) => Outcome::Retry { reason, detail, after: None },
        _ => Outcome::Rejected { reason, detail },
    }
}

/// An incoming webhook says with its status whether it took a message, and in words why not. Whoever speaks for Slack may
/// say so in other words than `ok`; what says no, or is a page, took nothing, whatever its status is.
fn of_webhook(answer: &Answer) -> Outcome {
    let outcome = answer.outcome();
    let words = String::from_utf8_lossy(&answer.body);
    let words = words.trim();
    if matches!(outcome, Outcome::Delivered { .. }) {
        let said: Value = serde_json::from_str(words).unwrap_or_default();
        let says_no =
            ["ok", "success"].iter().any(|key| said.get(key) == Some(&Value::Bool(false)));
        if says_no {
            let word = said.get("error").and_then(Value::as_str).unwrap_or("no");
            return outcome_of(word, meaning(word), answer.retry_after);
        }
        if words.starts_with('<') {
            let detail = format!("a page answers, not Slack: {}", text::one_line(words, 80));
            return Outcome::Rejected { reason: OutcomeReason::ClientError, detail };
        }
        return outcome;
    }
    match (&outcome, meaning(words)) {
        (Outcome::Rejected { .. }, meaning @ Some(_)) => {
            outcome_of(words, meaning, answer.retry_after)
        }
        _ => outcome,
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON object by name makes the entry, or gives null"
)]
impl Bot<'_> {
    async fn tell(&self, notification: &Notification, mut message: Value) -> Outcome {
        let known = notification.receipt.as_ref().and_then(|receipt| self.known(receipt));
        if notification.reason == NotifyReason::Handled {
            return self.bring_up_to_date(known, message).await;
        }
        if let Some((channel, ts)) = known {
            message["channel"] = json!(channel);
            message["ts"] = json!(ts);
            match self.call(self.update, &message).await {
                // A change of a message tells nobody: the reply does.
                Ok(_) => match self.reply(notification, channel, ts).await {
                    // Its thread takes nothing, or not this: what is said anew below may be taken.
                    Outcome::Rejected { reason, .. } if reason != OutcomeReason::AuthError => {}
                    told => return told,
                },
                // Nobody would see the news in a message that is not there: it begins anew below.
                Err(Refusal { is_gone: true, .. }) => {}
                Err(Refusal { outcome, .. }) => return outcome,
            }
        }
        if let Some(fields) = message.as_object_mut() {
            fields.remove("ts");
        }
        message["channel"] = json!(self.channel);
        if notification.form != Form::Plain {
            message["metadata"] = json!({
                "event_type": "tripline_alert",
                "event_payload": {
                    "notification_id": notification.id.to_string(),
                    "group": notification.group_key,
                },
            });
        }
        match self.call(self.post, &message).await {
            Ok(answer) => Outcome::Delivered { receipt: self.receipt(&answer) },
            Err(refusal) => refusal.outcome,
        }
    }

    /// Shows in a message that is there what people did, and says nothing anew: if it is gone, nobody has to know.
    async fn bring_up_to_date(
        &self,
        known: Option<(String, String)>,
        mut message: Value,
    ) -> Outcome {
        if let Some((channel, ts)) = known {
            message["channel"] = json!(channel);
            message["ts"] = json!(ts);
            match self.call(self.update, &message).await {
                Ok(_) | Err(Refusal { is_gone: true, .. }) => {}
                Err(Refusal { outcome, .. }) => return outcome,
            }
        }
        Outcome::Delivered { receipt: None }
    }

    /// Channel and `ts` of the group's message, if it is where the configuration wants it. Receipts of
    /// old do not say which channel was configured then; an id tells, a name does not.
    fn known(&self, receipt: &Receipt) -> Option<(String, String)> {
        let value = |name: &str| receipt.values.get(name).cloned();
        let (channel, ts) = (value("channel")?, value("ts")?);
        let is_id = self.channel.starts_with(['C', 'D', 'G']);
        let is_here = match value("configured") {
            Some(configured) => configured == self.channel,
            None => !is_id || channel == self.channel,
        };
        is_here.then_some((channel, ts))
    }

    fn receipt(&self, answer: &Value) -> Option<Receipt> {
        let value = |name: &str| Some((name.to_owned(), answer[name].as_str()?.to_owned()));
        let configured = ("configured".to_owned(), self.channel.to_owned());
        Some(Receipt { values: [value("channel")?, value("ts")?, configured].into() })
    }

    /// Says in the thread of a message that was changed what is new.
    async fn reply(&self, notification: &Notification, channel: String, ts: String) -> Outcome {
        let line = escape(&headline(notification), SECTION_CHARACTERS_MAX);
        let reply = json!({"channel": channel, "thread_ts": ts, "text": line});
        match self.call(self.post, &reply).await {
            Ok(_) => {
                Outcome::Delivered { receipt: self.receipt(&json!({"channel": channel, "ts": ts})) }
            }
            Err(refusal) => refusal.outcome,
        }
    }

    /// Calls a method of the Web API, which answers 200 with `ok: false` for most mistakes.
    async fn call(&self, url: &reqwest::Url, body: &Value) -> Result<Value, Refusal> {
        let body = serde_json::to_vec(body).expect("a message is plain text");
        let request = self.client.post_json(url, body).bearer_auth(self.token);
        let answer: Answer = http::ask(request).await.map_err(Refusal::other)?;
        if !answer.status.is_success() {
            return Err(Refusal::other(answer.outcome()));
        }
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if value["ok"] == json!(true) {
            return Ok(value);
        }
        let error = value["error"].as_str().unwrap_or("no error named");
        let meaning = meaning(error);
        Err(Refusal {
            is_gone: meaning == Some(Meaning::Gone),
            outcome: outcome_of(error, meaning, answer.retry_after),
        })
    }
}

/// The message: fallback text and blocks, within all of Slack's limits; or the text alone.
fn message(notification: &Notification, zone: &TimeZone, links: &Links) -> Value {
    let shown_max = match notification.form {
        Form::Full => ALERTS_SHOWN_MAX,
        Form::Short => ALERTS_SHOWN_SHORT,
        // Blocks that a message had before go away.
        Form::Plain => return json!({"text": plain(notification, zone), "blocks": []}),
    };
    let headline = headline(notification);
    // Plain text is not interpreted, and entities would count towards the limit: look-alikes do.
    let title =
        text::one_line(&headline, HEADER_CHARACTERS_MAX).replace('<', "‹").replace('>', "›");
    let mut blocks = vec![json!({
        "type": "header",
        "text": {
            "type": "plain_text",
            "text": title,
            "emoji": false,
        },
    })];
    let mut room = MESSAGE_CHARACTERS_MAX;
    let mut shown = 0;
    for alert in notification.alerts.iter().take(shown_max) {
        let section = section_of(alert, zone, notification.form);
        let length = section.chars().count();
        if length > room {
            break;
        }
        room -= length;
        shown += 1;
        let mut block = mrkdwn(&section);
        if let Some(fields) = block.as_object_mut()
            && links.has_buttons
            && notification.alerts.len() > 1
        {
            fields.extend(slack_buttons::menu(alert).map(|menu| ("accessory".to_owned(), menu)));
        }
        blocks.push(block);
    }
    if shown < notification.alerts.len() || notification.truncated_count > 0 {
        let lines: Vec<String> =
            digest(notification).iter().map(|line| escape(line, 400)).collect();
        blocks.push(json!({"type": "divider"}));
        blocks.push(mrkdwn(&text::cut(&lines.join("\n"), SECTION_CHARACTERS_MAX)));
    }
    if let Some(url) = &links.external_url {
        let text = match notification.alerts.as_slice() {
            [alert] => links_of(url, alert, links.has_buttons).join(" · "),
            _ => format!("<{url}/alerts|Open the alerts>"),
        };
        let element = json!({"type": "mrkdwn", "text": text});
        blocks.push(json!({"type": "context", "elements": [element]}));
    }
    if let [alert] = notification.alerts.as_slice()
        && links.has_buttons
    {
        blocks.push(slack_buttons::row(alert));
    }
    json!({"text": escape(&headline, SECTION_CHARACTERS_MAX), "blocks": blocks})
}

/// The pages of an alert that a reader may want: itself, and while it fires the forms of the two acts that cannot wait,
/// if there are no buttons for them. A link opens a form that does nothing until somebody who may act sends it. Slack
/// would report a click on a button to the app that made it, and mark it with a warning if nobody answers there.
fn links_of(url: &str, alert: &Alert, has_buttons: bool) -> Vec<String> {
    let mut links = vec![format!("<{}|Open the alert>", page_of(url, alert))];
    if alert.state == AlertState::Firing && !has_buttons {
        for (act, word) in [("acknowledge", "Acknowledge"), ("silence", "Silence")] {
            links.push(format!("<{}|{word}>", form_of(url, act, alert).replace('&', "&amp;")));
        }
    }
    links
}

fn mrkdwn(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

/// What is known of the first alerts, without any markup.
fn plain(notification: &Notification, zone: &TimeZone) -> String {
    let mut lines = vec![headline(notification)];
    if notification.alerts.len() > 1 || notification.truncated_count > 0 {
        lines.extend(digest(notification));
    }
    for alert in notification.alerts.iter().take(ALERTS_NAMED_MAX) {
        let words = AlertText::new(alert, zone);
        lines.push(format!("{} ({})", words.title, alert.state.as_str()));
        lines.extend(words.summary.map(|summary| text::one_line(&summary, 200)));
    }
    escape(&lines.join("\n"), SECTION_CHARACTERS_MAX)
}

fn section_of(alert: &Alert, zone: &TimeZone, form: Form) -> String {
    let words = AlertText::new(alert, zone);
    let mark = match (alert.state, alert.severity) {
        (AlertState::Resolved, _) => ":white_check_mark:",
        (_, Severity::Critical) => ":rotating_light:",
        (_, Severity::High) => ":red_circle:",
        (_, Severity::Medium) => ":large_orange_circle:",
        _ => ":large_blue_circle:",
    };
    let mut lines =
        vec![format!("{mark} *{}* ({})", escape(&words.title, 300), alert.state.as_str())];
    if let Some(summary) = &words.summary {
        lines.push(escape(summary, 900));
    }
    for (name, value) in &words.facts {
        lines.push(format!("*{name}:* {}", escape(value, 300)));
    }
    let evidence_max = if form == Form::Full { 3 } else { 0 };
    for line in words.evidence.iter().take(evidence_max) {
        lines.push(format!("`{}`", escape(line, 240)));
    }
    if let Some(url) = &words.runbook {
        lines.push(format!("<{}|Runbook>", escape(url, 500)));
    }
    text::cut(&lines.join("\n"), SECTION_CHARACTERS_MAX)
}

/// What comes from events, as Slack must have it: exactly `&`, `<` and `>` are escaped, and backticks,
/// which would end a code span, become apostrophes. Cut before it is escaped, so that no entity is.
fn escape(value: &str, characters_max: usize) -> String {
    text::cut(value, characters_max / 2)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('`', "'")
}
