//! The fields without which an alternative cannot hold, and those with which it cannot.

use super::{
    alternative::Alternative,
    class::{Class, possible},
    cost::{Cost, cost_of},
};
use crate::engine::{
    detect::fold::Fold,
    event::{Event, FieldId},
    rule::{Predicate, RuleSet},
};

/// Fields of a condition that are looked for together at most: 64. One that needs one of more fields is
/// looked at for every event.
const FIELDS_TOGETHER_MAX: usize = 64;

/// What one alternative needs of an event, whatever the values.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// It cannot hold without any of these.
    present: Vec<FieldId>,
    /// It cannot hold with any of these.
    absent: Vec<FieldId>,
    /// It cannot hold without at least one of these, as is usual for rules about one of several
    /// annotations.
    one_of: Vec<FieldId>,
}

impl Needs {
    /// What it needs. Of fields that are looked up anyway nothing is said twice.
    pub(super) fn of(rules: &RuleSet, one: &Alternative<'_>, looked_up: &[FieldId]) -> Needs {
        let mut fields: Vec<FieldId> = Vec::new();
        one.condition.for_each_predicate(&mut |id| {
            let field = rules.predicates.get(id.0 as usize).map(|predicate| predicate.field);
            // A derived field is there only once it was computed.
            fields
                .extend(field.filter(|field| cost_of(rules.fields.path(*field)) == Cost::Nothing));
        });
        fields.sort_unstable();
        fields.dedup();
        let mut fold = Fold::default();
        let mut cannot_hold = |fields: &[FieldId], class: Class<'_>| {
            let mut known =
                |predicate: &Predicate| fields.contains(&predicate.field).then_some(class);
            possible(rules, &one.condition, &mut known, &mut fold) == Some(false)
        };
        let mut needs = Needs::default();
        for field in fields.iter().filter(|field| !looked_up.contains(field)) {
            if cannot_hold(&[*field], Class::Absent) {
                needs.present.push(*field);
            }
            if cannot_hold(&[*field], Class::Present) {
                needs.absent.push(*field);
            }
        }
        if fields.len() <= FIELDS_TOGETHER_MAX && cannot_hold(&fields, Class::Absent) {
            // What nearly every event has goes first; so what is left tells most.
            for field in fields.clone() {
                let without: Vec<FieldId> =
                    fields.iter().copied().filter(|other| *other != field).collect();
                if cannot_hold(&without, Class::Absent) {
                    fields = without;
                }
            }
            if fields.len() > 1 {
                needs.one_of = fields;
            }
        }
        needs
    }

    /// Whether an event has what is needed, or may have it in parts that were passed over.
    #[inline]
    pub(super) fn met_by(&self, event: &Event<'_>, may_have: impl Fn(FieldId) -> bool) -> bool {
        let has = |field: &FieldId| event.has(*field);
        let may_have = |field: &FieldId| event.has(*field) || may_have(*field);
        self.present.iter().all(may_have)
            && !self.absent.iter().any(has)
            && (self.one_of.is_empty() || self.one_of.iter().any(may_have))
    }
}
