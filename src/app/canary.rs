//! The end-to-end canary: a harmless record is written to a source's topic every few minutes, and its alert
//! must come back through the whole way: broker, source, rules, checkpoint, routes, delivery.
//!
//! The record is an audit event of a user that no API server has, and matches a rule of our own, whose
//! alerts go to a receiver of our own. Others see nothing of it. Whoever forges such an event makes an alert
//! that nobody hears; only records that this process has sent count as having come back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::oneshot;

use crate::{
    engine::{
        alert::CANARY,
        diagnostic::{Diagnostic, SourceText},
        dispatch::{
            Address, Audience, GroupBy, Grouping, GroupingOverride, Matcher, Notification, Outcome,
            Route,
        },
        time::WallTime,
        yaml::{SecretRef, Section},
    },
    kafka::{DeliveryReport, Producer, Record},
    notify::{
        BuildContext, Notifier, NotifierConfig, NotifyFuture, ReceiverConfig, ReceiverNotifier,
        Terms,
    },
    telemetry::Metrics,
};

/// The user of the record.
const USER: &str = "tripline:canary";

/// The rule that it matches.
const RULE: &str = "title: The end-to-end canary came through
id: 2f6d1c1e-4b0c-4a5e-9d53-0c4a9e7f1a01
name: tripline_canary
logsource: {product: kubernetes, service: audit}
detection:
  canary: {user.username: 'tripline:canary', request.path: /tripline-canary, verb: get}
  condition: canary
level: informational
tripline: {group-by: [auditID]}
";

/// How often a record is sent unless the configuration says otherwise.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(300);

/// How long it may take unless the configuration says otherwise.
const WITHIN_DEFAULT: Duration = Duration::from_secs(120);

/// How long the brokers may take to say what is wrong with the topic: 1 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// Records that are waited for: 100. Further ones take the place of the oldest.
const WAITED_FOR_MAX: usize = 100;

/// The section `canary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CanarySettings {
    /// The source whose cluster it is; the first of Kafka if there is no name.
    pub(super) source: Option<String>,
    /// The topic, which the source must read.
    pub(super) topic: String,
    interval: Duration,
    within: Duration,
}

impl CanarySettings {
    /// Reads the section, if there is one.
    pub(super) fn parse(root: &Section<'_>) -> Option<CanarySettings> {
        let section = root.has("canary").then(|| root.section("canary")).flatten()?;
        let topic = section.required_string("topic", "name a topic that a Kafka source reads");
        let source = section.string("source");
        let span = |key: &str, default: Duration| {
            let span = section.duration(key).unwrap_or(default);
            if span < Duration::from_secs(1) {
                let title = format!("{} is less than a second", section.path_of(key));
                section.invalid(key, title, "write minutes, such as `5m`");
            }
            span
        };
        let interval = span("interval", INTERVAL_DEFAULT);
        let within = span("within", WITHIN_DEFAULT);
        section.finish();
        Some(CanarySettings { source, topic: topic?, interval, within })
    }
}

/// The text of the rule.
pub(super) fn rule() -> Arc<SourceText> {
    SourceText::new("built in: tripline_canary.yaml", RULE)
}

/// Records that were sent and have not come back.
#[derive(Default)]
pub(super) struct Flock {
    away: Mutex<BTreeMap<String, Instant>>,
    metrics: Mutex<Option<Arc<Metrics>>>,
}

impl Flock {
    fn away(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record came back. Those that were sent before it are given up: only the last one counts.
    fn is_back(&self, id: &str) {
        let mut away = self.away();
        let Some(sent) = away.remove(id) else { return };
        away.retain(|_, other| *other > sent);
        drop(away);
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = &*metrics {
            metrics.canary_came(sent.elapsed());
        }
    }
}

/// The receiver to which its alerts go, and the route that leads there.
pub(super) fn receiver(flock: &Arc<Flock>, root: &Section<'_>) -> ReceiverConfig {
    ReceiverConfig {
        name: CANARY.to_owned(),
        failing_after: Duration::from_secs(600),
        notifiers: vec![ReceiverNotifier {
            kind: "canary",
            config: Arc::new(OwnConfig(Arc::clone(flock))),
            send_resolved: false,
            place: root.place_of("canary"),
            path: "canary".to_owned(),
        }],
    }
}

/// The route of alerts with this name to a receiver, told at once and again at an interval.
pub(super) fn route(name: &str, receiver_index: usize, repeat: Duration) -> Route {
    let matcher = Matcher::parse(&format!("alertname=\"{name}\""));
    Route {
        receiver_index,
        matchers: vec![matcher.expect("our own names need no escapes")],
        continue_matching: false,
        grouping: GroupingOverride {
            by: Some(GroupBy::Each),
            wait: Some(Duration::ZERO),
            interval: Some(repeat.max(Duration::from_secs(1))),
            repeat: Some(repeat),
        },
        ..Route::default()
    }
}

/// The route of the canary's alerts.
pub(super) fn own_route(receiver_index: usize) -> Route {
    route(CANARY, receiver_index, Duration::ZERO)
}

struct OwnConfig(Arc<Flock>);

impl NotifierConfig for OwnConfig {
    fn terms(&self) -> Terms {
        Terms {
            audience: Audience::Machine,
            grouping: Grouping {
                by: GroupBy::Each,
                wait: Duration::ZERO,
                interval: Duration::from_secs(1),
                repeat: Duration::ZERO,
            },
            spacing: Duration::ZERO,
            recipients: Vec::new(),
            attempt_max: Duration::from_secs(10),
        }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }

