//! What a rule can still come to when only some of an event is known.
//!
//! An audit policy decides by verb, resource and user, long before there is an event. So conditions
//! are evaluated over what is known then: each part holds, does not hold, or depends on the rest.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use super::{fold::Fold, test};
use crate::engine::{
    event::{FieldId, FieldTable, known_field},
    kubernetes::AuditLevel,
    rule::{Comparison, Expression, Predicate, RuleSet, StringKind, Test, fold_case},
    value::Value,
};

/// What is known of one field.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Known<'a> {
    /// It is not there.
    Absent,
    /// It has one value, this one.
    Is(&'a str),
    /// It has these values, and perhaps others.
    Has(&'a [String]),
    /// It has one value, which is none of these; they are folded.
    NoneOf(&'a BTreeSet<String>),
    /// The same, or it is not there.
    Avoids(&'a BTreeSet<String>),
}

/// What is known of an event.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Facts<'a> {
    fields: Vec<Option<Known<'a>>>,
    /// How much is recorded: fields from further levels are absent.
    pub(in crate::engine) recorded: AuditLevel,
}

impl<'a> Facts<'a> {
    /// Nothing is known, and everything is recorded.
    pub(in crate::engine) fn new(fields: &FieldTable) -> Facts<'a> {
        Facts { fields: vec![None; fields.len()], recorded: AuditLevel::RequestResponse }
    }

    /// Learns about a field.
    pub(in crate::engine) fn learn(&mut self, field: FieldId, known: Known<'a>) {
        if let Some(slot) = self.fields.get_mut(field.index()) {
            *slot = Some(known);
        }
    }

    /// Learns about a field by its path, if any rule names it.
    pub(in crate::engine) fn learn_path(
        &mut self,
        table: &FieldTable,
        path: &str,
        known: Known<'a>,
    ) {
        if let Some(field) = table.get(path) {
            self.learn(field, known);
        }
    }
}

/// What a condition comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Prospect {
    /// Whether it holds. `None`: it depends on what is not known.
    pub(in crate::engine) holds: Option<bool>,
    /// From which audit level on everything is recorded that it depends on.
    pub(in crate::engine) level: AuditLevel,
}

impl Prospect {
    /// Whether it can hold.
    pub(in crate::engine) fn is_possible(self) -> bool {
        self.holds != Some(false)
    }

    const fn decided(holds: bool) -> Prospect {
        Prospect { holds: Some(holds), level: AuditLevel::Metadata }
    }
}

/// Evaluates the conditions of one rule set.
#[derive(Debug)]
pub(in crate::engine) struct Reach<'r> {
    rules: &'r RuleSet,
    /// From which level on each field is recorded.
    levels: Arc<[AuditLevel]>,
}

