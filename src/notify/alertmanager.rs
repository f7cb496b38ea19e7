//! `alertmanager`: Alertmanager's API v2, as Prometheus itself uses it.
//!
//! All firing alerts are sent again on every repeat, with an end four repeats ahead, so that two lost
//! requests are survived and alerts end by themselves if we do; resolved ones are sent for 15 minutes.
//! Every peer of a cluster is told, never a load balancer, and each is owed what it did not take: they
//! do not tell each other of alerts. When a label of an alert changes (its severity), the alert ends
//! under the old labels as it begins under the new ones; `fingerprint` is the same in both, so that a
//! rule of inhibition keeps the end of the milder one from people while the graver one fires.
//!
//! Members refuse a whole request for one name of a label or annotation that is none to them, so names
//! are mapped to what every version takes: `runbook-url` is `runbook_url` there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms,
    form::in_form,
    http::{self, HttpClient, HttpConfig},
    message::page_of,
};
use crate::engine::{
    alert::Alert,
    diagnostic::Diagnostic,
    dispatch::{Address, Audience, GroupBy, Grouping, Notification, Outcome, OutcomeReason},
    text,
    yaml::{SecretRef, Section},
};

/// Time between two sends of the same alerts; Prometheus's `resend-delay`.
const RESEND_DEFAULT: Duration = Duration::from_secs(60);

/// Characters of one label or annotation.
const VALUE_CHARACTERS_MAX: usize = 2_000;

/// The label that is the same whatever the severity.
const FINGERPRINT_LABEL: &str = "fingerprint";

/// The kind.
pub(super) struct Alertmanager;

struct AlertmanagerConfig {
    peers: Vec<Peer>,
    resend: Duration,
    http: HttpConfig,
}

/// One peer of a cluster.
#[derive(Clone)]
struct Peer {
    /// Its URL as it is shown: without a password.
    name: String,
    url: reqwest::Url,
}

struct AlertmanagerNotifier {
    peers: Vec<Peer>,
    resend: Duration,
    client: HttpClient,
    external_url: Option<String>,
}

impl NotifierKind for Alertmanager {
    fn name(&self) -> &'static str {
        "alertmanager"
    }

    fn summary(&self) -> &'static str {
        "Alertmanager's API v2: every peer, resent until resolved."
    }

    fn example(&self) -> &'static str {
        "urls: ['http://127.0.0.1:9093']\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>> {
        let urls = section.strings("urls").unwrap_or_default();
        if urls.is_empty() {
            section.missing("urls", "name every peer: `urls: ['http://127.0.0.1:9093']`");
        }
        let mut peers: Vec<Peer> = Vec::new();
        for url in &urls {
            if let Some(peer) = peer(url) {
                if peers.iter().any(|known| known.name == peer.name) {
                    let title = format!("`{}` is named twice", peer.name);
                    section.invalid("urls", title, "name each peer once");
                }
                peers.push(peer);
            } else {
                let title = format!("`{}` is not an http or https URL", text::one_line(url, 80));
                section.invalid(
                    "urls",
                    title,
                    "write `http://host:9093`, without `/api/v2/alerts`",
                );
            }
        }
        let resend = section.duration("resend_interval").unwrap_or(RESEND_DEFAULT);
        if resend < Duration::from_secs(1) || resend > Duration::from_secs(3_600) {
            let title = format!("{} is out of range", section.path_of("resend_interval"));
            section.invalid("resend_interval", title, "it may be 1s to 1h; leave it out for 1m");
        }
        let http = HttpConfig::parse(section);
        (!peers.is_empty()).then(|| {
            Box::new(AlertmanagerConfig { peers, resend, http }) as Box<dyn NotifierConfig>
        })
    }
}

fn peer(url: &str) -> Option<Peer> {
    let base = url.trim_end_matches('/');
    let url = reqwest::Url::parse(&format!("{base}/api/v2/alerts")).ok()?;
    let is_usable = matches!(url.scheme(), "http" | "https") && url.has_host();
    let mut shown = reqwest::Url::parse(base).ok().filter(|_| is_usable)?;
    // They fail only for URLs without a host.
    let _ = (shown.set_username(""), shown.set_password(None));
    let name = shown.as_str().trim_end_matches('/').to_owned();
    Some(Peer { name, url })
}

impl NotifierConfig for AlertmanagerConfig {
    fn terms(&self) -> Terms {
        let grouping = Grouping {
            by: GroupBy::Labels(Vec::new()),
            wait: Duration::ZERO,
            interval: Duration::ZERO,
            repeat: self.resend,
        };
        let recipients = self.peers.iter().map(|peer| peer.name.clone()).collect();
        Terms { recipients, ..Terms::new(Audience::Resend, grouping) }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        self.http.secrets()
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        Ok(Arc::new(AlertmanagerNotifier {
            peers: self.peers.clone(),
            resend: self.resend,
            client: self.http.build(&context.secret)?,
            external_url: context.external_url.clone(),
        }))
    }
}

