//! The sorts of request that an audit policy tells apart, and what each says about an event.

use std::collections::BTreeSet;

use crate::engine::{
    detect::{Facts, Known, Reach},
    diagnostic::Place,
    event::{
        FieldId, FieldTable,
        derived::{OBJECT, POD_SPEC},
        well_known,
    },
    kubernetes::{
        AuditLevel, Stage,
        resources::{self, PARTS, RESOURCES, RUNS_COMMANDS, Resource, SUBRESOURCES},
        runs_long,
        verbs::{CHANGING, READING, RESOURCE_VERBS, URL_VERBS},
    },
    rule::{DetectionRule, Expression, RuleIndex, RuleSet, RuleSteps, StringKind, Test, fold_case},
};

/// A verb: one of [`RESOURCE_VERBS`] or [`URL_VERBS`], or `None` for any other.
pub(super) type Verb = Option<&'static str>;

/// What lies below a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Below {
    /// Nothing: the resource itself.
    Itself,
    /// This subresource.
    Named(&'static str),
    /// Any other.
    Other,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A resource, or what lies below it. The group is `None` if nobody says.
    Resource { group: Option<String>, name: String, below: Below },
    /// Any other resource of a group.
    Group(String),
    /// Any other resource.
    OtherResource,
    /// No resource: a path such as `/healthz`.
    Url,
}

impl Target {
    /// The verbs that its requests have.
    pub(super) fn verbs(&self) -> Vec<Verb> {
        let named: &[&'static str] = match self {
            Target::Url => &URL_VERBS,
            _ => &RESOURCE_VERBS,
        };
        named.iter().map(|verb| Some(*verb)).chain([None]).collect()
    }

    /// The entry of the table that it is about.
    pub(super) fn known(&self) -> Option<&'static Resource> {
        let Target::Resource { group: Some(group), name, .. } = self else { return None };
        resources::find(group, name)
    }

    /// The subresource, if there is one and it is known.
    pub(super) fn subresource(&self) -> Option<&'static str> {
        match self {
            Target::Resource { below: Below::Named(subresource), .. } => Some(subresource),
            _ => None,
        }
    }
}

/// Which events of a request exist, as rules tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before it is answered.
    Received,
    /// If it never is.
    Unfinished,
    /// Once it is answered.
    Answered,
}

/// What a rule needs of some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    /// The audit level; `None` if it needs nothing.
    pub(super) level: Option<AuditLevel>,
    /// Also the event of stage `RequestReceived`.
    pub(super) received: bool,
}

impl Need {
    /// What both need.
    pub(super) fn and(self, other: Need) -> Need {
        Need { level: self.level.max(other.level), received: self.received || other.received }
    }
}

/// Everything that the rules of one set, and what Kubernetes brings along, can tell apart.
pub(super) struct Requests<'r> {
    pub(super) rules: &'r RuleSet,
    pub(super) reach: Reach<'r>,
    /// All targets; sorted.
    pub(super) targets: Vec<Target>,
    names: BTreeSet<String>,
    groups: BTreeSet<String>,
    verbs: BTreeSet<String>,
    url_verbs: BTreeSet<String>,
    /// Subresources that only resources have which Kubernetes brings along.
    own_subresources: BTreeSet<String>,
    received: BTreeSet<String>,
    fields: Fields,
}

/// The fields of a rule set that lie below some paths.
#[derive(Debug)]
pub(super) struct Fields {
    object: Vec<FieldId>,
    request_body: Vec<FieldId>,
    response_body: Vec<FieldId>,
    /// What is changed, pod specs among it.
    changed: Vec<FieldId>,
    pod_spec: Vec<FieldId>,
    /// What there is only once a request is answered.
    answer: Vec<FieldId>,
}