impl<'r> Reach<'r> {
    pub(in crate::engine) fn new(rules: &'r RuleSet) -> Reach<'r> {
        let level = |path: &String| known_field(path).map(|field| field.level).unwrap_or_default();
        let levels = rules.fields.paths().iter().map(level).collect();
        Reach { rules, levels }
    }

    /// The same over the rules of another reach, without asking again what it found. Cost: nothing.
    pub(in crate::engine) fn again(rules: &'r RuleSet, levels: &Arc<[AuditLevel]>) -> Reach<'r> {
        Reach { rules, levels: Arc::clone(levels) }
    }

    /// From which level on each field is recorded, for [`Reach::again`].
    pub(in crate::engine) fn levels(&self) -> Arc<[AuditLevel]> {
        Arc::clone(&self.levels)
    }

    /// What a condition comes to. Recursion is bounded by the depth of conditions.
    pub(in crate::engine) fn prospect(
        &self,
        expression: &Expression,
        facts: &Facts<'_>,
    ) -> Prospect {
        match expression {
            Expression::Constant(holds) => Prospect::decided(*holds),
            Expression::Inside(_) | Expression::Before(_) => {
                Prospect { holds: None, level: AuditLevel::Metadata }
            }
            Expression::Predicate(id) => match self.rules.predicates.get(id.0 as usize) {
                Some(predicate) => self.predicate(predicate, facts),
                None => Prospect::decided(false),
            },
            Expression::Not(inner) => {
                let inner = self.prospect(inner, facts);
                Prospect { holds: inner.holds.map(|holds| !holds), ..inner }
            }
            Expression::All(parts) => self.joined(parts, facts, false),
            Expression::Any(parts) => self.joined(parts, facts, true),
            Expression::SameElement(same) => match self.known(same.of, facts) {
                Some(Known::Absent) => Prospect::decided(false),
                _ => Prospect { holds: None, level: self.level(same.of) },
            },
        }
    }

    /// All or any of several parts: `absorbing` decides as soon as it appears.
    fn joined(&self, parts: &[Expression], facts: &Facts<'_>, absorbing: bool) -> Prospect {
        let mut joined = Prospect::decided(!absorbing);
        for part in parts {
            let part = self.prospect(part, facts);
            if part.holds == Some(absorbing) {
                return part;
            }
            if part.holds.is_none() {
                joined = Prospect { holds: None, level: joined.level.max(part.level) };
            }
        }
        joined
    }

    /// The level from which on every field of a condition is recorded.
    pub(in crate::engine) fn level_of(&self, expression: &Expression) -> AuditLevel {
        match expression {
            Expression::Predicate(id) => {
                let predicate = self.rules.predicates.get(id.0 as usize);
                predicate.map_or(AuditLevel::Metadata, |predicate| self.level(predicate.field))
            }
            Expression::Not(inner) => self.level_of(inner),
            Expression::All(parts) | Expression::Any(parts) => {
                parts.iter().map(|part| self.level_of(part)).max().unwrap_or_default()
            }
            Expression::SameElement(same) => self.level(same.of),
            Expression::Constant(_) | Expression::Inside(_) | Expression::Before(_) => {
                AuditLevel::Metadata
            }
        }
    }

    /// Which tests of a field a text passes, in the order of predicates.
    pub(in crate::engine) fn passed(&self, field: FieldId, text: &str) -> Vec<bool> {
        let tests = self.rules.predicates.iter().filter(|predicate| predicate.field == field);
        tests.map(|predicate| passes(&predicate.test, text)).collect()
    }

    /// From which level on a field is recorded.
    fn level(&self, field: FieldId) -> AuditLevel {
        self.levels.get(field.index()).copied().unwrap_or_default()
    }

    fn known<'a>(&self, field: FieldId, facts: &Facts<'a>) -> Option<Known<'a>> {
        if self.level(field) > facts.recorded {
            return Some(Known::Absent);
        }
        facts.fields.get(field.index()).copied().flatten()
    }

    fn predicate(&self, predicate: &Predicate, facts: &Facts<'_>) -> Prospect {
        let holds =
            self.known(predicate.field, facts).and_then(|known| match (&predicate.test, known) {
                (Test::Null | Test::Exists, Known::Avoids(_)) => None,
                (Test::Null, known) => Some(matches!(known, Known::Absent)),
                (_, Known::Absent) => Some(false),
                (Test::Exists, _) => Some(true),
                (Test::FieldRef { .. }, _) => None,
                (test, Known::Is(text)) => Some(passes(test, text)),
                (test, Known::Has(texts)) => {
                    texts.iter().any(|text| passes(test, text)).then_some(true)
                }
                (test, Known::NoneOf(texts) | Known::Avoids(texts)) => {
                    needs_one_of(test, texts).then_some(false)
                }
            });
        match holds {
            Some(holds) => Prospect::decided(holds),
            None => Prospect { holds: None, level: self.level(predicate.field) },
        }
    }
}

fn passes(test: &Test, text: &str) -> bool {
    test::passes(test, &Value::Str(Cow::Borrowed(text)), &mut Fold::default())
}

