//! From documents to the plan: filters joined to rules, references resolved, captures decided.
//!
//! Correlations are looked at from the outermost inwards to learn which values each rule must hand
//! on, and then all rules are made from the innermost outwards.

pub(in crate::engine) mod alert;
mod correlation;
mod graph;
mod leaf;
pub(in crate::engine) mod risk;
mod same_element;
mod state;
mod timed;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use self::{
    alert::{alert_spec, evidence_of, meta_of, template_fields},
    leaf::ItemCompiler,
    risk::{RiskSettings, risk_rules},
    same_element::{check_arrays, same_element},
};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    event::Identities,
    kind::{Kind, KindSyntax, ResolveContext},
    limits::{CONDITION_TESTS_MAX, FIELDS_MAX, FILTERS_PER_RULE_MAX},
    rule::{
        check::{
            fields::check_field, possible::check_conditions, require::requirements,
            values::level_needed,
        },
        plan::{
            build::{Builder, all, any, not},
            outline::Outline,
            set::{
                DetectionRule, Expression, Rule, RuleIndex, RuleMeta, RuleSet, RuleSteps, Schedule,
                ScheduleIndex,
            },
        },
        read::{
            document::{
                CorrelationDocument, DetectionDocument, DetectionSyntax, Document, FilterDocument,
            },
            list::{ListEntry, Lists},
            names::Names,
            selection::{Item, Search},
        },
    },
    syntax::{
        code,
        condition::{self, Condition},
        read::Text,
    },
    time::EventTime,
};

/// Fields by which alerts of a plain detection rule are told apart, unless it says otherwise.
pub(in crate::engine) const DEFAULT_KEY: [&str; 4] =
    ["cluster", "actor.id", "objectRef.namespace", "objectRef.name"];

/// Everything that compiling one rule may look at.
pub(in crate::engine) struct Compiler<'a> {
    /// All documents.
    pub(in crate::engine) documents: &'a [Document],
    /// What they are called.
    pub(in crate::engine) names: &'a Names,
    /// All lists.
    pub(in crate::engine) lists: &'a Lists,
    /// All schedules, sorted by name.
    pub(in crate::engine) schedules: &'a [Schedule],
    /// Who is who.
    pub(in crate::engine) identities: Arc<Identities>,
    /// What the risk of an entity comes to.
    pub(in crate::engine) risk: &'a RiskSettings,
    /// Where problems go.
    pub(in crate::engine) problems: &'a Problems,
    /// How long an alert of a plain detection rule fires after its last event.
    pub(in crate::engine) resolve_after: Duration,
    /// The plan so far.
    pub(in crate::engine) builder: Builder,
}

/// A condition to evaluate, and the same as it was written.
type Compiled = (Expression, Outline);

/// A filter with what it was compiled to.
type CompiledFilter<'a> = (&'a FilterDocument, Compiled);

/// Names of values in the order in which they were first asked for.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Wanted(pub(in crate::engine) Vec<String>);

impl Wanted {
    /// Adds what is new.
    pub(in crate::engine) fn add<S: AsRef<str>>(&mut self, names: impl IntoIterator<Item = S>) {
        for name in names {
            if !self.0.iter().any(|known| known == name.as_ref()) {
                self.0.push(name.as_ref().to_owned());
            }
        }
    }
}

