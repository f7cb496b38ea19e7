//! What was found of an alert since its texts were made.
//!
//! An alert that fires may be found again a thousand times before anybody looks at it, so a finding changes
//! numbers, and its texts wait: for somebody who is told, for the next checkpoint, for its end.

use std::sync::{Arc, OnceLock};

use super::{Found, LifecycleCounts, TrackedAlert, annotations};
use crate::engine::{
    alert::{
        Alert,
        quota::{Quotas, add_actor},
        shown::{evidence_of, shows_anything},
        template::Templates,
    },
    kind::{Hit, Holds},
    limits::EVIDENCE_MAX,
    rule::{AlertSpec, RuleSet},
    time::EventTime,
    value::Captured,
};

/// The latest finding, as far as texts are made of it.
#[derive(Clone, Debug)]
pub(super) struct Latest {
    hit: Hit,
    /// Time and values of the latest that is to stand as the last piece of evidence.
    shows: Option<(EventTime, Arc<[Captured]>)>,
    /// The alert with its texts, for somebody who looked at it meanwhile.
    shown: OnceLock<Box<Alert>>,
}

impl Latest {
    /// After another hit. `takes_last`: it takes the place of the last piece of evidence.
    pub(super) fn after(
        before: Option<Box<Latest>>,
        spec: &AlertSpec,
        hit: &Hit,
        takes_last: bool,
    ) -> Box<Latest> {
        let shows = (takes_last && shows_anything(spec, &hit.captured))
            .then(|| (hit.captured_at, Arc::clone(&hit.captured)));
        let Some(mut latest) = before else {
            return Box::new(Latest { hit: hit.clone(), shows, shown: OnceLock::new() });
        };
        // Of the latest event that claims a time.
        let claimed = hit.claimed.or(latest.hit.claimed);
        latest.hit.clone_from(hit);
        latest.hit.claimed = claimed;
        latest.shows = shows.or_else(|| latest.shows.take());
        latest.shown = OnceLock::new();
        latest
    }
}

impl TrackedAlert {
    /// What was found once has other steps than were known then, since some of it came later: these are shown.
    pub(super) fn correct_steps(&mut self, found: &Found<'_>, quotas: &mut Quotas) {
        let is_one = self.alert.finding_count == 1 && !self.alert.is_overflow();
        if found.hit.holds != Holds::Still || found.steps.is_empty() || !is_one {
            return;
        }
        let steps = found.steps.iter().take(EVIDENCE_MAX - 1).cloned();
        // Whose quota it counts for is told by what it shows first.
        quotas.ended(&self.alert);
        self.alert.evidence = steps.chain(found.evidence()).collect();
        quotas.begun(&self.alert);
        self.actors.clear();
        for evidence in &self.alert.evidence {
            add_actor(&mut self.actors, evidence.who().as_deref());
        }
    }

    /// Makes the texts of what was found. `rule_id`: of its rule, in the rules under which it was found.
    pub(super) fn settle(
        &mut self,
        rules: &RuleSet,
        rule_id: &str,
        templates: &Templates,
        counts: &mut LifecycleCounts,
    ) {
        if let Some(latest) = self.latest.take() {
            self.tell(&latest, rules, rule_id, templates, counts);
        }
    }

    /// The alert with its texts. Cost: those of making them, once.
    pub(super) fn shown(&self, rules: &RuleSet, rule_id: &str, templates: &Templates) -> &Alert {
        let Some(latest) = &self.latest else { return &self.alert };
        latest.shown.get_or_init(|| {
            let mut told = TrackedAlert { latest: None, ..self.clone() };
            // What fails is counted when the texts are made to stay.
            told.tell(latest, rules, rule_id, templates, &mut LifecycleCounts::default());
            Box::new(told.alert)
        })
    }

    fn tell(
        &mut self,
        latest: &Latest,
        rules: &RuleSet,
        rule_id: &str,
        templates: &Templates,
        counts: &mut LifecycleCounts,
    ) {
        let Some(rule) = rules.find(rule_id).map(|index| rules.rule(index)) else { return };
        let Some(spec) = &rule.meta().alert else { return };
        if let Some((time, captured)) = &latest.shows
            && let Some(evidence) = evidence_of(rule, spec, *time, captured)
        {
            self.alert.evidence.pop();
            self.alert.evidence.push(evidence);
        }
        let (alert, actors) = (&self.alert, &self.actors);
        let texts = annotations(templates, counts, (rule, spec), &latest.hit, alert, actors);
        self.alert.annotations = texts;
    }
}
