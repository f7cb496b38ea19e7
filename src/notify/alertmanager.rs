//! `alertmanager`: Alertmanager's API v2, as Prometheus itself uses it.
//!
//! All firing alerts are sent again on every repeat, with an end four repeats ahead, so that two lost
//! requests are survived and alerts end by themselves if we do; resolved ones are sent for 15 minutes.
//! Every member of a cluster is told, never a load balancer; one answer of 2xx is success, and a member
//! that was away is told with the next repeat. A 400 may mean that only some of the alerts were
//! refused, so it is not repeated as it is.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms, cannot_build,
    http::{self, HttpClient, HttpConfig},
};
use crate::engine::{
    alert::Alert,
    diagnostic::Diagnostic,
    dispatch::{Audience, GroupBy, Grouping, Notification, Outcome, OutcomeReason},
    limits::ALERTS_PER_NOTIFICATION_MAX,
    text,
    yaml::{SecretRef, Section},
};

/// Time between two sends of the same alerts; Prometheus's `resend-delay`.
const RESEND_DEFAULT: Duration = Duration::from_secs(60);

/// Characters of one label or annotation.
const VALUE_CHARACTERS_MAX: usize = 2_000;

/// The kind.
pub(super) struct Alertmanager;

struct AlertmanagerConfig {
    urls: Vec<String>,
    resend: Duration,
    http: HttpConfig,
}

struct AlertmanagerNotifier {
    urls: Vec<reqwest::Url>,
    resend: Duration,
    client: HttpClient,
    external_url: Option<String>,
}

impl NotifierKind for Alertmanager {
    fn name(&self) -> &'static str {
        "alertmanager"
    }

    fn summary(&self) -> &'static str {
        "Alertmanager's API v2: every member, resent until resolved."
    }

    fn example(&self) -> &'static str {
        "urls: ['http://127.0.0.1:9093']\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>> {
        let urls = section.strings("urls").unwrap_or_default();
        if urls.is_empty() {
            section.missing("urls", "name every member: `urls: ['http://127.0.0.1:9093']`");
        }
        for url in &urls {
            if endpoint(url).is_none() {
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
        (!urls.is_empty())
            .then(|| Box::new(AlertmanagerConfig { urls, resend, http }) as Box<dyn NotifierConfig>)
    }
}

fn endpoint(url: &str) -> Option<reqwest::Url> {
    let url = reqwest::Url::parse(&format!("{}/api/v2/alerts", url.trim_end_matches('/'))).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

impl NotifierConfig for AlertmanagerConfig {
    fn terms(&self) -> Terms {
        let grouping = Grouping {
            by: GroupBy::Labels(Vec::new()),
            wait: Duration::ZERO,
            interval: Duration::ZERO,
            repeat: self.resend,
        };
        Terms { audience: Audience::Resend, grouping, spacing: Duration::ZERO }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        self.http.secrets()
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let urls: Option<Vec<_>> = self.urls.iter().map(|url| endpoint(url)).collect();
        Ok(Arc::new(AlertmanagerNotifier {
            urls: urls.ok_or_else(|| cannot_build("urls", "one of them is not a URL"))?,
            resend: self.resend,
            client: self.http.build(context)?,
            external_url: context.external_url.clone(),
        }))
    }
}

/// An alert as `POST /api/v2/alerts` takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert {
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

impl AlertmanagerNotifier {
    fn postable(&self, alert: &Alert, notification: &Notification) -> PostableAlert {
        let values = |map: &std::collections::BTreeMap<String, String>| {
            map.iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.clone(), text::lines(value, VALUE_CHARACTERS_MAX)))
                .collect()
        };
        let mut annotations: std::collections::BTreeMap<_, _> = values(&alert.annotations);
        annotations.insert("count".to_owned(), format!("{}", alert.value));
        if !alert.threshold.is_empty() {
            annotations.insert("threshold".to_owned(), alert.threshold.clone());
        }
        annotations.insert("first_seen".to_owned(), alert.first_seen.rfc3339());
        annotations.insert("last_seen".to_owned(), alert.last_seen.rfc3339());
        // Event times may lie in the past of a stream that is read again: what Alertmanager measures
        // by its own clock must be ours. The end of a firing alert is only its time to live.
        let ends_at = match alert.ends_at {
            Some(_) => alert.changed_at,
            None => notification.created_at.plus(self.resend * 4),
        };
        // They may lie in the future too, if an API server's clock is wrong. Alertmanager refuses what
        // ends before it began, and of several beginnings it keeps the earliest.
        let starts_at = alert.starts_at.as_wall().min(alert.changed_at);
        PostableAlert {
            labels: values(&alert.labels),
            annotations,
            starts_at: starts_at.rfc3339(),
            ends_at: ends_at.rfc3339(),
            generator_url: self.external_url.as_ref().map(|url| format!("{url}/")),
        }
    }

    async fn tell(&self, url: &reqwest::Url, bodies: &[Vec<u8>], id: &str) -> Outcome {
        for body in bodies {
            let request = self.client.post_json(url, body.clone()).header("idempotency-key", id);
            match http::send(request).await {
                Ok(answer) if answer.status.is_success() => {}
                Ok(answer) => return answer.outcome(),
                Err(outcome) => return outcome,
            }
        }
        Outcome::Delivered { receipt: None }
    }
}

impl Notifier for AlertmanagerNotifier {
    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let alerts: Vec<PostableAlert> = notification
                .alerts
                .iter()
                .map(|alert| self.postable(alert, notification))
                .collect();
            let bodies: Vec<Vec<u8>> = alerts
                .chunks(ALERTS_PER_NOTIFICATION_MAX)
                .map(|chunk| serde_json::to_vec(chunk).expect("alerts are plain text"))
                .collect();
            let id = notification.id.to_string();
            best(join_all(self.urls.iter().map(|url| self.tell(url, &bodies, &id))).await)
        })
    }
}

/// One member that took it is enough; else a retry if any says so, else the refusal.
fn best(outcomes: Vec<Outcome>) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Delivered { .. } => 0,
        Outcome::Retry { .. } => 1,
        Outcome::Rejected { .. } => 2,
    };
    outcomes.into_iter().min_by_key(rank).unwrap_or(Outcome::Rejected {
        reason: OutcomeReason::Unsendable,
        detail: "there is no member".to_owned(),
    })
}
