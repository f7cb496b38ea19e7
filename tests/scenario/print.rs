//! What happened, in words: alerts, counters, times.

use std::{collections::BTreeSet, time::Duration};

use tripline::engine::{
    alert::{Alert, AlertState, Fingerprint},
    rule::RuleSet,
    shard::ShardCounts,
    time::EventTime,
};

use crate::script::DAY;

/// Episodes that were told of.
pub(crate) type Begun = BTreeSet<(Fingerprint, EventTime)>;

/// One change of an alert, as one line.
pub(crate) fn alert(alert: &Alert, begun: &mut Begun) -> String {
    let is_new = begun.insert((alert.fingerprint, alert.starts_at));
    let word = match alert.state {
        AlertState::Resolved => "resolved",
        AlertState::Firing if is_new => "firing",
        AlertState::Firing => "updated",
    };
    format!("{word} {}", describe(alert))
}

/// Who, how much, when.
pub(crate) fn describe(alert: &Alert) -> String {
    let name = alert.labels.get("alertname").map_or("", String::as_str);
    let key: Vec<&str> = alert.key.iter().map(|(_, value)| value.as_str()).collect();
    let mut text = name.to_owned();
    if alert.labels.contains_key("overflow") {
        text += " (overflow)";
    }
    if !key.is_empty() {
        text += &format!(" {}", key.join(" "));
    }
    text += &format!(": {}, {}", alert.value, alert.severity.as_str());
    text += &match (time(alert.first_seen), time(alert.last_seen)) {
        (first, last) if first == last => format!(", at {first}"),
        (first, last) => format!(", {first} to {last}"),
    };
    if alert.starts_at != alert.last_seen && alert.state == AlertState::Firing {
        text += &format!(", since {}", time(alert.starts_at));
    }
    if let Some(end) = alert.ends_at {
        text += &format!(", ended {}", time(end));
    }
    if alert.finding_count > 1 {
        text += &format!(", {} findings", alert.finding_count);
    }
    if alert.suppressed_count > 0 {
        text += &format!(", {} suppressed before", alert.suppressed_count);
    }
    if let Some(actors) = alert.annotations.get("actors") {
        // Who is the newest follows the order of arrival.
        let mut actors: Vec<&str> = actors.split(", ").collect();
        actors.sort_unstable();
        text += &format!(", by {}", actors.join(", "));
    }
    text
}

/// Without the date if it is the usual one, and without a fraction if there is none.
pub(crate) fn time(time: EventTime) -> String {
    let text = time.rfc3339();
    let text = text.strip_suffix('Z').unwrap_or(&text);
    let text = text.strip_prefix(DAY).and_then(|rest| rest.strip_prefix('T')).unwrap_or(text);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
        .to_owned()
}

/// `1h2m3s`, `0s`.
pub(crate) fn span(span: Duration) -> String {
    let mut micros = span.as_micros();
    let mut text = String::new();
    for (unit, length) in [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("µs", 1),
    ] {
        if micros >= length {
            text += &format!("{}{unit}", micros / length);
            micros %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The counters of a shard, by name; bounds with the rule that they were hit by. Late events are told of
/// one by one.
pub(crate) fn counters(counts: &ShardCounts, rules: &RuleSet) -> Vec<(String, u64)> {
    let name = |id: &str| rules.find(id).map_or("", |index| rules.rule(index).meta().name.as_str());
    let of_rules = counts.limits_hit.iter().flat_map(|(limit, totals)| {
        totals.iter().map(move |(id, total)| (format!("{} {}", limit.as_str(), name(id)), *total))
    });
    let sums = [
        ("duplicates", counts.duplicates),
        ("keys_null", counts.keys_null.values().sum()),
        ("windows_missed", counts.windows_missed),
        ("suppressed", counts.suppressed),
        ("template_errors", counts.template_errors),
        ("rules_gone", counts.rules_gone),
    ];
    sums.into_iter().map(|(name, number)| (name.to_owned(), number)).chain(of_rules).collect()
}
