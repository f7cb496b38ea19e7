//! How many alerts of a rule fire, and whose they are: what is too much of one stays his.

use std::collections::BTreeMap;

use super::{Alert, who::OVERFLOW_LABEL};
use crate::engine::{
    limits::{FIRING_PER_ENTITY_MAX, FIRING_PER_RULE_MAX},
    text::counted,
};

/// Under what an alert is known and stored: rule id, and key, behind which the cluster stands if it keeps alerts
/// apart.
pub(crate) type AlertKey = (String, Vec<String>);

/// The key of an alert that stands for others; behind it, of whom, if it is of one.
const OVERFLOW: &str = "\u{0}overflow";

/// Names of actors that an alert knows: the newest 20.
const ACTORS_MAX: usize = 20;

/// Where a finding without an alert goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into an alert of its own.
    Own,
    /// Into the one for all that is too much of one actor.
    OverflowOfActor,
    /// Into the one for all that is too much of a rule.
    OverflowOfRule,
}

impl Place {
    /// Under which key that alert is known.
    pub(super) fn key(self, rule_id: &str, own: AlertKey, who: Option<&str>) -> AlertKey {
        let parts = match self {
            Place::Own => return own,
            Place::OverflowOfActor => [OVERFLOW, who.unwrap_or_default()].map(str::to_owned).into(),
            Place::OverflowOfRule => vec![OVERFLOW.to_owned()],
        };
        (rule_id.to_owned(), parts)
    }
}

/// Whether a key is of an alert that stands for others.
pub(super) fn is_overflow(key: &AlertKey) -> bool {
    key.1.first().is_some_and(|part| part == OVERFLOW)
}

/// How many alerts fire.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// By rule id.
    of_rules: BTreeMap<String, usize>,
    /// By rule id, and who began them.
    of_actors: BTreeMap<(String, String), usize>,
    all: usize,
}

impl Quotas {
    /// All that fire.
    pub(super) const fn all(&self) -> usize {
        self.all
    }

    /// Whether no more of a rule fire by themselves.
    pub(super) fn is_full(&self, rule_id: &str) -> bool {
        self.of_rules.get(rule_id).is_some_and(|of_rule| *of_rule >= FIRING_PER_RULE_MAX)
    }

    /// Where one more of somebody would go.
    pub(super) fn place(&self, rule_id: &str, who: Option<&str>) -> Place {
        let of_actor =
            who.and_then(|who| self.of_actors.get(&(rule_id.to_owned(), who.to_owned())).copied());
        if of_actor.is_some_and(|of_actor| of_actor >= FIRING_PER_ENTITY_MAX) {
            Place::OverflowOfActor
        } else if self.is_full(rule_id) {
            Place::OverflowOfRule
        } else {
            Place::Own
        }
    }

    /// One more fires.
    pub(super) fn begun(&mut self, alert: &Alert) {
        self.all += 1;
        *self.of_rules.entry(alert.rule_id.clone()).or_default() += 1;
        if let Some(owner) = owner_of(alert) {
            *self.of_actors.entry(owner).or_default() += 1;
        }
    }

    /// One ended.
    pub(super) fn ended(&mut self, alert: &Alert) {
        self.all = self.all.saturating_sub(1);
        take_one(&mut self.of_rules, &alert.rule_id);
        if let Some(owner) = owner_of(alert) {
            take_one(&mut self.of_actors, &owner);
        }
    }
}

/// Whose quota an alert counts for. The first piece of evidence stays with it, so that this does not change.
fn owner_of(alert: &Alert) -> Option<(String, String)> {
    let who = alert.evidence.first().filter(|_| !alert.is_overflow())?.who()?;
    Some((alert.rule_id.clone(), who))
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Adds the name of somebody to those that an alert knows, the newest last; whether he is new to it.
pub(super) fn add_actor(actors: &mut Vec<String>, who: Option<&str>) -> bool {
    let Some(who) = who else { return false };
    if actors.last().is_some_and(|last| last == who) {
        return false;
    }
    let before = actors.len();
    actors.retain(|known| known != who);
    let is_new = actors.len() == before;
    actors.push(who.to_owned());
    if actors.len() > ACTORS_MAX {
        actors.remove(0);
    }
    is_new
}

/// Labels and key of an alert that stands for others.
pub(super) fn label_overflow(alert: &mut Alert, place: Place, label_name: impl Fn(&str) -> String) {
    alert.labels.insert(OVERFLOW_LABEL.to_owned(), "true".to_owned());
    let Some(evidence) = alert.evidence.first().filter(|_| place == Place::OverflowOfActor) else {
        return;
    };
    let doer = evidence.doer().into_iter();
    let parts = doer.chain(evidence.cluster().map(|cluster| ("cluster", cluster)));
    for (name, value) in parts {
        alert.labels.insert(label_name(name), value.to_owned());
        alert.key.push((name.to_owned(), value.to_owned()));
    }
}

/// What an alert that stands for others says.
pub(super) fn overflow_summary(alert: &Alert, actors: &[String]) -> String {
    let findings = usize::try_from(alert.finding_count).unwrap_or(usize::MAX);
    let mut text =
        format!("{}: {} beyond the alerts shown", alert.rule_title, counted(findings, "finding"));
    if let Some(actors) = newest_first(actors) {
        text += &format!(", newest by {actors}");
    }
    text
}

/// Names for people, the newest first; `None` if nobody is known.
pub(super) fn newest_first(actors: &[String]) -> Option<String> {
    let newest: Vec<&str> = actors.iter().rev().map(String::as_str).collect();
    (!newest.is_empty()).then(|| newest.join(", "))
}