/// Compiles all documents. The result is of use only if no error was reported.
pub(in crate::engine) fn compile(mut compiler: Compiler<'_>, version: String) -> RuleSet {
    let documents = compiler.documents;
    let graph = graph::resolve(&compiler);
    graph::check_effect(&compiler, &graph);
    let filters = compiler.filters_by_rule();
    let compiled_filters = compiler.all_filters();
    let mut rules: Vec<Rule> = Vec::new();
    // Where the rule of each document is; a rule with state is the second of two.
    let mut index_of: BTreeMap<usize, RuleIndex> = BTreeMap::new();
    let mut states = Vec::new();
    let mut outlines = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        let Document::Detection(detection) = document else { continue };
        let wanted = graph.wanted.get(&index).cloned().unwrap_or_default();
        let alerts = graph.alerts(index);
        let own_filters = filters.get(&index).map_or(&[][..], Vec::as_slice);
        let own_filters = own_filters.iter().filter_map(|filter| compiled_filters.get(filter));
        let (rule, outline) =
            compiler.detection(index, detection, own_filters.collect(), wanted, alerts);
        let rule_index = next_index(&rules);
        outlines.insert(rule_index, outline);
        if detection.header.extension.state.is_some() {
            states.push((index, rule_index));
        } else {
            index_of.insert(index, rule_index);
        }
        rules.push(Rule::Detection(rule));
    }
    let timed = timed::timed_inputs(&compiler, &graph, &index_of, &mut rules, &mut outlines);
    for (index, input) in states {
        if let Some(Document::Detection(detection)) = documents.get(index)
            && let Some(rule) =
                state::compile_state(&compiler, index, detection, input, &rules, &graph)
        {
            index_of.insert(index, next_index(&rules));
            rules.push(Rule::Correlation(rule));
        }
    }
    for index in graph.order.iter().copied() {
        if let Some(Document::Correlation(correlation)) = documents.get(index)
            && let Some(rule) =
                compiler.correlation(index, correlation, &index_of, &timed, &rules, &graph)
        {
            index_of.insert(index, next_index(&rules));
            rules.push(Rule::Correlation(rule));
        }
    }
    let risk = risk_rules(&compiler, compiler.risk, &index_of, &rules);
    rules.extend(risk.into_iter().map(Rule::Correlation));
    compiler.check_field_count();
    RuleSet {
        fields: compiler.builder.fields,
        predicates: compiler.builder.predicates,
        rules,
        schedules: compiler.schedules.to_vec(),
        identities: compiler.identities,
        outlines,
        version,
    }
}

fn next_index(rules: &[Rule]) -> RuleIndex {
    RuleIndex(u32::try_from(rules.len()).expect("rules are bounded"))
}

impl<'a> Compiler<'a> {
    fn check_field_count(&self) {
        if self.builder.too_many_fields {
            let title = format!("all rules together name more than {FIELDS_MAX} fields");
            self.problems.push(Diagnostic::error_nowhere(code::TOO_MANY, title));
        }
    }

    /// The parameters of a kind, checked against the rest of the rule set.
    pub(in crate::engine) fn resolve(
        &self,
        kind: &KindSyntax,
        rules: &[Text],
        key_parts: usize,
        place: &Place,
    ) -> Option<Arc<dyn Kind>> {
        let list = |name: &Text| self.exact_values(name);
        let problems = self.problems;
        let context = ResolveContext { rules, key_parts, place, list: &list, problems };
        kind.parameters.resolve(&context)
    }

    /// The values of a list that must have no wildcards.
    fn exact_values(&self, name: &Text) -> Option<Vec<(String, Option<EventTime>)>> {
        let Some(list) = self.lists.get(&name.value) else {
            let title = format!("there is no list `{}`", name.value);
            let diagnostic = Diagnostic::error(code::UNKNOWN_LIST, name.place.clone(), title)
                .suggest(&name.value, self.lists.names())
                .help(format!("write its values to `lists/{}.yaml`", name.value));
            self.problems.push(diagnostic);
            return None;
        };
        let plain = |entry: &ListEntry| Some((entry.pattern.plain()?.to_owned(), entry.until));
        let values: Option<Vec<_>> = list.entries.iter().map(plain).collect();
        if values.is_none() {
            let title = format!("the list `{}` has wildcards; keys have exact names", name.value);
            let place = name.place.clone();
            self.problems.push(Diagnostic::error(code::SHAPE_MISMATCH, place, title));
        }
        values
    }

