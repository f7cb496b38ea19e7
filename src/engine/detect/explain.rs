//! Why an event does or does not satisfy a rule: the condition, with the result of every part.
//!
//! Nothing is remembered, indexed or skipped here, so it is also what the fast way is tested against.
//! A correlation is explained by its inputs, for no event alone decides it.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use hashbrown::HashMap;
use regex::Regex;
use serde::Serialize;

use super::{
    capture::{FreeText, Keep},
    derivations::Derivations,
    element,
    test::{self, Scratch},
    twice::{Readings, combined},
};
use crate::engine::{
    dead_letter::{ControlMessage, DeadLetterReason},
    decode::{Decoder, Origin, Sink},
    event::{Event, FieldId, Stage, is_end_of_long, unseen, well_known},
    limits::CAPTURED_VALUES_MAX,
    rule::{
        CaptureSlot, CorrelationRule, DetectionRule, Expression, Note, Outline, Predicate, Rule,
        RuleIndex, RuleSet, RuleSteps, SameElement, Test,
    },
    time::EventTime,
    value::{Captured, Value},
};

/// Elements of an array that are explained one by one if none of them holds: 10.
const ELEMENTS_SHOWN: usize = 10;

/// A part of a condition with its result for one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether it holds.
    pub holds: bool,
    /// What its author called it: a selection, or a filter with its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says: `all of`, `any of`, `not`, or a test in words.
    pub says: String,
    /// The values of the field that it tests, with secrets redacted; `None` if it tests no field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
    /// How many more values there are, which are not shown.
    #[serde(skip_serializing_if = "is_none_left_out")]
    pub left_out: usize,
    /// Why the filter, or the entry of a list that decided, is there, and who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The field is absent from what is left of an event that was cut: it may have been there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
    /// The parts that it is made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Explanation>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_none_left_out(left_out: &usize) -> bool {
    *left_out == 0
}

impl fmt::Display for Explanation {
    /// One line a part, indented, each beginning with `✓` or `✗`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Explanation {
    fn new(holds: bool, says: impl Into<String>, parts: Vec<Explanation>) -> Explanation {
        Explanation { holds, says: says.into(), parts, ..Explanation::default() }
    }

    fn not(part: Explanation) -> Explanation {
        Explanation::new(!part.holds, "not", vec![part])
    }

    fn all(parts: Vec<Explanation>) -> Explanation {
        Explanation::new(parts.iter().all(|part| part.holds), "all of", parts)
    }

    fn any(parts: Vec<Explanation>) -> Explanation {
        Explanation::new(parts.iter().any(|part| part.holds), "any of", parts)
    }

    /// What it says after its sign: name, test and values, in one line.
    pub fn line(&self) -> String {
        let mut line = match &self.name {
            Some(name) => format!("{name}: {}", self.says),
            None => self.says.clone(),
        };
        match self.values.as_deref() {
            None => {}
            Some([]) if self.cut_off => line.push_str("  (cut off: nobody knows)"),
            Some([]) => line.push_str("  (absent)"),
            Some([value]) => line.push_str(&format!("  ({value})")),
            Some(values) => {
                let count = values.len() + self.left_out;
                let more = if self.left_out > 0 { ", …" } else { "" };
                line.push_str(&format!("  ({count} values: {}{more})", values.join(", ")));
            }
        }
        line
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let sign = if self.holds { '✓' } else { '✗' };
        writeln!(f, "{:indent$}{sign} {}", "", self.line(), indent = depth * 2)?;
        if let Some(note) = &self.note {
            writeln!(f, "{:indent$}note: {note}", "", indent = depth * 2 + 2)?;
        }
        self.parts.iter().try_for_each(|part| part.write(f, depth + 1))
    }
}

/// What a rule makes of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedRule {
    /// Its name.
    pub name: String,
    /// The event satisfies it; for a correlation: it counts.
    pub holds: bool,
    /// Why the rule does not look at the event at all, whatever its condition says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<&'static str>,
    /// What else decides whether it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<&'static str>,
    /// Fields of the condition that the rule could not see, for the event is not whole; sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<String>,
    /// The condition; a correlation has none that one event decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Explanation>,
    /// The inputs of a correlation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<ExplainedInput>,
}