/// An alert as `POST /api/v2/alerts` takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

impl AlertmanagerNotifier {
    fn postable(&self, alert: &Alert, notification: &Notification) -> PostableAlert {
        let mut labels = named(&alert.labels);
        labels.entry(FINGERPRINT_LABEL.to_owned()).or_insert(alert.fingerprint.to_string());
        // Event times may lie in the past of a stream that is read again: what Alertmanager measures
        // by its own clock must be ours. The end of a firing alert is only its time to live, from now on.
        let ends_at = match alert.ends_at {
            Some(_) => alert.changed_at,
            None => notification.sent_at.plus(self.resend * 4),
        };
        // They may lie in the future too, if an API server's clock is wrong. Alertmanager refuses what
        // ends before it began, and of several beginnings it keeps the earliest.
        let starts_at = alert.starts_at.as_wall().min(alert.changed_at);
        PostableAlert {
            labels,
            annotations: annotations(alert),
            starts_at: starts_at.rfc3339(),
            ends_at: ends_at.rfc3339(),
            generator_url: self.external_url.as_deref().map(|url| page_of(url, alert)),
        }
    }
}

/// What is said of an alert beside its labels.
fn annotations(alert: &Alert) -> BTreeMap<String, String> {
    let mut annotations = named(&alert.annotations);
    annotations.insert("count".to_owned(), format!("{}", alert.value));
    if !alert.threshold.is_empty() {
        annotations.insert("threshold".to_owned(), alert.threshold.clone());
    }
    annotations.insert("first_seen".to_owned(), alert.first_seen.rfc3339());
    annotations.insert("last_seen".to_owned(), alert.last_seen.rfc3339());
    annotations
}

/// Labels or annotations under names that Alertmanager takes; none of them is lost if two names become
/// one.
fn named(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let said = || map.iter().filter(|(_, value)| !value.is_empty());
    // Names that need no change first, so that they are not taken by others.
    let (good, others): (Vec<_>, Vec<_>) = said().partition(|(name, _)| taken_name(name) == **name);
    for (name, value) in good.into_iter().chain(others) {
        let mut taken = taken_name(name);
        while out.contains_key(&taken) {
            taken.push('_');
        }
        out.insert(taken, text::lines(value, VALUE_CHARACTERS_MAX));
    }
    out
}

/// A name as every version of Alertmanager takes it: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn taken_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut taken: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    if !taken.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        taken.insert(0, '_');
    }
    taken
}

impl Notifier for AlertmanagerNotifier {
    fn address(&self) -> Address {
        // Each peer is one of its own.
        Address::of(["alertmanager"])
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let is_meant = |peer: &&Peer| Some(&peer.name) == notification.recipient.as_ref();
            let Some(peer) = self.peers.iter().find(is_meant) else {
                let detail = "there is no such peer".to_owned();
                return Outcome::Rejected { reason: OutcomeReason::Unsendable, detail };
            };
            let said = in_form(notification);
            let alerts = said.alerts.iter().chain(&said.relabelled);
            let alerts: Vec<PostableAlert> =
                alerts.map(|alert| self.postable(alert, notification)).collect();
            let body = serde_json::to_vec(&alerts).expect("alerts are plain text");
            let id = notification.id.to_string();
            let request = self.client.post_json(&peer.url, body).header("idempotency-key", id);
            match http::send(request).await {
                Ok(answer) => answer.outcome(),
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_every_version_takes() {
        for (name, taken) in [
            ("runbook-url", "runbook_url"),
            ("team.owner", "team_owner"),
            ("1st", "_1st"),
            ("über", "_ber"),
            ("", "_"),
            ("summary", "summary"),
        ] {
            assert_eq!(taken_name(name), taken);
        }
    }

    #[test]
    fn no_value_is_lost_when_names_become_one() {
        let map = ["a-b", "a.b", "a_b"].map(|name| (name.to_owned(), format!("of {name}")));
        let named = named(&map.into());
        let found: Vec<(&str, &str)> =
            named.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("a_b", "of a_b"), ("a_b_", "of a-b"), ("a_b__", "of a.b")]);
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let peer = peer("https://bob:secret@am:9093/prefix/").unwrap();
        assert_eq!(peer.name, "https://am:9093/prefix");
        assert_eq!(peer.url.as_str(), "https://bob:secret@am:9093/prefix/api/v2/alerts");
    }
}
