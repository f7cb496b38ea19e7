//! What a good message says, before it takes the form of Slack, email or a terminal.
//!
//! Who did what, to what, where, when, how often, with what outcome, why that is worth a message, and
//! what to do about it. Everything that comes from audit events has been through
//! [`text`](super::text) here; escaping for a medium is the medium's own matter.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    json::state_word,
    text::{lines, one_line},
};
use crate::engine::{
    alert::{Alert, AlertState, Evidence},
    dispatch::{Notification, NotifyReason},
    rule::Severity,
    time::EventTime,
};

/// Characters of one value that are shown; evidence may hold 1 kB user agents.
const VALUE_CHARACTERS_MAX: usize = 160;

/// Characters of a summary or description that are shown.
const PROSE_CHARACTERS_MAX: usize = 1_000;

/// Values of one key that a digest names.
const DIGEST_VALUES_MAX: usize = 5;

/// Keys that a digest breaks down.
const DIGEST_KEYS_MAX: usize = 4;

/// One alert in words.
pub(super) struct AlertText {
    /// `Burst of secret reads: eve, prod`.
    pub(super) title: String,
    /// The rule author's `summary`, or the description.
    pub(super) summary: Option<String>,
    /// What is known, each with its name: `Who`, `What`, `Where` …
    pub(super) facts: Vec<(&'static str, String)>,
    /// Events that show it, one line each.
    pub(super) evidence: Vec<String>,
    /// What to do: an http or https URL.
    pub(super) runbook: Option<String>,
}

/// A notification in one line: `[high] Burst of secret reads: eve, prod`.
pub(super) fn headline(notification: &Notification) -> String {
    let firing = notification.firing_count();
    let resolved = notification.alerts.len() - firing;
    let is_news = matches!(notification.reason, NotifyReason::First | NotifyReason::NewAlerts);
    let mark = if firing == 0 && !is_news {
        "resolved".to_owned()
    } else {
        highest_severity(notification).as_str().to_owned()
    };
    let again = match notification.reason {
        NotifyReason::RepeatDue => "still firing: ",
        // Nobody had heard of it: what is over is news, not the end of something known.
        _ if firing == 0 && is_news => "was and is over: ",
        _ => "",
    };
    let what = match notification.alerts.as_slice() {
        [alert] if notification.truncated_count == 0 => title(alert),
        alerts => {
            let more = match notification.truncated_count {
                0 => String::new(),
                count => format!(", {} more", thousands(count)),
            };
            let counts = match (firing, resolved) {
                (firing, 0) => format!("{firing} firing"),
                (0, resolved) => format!("{resolved} resolved"),
                (firing, resolved) => format!("{firing} firing, {resolved} resolved"),
            };
            format!("{}: {counts}{more}", common_title(alerts))
        }
    };
    format!("[{mark}] {again}{what}")
}

/// The highest severity among the alerts that fire, or among all if none does.
pub(super) fn highest_severity(notification: &Notification) -> Severity {
    let any_firing = notification.firing_count() > 0;
    let counted = |alert: &&Alert| !any_firing || alert.state == AlertState::Firing;
    let severities = notification.alerts.iter().filter(counted).map(|alert| alert.severity);
    severities.max().unwrap_or_default()
}

fn common_title(alerts: &[Alert]) -> String {
    let mut titles: Vec<&str> = alerts.iter().map(|alert| alert.rule_title.as_str()).collect();
    titles.sort_unstable();
    titles.dedup();
    match titles.as_slice() {
        [one] => one_line(one, VALUE_CHARACTERS_MAX),
        many => format!("{} rules", many.len()),
    }
}

fn title(alert: &Alert) -> String {
    let rule = one_line(&alert.rule_title, VALUE_CHARACTERS_MAX);
    let key: Vec<String> = alert
        .key
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(_, value)| one_line(value, 64))
        .collect();
    if key.is_empty() { rule } else { format!("{rule}: {}", key.join(", ")) }
}

impl AlertText {
    /// Of one alert, with times in a zone.
    pub(super) fn new(alert: &Alert, zone: &TimeZone) -> AlertText {
        let summary = alert.annotations.get("summary").map(String::as_str).unwrap_or_default();
        let summary = lines(summary.trim(), PROSE_CHARACTERS_MAX);
        AlertText {
            title: title(alert),
            summary: (!summary.is_empty()).then_some(summary),
            facts: facts(alert, zone),
            evidence: alert.evidence.iter().map(|one| evidence_line(one, zone)).collect(),
            runbook: alert.annotations.get("runbook_url").filter(|url| is_web_url(url)).cloned(),
        }
    }
}

