//! What moves which metric.

use super::*;

/// Value of a series in the text format, by name and labels as written there.
fn value(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(str::to_owned)
}

fn alert(state: AlertState, severity: Severity) -> Alert {
    let labels = BTreeMap::from([("alertname".to_owned(), "burst".to_owned())]);
    let alert = Alert::begun(WallTime::MIN, ("id", "Burst"), severity, labels);
    Alert { state, revision: 0, ..alert }
}

#[test]
fn names_follow_the_rules_and_say_what_they_are() {
    for info in Metrics::new().catalogue() {
        let name = info.name.as_str();
        let ours = name.starts_with("tripline_") || name.starts_with("process_");
        assert!(ours, "{name}: foreign name");
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(plain && !name.contains("__"), "{name}: not snake_case");
        assert_eq!(name.ends_with("_total"), info.kind == "counter", "{name}: {}", info.kind);
        assert!(info.help.ends_with('.'), "{name}: help is no sentence");
        if info.kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name}: histograms are of seconds");
        }
        for unit in ["_ms", "_millis", "_micros", "_minutes", "_kb"] {
            assert!(!name.contains(unit), "{name}: base units only");
        }
        for label in &info.labels {
            assert!(!["le", "quantile", "job", "instance"].contains(&label.as_str()), "{name}");
        }
    }
}

#[test]
fn reasons_are_there_before_anything_happens() {
    let metrics = Metrics::new();
    for reason in DeadLetterReason::ALL {
        let series = format!("tripline_decode_failures_total{{reason=\"{}\"}}", reason.as_str());
        assert_eq!(value(&metrics, &series).as_deref(), Some("0"), "{series}");
    }
    let resident: f64 = value(&metrics, "process_resident_memory_bytes").unwrap().parse().unwrap();
    assert!(resident > 1e6);
}

#[test]
fn the_gauge_of_firing_alerts_follows_each_change() {
    let metrics = Metrics::new();
    let firing = |severity: &str| {
        value(
            &metrics,
            &format!("tripline_alerts_firing{{rule=\"burst\",severity=\"{severity}\"}}"),
        )
    };
    metrics.alert_changed(&alert(AlertState::Firing, Severity::Low));
    metrics.alert_changed(&alert(AlertState::Firing, Severity::Low));
    assert_eq!(firing("low").as_deref(), Some("1"));
    metrics.alert_changed(&alert(AlertState::Firing, Severity::High));
    assert_eq!((firing("low").as_deref(), firing("high").as_deref()), (Some("0"), Some("1")));
    metrics.alert_changed(&alert(AlertState::Resolved, Severity::High));
    assert_eq!(firing("high").as_deref(), Some("0"));
    let total = "tripline_alerts_total{rule=\"burst\",severity=\"low\",state=\"firing\"}";
    assert_eq!(value(&metrics, total).as_deref(), Some("1"), "an update is no new alert");

    metrics.alerts_restored([&alert(AlertState::Firing, Severity::Low)]);
    metrics.alerts_restored([&alert(AlertState::Firing, Severity::Low)]);
    assert_eq!(firing("low").as_deref(), Some("1"));
    assert_eq!(value(&metrics, total).as_deref(), Some("1"), "a restored alert is no new alert");
}

#[test]
fn rules_begin_at_zero_and_end_when_they_are_gone() {
    use crate::engine::rule::{DetectionRule, Expression, Rule, RuleMeta, RuleSteps};
    let rule = |name: &str| {
        Rule::Detection(DetectionRule {
            meta: RuleMeta {
                id: format!("id-{name}"),
                name: name.to_owned(),
                ..RuleMeta::default()
            },
            expression: Expression::Constant(true),
            steps: RuleSteps::Canonical,
            capture: Vec::new(),
            capture_names: Vec::new(),
            record: None,
        })
    };
    let metrics = Metrics::new();
    let findings = |rule: &str| {
        let series = format!("tripline_findings_total{{rule=\"{rule}\"}}");
        value(&metrics, &series)
    };
    metrics.rules_loaded(&RuleSet::new(vec![rule("a"), rule("b")]));
    assert_eq!((findings("a").as_deref(), findings("b").as_deref()), (Some("0"), Some("0")));
    let counts = ShardCounts {
        findings: BTreeMap::from([("id-a".to_owned(), 3), ("id-gone".to_owned(), 9)]),
        ..ShardCounts::default()
    };
    metrics.set_engine(&counts);
    metrics.set_engine(&counts);
    metrics.rules_loaded(&RuleSet::new(vec![rule("a")]));
    assert_eq!((findings("a").as_deref(), findings("b")), (Some("3"), None));
    assert_eq!(value(&metrics, "tripline_rules_loaded").as_deref(), Some("1"));
}