impl Fields {
    pub(super) fn of(rules: &RuleSet) -> Fields {
        let below = |roots: &[&str]| -> Vec<FieldId> {
            let paths = rules.fields.paths().iter().zip(0..);
            let is_below = |path: &str| {
                roots.iter().any(|root| {
                    let rest = path.strip_prefix(root);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            };
            paths.filter(|(path, _)| is_below(path)).map(|(_, id)| FieldId(id)).collect()
        };
        Fields {
            object: below(&["objectRef"]),
            request_body: below(&["requestObject"]),
            response_body: below(&["responseObject"]),
            changed: below(&[OBJECT, POD_SPEC, "host_path", "subject"]),
            pod_spec: below(&[POD_SPEC]),
            answer: below(&["responseStatus", "annotations", "outcome", "duration"]),
        }
    }

    /// What requests of a verb cannot have: who reads sends no body.
    pub(super) fn learn_verb(&self, facts: &mut Facts<'_>, verb: &str) {
        if READING.contains(&verb) {
            absent(facts, &self.request_body);
            absent(facts, &self.changed);
        }
    }

    /// What requests for a resource that Kubernetes brings along cannot have.
    pub(super) fn learn_resource(
        &self,
        facts: &mut Facts<'_>,
        table: &FieldTable,
        known: &Resource,
        subresource: Option<&str>,
    ) {
        if subresource.is_some_and(|name| PARTS.contains(&name)) {
            absent(facts, &self.changed);
        }
        if !known.changes_pod_spec(subresource) {
            absent(facts, &self.pod_spec);
            if !(known.name == "persistentvolumes" && subresource.is_none()) {
                facts.learn_path(table, "host_path", Known::Absent);
            }
        }
        if !subresource.is_some_and(|name| RUNS_COMMANDS.contains(&name)) {
            for path in ["exec.command", "exec.plain"] {
                facts.learn_path(table, path, Known::Absent);
            }
        }
    }
}

fn absent(facts: &mut Facts<'_>, fields: &[FieldId]) {
    for field in fields {
        facts.learn(*field, Known::Absent);
    }
}

fn set_of(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| fold_case(text)).collect()
}

impl<'r> Requests<'r> {
    pub(super) fn new(rules: &'r RuleSet) -> Requests<'r> {
        let (resources, groups) = named(rules);
        let mut targets: BTreeSet<Target> = BTreeSet::from([Target::OtherResource, Target::Url]);
        for known in RESOURCES {
            let below = known.subresources.iter().map(|subresource| Below::Named(subresource));
            // It has no others.
            for below in std::iter::once(Below::Itself).chain(below) {
                let (group, name) = (Some(known.group.to_owned()), known.name.to_owned());
                targets.insert(Target::Resource { group, name, below });
            }
        }
        for (group, name) in resources {
            for below in [Below::Itself, Below::Other] {
                let (group, name) = (group.clone(), name.clone());
                targets.insert(Target::Resource { group, name, below });
            }
        }
        targets.extend(groups.iter().filter(|group| !group.is_empty()).cloned().map(Target::Group));
        let targets: Vec<Target> = targets.into_iter().collect();
        let name = |target: &Target| match target {
            Target::Resource { name, .. } => Some(fold_case(name)),
            _ => None,
        };
        Requests {
            rules,
            reach: Reach::new(rules),
            names: targets.iter().filter_map(name).collect(),
            own_subresources: SUBRESOURCES
                .iter()
                .filter(|known| !known.is_general)
                .map(|known| fold_case(known.name))
                .collect(),
            targets,
            groups,
            verbs: set_of(&RESOURCE_VERBS),
            url_verbs: set_of(&URL_VERBS),
            received: set_of(&[Stage::RequestReceived.as_str(), Stage::Unfinished.as_str()]),
            fields: Fields::of(rules),
        }
    }

    /// What is known of the events of some requests: `verb` is `None` if it may be any. `target` is a
    /// place in [`Requests::targets`].
    pub(super) fn facts(&self, target: usize, verb: Option<Verb>, when: When) -> Facts<'_> {
        let mut facts = Facts::new(&self.rules.fields);
        match when {
            When::Received | When::Unfinished => {
                let stage = match when {
                    When::Unfinished => Stage::Unfinished,
                    _ => Stage::RequestReceived,
                };
                facts.learn(well_known::STAGE, Known::Is(stage.as_str()));
                for fields in [&self.fields.answer, &self.fields.request_body, &self.fields.changed]
                {
                    absent(&mut facts, fields);
                }
                absent(&mut facts, &self.fields.response_body);
            }
            When::Answered => facts.learn(well_known::STAGE, Known::NoneOf(&self.received)),
        }
        let Some(of) = self.targets.get(target) else { return facts };
        self.learn_target(&mut facts, of);
        match verb {
            None => {}
            Some(None) if *of == Target::Url => {
                facts.learn(well_known::VERB, Known::NoneOf(&self.url_verbs));
            }
            Some(None) => facts.learn(well_known::VERB, Known::NoneOf(&self.verbs)),
            Some(Some(verb)) => {
                facts.learn(well_known::VERB, Known::Is(verb));
                self.fields.learn_verb(&mut facts, verb);
            }
        }
        facts
    }

    fn learn_target<'s>(&'s self, facts: &mut Facts<'s>, target: &'s Target) {
        let group = |facts: &mut Facts<'s>, group: &'s str| {
            let known = if group.is_empty() { Known::Absent } else { Known::Is(group) };
            facts.learn(well_known::API_GROUP, known);
        };
        match target {
            Target::Resource { group: of, name, below } => {
                facts.learn(well_known::RESOURCE, Known::Is(name));
                match of {
                    Some(of) => group(facts, of),
                    None => facts.learn(well_known::API_GROUP, Known::Avoids(&self.groups)),
                }
                let subresource = match below {
                    Below::Itself => Known::Absent,
                    Below::Named(subresource) => Known::Is(subresource),
                    Below::Other => Known::NoneOf(&self.own_subresources),
                };
                facts.learn(well_known::SUBRESOURCE, subresource);
                let Some(known) = target.known() else { return };
                let table = &self.rules.fields;
                self.fields.learn_resource(facts, table, known, target.subresource());
            }
            Target::Group(of) => {
                facts.learn(well_known::RESOURCE, Known::NoneOf(&self.names));
                facts.learn(well_known::SUBRESOURCE, Known::Avoids(&self.own_subresources));
                group(facts, of);
            }
            Target::OtherResource => {
                facts.learn(well_known::RESOURCE, Known::NoneOf(&self.names));
                facts.learn(well_known::SUBRESOURCE, Known::Avoids(&self.own_subresources));
                facts.learn(well_known::API_GROUP, Known::Avoids(&self.groups));
            }
            Target::Url => {
                absent(facts, &self.fields.object);
                absent(facts, &self.fields.request_body);
                absent(facts, &self.fields.response_body);
                absent(facts, &self.fields.changed);
            }
        }
    }

