//! Inhibition: while one alert fires, others that follow from it are not told.
//!
//! Same meaning as in Alertmanager: a rule has matchers of sources and of targets, and labels in which both
//! must agree; a label that neither has is the same in both. An alert that is both source and target of a rule is not
//! hidden by another that is both, so nothing hides itself. By which Tripline measures its own way is hidden only by what
//! names it ([`hide`]).

use std::collections::{BTreeMap, BTreeSet};

use super::{Matcher, hide};
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
    sources: BTreeMap<Meeting, Sources>,
    targets: BTreeMap<Meeting, BTreeSet<Fingerprint>>,
}

/// How many sources meet somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sources {
    /// Those that are no targets.
    only: usize,
    /// Those that are targets too.
    both: usize,
}

impl Sources {
    fn of(part: &Part) -> Sources {
        let is_both = part.is_source && part.is_target;
        let only = usize::from(part.is_source && !part.is_target);
        Sources { only, both: usize::from(is_both) }
    }

    /// Whether they hide a target; a `both` is not hidden by others that are both, itself among them.
    const fn hide(self, is_both: bool) -> bool {
        self.only > 0 || (self.both > 0 && !is_both)
    }

    /// Whether other targets than before are hidden.
    const fn hide_as(self, other: Sources) -> bool {
        self.hide(true) == other.hide(true) && self.hide(false) == other.hide(false)
    }
}

impl Inhibitor {
    /// With no alert yet.
    pub(in crate::engine) fn new(rules: &[InhibitRule]) -> Inhibitor {
        Inhibitor { rules: rules.to_vec(), ..Inhibitor::default() }
    }

    /// An alert fires with these labels, or, without any, fires no longer. Returns the alerts that may be
    /// hidden otherwise than before. Cost: all rules, and, if it is the first source of one or the last, its
    /// targets.
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
        let before = self.parts.remove(&fingerprint).unwrap_or_default();
        let meetings = before.iter().chain(&parts).map(|part| part.meeting.clone());
        let were: BTreeMap<Meeting, Sources> =
            meetings.map(|meeting| (meeting.clone(), self.sources_at(&meeting))).collect();
        for part in &before {
            self.take_out(fingerprint, part);
        }
        for part in &parts {
            self.put_in(fingerprint, part);
        }
        let mut touched = BTreeSet::from([fingerprint]);
        for (meeting, were) in were {
            if !self.sources_at(&meeting).hide_as(were) {
                touched.extend(self.targets.get(&meeting).into_iter().flatten().copied());
            }
        }
        if !parts.is_empty() {
            self.parts.insert(fingerprint, parts);
        }
        touched
    }

    /// Whether something hides an alert that fires.
    pub(in crate::engine) fn is_hidden(&self, fingerprint: Fingerprint) -> bool {
        let parts = self.parts.get(&fingerprint).map(Vec::as_slice).unwrap_or_default();
        let mut targets = parts.iter().filter(|part| part.is_target);
        targets.any(|part| self.sources_at(&part.meeting).hide(part.is_source))
    }

    fn sources_at(&self, meeting: &Meeting) -> Sources {
        self.sources.get(meeting).copied().unwrap_or_default()
    }

    fn put_in(&mut self, fingerprint: Fingerprint, part: &Part) {
        if part.is_source {
            let more = Sources::of(part);
            let sources = self.sources.entry(part.meeting.clone()).or_default();
            sources.only += more.only;
            sources.both += more.both;
        }
        if part.is_target {
            self.targets.entry(part.meeting.clone()).or_default().insert(fingerprint);
        }
    }

    fn take_out(&mut self, fingerprint: Fingerprint, part: &Part) {
        if let Some(sources) = self.sources.get_mut(&part.meeting) {
            let less = Sources::of(part);
            sources.only -= less.only;
            sources.both -= less.both;
            if *sources == Sources::default() {
                self.sources.remove(&part.meeting);
            }
        }
        if let Some(targets) = self.targets.get_mut(&part.meeting) {
            targets.remove(&fingerprint);
            if targets.is_empty() {
                self.targets.remove(&part.meeting);
            }
        }
    }

    fn parts_of(&self, labels: &BTreeMap<String, String>) -> Vec<Part> {
        let value = |name: &String| labels.get(name).cloned().unwrap_or_default();
        let parts = self.rules.iter().enumerate().map(|(index, rule)| Part {
            meeting: (index, rule.equal.iter().map(value).collect()),
            is_source: rule.source.iter().all(|matcher| matcher.matches(labels)),
            is_target: hide(&rule.target, labels),
        });
        parts.filter(|part| part.is_source || part.is_target).collect()
    }
}