#[test]
fn what_is_given_up_is_counted_once() {
    use crate::engine::dispatch::NotifierCounts;
    let metrics = Metrics::new();
    let of = NotifierCounts { alerts_dropped: 4, ..NotifierCounts::default() };
    let notifiers = BTreeMap::from([(("oncall".to_owned(), "slack".to_owned()), of)]);
    let counts = DispatchCounts { notifiers, ..DispatchCounts::default() };
    metrics.set_dispatch(&counts, 7);
    metrics.set_dispatch(&counts, 6);
    assert_eq!(value(&metrics, "tripline_notifications_pending").as_deref(), Some("6"));
    let lost =
        "tripline_alerts_undelivered_total{kind=\"slack\",reason=\"dropped\",receiver=\"oncall\"}";
    assert_eq!(value(&metrics, lost).as_deref(), Some("4"));
}

#[test]
fn the_size_of_the_store_is_that_of_its_files() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a"), [0; 1_000]).unwrap();
    std::fs::write(directory.path().join("b"), [0; 24]).unwrap();
    let metrics = Metrics::new();
    metrics.watch_store(directory.path());
    assert_eq!(value(&metrics, "tripline_store_bytes").as_deref(), Some("1024"));
}

#[test]
fn a_delivery_is_counted_by_what_it_came_to() {
    use crate::engine::{
        dispatch::{Form, GroupBy, Grouping, NotificationId, NotifierPlan, NotifyReason},
        time::WallTime,
    };
    let grouping = Grouping {
        by: GroupBy::Each,
        wait: Duration::ZERO,
        interval: Duration::ZERO,
        repeat: Duration::ZERO,
    };
    let notifier = NotifierPlan {
        kind: "slack".to_owned(),
        grouping,
        send_resolved: true,
        audience: crate::engine::dispatch::Audience::Machine,
        spacing: Duration::ZERO,
        recipients: Vec::new(),
        attempt_max: Duration::ZERO,
        failing_after: Duration::ZERO,
    };
    let receiver = ReceiverPlan { name: "oncall".to_owned(), notifiers: vec![notifier] };
    let notification = Notification {
        id: NotificationId([0; 16]),
        receiver: "oncall".to_owned(),
        notifier_index: 0,
        recipient: None,
        address: None,
        group_key: String::new(),
        group_labels: BTreeMap::new(),
        reason: NotifyReason::First,
        alerts: Vec::new(),
        truncated_count: 0,
        created_at: WallTime::from_micros(0),
        sent_at: WallTime::from_micros(0),
        form: Form::Full,
        relabelled: Vec::new(),
        new_count: 0,
        attempts: 0,
        receipt: None,
    };
    let retry =
        Outcome::Retry { reason: OutcomeReason::RateLimited, detail: String::new(), after: None };
    let metrics = Metrics::new();
    metrics.set_receivers(&[receiver]);
    metrics.delivery(&notification, &retry);
    metrics.delivery(&notification, &Outcome::Delivered { receipt: None });
    for (outcome, reason, count) in
        [("retry", "rate_limited", "1"), ("delivered", "", "1"), ("rejected", "timeout", "0")]
    {
        let series = format!(
            "tripline_delivery_attempts_total{{kind=\"slack\",outcome=\"{outcome}\",reason=\"{reason}\",receiver=\"oncall\",recipient=\"\"}}"
        );
        assert_eq!(value(&metrics, &series).as_deref(), Some(count), "{series}");
    }
}

/// Two notifiers of one receiver and kind are one series, whichever of them comes first.
#[test]
fn a_receiver_fails_if_any_of_its_notifiers_does() {
    let metrics = Metrics::new();
    let state = |is_in_trouble| ReceiverState {
        name: "oncall/webhook",
        receiver: "oncall",
        kind: "webhook",
        recipient: None,
        failing_since: None,
        is_in_trouble,
        words: "",
    };
    let series = "tripline_receiver_failing{kind=\"webhook\",receiver=\"oncall\",recipient=\"\"}";
    for (first, second, failing) in
        [(true, false, "1"), (false, true, "1"), (false, false, "0"), (true, true, "1")]
    {
        metrics.receivers_failing([state(first), state(second)].into_iter());
        assert_eq!(value(&metrics, series).as_deref(), Some(failing), "{first} {second}");
    }
}
