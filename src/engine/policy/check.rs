//! What an audit policy hides from rules.
//!
//! For every sort of request that a rule can match, the entry of the policy that decides about it is
//! found, and compared with what the rule needs. A rule that is left without what it names is blind:
//! an error. If only some of its requests are hidden (those of one user, or one of the many resources
//! that it never named), it may be blind: a warning, and often what was meant.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    AuditLevel,
    decide::{AllCircumstances, Circumstances, decide},
    read::{AuditPolicy, read},
    requests::{Below, Requests, Subject, Target, Verb, When},
    words,
};
use crate::engine::{
    detect::{Facts, Known},
    diagnostic::{Diagnostic, DiagnosticLevel, Place, SourceText, code},
    event::well_known,
    kubernetes::{Stage, runs_long},
    rule::{RuleSet, RuleSteps, SESSION},
};

/// Names of rules in one line; further ones are counted.
const NAMES_SHOWN: usize = 6;

/// What a policy means for some rules.
#[derive(Debug)]
pub struct Checked {
    /// What is wrong with the file, what is blind, and what may be.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the file could be read, so that the rest means something.
    pub is_usable: bool,
    /// Rules that were looked at.
    pub rule_count: usize,
    /// How many of them are blind.
    pub blind_count: usize,
    /// Whether all that the policy names was compared with them.
    pub is_whole: bool,
}

/// What a rule sees of some requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// All that it needs.
    Clear,
    /// Not all that its condition asks for, but it may match.
    Dim(Lack),
    /// Nothing that could satisfy it.
    Dark(Lack),
}

/// What is lacking, and by which entry; `None`: there is no entry for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lack {
    entry: Option<usize>,
    /// What is recorded; `None` is nothing.
    level: Option<AuditLevel>,
    /// What the rule needs.
    needs: AuditLevel,
    /// The level would do, but not the stages.
    by_stage: bool,
}

/// Compares a policy with what rules need.
pub fn check(rules: &RuleSet, source: &Arc<SourceText>) -> Checked {
    let mut diagnostics = Vec::new();
    let Some(policy) = read(source, &mut diagnostics) else {
        return Checked {
            diagnostics,
            is_usable: false,
            rule_count: 0,
            blind_count: 0,
            is_whole: false,
        };
    };
    let requests = Requests::new(rules);
    let subjects = Subject::all(rules);
    let all = AllCircumstances::of(&policy, &requests);
    let checker = Checker { all, policy, requests, subjects: &subjects };
    let mut found = Found::default();
    let specific: Vec<Scope> = subjects.iter().map(|subject| checker.scope(subject)).collect();
    for target in 0..checker.requests.targets.len() {
        for (subject, sights) in checker.look(target) {
            let (Some(subject), Some(scope)) = (subjects.get(subject), specific.get(subject))
            else {
                continue;
            };
            found.add(&checker, subject, *scope, target, &sights);
        }
    }
    let blind: BTreeSet<&str> = found.blind.keys().map(|(name, _)| *name).collect();
    let names: BTreeSet<&str> = subjects.iter().map(|subject| subject.name).collect();
    diagnostics.extend(found.diagnostics(&checker));
    Checked {
        diagnostics,
        is_usable: true,
        rule_count: names.len(),
        blind_count: blind.len(),
        is_whole: checker.all.cut.is_empty(),
    }
}

/// Which targets a rule is about, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Resources that it names.
    Named,
    /// Any resource.
    Any,
    /// Paths.
    Urls,
}

struct Checker<'r> {
    all: AllCircumstances,
    policy: AuditPolicy,
    requests: Requests<'r>,
    subjects: &'r [Subject<'r>],
}

/// For each verb, what a rule sees: in the usual circumstances first.
type Sights = Vec<(Verb, Vec<Sight>)>;

