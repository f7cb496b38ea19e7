//! `slack`: Block Kit messages by incoming webhook, or by bot token with updates and threads.
//!
//! An incoming webhook can only post. With a bot token the first message of a group is edited as its
//! alerts change, and each change is also said in its thread; channel and `ts` are kept durably as the
//! group's receipt. Slack takes about one message a second for a channel, and says with 429 how long to
//! wait. Whatever comes from events is escaped: `<!channel>` in a user agent pings nobody.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms, cannot_build,
    http::{self, Answer, HttpClient, HttpConfig, UrlConfig},
    message::{AlertText, digest, headline},
    parse_zone,
};
use crate::engine::{
    alert::{Alert, AlertState},
    diagnostic::{Diagnostic, code},
    dispatch::{Audience, Notification, Outcome, OutcomeReason, Receipt},
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

/// The kind.
pub(super) struct Slack;

struct SlackConfig {
    way: WayConfig,
    http: HttpConfig,
    zone: TimeZone,
}

enum WayConfig {
    Webhook(UrlConfig),
    Bot { token: SecretRef, channel: String, api_url: String },
}

struct SlackNotifier {
    way: Way,
    client: HttpClient,
    zone: TimeZone,
    external_url: Option<String>,
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
        let api_url =
            section.string("api_url").unwrap_or_else(|| "https://slack.com/api".to_owned());
        let http = HttpConfig::parse(section);
        let zone = parse_zone(section);
        let way = match (url, token) {
            (Some(_), Some(_)) => {
                let title = format!("{} has both url and bot_token", section.path());
                let problem = Diagnostic::error(code::SETTING_TWICE, section.place(), title);
                section.report(problem.help("keep one; a bot token can edit its messages"));
                return None;
            }
            (Some(url), None) => WayConfig::Webhook(url),
            (None, Some(token)) => {
                let Some(channel) = channel else {
                    section
                        .missing("channel", "a bot token needs a channel: `channel: '#security'`");
                    return None;
                };
                if reqwest::Url::parse(&api_url).is_err() {
                    section.invalid(
                        "api_url",
                        "api_url is not a URL",
                        "leave it out for Slack itself",
                    );
                    return None;
                }
                WayConfig::Bot { token, channel, api_url }
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
        Terms { spacing: Duration::from_secs(1), ..Terms::people(audience) }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        let mut secrets = self.http.secrets();
        secrets.push(match &self.way {
            WayConfig::Webhook(url) => url.secret(),
            WayConfig::Bot { token, .. } => token.clone(),
        });
        secrets
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let way = match &self.way {
            WayConfig::Webhook(url) => Way::Webhook(url.build(context)?),
            WayConfig::Bot { token, channel, api_url } => {
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
            client: self.http.build(context)?,
            zone: self.zone.clone(),
            external_url: context.external_url.clone(),
        }))
    }
}

impl Notifier for SlackNotifier {
    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let message = message(notification, &self.zone, self.external_url.as_deref());
            match &self.way {
                Way::Webhook(url) => {
                    let body = serde_json::to_vec(&message).expect("a message is plain text");
                    match http::send(self.client.post_json(url, body)).await {
                        Ok(answer) => answer.outcome(),
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
enum Refusal {
    /// The message cannot be changed any more: somebody deleted it, or it is too old.
    MessageGone,
    /// Anything else.
    Other(Outcome),
}

/// Slack's words for [`Refusal::MessageGone`].
const MESSAGE_GONE: [&str; 3] = ["message_not_found", "edit_window_closed", "cant_update_message"];

#[expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON object by name makes the entry, or gives null"
)]
impl Bot<'_> {
    async fn tell(&self, notification: &Notification, mut message: Value) -> Outcome {
        let known = notification.receipt.as_ref().and_then(|receipt| {
            Some((receipt.values.get("channel")?.clone(), receipt.values.get("ts")?.clone()))
        });
        if let Some((channel, ts)) = known {
            message["channel"] = json!(channel);
            message["ts"] = json!(ts);
            match self.call(self.update, &message).await {
                Ok(_) => return self.reply(notification, channel, ts).await,
                Err(Refusal::Other(outcome)) => return outcome,
                // Nobody would see the news in a message that is not there: it begins anew below.
                Err(Refusal::MessageGone) => {}
            }
        }
        if let Some(fields) = message.as_object_mut() {
            fields.remove("ts");
        }
        message["channel"] = json!(self.channel);
        message["metadata"] = json!({
            "event_type": "tripline_alert",
            "event_payload": {
                "notification_id": notification.id.to_string(),
                "group": notification.group_key,
            },
        });
        match self.call(self.post, &message).await {
            Ok(answer) => Outcome::Delivered { receipt: receipt_of(&answer) },
            Err(refusal) => refusal.into_outcome(),
        }
    }

    /// Says in the thread of a message that was changed what is new.
    async fn reply(&self, notification: &Notification, channel: String, ts: String) -> Outcome {
        let line = escape(&headline(notification), SECTION_CHARACTERS_MAX);
        let reply = json!({"channel": channel, "thread_ts": ts, "text": line});
        match self.call(self.post, &reply).await.map_err(Refusal::into_outcome) {
            // The message itself is up to date: a missing reply is not worth another attempt.
            Ok(_) | Err(Outcome::Rejected { .. }) => {
                let values =
                    BTreeMap::from([("channel".to_owned(), channel), ("ts".to_owned(), ts)]);
                Outcome::Delivered { receipt: Some(Receipt { values }) }
            }
            Err(outcome) => outcome,
        }
    }

    /// Calls a method of the Web API, which answers 200 with `ok: false` for most mistakes.
    async fn call(&self, url: &reqwest::Url, body: &Value) -> Result<Value, Refusal> {
        let body = serde_json::to_vec(body).expect("a message is plain text");
        let request = self.client.post_json(url, body).bearer_auth(self.token);
        let answer: Answer = http::send(request).await.map_err(Refusal::Other)?;
        if !answer.status.is_success() {
            return Err(Refusal::Other(answer.outcome()));
        }
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if value["ok"] == json!(true) {
            return Ok(value);
        }
        let error = value["error"].as_str().unwrap_or("no error named");
        if MESSAGE_GONE.contains(&error) {
            return Err(Refusal::MessageGone);
        }
        let detail = format!("Slack says {}", text::one_line(error, 80));
        Err(Refusal::Other(match error {
            "ratelimited" | "rate_limited" => Outcome::Retry {
                reason: OutcomeReason::RateLimited,
                detail,
                after: answer.retry_after,
            },
            "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
                Outcome::Retry { reason: OutcomeReason::ServerError, detail, after: None }
            }
            "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked"
            | "token_expired" | "missing_scope" => {
                Outcome::Rejected { reason: OutcomeReason::AuthError, detail }
            }
            _ => Outcome::Rejected { reason: OutcomeReason::ClientError, detail },
        }))
    }
}

impl Refusal {
    fn into_outcome(self) -> Outcome {
        match self {
            Refusal::Other(outcome) => outcome,
            Refusal::MessageGone => Outcome::Rejected {
                reason: OutcomeReason::ClientError,
                detail: "Slack says that the message is gone".to_owned(),
            },
        }
    }
}

fn receipt_of(answer: &Value) -> Option<Receipt> {
    let values = ["channel", "ts"]
        .into_iter()
        .map(|name| Some((name.to_owned(), answer[name].as_str()?.to_owned())))
        .collect::<Option<BTreeMap<_, _>>>()?;
    Some(Receipt { values })
}

/// The message: fallback text and blocks, within all of Slack's limits.
fn message(notification: &Notification, zone: &TimeZone, external_url: Option<&str>) -> Value {
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
    for alert in notification.alerts.iter().take(ALERTS_SHOWN_MAX) {
        let section = section_of(alert, zone);
        let length = section.chars().count();
        if length > room {
            break;
        }
        room -= length;
        shown += 1;
        blocks.push(mrkdwn(&section));
    }
    if shown < notification.alerts.len() || notification.truncated_count > 0 {
        let lines: Vec<String> =
            digest(notification).iter().map(|line| escape(line, 400)).collect();
        blocks.push(json!({"type": "divider"}));
        blocks.push(mrkdwn(&text::cut(&lines.join("\n"), SECTION_CHARACTERS_MAX)));
    }
    if let Some(url) = external_url {
        blocks.push(json!({
            "type": "context",
            "elements": [{"type": "mrkdwn", "text": format!("<{url}/|Tripline>")}],
        }));
    }
    json!({"text": escape(&headline, SECTION_CHARACTERS_MAX), "blocks": blocks})
}

fn mrkdwn(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

fn section_of(alert: &Alert, zone: &TimeZone) -> String {
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
    for line in words.evidence.iter().take(3) {
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