    fn make(&self, _context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        Ok(Arc::new(OwnNotifier(Arc::clone(&self.0))))
    }
}

struct OwnNotifier(Arc<Flock>);

impl Notifier for OwnNotifier {
    fn address(&self) -> Address {
        Address::of([CANARY])
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        let ids = notification.alerts.iter().flat_map(|alert| &alert.key);
        for (_, id) in ids.filter(|(name, _)| name == "auditID") {
            self.0.is_back(id);
        }
        Box::pin(async { Outcome::Delivered { receipt: None } })
    }
}

/// What became of the canary between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// One has not come back in time.
    Missing,
    /// One came back again.
    Back,
}

/// Sends the records, and watches for those that do not come back.
pub(super) struct Canary {
    settings: CanarySettings,
    flock: Arc<Flock>,
    producer: Producer,
    metrics: Arc<Metrics>,
    sent: Option<Instant>,
    /// What becomes of the last record, or why it was not even handed over.
    delivery: Option<Result<oneshot::Receiver<DeliveryReport>, String>>,
    count: u64,
    is_missing: bool,
}

impl Canary {
    pub(super) fn new(
        settings: CanarySettings,
        flock: Arc<Flock>,
        producer: Producer,
        metrics: Arc<Metrics>,
    ) -> Canary {
        *flock.metrics.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&metrics));
        Canary {
            settings,
            flock,
            producer,
            metrics,
            sent: None,
            delivery: None,
            count: 0,
            is_missing: false,
        }
    }

    /// Sends a record if it is time to, and says what changed.
    pub(super) fn look(&mut self, now: WallTime) -> Option<News> {
        if self.sent.is_none_or(|sent| sent.elapsed() >= self.settings.interval) {
            self.send(now);
        }
        let within = self.settings.within;
        let is_missing = self.flock.away().values().any(|sent| sent.elapsed() > within);
        self.metrics.set_canary_overdue(is_missing);
        let before = std::mem::replace(&mut self.is_missing, is_missing);
        match (before, is_missing) {
            (false, true) => Some(News::Missing),
            (true, false) => Some(News::Back),
            _ => None,
        }
    }

    fn send(&mut self, now: WallTime) {
        self.count += 1;
        self.sent = Some(Instant::now());
        let seed = format!("{} {} {}", std::process::id(), now.micros(), self.count);
        let id = format!("tripline-canary-{}", &blake3::hash(seed.as_bytes()).to_hex()[..16]);
        let mut away = self.flock.away();
        if away.len() >= WAITED_FOR_MAX {
            let oldest = away.iter().min_by_key(|(_, sent)| **sent).map(|(id, _)| id.clone());
            away.retain(|id, _| Some(id) != oldest.as_ref());
        }
        away.insert(id.clone(), Instant::now());
        drop(away);
        let record = event(&id, now);
        // One that cannot be sent does not come back either, which is told.
        let sent = self
            .producer
            .deliver(&Record { payload: Some(record.as_bytes()), ..Record::default() });
        self.delivery = Some(sent.map_err(|error| error.to_string()));
    }

    /// Why the last record is not in its topic, if anybody knows. May ask the brokers.
    pub(super) fn unwritten(&mut self) -> Option<String> {
        match self.delivery.as_mut()? {
            Err(why) => Some(why.clone()),
            Ok(delivery) => match delivery.try_recv() {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => self.producer.trouble(ASK_TIMEOUT),
            },
        }
    }

    /// How long one may take.
    pub(super) const fn within(&self) -> Duration {
        self.settings.within
    }

    /// Where it is sent.
    pub(super) fn topic(&self) -> &str {
        &self.settings.topic
    }
}

/// An audit event as an API server would write it.
fn event(id: &str, now: WallTime) -> String {
    let time = now.rfc3339();
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
        "stage": "ResponseComplete", "requestURI": "/tripline-canary", "verb": "get",
        "user": {"username": USER, "groups": ["system:authenticated"]},
        "sourceIPs": ["127.0.0.1"],
        "userAgent": concat!("tripline/", env!("CARGO_PKG_VERSION")),
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": time, "stageTimestamp": time,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        detector::Detector,
        record::{PartitionName, RecordBatch},
        rule::{LoadOptions, RuleSources, load},
        settings::EngineSettings,
    };

    #[test]
    fn the_rule_is_correct_and_takes_the_record() {
        let sources = RuleSources { rules: vec![rule()], ..RuleSources::default() };
        let loaded = load(&sources, &LoadOptions::default());
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        let rules = Arc::new(loaded.rules.unwrap());
        let mut detector = Detector::new(rules, 0, &EngineSettings::default());
        let now = WallTime::from_micros(1_767_651_241_000_000);
        let mut batch = RecordBatch::default();
        let partition = Arc::new(PartitionName::new("audit", 0));
        batch.push(&partition, 0, None, Some(event("tripline-canary-1", now).as_bytes()));
        let out = detector.detect(now, &batch);
        assert_eq!((out.detections.len(), out.dead_letters.len()), (1, 0));
    }

    #[test]
    fn one_that_comes_back_ends_the_wait_for_those_before_it_only() {
        let flock = Flock::default();
        let now = Instant::now();
        for (id, second) in [("a", 0), ("b", 1), ("c", 2)] {
            flock.away().insert(id.to_owned(), now + Duration::from_secs(second));
        }
        flock.is_back("forged");
        assert_eq!(flock.away().len(), 3);
        flock.is_back("b");
        assert_eq!(flock.away().keys().collect::<Vec<_>>(), ["c"]);
    }
}