    /// Whether a rule asks for such requests that never end: changes that are answered when they are done.
    pub(super) fn may_be_unfinished(
        &self,
        subject: &Subject<'_>,
        target: usize,
        verb: Option<Verb>,
    ) -> bool {
        let below = self.targets.get(target).and_then(Target::subresource).unwrap_or("");
        let is_change =
            |verb: Verb| verb.is_some_and(|v| CHANGING.contains(&v) && !runs_long(v, below));
        subject.rule.steps == RuleSteps::AllAndUnfinished && verb.is_none_or(is_change)
    }

    /// What a rule needs of some requests.
    pub(super) fn need(&self, subject: &Subject<'_>, target: usize, verb: Option<Verb>) -> Need {
        let prospect = |when| {
            let facts = self.facts(target, verb, when);
            let prospect = self.reach.prospect(&subject.rule.expression, &facts);
            prospect.is_possible().then(|| prospect.level.max(subject.declared))
        };
        let mut need = Need { level: prospect(When::Answered), received: false };
        if subject.rule.steps != RuleSteps::Canonical {
            let received = prospect(When::Received);
            need.received = received.is_some();
            need.level = need.level.max(received);
        }
        if self.may_be_unfinished(subject, target, verb) {
            let unfinished = prospect(When::Unfinished);
            need.received |= unfinished.is_some();
            need.level = need.level.max(unfinished);
        }
        need
    }
}

/// A detection rule that some event can satisfy.
pub(super) struct Subject<'r> {
    /// Its name, or that of the rule that it was made for.
    pub(super) name: &'r str,
    /// Where that rule stands.
    pub(super) place: Option<&'r Place>,
    pub(super) rule: &'r DetectionRule,
    /// The level that its author asks for, if that is more than its condition does.
    pub(super) declared: AuditLevel,
    /// The subresources that it names.
    pub(super) subresources: BTreeSet<&'r str>,
}

impl<'r> Subject<'r> {
    /// All detection rules that can match, in their order.
    pub(super) fn all(rules: &'r RuleSet) -> Vec<Subject<'r>> {
        let reach = Reach::new(rules);
        let subject = |(index, rule): (RuleIndex, &'r DetectionRule)| {
            let level = reach.level_of(&rule.expression);
            let owner = rules.rule(rules.written_for(index)).meta();
            let declared = Some(rule.meta.needs).filter(|needs| *needs > level);
            Subject {
                name: &owner.name,
                place: owner.place.as_ref(),
                rule,
                declared: declared.unwrap_or_default(),
                subresources: texts_of(rules, rule, well_known::SUBRESOURCE),
            }
        };
        let possible = |rule: &DetectionRule| rule.expression != Expression::Constant(false);
        rules.detections().filter(|(_, rule)| possible(rule)).map(subject).collect()
    }
}

/// Resources that rules name and Kubernetes does not bring along, each with the group that the same
/// rule names, and the groups that rules name.
fn named(rules: &RuleSet) -> (BTreeSet<(Option<String>, String)>, BTreeSet<String>) {
    let (mut resources, mut all_groups) = (BTreeSet::new(), BTreeSet::new());
    for (_, rule) in rules.detections() {
        let names = texts_of(rules, rule, well_known::RESOURCE);
        let groups = texts_of(rules, rule, well_known::API_GROUP);
        for name in names {
            if resources::named(name).any(|known| groups.is_empty() || groups.contains(known.group))
            {
                continue;
            }
            if groups.is_empty() {
                resources.insert((None, name.to_owned()));
            }
            for group in &groups {
                resources.insert((Some((*group).to_owned()), name.to_owned()));
            }
        }
        all_groups.extend(groups.into_iter().map(str::to_owned));
    }
    (resources, all_groups)
}

/// The texts that a rule names for a field.
fn texts_of<'r>(rules: &'r RuleSet, rule: &DetectionRule, field: FieldId) -> BTreeSet<&'r str> {
    let mut named: BTreeSet<&str> = BTreeSet::new();
    rule.expression.for_each_predicate(&mut |id| {
        let Some(predicate) = rules.predicates.get(id.0 as usize) else { return };
        match &predicate.test {
            _ if predicate.field != field => {}
            Test::OneOf { texts, .. } => named.extend(texts.iter().map(String::as_str)),
            Test::Text { kind: StringKind::Equals, pattern, .. } => {
                named.insert(pattern);
            }
            _ => {}
        }
    });
    named
}