impl Checker<'_> {
    fn possible(&self, subject: &Subject<'_>, target: usize, verb: Option<Verb>) -> bool {
        self.requests.need(subject, target, verb).level.is_some()
    }

    fn scope(&self, subject: &Subject<'_>) -> Scope {
        let can = |wanted: &Target| {
            let index = self.requests.targets.binary_search(wanted);
            index.is_ok_and(|index| self.possible(subject, index, None))
        };
        if can(&Target::OtherResource) {
            return Scope::Any;
        }
        let resources = self.requests.targets.iter().enumerate();
        let mut resources = resources.filter(|(_, target)| **target != Target::Url);
        if resources.any(|(index, _)| self.possible(subject, index, None)) {
            Scope::Named
        } else {
            Scope::Urls
        }
    }

    /// What each rule sees of the requests for a target.
    fn look(&self, target: usize) -> BTreeMap<usize, Sights> {
        let mut looks: BTreeMap<usize, Sights> = BTreeMap::new();
        let Some(of) = self.requests.targets.get(target) else { return looks };
        let candidates: Vec<usize> = (0..self.subjects.len())
            .filter(|index| {
                self.subjects.get(*index).is_some_and(|one| self.possible(one, target, None))
            })
            .collect();
        for verb in of.verbs() {
            let mut sights: BTreeMap<usize, Vec<Sight>> = BTreeMap::new();
            let mut usual = None;
            for circumstances in self.all.list.iter().filter(|one| one.are_of(of)) {
                let entry = decide(&self.policy, of, verb, circumstances);
                let is_first = usual.is_none();
                let usual_entry = *usual.get_or_insert(entry);
                for index in &candidates {
                    // What is decided as usual needs no second look, if the rule is about it.
                    if !is_first && entry == usual_entry && sights.contains_key(index) {
                        continue;
                    }
                    let Some(subject) = self.subjects.get(*index) else { continue };
                    if let Some(sight) = self.sight(subject, target, verb, circumstances, entry) {
                        sights.entry(*index).or_default().push(sight);
                    }
                }
            }
            for (index, sights) in sights {
                looks.entry(index).or_default().push((verb, sights));
            }
        }
        looks
    }

    /// What a rule sees of some requests. `None`: it is not about them.
    fn sight(
        &self,
        subject: &Subject<'_>,
        target: usize,
        verb: Verb,
        circumstances: &Circumstances,
        entry: Option<usize>,
    ) -> Option<Sight> {
        let of = self.requests.targets.get(target)?;
        let learnt = |when| {
            let mut facts = self.requests.facts(target, Some(verb), when);
            self.all.learn(&mut facts, &self.requests, of, circumstances);
            facts
        };
        let (answered, received) = (learnt(When::Answered), learnt(When::Received));
        let unfinished = self.requests.may_be_unfinished(subject, target, Some(verb));
        let mut level = None;
        let mut stages: Vec<Stage> = Vec::new();
        let unfinished =
            (unfinished && !circumstances.is_login_failure).then_some(Stage::Unfinished);
        let of_server = stages_of(subject, verb, of, circumstances.is_login_failure);
        for stage in of_server.into_iter().chain(unfinished) {
            let is_answered = !matches!(stage, Stage::RequestReceived | Stage::Unfinished);
            let mut facts: Facts<'_> =
                if is_answered { answered.clone() } else { received.clone() };
            facts.learn(well_known::STAGE, Known::Is(stage.as_str()));
            let prospect = self.requests.reach.prospect(&subject.rule.expression, &facts);
            if prospect.is_possible() {
                level = level.max(Some(prospect.level.max(subject.declared)));
                stages.push(stage);
            }
        }
        let needs = level?;
        let decided = entry.and_then(|entry| self.policy.entries.get(entry));
        let recorded = decided.and_then(|entry| entry.level);
        let lack = Lack { entry, level: recorded, needs, by_stage: false };
        let Some(recorded) = recorded else { return Some(Sight::Dark(lack)) };
        let omitted = |stage: &Stage| {
            // What never ended is known by what was received.
            let stage = match stage {
                Stage::Unfinished => Stage::RequestReceived,
                other => *other,
            };
            decided.is_some_and(|entry| entry.omitted.contains(stage.as_str()))
        };
        if stages.iter().all(omitted) {
            return Some(Sight::Dark(Lack { by_stage: true, ..lack }));
        }
        // Of a session whose beginning is left out, nobody hears before its end.
        let is_session = subject.rule.record.as_ref().is_some_and(|spec| *spec.class == *SESSION);
        let begins = stages.iter().find(|stage| **stage == Stage::ResponseStarted);
        if is_session && begins.is_some_and(omitted) {
            return Some(Sight::Dim(Lack { by_stage: true, ..lack }));
        }
        if recorded >= needs {
            return Some(Sight::Clear);
        }
        let mut facts = answered;
        facts.recorded = recorded;
        let remains = self.requests.reach.prospect(&subject.rule.expression, &facts);
        let is_dark = subject.declared > recorded || !remains.is_possible();
        Some(if is_dark { Sight::Dark(lack) } else { Sight::Dim(lack) })
    }
}

