//! One line of the list of alerts: an episode, whether it fires or is remembered by the ledger.

use std::{collections::BTreeMap, sync::Arc};

use crate::engine::{
    act::{Episode as Acts, EpisodeKey},
    alert::{Alert, AlertState},
    ledger::{Entry, RULE_NAME, Row as LedgerRow},
    rule::{RuleSet, Severity},
    text::number,
    time::EventTime,
};

/// An episode of an alert.
#[derive(Clone, Debug)]
pub(super) struct Episode {
    pub(super) fingerprint: String,
    pub(super) starts_at: EventTime,
    pub(super) last_seen: EventTime,
    pub(super) ends_at: Option<EventTime>,
    pub(super) is_firing: bool,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) name: String,
    pub(super) rule_id: String,
    pub(super) summary: String,
    pub(super) actor: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) cluster: Option<String>,
    pub(super) key: Vec<(String, String)>,
    pub(super) value: f64,
    pub(super) threshold: String,
    pub(super) findings: u64,
    /// What people did about it, as far as it is remembered.
    pub(super) acts: Option<Arc<Acts>>,
}

/// How the names of facts begin that are the key of an alert.
const KEY: &str = "key.";

/// Fields that name who acted, the best first.
const ACTOR_FIELDS: [&str; 4] = ["actor.id", "user.username", "impersonatedUser.username", "user"];

/// Fields that name a namespace, the best first.
const NAMESPACE_FIELDS: [&str; 3] =
    ["objectRef.namespace", "namespace", "object.metadata.namespace"];

/// What an alert says of itself, what tells it apart first. Ten thousand are asked while the status waits, so nothing
/// is copied to look for it.
fn known_of(alert: &Alert) -> impl Iterator<Item = (&String, &String)> {
    let key = alert.key.iter().map(|(name, value)| (name, value));
    let evidence = alert.evidence.iter().flat_map(|one| &one.fields);
    key.chain(evidence.map(|(name, value)| (name, value))).chain(&alert.labels)
}

impl Episode {
    /// Who an entry of an alert is about.
    pub(super) fn actor_of_entry(entry: &Entry) -> Option<&str> {
        let is_it = |name: &str, field: &str| name.strip_prefix(KEY) == Some(field);
        let of = |field: &&str| {
            let mut facts = entry.facts.iter();
            facts.find(|(name, value)| is_it(name, field) && !value.is_empty())
        };
        ACTOR_FIELDS.iter().find_map(of).map(|(_, value)| value.as_str())
    }

    /// Of an alert that fires.
    pub(super) fn of_alert(alert: &Alert) -> Episode {
        let known = || known_of(alert);
        Episode {
            fingerprint: alert.fingerprint.to_string(),
            starts_at: alert.starts_at,
            last_seen: alert.last_seen,
            ends_at: alert.ends_at,
            is_firing: alert.state == AlertState::Firing,
            severity: alert.severity,
            title: alert.rule_title.clone(),
            name: alert.name().to_owned(),
            rule_id: alert.rule_id.clone(),
            summary: alert.annotations.get("summary").cloned().unwrap_or_default(),
            actor: first_of(known, &ACTOR_FIELDS),
            namespace: first_of(known, &NAMESPACE_FIELDS),
            cluster: first_of(known, &["cluster"]),
            key: alert.key.clone(),
            value: alert.value,
            threshold: alert.threshold.clone(),
            findings: alert.finding_count,
            acts: None,
        }
    }