/// What one input of a correlation makes of an event, and where it would count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedInput {
    /// The input.
    pub rule: ExplainedRule,
    /// The event satisfies it, and no part of the key and no counted value is absent.
    pub counts: bool,
    /// The key under which it counts.
    pub key: Vec<KeyPart>,
    /// The values that are counted or summed, if the correlation looks at any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<KeyPart>,
}

/// One part of a correlation key, or one counted value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyPart {
    /// What the input calls it.
    pub field: String,
    /// Its value, with secrets redacted; `None` if it is absent.
    pub value: Option<String>,
}

/// What became of one event of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedEvent {
    /// Its `auditID`.
    pub audit_id: String,
    /// Its stage.
    pub stage: Stage,
    /// When it happened.
    pub time: EventTime,
    /// Who asked for what, in a few words.
    pub request: String,
    /// What each rule that was asked for makes of it.
    pub rules: Vec<ExplainedRule>,
}

/// What became of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExplainedRecord {
    /// Its events.
    pub events: Vec<ExplainedEvent>,
    /// What could not be decoded: the reason, and what is wrong.
    pub undecodable: Vec<(DeadLetterReason, String)>,
}

const NOT_ANSWERED: &str = "an event of stage RequestReceived has no answer yet: only rules that name \
                            `stage` see it";
const NO_STAGE: &str =
    "no stage of the API server: only rules that name `stage: Unfinished` see it";
const SECOND_ANSWER: &str = "the second answer of a request that runs long: it counts only if the first, \
                             of stage ResponseStarted, was not recorded";

/// Explains what a detection rule makes of an event. `None` for a correlation, which no event alone
/// decides.
pub fn explain(rules: &RuleSet, rule: RuleIndex, event: &mut Event<'_>) -> Option<Explanation> {
    let Some(Rule::Detection(detection)) = rules.rules.get(rule.index()) else { return None };
    Some(Explainer::new(rules).condition(rule, detection, &mut Readings::of(event)))
}

/// Explains what some rules make of each event of a record.
pub fn explain_record(rules: &RuleSet, which: &[RuleIndex], payload: &[u8]) -> ExplainedRecord {
    RecordExplainer::new(rules).explain(which, payload)
}

/// Explains one record after the other, for which it keeps what it needs of the rules.
pub struct RecordExplainer<'r> {
    explainer: Explainer<'r>,
    decoder: Decoder,
}

impl<'r> RecordExplainer<'r> {
    /// Cost: the number of fields of all rules.
    pub fn new(rules: &'r RuleSet) -> RecordExplainer<'r> {
        RecordExplainer { explainer: Explainer::new(rules), decoder: Decoder::new(&rules.fields) }
    }

    /// What these rules make of each event of a record. Cost: the conditions of all of them, for each event.
    pub fn explain(&mut self, which: &[RuleIndex], payload: &[u8]) -> ExplainedRecord {
        let RecordExplainer { explainer, decoder } = self;
        let mut sink = Explained { explainer, which, record: ExplainedRecord::default() };
        decoder.decode(payload, Origin::default(), &mut sink);
        sink.record
    }
}

struct Explained<'e, 'r> {
    explainer: &'e mut Explainer<'r>,
    which: &'e [RuleIndex],
    record: ExplainedRecord,
}

impl Sink for Explained<'_, '_> {
    fn event(&mut self, event: &mut Event<'_>) {
        let explainer = &mut *self.explainer;
        let mut readings = Readings::of(event);
        let rules = self.which.iter().map(|rule| explainer.rule(*rule, &mut readings).0).collect();
        let event = &*readings.every;
        self.record.events.push(ExplainedEvent {
            audit_id: event.first_str(well_known::AUDIT_ID).unwrap_or("").to_owned(),
            stage: event.stage,
            time: event.time,
            request: request_of(event),
            rules,
        });
    }

    fn control(&mut self, _message: ControlMessage) {
        // No rule has anything to say about it.
    }