/// The stages in which a rule may see a request.
fn stages_of(
    subject: &Subject<'_>,
    verb: Verb,
    target: &Target,
    is_login_failure: bool,
) -> Vec<Stage> {
    let mut stages = Vec::new();
    if subject.rule.steps != RuleSteps::Canonical && !is_login_failure {
        stages.push(Stage::RequestReceived);
    }
    let long = runs_long(verb.unwrap_or(""), target.subresource().unwrap_or(""));
    if is_login_failure || long {
        stages.push(Stage::ResponseStarted);
    }
    if !is_login_failure {
        stages.push(Stage::ResponseComplete);
        if subject.rule.steps != RuleSteps::Canonical {
            stages.push(Stage::Panic);
        }
    }
    stages
}

/// What was found, so far.
#[derive(Default)]
struct Found<'r> {
    /// By rule and what it lacks: of which requests.
    blind: BTreeMap<(&'r str, Lack), Blind<'r>>,
    /// By entry, and whether it leaves out a stage: rules that may lack something.
    maybe: BTreeMap<(Option<usize>, bool), BTreeSet<&'r str>>,
}

struct Blind<'r> {
    place: Option<&'r Place>,
    /// What it records.
    class: Option<Arc<str>>,
    requests: BTreeMap<usize, Vec<Verb>>,
}

impl<'r> Found<'r> {
    fn add(
        &mut self,
        checker: &Checker<'r>,
        subject: &Subject<'r>,
        scope: Scope,
        target: usize,
        sights: &Sights,
    ) {
        let dark = |sights: &[Sight]| {
            let all = sights.iter().all(|sight| matches!(sight, Sight::Dark(_)));
            match sights.first() {
                Some(Sight::Dark(lack)) if all => Some(*lack),
                _ => None,
            }
        };
        let counts = checker.is_named(subject, scope, target);
        if !counts && checker.is_guessed(target) {
            return;
        }
        let names_verbs = !checker.possible(subject, target, Some(None));
        let all_dark = sights.iter().all(|(_, sights)| dark(sights).is_some());
        for (verb, sights) in sights {
            if counts
                && (names_verbs || all_dark)
                && let Some(lack) = dark(sights)
            {
                let place = subject.place;
                let record = subject.rule.record.as_ref();
                let class = record.map(|record| Arc::clone(&record.class));
                let blind = || Blind { place, class, requests: BTreeMap::new() };
                let entry = self.blind.entry((subject.name, lack)).or_insert_with(blind);
                let verbs = entry.requests.entry(target).or_default();
                if !verbs.contains(verb) {
                    verbs.push(*verb);
                }
                continue;
            }
            for sight in sights {
                if let Sight::Dim(lack) | Sight::Dark(lack) = sight {
                    let key = (lack.entry, lack.by_stage);
                    self.maybe.entry(key).or_default().insert(subject.name);
                }
            }
        }
    }
}