/// Only these become links. Rule files are reviewed, but templates may put event data into a URL.
pub(super) fn is_web_url(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '|' | '\\');
    (text.starts_with("https://") || text.starts_with("http://"))
        && text.len() <= 2_000
        && text.chars().all(is_plain)
}

fn facts(alert: &Alert, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let mut facts: Vec<(&'static str, String)> = Vec::new();
    let mut add = |name, value: String| {
        if !value.is_empty() {
            facts.push((name, value));
        }
    };
    add("Who", who(alert));
    add("What", what(alert));
    add("Where", place(alert));
    add("When", when(alert, zone));
    add("How often", how_often(alert));
    add("Outcome", outcome(alert));
    let why = alert.annotations.get("description").map(String::as_str).unwrap_or_default();
    add("Why", lines(why.trim(), PROSE_CHARACTERS_MAX));
    add("Rule", one_line(&alert.rule_id, VALUE_CHARACTERS_MAX));
    add("Owner", one_line(alert.owner.as_deref().unwrap_or_default(), VALUE_CHARACTERS_MAX));
    for (name, value) in &alert.annotations {
        let has_place =
            matches!(name.as_str(), "summary" | "description" | "runbook" | "runbook_url");
        if !has_place {
            let value = format!("{name}: {}", one_line(value, VALUE_CHARACTERS_MAX));
            add("Note", value);
        }
    }
    let to_do = alert.annotations.get("runbook").map(String::as_str).unwrap_or_default();
    add("To do", lines(to_do.trim(), PROSE_CHARACTERS_MAX));
    facts
}

/// The value of the first of these fields that the key or the newest evidence has.
fn field(alert: &Alert, paths: &[&str]) -> Option<String> {
    paths.iter().find_map(|path| {
        let of_key = alert.key.iter();
        let of_evidence = alert.evidence.iter().rev().flat_map(|one| one.fields.iter());
        of_key
            .chain(of_evidence)
            .find(|(name, value)| name == path && !value.is_empty())
            .map(|(_, value)| one_line(value, VALUE_CHARACTERS_MAX))
    })
}

fn who(alert: &Alert) -> String {
    let name = field(alert, &["actor.id", "user.username"]);
    let behind = field(alert, &["actor.on_behalf_of", "impersonatedUser.username"]);
    let mut text = name.clone().unwrap_or_default();
    if let Some(kind) = field(alert, &["actor.kind"]).filter(|_| name.is_some()) {
        let _ = write!(text, " ({kind})");
    }
    if let Some(behind) = behind.filter(|behind| Some(behind) != name.as_ref()) {
        let _ = write!(text, ", acting as {behind}");
    }
    if let Some(team) = field(alert, &["actor.team"]) {
        let _ = write!(text, ", team {team}");
    }
    text
}

fn what(alert: &Alert) -> String {
    let mut parts: Vec<String> = field(alert, &["verb"]).into_iter().collect();
    if let Some(mut resource) = field(alert, &["objectRef.resource"]) {
        if let Some(subresource) = field(alert, &["objectRef.subresource"]) {
            let _ = write!(resource, "/{subresource}");
        }
        parts.push(resource);
    }
    parts.extend(field(alert, &["objectRef.name"]));
    if let Some(command) = field(alert, &["exec.command"]) {
        parts.push(format!("running `{command}`"));
    }
    if parts.is_empty() {
        field(alert, &["requestURI"]).unwrap_or_default()
    } else {
        parts.join(" ")
    }
}

fn place(alert: &Alert) -> String {
    let named =
        |what: &str, paths: &[&str]| field(alert, paths).map(|value| format!("{what} {value}"));
    let parts: Vec<String> = [
        named("cluster", &["cluster"]),
        named("namespace", &["objectRef.namespace"]),
        named("from", &["source.ip", "sourceIPs"]),
    ]
    .into_iter()
    .flatten()
    .collect();
    parts.join(", ")
}

fn when(alert: &Alert, zone: &TimeZone) -> String {
    let mut text = clock(alert.first_seen, zone);
    if alert.last_seen != alert.first_seen {
        let _ = write!(text, " to {}", clock(alert.last_seen, zone));
    }
    if let Some(ends_at) = alert.ends_at {
        let _ = write!(text, ", over since {}", clock(ends_at, zone));
    }
    text
}

fn how_often(alert: &Alert) -> String {
    let mut text = String::new();
    if !alert.threshold.is_empty() {
        let threshold = one_line(&alert.threshold, VALUE_CHARACTERS_MAX);
        let _ = write!(text, "{} (alerts at {threshold})", number(alert.value));
    } else if alert.finding_count > 1 {
        let _ = write!(text, "{} times", thousands(alert.finding_count));
    }
    if alert.suppressed_count > 0 {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{} more were suppressed", thousands(alert.suppressed_count));
    }
    text
}

fn outcome(alert: &Alert) -> String {
    match (field(alert, &["outcome"]), field(alert, &["responseStatus.code"])) {
        (Some(word), Some(code)) => format!("{word} ({code})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => String::new(),
    }
}

fn evidence_line(evidence: &Evidence, zone: &TimeZone) -> String {
    let mut text = clock(evidence.time, zone);
    for (name, value) in evidence.fields.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(text, " {}={}", one_line(name, 80), one_line(value, VALUE_CHARACTERS_MAX));
    }
    text
}

/// `2026-01-05 22:14:01 UTC`: to the second, always with its zone.
pub(super) fn clock(time: EventTime, zone: &TimeZone) -> String {
    match Timestamp::from_microsecond(time.micros()) {
        Ok(timestamp) => {
            timestamp.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        }
        Err(_) => time.rfc3339(),
    }
}

/// `22:14:01`, for a terminal that shows what happens now.
pub(super) fn time_of_day(time: EventTime, zone: &TimeZone) -> String {
    match Timestamp::from_microsecond(time.micros()) {
        Ok(timestamp) => timestamp.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string(),
        Err(_) => time.rfc3339(),
    }
}

/// A number as people write it: no `.0`, at most two digits behind the point.
fn number(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and small")]
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        thousands(value as u64)
    } else {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// `12,345`.
pub(super) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A storm in a few lines: how many by state, severity and rule, and the keys that occur most.
pub(super) fn digest(notification: &Notification) -> Vec<String> {
    let mut out = Vec::new();
    let alerts = &notification.alerts;
    let mut by_severity: BTreeMap<(bool, Reverse<Severity>), u64> = BTreeMap::new();
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_key: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for alert in alerts {
        let is_resolved = alert.state == AlertState::Resolved;
        *by_severity.entry((is_resolved, Reverse(alert.severity))).or_default() += 1;
        *by_rule.entry(&alert.rule_title).or_default() += 1;
        for (name, value) in alert.key.iter().filter(|(_, value)| !value.is_empty()) {
            *by_key.entry(name).or_default().entry(value).or_default() += 1;
        }
    }
    let severities: Vec<String> = by_severity
        .iter()
        .map(|((is_resolved, Reverse(severity)), count)| {
            let state = if *is_resolved { AlertState::Resolved } else { AlertState::Firing };
            format!("{} {} {}", thousands(*count), severity.as_str(), state_word(state))
        })
        .collect();
    out.push(format!("{} alerts: {}", thousands(alerts.len() as u64), severities.join(", ")));
    if notification.truncated_count > 0 {
        let count = thousands(notification.truncated_count);
        out.push(format!("{count} more alerts are not in this message"));
    }
    if by_rule.len() > 1 {
        out.push(format!("Rules: {}", top(&by_rule)));
    }
    // Keys with few values say most: who, not each of a thousand names.
    let mut keys: Vec<_> = by_key.into_iter().collect();
    keys.sort_by_key(|(name, values)| (values.len(), *name));
    for (name, values) in keys.into_iter().take(DIGEST_KEYS_MAX) {
        out.push(format!("{}: {}", one_line(name, 80), top(&values)));
    }
    out
}

/// `eve (812), bob (20) and 168 others`.
fn top(counts: &BTreeMap<&str, u64>) -> String {
    let mut list: Vec<(&&str, &u64)> = counts.iter().collect();
    list.sort_by_key(|(name, count)| (Reverse(**count), **name));
    let shown: Vec<String> = list
        .iter()
        .take(DIGEST_VALUES_MAX)
        .map(|(name, count)| format!("{} ({})", one_line(name, 64), thousands(**count)))
        .collect();
    match list.len().saturating_sub(DIGEST_VALUES_MAX) {
        0 => shown.join(", "),
        1 => format!("{} and 1 other", shown.join(", ")),
        others => format!("{} and {} others", shown.join(", "), thousands(others as u64)),
    }
}
