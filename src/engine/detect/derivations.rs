//! Which fields of a rule set are derived: computed when a rule asks for them.

use std::sync::Arc;

use crate::engine::{
    event::{Event, FieldId, Sources, derived},
    rule::RuleSet,
};

/// Which fields of a rule set are derived, and what they are derived from beside the event.
#[derive(Debug)]
pub(super) struct Derivations {
    /// For each field, the number of its derivation plus one; 0 for none.
    numbers: Vec<u8>,
    sources: Sources,
}

impl Derivations {
    pub(super) fn new(rules: &RuleSet) -> Derivations {
        let number = |path: &String| derived::index_of(path).map_or(0, |index| index + 1);
        let numbers = rules.fields.paths().iter().map(number).collect();
        let sources = Sources::new(&rules.fields, Arc::clone(&rules.identities));
        Derivations { numbers, sources }
    }

    #[inline]
    pub(super) fn derive(&self, event: &mut Event<'_>, field: FieldId) {
        if let Some(number @ 1..) = self.numbers.get(field.index()) {
            derived::derive(event, number - 1, field, &self.sources);
        }
    }
}