    /// The filters of each detection rule, by documents.
    fn filters_by_rule(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut by_rule: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, document) in self.documents.iter().enumerate() {
            let Document::Filter(filter) = document else { continue };
            if filter.rules.is_empty() {
                for (rule, target) in self.documents.iter().enumerate() {
                    if matches!(target, Document::Detection(_)) {
                        by_rule.entry(rule).or_default().push(index);
                    }
                }
            }
            for reference in &filter.rules {
                let Some(rule) = self.names.find(reference, self.problems) else { continue };
                match self.documents.get(rule) {
                    Some(Document::Detection(_)) => by_rule.entry(rule).or_default().push(index),
                    _ => self.bad_target(reference),
                }
            }
        }
        for (rule, filters) in &by_rule {
            if let Some(document) = self.documents.get(*rule)
                && filters.len() > FILTERS_PER_RULE_MAX
            {
                let title = format!("the rule has {} filters", filters.len());
                let place = document.header().place.clone();
                let diagnostic = Diagnostic::error(code::TOO_MANY, place, title)
                    .help(format!("at most {FILTERS_PER_RULE_MAX} work; join some"));
                self.problems.push(diagnostic);
            }
        }
        by_rule.retain(|_, filters| filters.len() <= FILTERS_PER_RULE_MAX);
        by_rule
    }

    /// Every filter, by its document.
    fn all_filters(&mut self) -> BTreeMap<usize, CompiledFilter<'a>> {
        let documents = self.documents;
        let filters = documents.iter().enumerate().filter_map(|(index, document)| match document {
            Document::Filter(filter) => Some((index, filter)),
            _ => None,
        });
        filters.map(|(index, document)| (index, (document, self.filter(document)))).collect()
    }

    fn bad_target(&self, reference: &Text) {
        let title = format!("`{}` is not a detection rule", reference.value);
        let place = reference.place.clone();
        let diagnostic = Diagnostic::error(code::BAD_FILTER_TARGET, place, title)
            .help("filter the detection rules that it refers to");
        self.problems.push(diagnostic);
    }

    fn detection(
        &mut self,
        index: usize,
        document: &DetectionDocument,
        filters: Vec<&CompiledFilter<'_>>,
        mut wanted: Wanted,
        alerts: bool,
    ) -> (DetectionRule, Outline) {
        let header = &document.header;
        let mut meta = meta_of(header, self.names.of.get(index));
        let has_state = header.extension.state.is_some();
        let (own, outline) = self.condition_of(&document.detection, &header.extension.same_element);
        let (mut parts, mut outlines) = (vec![own], vec![outline]);
        for (filter, (expression, outline)) in filters {
            if let Some(own) = parts.first() {
                self.check_left(document, filter, own, expression);
            }
            parts.push(expression.clone());
            outlines.push(outline.clone());
        }
        let mut more = self.schedule_tests(&header.extension.schedules);
        more.extend(header.extension.expires.iter().map(|(until, _)| Expression::Before(*until)));
        outlines.extend(more.iter().cloned().map(Outline::Part));
        parts.extend(more);
        if alerts && !has_state {
            let key = self.key_of(document);
            wanted.add(&key);
            let evidence = evidence_of(header);
            wanted.add(&evidence);
            wanted.add(template_fields(header, self.problems));
            let mut spec = alert_spec(header, &wanted.0, &evidence);
            spec.key = alert::slots(&wanted.0, &key);
            spec.resolve_after = self.resolve_after;
            meta.alert = Some(spec);
            meta.state_shape = shape("detection", &key, &[]);
        }
        wanted.add(header.extension.risk.iter().map(|(entity, _)| &entity.value));
        if let Some((level, _)) = level_needed(&document.detection) {
            meta.needs = meta.needs.max(level);
        }
        if has_state {
            meta.id.push_str("#events");
            meta.name.push_str("_events");
        }
        let capture = wanted.0.iter().map(|path| self.builder.field(path)).collect();
        let rule = DetectionRule {
            meta,
            expression: all(parts),
            steps: steps_of(&document.detection),
            capture,
            capture_names: wanted.0,
        };
        (rule, Outline::all(outlines))
    }

    /// Warns if a filter leaves nothing of a rule that could match without it.
    fn check_left(
        &self,
        document: &DetectionDocument,
        filter: &FilterDocument,
        own: &Expression,
        expression: &Expression,
    ) {
        let after = all([own.clone(), expression.clone()]);
        let empty = |expression: &Expression| {
            *expression == Expression::Constant(false)
                || requirements(expression, &self.builder).is_err()
        };
        if empty(own) || !empty(&after) {
            return;
        }
        let title = format!("the filter leaves nothing of `{}`", document.header.title);
        let place = filter.header.place.clone();
        let diagnostic = Diagnostic::warning(code::FILTER_EMPTIES_RULE, place, title).help(
            "a filter is joined by `and`: to leave events out, begin its condition with `not`",
        );
        self.problems.push(diagnostic);
    }

    /// The fields that identify an alert of a detection rule.
    pub(in crate::engine) fn key_of(&self, document: &DetectionDocument) -> Vec<String> {
        match &document.header.extension.group_by {
            Some(fields) => {
                for field in fields {
                    check_field(&field.value, &field.place, self.problems);
                }
                fields.iter().map(|field| field.value.clone()).collect()
            }
            None => DEFAULT_KEY.iter().map(|field| (*field).to_owned()).collect(),
        }
    }

    fn filter(&mut self, filter: &FilterDocument) -> Compiled {
        let (mut expression, mut outline) = self.condition_of(&filter.detection, &[]);
        if let Some((until, _)) = &filter.header.extension.expires {
            let over = not(Expression::Before(*until));
            expression = any([expression, over.clone()]);
            outline = Outline::any(vec![outline, Outline::Part(over)]);
        }
        let name = format!("filter \"{}\"", filter.header.title);
        (expression, Outline::named(name, outline))
    }

    /// What `inside` and `outside` ask of the time of an event.
    pub(in crate::engine) fn schedule_tests(&self, schedules: &[(Text, bool)]) -> Vec<Expression> {
        schedules
            .iter()
            .filter_map(|(name, inside)| {
                let test = Expression::Inside(self.schedule(name)?);
                Some(if *inside { test } else { not(test) })
            })
            .collect()
    }

    /// The number of a schedule; an unknown one is reported.
    fn schedule(&self, name: &Text) -> Option<ScheduleIndex> {
        let found = self.schedules.iter().position(|schedule| schedule.name == name.value);
        if found.is_none() {
            let names = || self.schedules.iter().map(|schedule| schedule.name.as_str());
            let title = format!("there is no schedule `{}`", name.value);
            let mut diagnostic =
                Diagnostic::error(code::UNKNOWN_SCHEDULE, name.place.clone(), title)
                    .suggest(&name.value, names());
            if diagnostic.help.is_empty() {
                diagnostic = diagnostic.help("name it in `schedules.yaml` beside the rules");
            }
            self.problems.push(diagnostic);
        }
        u16::try_from(found?).ok().map(ScheduleIndex)
    }

    /// Any of a document's conditions.
    fn condition_of(&mut self, detection: &DetectionSyntax, arrays: &[Text]) -> Compiled {
        let mut items = ItemCompiler {
            builder: &mut self.builder,
            lists: self.lists,
            problems: self.problems,
            source: &detection.source,
            predicate_count: 0,
            regex_count: 0,
        };
        let errors_before = items.problems.error_count();
        let mut selections: BTreeMap<&str, Expression> = BTreeMap::new();
        for (name, search) in &detection.selections {
            let expression = match search {
                Some(search) => search_expression(&mut items, search, arrays),
                None => Expression::Constant(false),
            };
            selections.insert(&name.text, expression);
        }
        check_arrays(detection, arrays, self.problems);
        if !self.check_size(detection, &selections) {
            return (Expression::Constant(false), Outline::Part(Expression::Constant(false)));
        }
        // Mistakes that make a part constant are reported where they are.
        if self.problems.error_count() == errors_before {
            check_conditions(detection, &selections, &self.builder, self.problems);
        }
        let trees = || detection.conditions.iter().map(|(tree, _)| tree);
        let expression = any(trees().map(|tree| evaluate(tree, &selections)));
        let outlines = trees().map(|tree| Outline::of(tree, &selections)).collect();
        (expression, Outline::any(outlines))
    }

    /// Refuses conditions that name large selections again and again.
    fn check_size(
        &self,
        detection: &DetectionSyntax,
        selections: &BTreeMap<&str, Expression>,
    ) -> bool {
        let sizes: BTreeMap<&str, usize> =
            selections.iter().map(|(name, expression)| (*name, expression.size())).collect();
        let mut sum: usize = 0;
        for (tree, text) in &detection.conditions {
            sum = sum.saturating_add(size_of(tree, &sizes));
            if sum > CONDITION_TESTS_MAX {
                let title = format!("the conditions come to more than {CONDITION_TESTS_MAX} tests");
                let diagnostic = Diagnostic::error(code::TOO_MANY, text.place.clone(), title);
                self.problems.push(diagnostic.help("name each selection once"));
                return false;
            }
        }
        true
    }

    fn correlation(
        &self,
        index: usize,
        document: &CorrelationDocument,
        index_of: &BTreeMap<usize, RuleIndex>,
        timed: &timed::TimedInputs,
        rules: &[Rule],
        graph: &graph::Graph,
    ) -> Option<crate::engine::rule::plan::set::CorrelationRule> {
        correlation::compile_correlation(self, index, document, index_of, timed, rules, graph)
    }
}

