//! What a good message says, before it takes the form of Slack, email or a terminal.
//!
//! Who did what, to what, where, when, how often, with what outcome, why that is worth a message, and
//! what to do about it. Everything that comes from audit events has been through
//! [`text`](super::text) here; escaping for a medium is the medium's own matter.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _};

use jiff::{Timestamp, tz::TimeZone};

use crate::engine::{
    act::AlertName,
    alert::{Alert, AlertState, Evidence, MISSING},
    dispatch::{HANDLING, Notification, NotifyReason},
    rule::Severity,
    text::{lines, number, one_line, thousands},
    time::EventTime,
};

/// Characters of one value that are shown; evidence may hold 1 kB user agents.
const VALUE_CHARACTERS_MAX: usize = 160;

/// Characters of a summary or description that are shown.
const PROSE_CHARACTERS_MAX: usize = 1_000;

/// Values of one key that a digest names.
const DIGEST_VALUES_MAX: usize = 5;

/// People of whom a digest says that they are new.
const NEWCOMERS_MAX: usize = 20;

/// Keys that a digest breaks down.
const DIGEST_KEYS_MAX: usize = 4;

/// One alert in words.
pub(super) struct AlertText {
    /// Whether it fires.
    pub(super) state: AlertState,
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
    /// Its page in the console.
    pub(super) page: Option<String>,
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
            state: alert.state,
            title: title(alert),
            summary: (!summary.is_empty()).then_some(summary),
            facts: facts(alert, zone),
            evidence: alert.evidence.iter().map(|one| evidence_line(one, zone)).collect(),
            runbook: alert.annotations.get("runbook_url").filter(|url| is_web_url(url)).cloned(),
            page: None,
        }
    }
}

/// The page of one episode of an alert, below the URL under which people reach the console.
pub(super) fn page_of(external_url: &str, alert: &Alert) -> String {
    // Neither has a character that an address would have to encode.
    format!("{external_url}/alerts/{}/{}", alert.fingerprint, alert.starts_at.rfc3339())
}

/// What an episode of an alert is called in acts: `FINGERPRINT@START`.
pub(super) fn name_of(alert: &Alert) -> AlertName {
    AlertName { fingerprint: alert.fingerprint, starts_at: Some(alert.starts_at) }
}

/// The form of an act on one episode of an alert; it leads back to the alert's page.
pub(super) fn form_of(external_url: &str, act: &str, alert: &Alert) -> String {
    let (fingerprint, start) = (alert.fingerprint, alert.starts_at.rfc3339());
    let name = name_of(alert);
    format!("{external_url}/act?act={act}&alert={name}&back=/alerts/{fingerprint}/{start}")
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
    add("Handled", handled(alert));
    let fields = Fields::of(alert);
    add("Who", who(&fields));
    add("What", missing(alert).unwrap_or_else(|| what(&fields)));
    add("Where", place(&fields));
    add("When", when(alert, zone));
    add("How often", how_often(alert));
    add("Outcome", outcome(&fields));
    let why = alert.annotations.get("description").map(String::as_str).unwrap_or_default();
    add("Why", lines(why.trim(), PROSE_CHARACTERS_MAX));
    add("Rule", one_line(&alert.rule_id, VALUE_CHARACTERS_MAX));
    let said = &alert.said;
    add("Owner", one_line(said.owner.as_deref().unwrap_or_default(), VALUE_CHARACTERS_MAX));
    add("May be", lines(said.false_positives.join("\n").trim(), PROSE_CHARACTERS_MAX));
    add("Read more", lines(said.references.join("\n").trim(), PROSE_CHARACTERS_MAX));
    for (name, value) in &alert.annotations {
        let has_place = matches!(
            name.as_str(),
            "summary" | "description" | "runbook" | "runbook_url" | MISSING
        ) || HANDLING.contains(&name.as_str());
        if !has_place {
            let value = format!("{name}: {}", one_line(value, VALUE_CHARACTERS_MAX));
            add("Note", value);
        }
    }
    let to_do = alert.annotations.get("runbook").map(String::as_str).unwrap_or_default();
    add("To do", lines(to_do.trim(), PROSE_CHARACTERS_MAX));
    facts
}

/// What people did about it: `acknowledged by anna; judged benign, by anna`.
fn handled(alert: &Alert) -> String {
    let said = HANDLING.iter().filter_map(|name| {
        let value = one_line(alert.annotations.get(*name)?, VALUE_CHARACTERS_MAX);
        Some(format!("{} {value}", name.replace('_', " ")))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// Values by field path, those that say most first.
struct Fields<'a>(Vec<&'a [(String, String)]>);

/// What [`who`], [`what`], [`place`] and [`outcome`] say, so that it need not be said again.
const TOLD: [&str; 17] = [
    "actor.id",
    "actor.kind",
    "actor.on_behalf_of",
    "actor.team",
    "cluster",
    "exec.command",
    "impersonatedUser.username",
    "objectRef.name",
    "objectRef.namespace",
    "objectRef.resource",
    "objectRef.subresource",
    "outcome",
    "responseStatus.code",
    "source.ip",
    "sourceIPs",
    "user.username",
    "verb",
];

impl Fields<'_> {
    /// Of an alert: its key, and what its newest evidence shows. Who was heard last before a silence did
    /// nothing, so then the key is all.
    fn of(alert: &Alert) -> Fields<'_> {
        let is_silence = alert.annotations.contains_key(MISSING);
        let evidence = alert.evidence.iter().rev().filter(|_| !is_silence);
        let evidence = evidence.map(|one| one.fields.as_slice());
        Fields(std::iter::once(alert.key.as_slice()).chain(evidence).collect())
    }

    /// The value of the first of these fields that has one.
    fn get(&self, paths: &[&str]) -> Option<String> {
        paths.iter().find_map(|path| {
            let mut fields = self.0.iter().copied().flatten();
            let found = fields.find(|(name, value)| name == path && !value.is_empty());
            found.map(|(_, value)| one_line(value, VALUE_CHARACTERS_MAX))
        })
    }
}