    /// Of an entry, as it was then.
    fn of_entry(entry: &Entry, at: EventTime, rules: &RuleSet) -> Option<Episode> {
        let starts_at = entry.fact_of("starts_at").and_then(EventTime::parse)?;
        let key: Vec<(String, String)> = entry
            .facts
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(KEY)?.to_owned(), value.clone())))
            .collect();
        let pairs = || key.iter().map(|(name, value)| (name, value));
        let rule = rules.find(&entry.party).map(|index| rules.rule(index).meta());
        let severity = entry.fact_of("severity").and_then(Severity::parse).unwrap_or_default();
        let is_firing = entry.what != AlertState::Resolved.as_str();
        Some(Episode {
            fingerprint: entry.subject.clone(),
            starts_at,
            last_seen: at,
            ends_at: (!is_firing).then_some(at),
            is_firing,
            severity,
            title: entry.detail.clone(),
            name: rule
                .map(|meta| meta.name.as_str())
                .or_else(|| entry.fact_of(RULE_NAME))
                .unwrap_or(&entry.party)
                .to_owned(),
            rule_id: entry.party.clone(),
            summary: String::new(),
            actor: first_of(pairs, &ACTOR_FIELDS),
            namespace: first_of(pairs, &NAMESPACE_FIELDS),
            cluster: first_of(pairs, &["cluster"]),
            key,
            value: entry.fact_of("value").and_then(|text| text.parse().ok()).unwrap_or(1.0),
            threshold: String::new(),
            findings: 0,
            acts: None,
        })
    }

    /// Its name for the engine.
    pub(super) fn engine_key(&self) -> Option<EpisodeKey> {
        let fingerprint = self.fingerprint.parse().ok()?;
        Some(EpisodeKey { fingerprint, starts_at: self.starts_at })
    }

    /// Its identity in forms and cursors.
    pub(super) fn id(&self) -> String {
        format!("{}@{}", self.fingerprint, self.starts_at.rfc3339())
    }

    /// What tells it apart from others of its rule, on a line.
    pub(super) fn key_words(&self) -> String {
        let parts: Vec<String> = self
            .key
            .iter()
            .map(|(name, value)| format!("{}={value}", name.rsplit('.').next().unwrap_or(name)))
            .collect();
        parts.join(" ")
    }

    /// Its value, as people write numbers.
    pub(super) fn value_words(&self) -> String {
        number(self.value)
    }
}

/// The name of the episode that an entry tells of.
pub(super) fn key_of_entry(entry: &Entry) -> Option<EpisodeKey> {
    let fingerprint = entry.subject.parse().ok()?;
    Some(EpisodeKey { fingerprint, starts_at: EventTime::parse(entry.fact_of("starts_at")?)? })
}

/// The value of the first of some fields that is there.
fn first_of<'a, I: Iterator<Item = (&'a String, &'a String)>>(
    pairs: impl Fn() -> I,
    fields: &[&str],
) -> Option<String> {
    let find = |field: &&str| pairs().find(|(name, value)| name == field && !value.is_empty());
    fields.iter().find_map(find).map(|(_, value)| value.clone())
}

/// Episodes from the entries of the ledger, by fingerprint and start. What fires is told better by the status.
pub(super) fn episodes<'r>(
    rows: impl Iterator<Item = &'r LedgerRow>,
    rules: &RuleSet,
    is_wanted: impl Fn(&Entry) -> bool,
) -> BTreeMap<(String, EventTime), Episode> {
    let mut episodes: BTreeMap<(String, EventTime), Episode> = BTreeMap::new();
    for row in rows {
        let Some(entry) = row.entry().filter(|entry| is_wanted(entry)) else { continue };
        let Some(now) = Episode::of_entry(entry, row.at(), rules) else { continue };
        let key = (now.fingerprint.clone(), now.starts_at);
        match episodes.get_mut(&key) {
            Some(known) => known.go_on(now),
            None => {
                episodes.insert(key, now);
            }
        }
    }
    episodes
}

impl Episode {
    /// Takes over what a later entry says.
    fn go_on(&mut self, later: Episode) {
        self.severity = self.severity.max(later.severity);
        if later.value > self.value {
            self.value = later.value;
        }
        self.last_seen = self.last_seen.max(later.last_seen);
        self.is_firing = later.is_firing;
        self.ends_at = later.ends_at;
        self.findings += 1;
    }
}