fn search_expression(items: &mut ItemCompiler<'_>, search: &Search, arrays: &[Text]) -> Expression {
    match search {
        Search::Item(item) => {
            same_element(items, &[search], arrays).unwrap_or_else(|| item_expression(items, item))
        }
        Search::All(parts) => {
            let refs: Vec<&Search> = parts.iter().collect();
            if let Some(joined) = same_element(items, &refs, arrays) {
                return joined;
            }
            let parts: Vec<_> =
                parts.iter().map(|part| search_expression(items, part, arrays)).collect();
            all(parts)
        }
        Search::Any(parts) => {
            let parts: Vec<_> =
                parts.iter().map(|part| search_expression(items, part, arrays)).collect();
            any(parts)
        }
    }
}

pub(in crate::engine) fn item_expression(items: &mut ItemCompiler<'_>, item: &Item) -> Expression {
    if let Some(field) = &item.field {
        let place = Place { source: Arc::clone(items.source), span: item.at.clone() };
        check_field(field, &place, items.problems);
    }
    items.item(item)
}

pub(in crate::engine) fn evaluate(
    tree: &Condition,
    selections: &BTreeMap<&str, Expression>,
) -> Expression {
    match tree {
        Condition::Name(name, _) => {
            selections.get(name.as_str()).cloned().unwrap_or(Expression::Constant(false))
        }
        Condition::Of { all: every, pattern, .. } => {
            let fitting = selections
                .iter()
                .filter(|(name, _)| condition::fits(pattern, name))
                .map(|(_, expression)| expression.clone());
            if *every { all(fitting) } else { any(fitting) }
        }
        Condition::Not(inner) => not(evaluate(inner, selections)),
        Condition::All(parts) => all(parts.iter().map(|part| evaluate(part, selections))),
        Condition::Any(parts) => any(parts.iter().map(|part| evaluate(part, selections))),
    }
}