fn who(fields: &Fields<'_>) -> String {
    let name = fields.get(&["actor.id", "impersonatedUser.username", "user.username"]);
    let mut text = name.clone().unwrap_or_default();
    if let Some(kind) = fields.get(&["actor.kind"]).filter(|_| name.is_some()) {
        let _ = write!(text, " ({kind})");
    }
    let caller = fields.get(&["actor.on_behalf_of", "user.username"]);
    if let Some(caller) = caller.filter(|caller| name.as_ref().is_some_and(|name| name != caller)) {
        let _ = write!(text, ", impersonated by {caller}");
    }
    if let Some(team) = fields.get(&["actor.team"]) {
        let _ = write!(text, ", team {team}");
    }
    text
}

fn what(fields: &Fields<'_>) -> String {
    let mut parts: Vec<String> = fields.get(&["verb"]).into_iter().collect();
    if let Some(mut resource) = fields.get(&["objectRef.resource"]) {
        if let Some(subresource) = fields.get(&["objectRef.subresource"]) {
            let _ = write!(resource, "/{subresource}");
        }
        parts.push(resource);
    } else {
        parts.extend(fields.get(&["requestURI"]));
    }
    parts.extend(fields.get(&["objectRef.name"]));
    if let Some(command) = fields.get(&["exec.command"]) {
        parts.push(format!("running `{command}`"));
    }
    parts.join(" ")
}

fn place(fields: &Fields<'_>) -> String {
    let named = |what: &str, paths: &[&str]| Some(format!("{what} {}", fields.get(paths)?));
    let parts = [
        named("cluster", &["cluster"]),
        named("namespace", &["objectRef.namespace"]),
        named("from", &["source.ip", "sourceIPs"]),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn outcome(fields: &Fields<'_>) -> String {
    match (fields.get(&["outcome"]), fields.get(&["responseStatus.code"])) {
        (Some(word), Some(code)) => format!("{word} ({code})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => String::new(),
    }
}

/// What did not come.
fn missing(alert: &Alert) -> Option<String> {
    let rules = one_line(alert.annotations.get(MISSING)?, VALUE_CHARACTERS_MAX);
    let key = alert.key.iter().filter(|(_, value)| !value.is_empty());
    let key: Vec<String> = key.map(|(_, value)| one_line(value, 64)).collect();
    let of = if key.is_empty() { String::new() } else { format!(" of {}", key.join(", ")) };
    Some(format!("no {rules}{of}"))
}

fn when(alert: &Alert, zone: &TimeZone) -> String {
    let mut text = clock(alert.first_seen, zone);
    if alert.annotations.contains_key(MISSING) {
        text = format!("silent since {text}");
    } else if alert.last_seen != alert.first_seen {
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
    } else {
        text.push_str("once");
    }
    if alert.suppressed_count > 0 {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{} more were suppressed", thousands(alert.suppressed_count));
    }
    text
}

/// One event in a line: when, who, what, where, how it ended, and what else the rule shows.
fn evidence_line(evidence: &Evidence, zone: &TimeZone) -> String {
    let fields = Fields(vec![&evidence.fields]);
    let mut text = clock(evidence.time, zone);
    let (place, outcome) = (place(&fields), outcome(&fields));
    for part in [who(&fields), what(&fields)].iter().filter(|part| !part.is_empty()) {
        let _ = write!(text, " {part}");
    }
    if !place.is_empty() {
        let _ = write!(text, ", {place}");
    }
    if !outcome.is_empty() {
        let _ = write!(text, ": {outcome}");
    }
    let has_resource = fields.get(&["objectRef.resource"]).is_some();
    let is_told = |name: &str| TOLD.contains(&name) || (name == "requestURI" && !has_resource);
    let is_further = |(name, value): &&(String, String)| !value.is_empty() && !is_told(name);
    for (name, value) in evidence.fields.iter().filter(is_further) {
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
            format!("{} {} {}", thousands(*count), severity.as_str(), state.as_str())
        })
        .collect();
    out.push(format!("{} alerts: {}", thousands(alerts.len() as u64), severities.join(", ")));
    if notification.truncated_count > 0 {
        let count = thousands(notification.truncated_count);
        out.push(format!("{count} more alerts are not in this message"));
    }
    if let Some(new) = newcomers(notification) {
        out.push(format!("New: {new}"));
    }
    let handled = alerts.iter().filter(|alert| !handled(alert).is_empty()).count();
    if handled > 0 {
        out.push(format!("Handled: {} of them", thousands(handled as u64)));
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

/// Who of the group is new, whoever is alone in something first: noise names itself.
fn newcomers(notification: &Notification) -> Option<String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for alert in notification.alerts.iter().take(notification.new_count) {
        *counts.entry(alert.who()).or_default() += 1;
    }
    let mut list: Vec<(String, u64)> =
        counts.into_iter().filter(|(name, _)| !name.is_empty()).collect();
    list.sort_by_key(|(_, count)| *count);
    let shown: Vec<String> = list
        .iter()
        .take(NEWCOMERS_MAX)
        .map(|(name, count)| format!("{} ({})", one_line(name, 64), thousands(*count)))
        .collect();
    let others = list.len().saturating_sub(NEWCOMERS_MAX) as u64;
    let more =
        if others > 0 { format!(" and {} others", thousands(others)) } else { String::new() };
    (!shown.is_empty()).then(|| shown.join(", ") + &more)
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