impl Checker<'_> {
    /// Whether a rule is about a target by name, not because it is about anything.
    fn is_named(&self, subject: &Subject<'_>, scope: Scope, target: usize) -> bool {
        let Some(of) = self.requests.targets.get(target) else { return false };
        match (scope, of) {
            (Scope::Any, of) => *of == Target::OtherResource,
            (Scope::Urls, of) => *of == Target::Url,
            (Scope::Named, Target::Url | Target::OtherResource) => false,
            (Scope::Named, Target::Group(_)) => true,
            (Scope::Named, Target::Resource { group, name, below }) => {
                let sibling = |below| {
                    let (group, name) = (group.clone(), name.clone());
                    let sibling = Target::Resource { group, name, below };
                    let index = self.requests.targets.binary_search(&sibling);
                    index.is_ok_and(|index| self.possible(subject, index, None))
                };
                // A rule that names no subresource is about the resource itself first of all.
                match below {
                    Below::Itself => true,
                    Below::Named(name) if subject.subresources.contains(name) => true,
                    Below::Named(_) | Below::Other => !sibling(Below::Itself),
                }
            }
        }
    }

    /// Whether nobody knows that there are such requests: subresources of resources that Kubernetes
    /// does not bring along.
    fn is_guessed(&self, target: usize) -> bool {
        let target = self.requests.targets.get(target);
        matches!(target, Some(Target::Resource { below: Below::Other, .. }))
    }
}

impl Found<'_> {
    fn diagnostics(&self, checker: &Checker<'_>) -> Vec<Diagnostic> {
        let place = |entry: Option<usize>| {
            let entry = entry.and_then(|entry| checker.policy.entries.get(entry));
            let place = entry.and_then(|entry| entry.place.clone());
            place.unwrap_or_else(|| checker.policy.place.clone())
        };
        let mut diagnostics = Vec::new();
        for ((name, lack), blind) in &self.blind {
            let of = words::requests(&checker.requests.targets, &blind.requests);
            let who = match &blind.class {
                Some(class) => format!("`{name}`, which records the class `{class}`,"),
                None => format!("`{name}`"),
            };
            let title = if lack.by_stage {
                format!("{who} is blind to {of}: no stage in which it sees them is recorded")
            } else {
                let needs = lack.needs.as_str();
                format!("{who} is blind to {of}: it needs the level {needs}")
            };
            let label = match (lack.entry, lack.level) {
                (None, _) => "no entry is for them, so nothing is recorded".to_owned(),
                (_, None) => "nothing is recorded".to_owned(),
                _ if lack.by_stage => "`omitStages` leaves them out".to_owned(),
                (_, Some(level)) => format!("recorded is only {}", level.as_str()),
            };
            let mut diagnostic =
                Diagnostic::error(code::BLIND, place(lack.entry), title).label(label);
            if let Some(rule) = blind.place {
                diagnostic = diagnostic.related(rule.clone(), "this rule");
            }
            diagnostics.push(diagnostic);
        }
        for ((entry, by_stage), names) in &self.maybe {
            let of = entry.and_then(|entry| checker.policy.entries.get(entry));
            // What is said of a rule as an error is not said again.
            let is_said = |name: &&str| {
                self.blind.keys().any(|(blind, lack)| blind == name && lack.entry == *entry)
            };
            let names: Vec<&str> = names.iter().copied().filter(|name| !is_said(name)).collect();
            if names.is_empty() {
                continue;
            }
            let title = format!("{} may be blind in part", words::some(&names, NAMES_SHOWN));
            let label = match of.map(|entry| entry.level) {
                None => "what no entry is for is not recorded".to_owned(),
                Some(None) => "nothing is recorded of these requests".to_owned(),
                Some(Some(_)) if *by_stage => "`omitStages` leaves out what they see".to_owned(),
                Some(Some(level)) => format!("recorded is only {}", level.as_str()),
            };
            diagnostics
                .push(Diagnostic::warning(code::BLIND_IN_PART, place(*entry), title).label(label));
        }
        for entry in &checker.all.cut {
            let title = "this entry names more than was compared: rules may be blind in part";
            let help = "make several entries of it, with fewer users, namespaces and names each";
            diagnostics.push(
                Diagnostic::warning(code::BLIND_IN_PART, place(Some(*entry)), title).help(help),
            );
        }
        diagnostics.sort_by_key(|diagnostic| {
            let at = diagnostic.place.as_ref().map(|place| place.span.start);
            (diagnostic.level == DiagnosticLevel::Warning, at)
        });
        diagnostics
    }
}