/// Whether only some of these texts, which are folded, can pass a test.
fn needs_one_of(test: &Test, known: &BTreeSet<String>) -> bool {
    match test {
        Test::OneOf { texts, .. } => {
            // Asked for many kinds of request: long lists are passed over.
            texts.len() <= known.len() && texts.iter().all(|text| known.contains(&fold_case(text)))
        }
        Test::Text { kind: StringKind::Equals, pattern, .. } => known.contains(&fold_case(pattern)),
        Test::Number(Comparison::Equal, number) => known.contains(&number.to_string()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        diagnostic::SourceText,
        event::well_known,
        rule::{LoadOptions, Rule, RuleSources, load},
    };

    const RULE: &str = "title: a\nlogsource: {product: kubernetes, service: audit}\ndetection:\n  \
        read: {verb: [get, list], objectRef.resource: secrets}\n  \
        pod: {verb: create, pod_spec.hostPID: true}\n  \
        own: {user.username|startswith: 'system:', user.groups: 'system:nodes'}\n  \
        condition: (read or pod) and not own\ntripline: {needs: {level: Request}}\n";

    fn prospect(learn: &[(FieldId, Known<'_>)], recorded: AuditLevel) -> Prospect {
        let sources =
            RuleSources { rules: vec![SourceText::new("r.yaml", RULE)], ..RuleSources::default() };
        let rules = load(&sources, &LoadOptions::default()).rules.unwrap();
        let mut facts = Facts::new(&rules.fields);
        facts.recorded = recorded;
        for (field, known) in learn {
            facts.learn(*field, *known);
        }
        let Rule::Detection(rule) = &rules.rules[0] else { panic!("a detection rule") };
        Reach::new(&rules).prospect(&rule.expression, &facts)
    }

    #[test]
    fn what_is_known_decides_or_leaves_what_is_needed() {
        use AuditLevel::{Metadata, Request, RequestResponse};
        let depends = |level| Prospect { holds: None, level };
        let (yes, no) = (Prospect::decided(true), Prospect::decided(false));
        let verb = |verb| (well_known::VERB, Known::Is(verb));
        assert_eq!(prospect(&[], RequestResponse), depends(Request));
        assert_eq!(prospect(&[verb("LIST")], RequestResponse), depends(Metadata));
        assert_eq!(prospect(&[verb("create")], Request), depends(Request));
        assert_eq!(prospect(&[verb("create")], Metadata), no, "the body is not recorded");
        assert_eq!(prospect(&[verb("delete")], RequestResponse), no);
        let secrets = |user| {
            let resource = (well_known::RESOURCE, Known::Is("secrets"));
            prospect(&[verb("get"), resource, (well_known::USERNAME, user)], Metadata)
        };
        assert_eq!(secrets(Known::Is("eve")), yes);
        assert_eq!(secrets(Known::Is("system:node:a")), depends(Metadata));
        assert_eq!(secrets(Known::Absent), yes);
        let groups = ["a".to_owned(), "system:nodes".to_owned()];
        let node = [
            (well_known::USERNAME, Known::Is("system:node:a")),
            (well_known::GROUPS, Known::Has(&groups)),
        ];
        assert_eq!(prospect(&node, RequestResponse), no);
    }

    #[test]
    fn what_a_field_is_not_decides_too() {
        let resource = |texts: &[&str]| {
            let texts: BTreeSet<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let verb = (well_known::VERB, Known::Is("get"));
            let known = [Known::NoneOf(&texts), Known::Avoids(&texts)];
            known
                .map(|known| prospect(&[verb, (well_known::RESOURCE, known)], AuditLevel::Metadata))
        };
        assert_eq!(resource(&["pods", "secrets"]), [Prospect::decided(false); 2]);
        assert!(resource(&["pods"]).iter().all(|prospect| prospect.holds.is_none()));
    }
}
