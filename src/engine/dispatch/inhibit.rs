//! Inhibition: while one alert fires, others that follow from it are not told.
//!
//! Same meaning as in Alertmanager: a rule has matchers of sources and of targets, and labels in which both
//! must agree; a label that neither has is the same in both. An alert that is both source and target of a rule is not
//! hidden by another that is both, so nothing hides itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Matcher;
use crate::engine::alert::Fingerprint;

/// Which alerts hide which, while they fire.
#[derive(Clone, Debug, Default)]
pub struct InhibitRule {
    /// `source_matchers`: what hides.
    pub source: Vec<Matcher>,
    /// `target_matchers`: what is hidden.
    pub target: Vec<Matcher>,
    /// `equal`: labels in which both agree.
    pub equal: Vec<String>,
}

/// A rule, by its index, with the values of the labels in which sources and targets agree.
type Meeting = (usize, Vec<String>);

/// What an alert is to one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    meeting: Meeting,
    is_source: bool,
    is_target: bool,
}

/// Which alerts fire that hide others, or are hidden. Each is known once, whoever is told of it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Inhibitor {
    rules: Vec<InhibitRule>,
    parts: BTreeMap<Fingerprint, Vec<Part>>,
    /// Sources, with whether they are targets too.
    sources: BTreeMap<Meeting, BTreeMap<Fingerprint, bool>>,
    targets: BTreeMap<Meeting, BTreeSet<Fingerprint>>,
}

impl Inhibitor {
    /// With no alert yet.
    pub(in crate::engine) fn new(rules: &[InhibitRule]) -> Inhibitor {
        Inhibitor { rules: rules.to_vec(), ..Inhibitor::default() }
    }

    /// An alert fires with these labels, or, without any, fires no longer. Returns the alerts that may be
    /// hidden otherwise than before. Cost: all rules, and the targets of those that it is a source of.
    pub(in crate::engine) fn set(
        &mut self,
        fingerprint: Fingerprint,
        labels: Option<&BTreeMap<String, String>>,
    ) -> BTreeSet<Fingerprint> {
        let parts = labels.map(|labels| self.parts_of(labels)).unwrap_or_default();
        let before = self.parts.get(&fingerprint).map(Vec::as_slice).unwrap_or_default();
        if before == parts {
            return BTreeSet::new();
        }
        let mut touched = BTreeSet::from([fingerprint]);
        for part in self.parts.remove(&fingerprint).unwrap_or_default() {
            touched.extend(self.targets_of(&part));
            remove(&mut self.sources, &part.meeting, |sources| {
                sources.remove(&fingerprint);
                sources.is_empty()
            });
            remove(&mut self.targets, &part.meeting, |targets| {
                targets.remove(&fingerprint);
                targets.is_empty()
            });
        }
        for part in &parts {
            let meeting = || part.meeting.clone();
            if part.is_source {
                let sources = self.sources.entry(meeting()).or_default();
                sources.insert(fingerprint, part.is_target);
            }
            if part.is_target {
                self.targets.entry(meeting()).or_default().insert(fingerprint);
            }
            touched.extend(self.targets_of(part));
        }
        if !parts.is_empty() {
            self.parts.insert(fingerprint, parts);
        }
        touched
    }

    /// Whether something hides an alert that fires.
    pub(in crate::engine) fn is_hidden(&self, fingerprint: Fingerprint) -> bool {
        let parts = self.parts.get(&fingerprint).map(Vec::as_slice).unwrap_or_default();
        parts.iter().filter(|part| part.is_target).any(|part| {
            let sources = self.sources.get(&part.meeting).into_iter().flatten();
            let mut others = sources.filter(|(source, _)| **source != fingerprint);
            others.any(|(_, is_both)| !(*is_both && part.is_source))
        })
    }

    fn targets_of(&self, part: &Part) -> impl Iterator<Item = Fingerprint> {
        let targets = self.targets.get(&part.meeting).filter(|_| part.is_source);
        targets.into_iter().flatten().copied()
    }

    fn parts_of(&self, labels: &BTreeMap<String, String>) -> Vec<Part> {
        let all = |matchers: &[Matcher]| matchers.iter().all(|matcher| matcher.matches(labels));
        let value = |name: &String| labels.get(name).cloned().unwrap_or_default();
        let parts = self.rules.iter().enumerate().map(|(index, rule)| Part {
            meeting: (index, rule.equal.iter().map(value).collect()),
            is_source: all(&rule.source),
            is_target: all(&rule.target),
        });
        parts.filter(|part| part.is_source || part.is_target).collect()
    }
}

/// Changes what meets somewhere, and forgets the place if nothing is left there.
fn remove<V>(
    map: &mut BTreeMap<Meeting, V>,
    meeting: &Meeting,
    is_empty_after: impl FnOnce(&mut V) -> bool,
) {
    if map.get_mut(meeting).is_some_and(is_empty_after) {
        map.remove(meeting);
    }
}