/// How many tests a condition comes to, by those of each selection.
fn size_of(tree: &Condition, sizes: &BTreeMap<&str, usize>) -> usize {
    let sum = |parts: &[Condition]| {
        parts.iter().fold(0_usize, |sum, part| sum.saturating_add(size_of(part, sizes)))
    };
    match tree {
        Condition::Name(name, _) => sizes.get(name.as_str()).copied().unwrap_or(1),
        Condition::Of { pattern, .. } => sizes
            .iter()
            .filter(|(name, _)| condition::fits(pattern, name))
            .map(|(_, size)| size)
            .sum(),
        Condition::Not(inner) => size_of(inner, sizes),
        Condition::All(parts) | Condition::Any(parts) => sum(parts),
    }
}

/// A rule that names `stage` sees every stage; every other one event per request.
fn steps_of(detection: &DetectionSyntax) -> RuleSteps {
    let names_stage = detection
        .selections
        .iter()
        .filter_map(|(_, search)| search.as_ref())
        .flat_map(Search::items)
        .any(|item| item.field.as_deref() == Some("stage"));
    if names_stage { RuleSteps::All } else { RuleSteps::Canonical }
}

/// Hash of what decides the meaning of a rule's state; see [`RuleMeta::state_shape`].
pub(in crate::engine) fn shape(kind: &str, key: &[String], more: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let parts = std::iter::once(kind)
        .chain(key.iter().map(String::as_str))
        .chain(std::iter::once("\0"))
        .chain(more.iter().copied());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut short = [0; 8];
    for (to, from) in short.iter_mut().zip(hasher.finalize().as_bytes()) {
        *to = *from;
    }
    u64::from_le_bytes(short)
}

/// Shorthand for tests of other modules.
impl RuleMeta {
    /// Whether findings become alerts.
    pub const fn alerts(&self) -> bool {
        self.alert.is_some()
    }
}