    fn dead_letter(&mut self, reason: DeadLetterReason, detail: String, _bytes: &[u8]) {
        self.record.undecodable.push((reason, detail));
    }
}

/// `eve: get secrets shop/db: 200`.
fn request_of(event: &Event<'_>) -> String {
    let text = |field: FieldId| event.first_str(field).filter(|text| !text.is_empty());
    let mut request = match (text(well_known::IMPERSONATED_USERNAME), text(well_known::USERNAME)) {
        (Some(actor), Some(user)) => format!("{user} as {actor}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "somebody".to_owned(),
    };
    request.push_str(&format!(": {}", text(well_known::VERB).unwrap_or("an unknown verb")));
    if let Some(resource) = text(well_known::RESOURCE) {
        request.push_str(&format!(" {resource}"));
        if let Some(subresource) = text(well_known::SUBRESOURCE) {
            request.push_str(&format!("/{subresource}"));
        }
        let object = [well_known::NAMESPACE, well_known::NAME].map(text);
        let object: Vec<&str> = object.into_iter().flatten().collect();
        if !object.is_empty() {
            request.push_str(&format!(" {}", object.join("/")));
        }
    } else {
        // The query may hold secrets.
        let path = text(well_known::REQUEST_URI).and_then(|uri| uri.split('?').next());
        request.push_str(&path.map_or(String::new(), |path| format!(" {path}")));
    }
    let code = event.first(well_known::RESPONSE_CODE).and_then(Value::text);
    request.push_str(&code.map_or(String::new(), |code| format!(": {code}")));
    request
}

/// What a finding of a rule would carry, by its capture slots.
type Carried = Vec<Option<String>>;

struct Explainer<'r> {
    rules: &'r RuleSet,
    derivations: Derivations,
    free_text: FreeText,
    scratch: Scratch,
    /// What is said of filters and entries of lists of the rule that is being explained.
    notes: &'r [Note],
    /// What values such entries say something of, read once.
    patterns: HashMap<&'r str, Option<Regex>>,
    /// Fields of the condition that is being explained that may have been cut off.
    cut_off: BTreeSet<String>,
}

impl<'r> Explainer<'r> {
    fn new(rules: &'r RuleSet) -> Explainer<'r> {
        Explainer {
            rules,
            derivations: Derivations::new(rules),
            free_text: FreeText::new(&rules.fields),
            scratch: Scratch::default(),
            notes: &[],
            patterns: HashMap::new(),
            cut_off: BTreeSet::new(),
        }
    }

    /// Whether a field that is absent may have been there before the event was cut.
    fn may_be_cut_off(&self, field: FieldId, event: &Event<'_>) -> bool {
        let path = self.rules.fields.path(field);
        let in_body = || {
            ["requestObject", "responseObject", "object.", "pod_spec"]
                .iter()
                .any(|body| path.starts_with(body))
        };
        event.is_cut || unseen::is_truncated(event) && in_body()
    }

    /// A rule, and what its finding would carry.
    fn rule(&mut self, index: RuleIndex, event: &mut Readings<'_, '_>) -> (ExplainedRule, Carried) {
        let rules = self.rules;
        match rules.rule(index) {
            Rule::Detection(rule) => self.detection(index, rule, event),
            Rule::Correlation(rule) => self.correlation(rule, event),
        }
    }

    fn detection(
        &mut self,
        index: RuleIndex,
        rule: &'r DetectionRule,
        event: &mut Readings<'_, '_>,
    ) -> (ExplainedRule, Carried) {
        let canonical = rule.steps == RuleSteps::Canonical;
        let stage = event.every.stage;
        let names_unfinished = rule.steps == RuleSteps::AllAndUnfinished;
        let unseen = match stage {
            Stage::RequestReceived if canonical => Some(NOT_ANSWERED),
            Stage::Unfinished if !names_unfinished => Some(NO_STAGE),
            _ => None,
        };
        let second = canonical && is_end_of_long(event.every);
        let condition = self.condition(index, rule, event);
        let carried = rule.capture.iter().map(|field| self.carried(*field, rule, event)).collect();
        let explained = ExplainedRule {
            name: rule.meta.name.clone(),
            holds: condition.holds && unseen.is_none(),
            unseen,
            remark: (second && condition.holds).then_some(SECOND_ANSWER),
            cut_off: std::mem::take(&mut self.cut_off).into_iter().collect(),
            condition: Some(condition),
            inputs: Vec::new(),
        };
        (explained, carried)
    }

    /// The values of a field, as they become parts of keys.
    fn carried(
        &mut self,
        field: FieldId,
        rule: &DetectionRule,
        event: &mut Readings<'_, '_>,
    ) -> Option<String> {
        let shown = event.shown(&self.derivations, field);
        let (keep, condition) = (Keep::Shown, &rule.expression);
        let captured = self.free_text.capture_deciding(shown, field, keep, self.rules, condition);
        captured.joined().map(Cow::into_owned)
    }

    fn correlation(
        &mut self,
        rule: &CorrelationRule,
        event: &mut Readings<'_, '_>,
    ) -> (ExplainedRule, Carried) {
        let mut inputs = Vec::new();
        let mut finding = Carried::new();
        for input in &rule.inputs {
            let (explained, carried) = self.rule(input.rule, event);
            let captured = self.rules.rule(input.rule).capture();
            let part = |slot: &CaptureSlot| KeyPart {
                field: captured.get(slot.index()).cloned().unwrap_or_default(),
                value: carried.get(slot.index()).cloned().flatten(),
            };
            let cluster = input.cluster.iter().map(part).filter(|part| part.value.is_some());
            let key: Vec<KeyPart> = input.key.iter().map(part).chain(cluster).collect();
            let values: Vec<KeyPart> = input.fields.iter().map(part).collect();
            let absent = key.iter().chain(&values).any(|part| part.value.is_none());
            let counts = explained.holds && !absent;
            if finding.is_empty() || counts {
                let of = |slot: &Option<CaptureSlot>| carried.get((*slot)?.index()).cloned()?;
                finding = input.capture.iter().map(of).collect();
            }
            inputs.push(ExplainedInput { rule: explained, counts, key, values });
        }
        let explained = ExplainedRule {
            name: rule.meta.name.clone(),
            holds: inputs.iter().any(|input| input.counts),
            unseen: None,
            remark: None,
            cut_off: Vec::new(),
            condition: None,
            inputs,
        };
        (explained, finding)
    }

    fn condition(
        &mut self,
        index: RuleIndex,
        rule: &'r DetectionRule,
        event: &mut Readings<'_, '_>,
    ) -> Explanation {
        self.notes = &rule.meta.about.notes;
        let Some(outline) = self.rules.outlines.get(&index) else {
            return self.expression(&rule.expression, event, true);
        };
        let mut condition = self.outline(outline, event, true);
        if event.taken.is_some() {
            // What was made simpler when the rule was loaded is no longer the same in two readings.
            condition.holds = self.expression(&rule.expression, event, true).holds;
        }
        condition
    }

    /// A part of a condition. `counts`: it counts towards the whole, and not against it.
    fn outline(
        &mut self,
        outline: &Outline,
        event: &mut Readings<'_, '_>,
        counts: bool,
    ) -> Explanation {
        match outline {
            Outline::Part(expression) => self.expression(expression, event, counts),
            Outline::Named(name, inner) => {
                let part = self.outline(inner, event, counts);
                let own = self.notes.iter().find(|note| note.on == *name);
                let note = own.map(ToString::to_string).or(part.note);
                Explanation { name: Some(name.clone()), note, ..part }
            }
            Outline::Not(inner) => Explanation::not(self.outline(inner, event, !counts)),
            Outline::All(parts) => Explanation::all(
                parts.iter().map(|part| self.outline(part, event, counts)).collect(),
            ),
            Outline::Any(parts) => Explanation::any(
                parts.iter().map(|part| self.outline(part, event, counts)).collect(),
            ),
        }
    }

    fn expression(
        &mut self,
        expression: &Expression,
        event: &mut Readings<'_, '_>,
        counts: bool,
    ) -> Explanation {
        let time = event.every.time;
        let leaf = |holds, says| Explanation::new(holds, says, Vec::new());
        match expression {
            Expression::Constant(holds) => leaf(*holds, self.rules.describe(expression)),
            Expression::Inside(schedule) => {
                let schedule = self.rules.schedules.get(usize::from(schedule.0));
                let inside = schedule.is_some_and(|schedule| schedule.contains(time));
                let says = self.rules.describe(expression);
                leaf(inside, format!("{says}, at {time}"))
            }
            Expression::SameElement(same) => self.same_element(same, event.every, counts),
            Expression::Before(end) => leaf(time < *end, self.rules.describe(expression)),
            Expression::Predicate(id) => {
                let mut explanation = leaf(false, self.rules.describe_predicate(*id));
                let Some(predicate) = self.rules.predicates.get(id.0 as usize) else {
                    return explanation;
                };
                let every = self.holds(predicate, event.every);
                explanation.holds = match &mut event.taken {
                    Some(taken) => combined(counts, every, || self.holds(predicate, taken)),
                    None => every,
                };
                let event = &*event.every;
                if !event.has(predicate.field) && self.may_be_cut_off(predicate.field, event) {
                    explanation.cut_off = true;
                    self.cut_off.insert(self.rules.fields.path(predicate.field).to_owned());
                }
                let shown =
                    self.free_text.capture_by(event, predicate.field, Keep::Shown, &[predicate]);
                explanation.values = Some(match shown {
                    Captured::Absent if event.has(predicate.field) => {
                        vec!["null or an object".to_owned()]
                    }
                    Captured::Absent | Captured::Event(_) => Vec::new(),
                    Captured::One(text) => vec![text.to_string()],
                    Captured::Many(texts) => texts.iter().map(ToString::to_string).collect(),
                });
                explanation.left_out =
                    event.count(predicate.field).saturating_sub(CAPTURED_VALUES_MAX);
                if explanation.holds {
                    explanation.note =
                        self.note_on(explanation.values.as_deref().unwrap_or_default());
                }
                explanation
            }
            Expression::Not(inner) => Explanation::not(self.expression(inner, event, !counts)),
            Expression::All(parts) => Explanation::all(
                parts.iter().map(|part| self.expression(part, event, counts)).collect(),
            ),
            Expression::Any(parts) => Explanation::any(
                parts.iter().map(|part| self.expression(part, event, counts)).collect(),
            ),
        }
    }

    /// Whether a predicate holds for an event, in one reading.
    fn holds(&mut self, predicate: &Predicate, event: &mut Event<'_>) -> bool {
        self.derivations.derive(event, predicate.field);
        if let Test::FieldRef { other, .. } = predicate.test {
            self.derivations.derive(event, other);
        }
        test::holds(predicate, event, &mut self.scratch)
    }

    /// What is said of an entry of a list that one of these values is.
    fn note_on(&mut self, values: &[String]) -> Option<String> {
        let notes = self.notes;
        let found = notes.iter().find(|note| {
            let Some(value) = note.value.as_deref() else { return false };
            let pattern = self.patterns.entry(value).or_insert_with(|| Regex::new(value).ok());
            pattern.as_ref().is_some_and(|regex| values.iter().any(|value| regex.is_match(value)))
        })?;
        Some(format!("{}: {found}", found.on))
    }

    /// The element that satisfies the condition; if none does, the first of them.
    fn same_element(&mut self, same: &SameElement, event: &Event<'_>, counts: bool) -> Explanation {
        if !event.has(same.of) && self.may_be_cut_off(same.of, event) {
            self.cut_off.insert(self.rules.fields.path(same.of).to_owned());
        }
        let mut elements = element::elements(self.rules, same, event);
        let found = elements.iter().position(|element| {
            element.holds(self.rules, &same.condition, counts, &mut self.scratch)
        });
        let (first, shown) = match found {
            Some(index) => (index, 1),
            None => (0, ELEMENTS_SHOWN),
        };
        let mut says = format!("one element of {} has", self.rules.fields.path(same.of));
        if elements.is_empty() {
            says.push_str(&format!(" {}", self.rules.describe(&same.condition)));
        }
        let values = elements.is_empty().then(Vec::new);
        let parts = elements
            .iter_mut()
            .enumerate()
            .skip(first)
            .take(shown)
            .map(|(index, element)| {
                let name = Some(format!("element {}", index + 1));
                let part = self.expression(&same.condition, &mut element.readings(), counts);
                Explanation { name, ..part }
            })
            .collect();
        Explanation { values, ..Explanation::new(found.is_some(), says, parts) }
    }
}
