//! Which values of a finding count: as parts of keys, as what is counted, as who carries risk. Of these more
//! are kept than people are shown, so that nobody hides one among others.

use crate::engine::rule::{CaptureSlot, Rule, RuleSet};

/// For each rule, and each value that its findings carry, whether it counts in the rule itself or in one of
/// those above it. Cost: passes over all rules, as many as rules stand on one another.
pub(super) fn counted(rules: &RuleSet) -> Vec<Vec<bool>> {
    let mut counted: Vec<Vec<bool>> =
        rules.rules.iter().map(|rule| vec![false; rule.capture().len()]).collect();
    let mut is_changed = true;
    while is_changed {
        is_changed = false;
        let mut mark = |counted: &mut Vec<Vec<bool>>, rule: usize, slot: CaptureSlot| {
            let known = counted.get_mut(rule).and_then(|slots| slots.get_mut(slot.index()));
            if let Some(known) = known.filter(|known| !**known) {
                *known = true;
                is_changed = true;
            }
        };
        for (index, rule) in rules.rules.iter().enumerate() {
            if let Some(spec) = &rule.meta().alert {
                for slot in spec.key.iter().chain(spec.risk.iter().map(|(slot, _)| slot)) {
                    mark(&mut counted, index, *slot);
                }
            }
            let Rule::Correlation(correlation) = rule else { continue };
            for input in &correlation.inputs {
                for slot in input.key.iter().chain(&input.fields) {
                    mark(&mut counted, input.rule.index(), *slot);
                }
                // What counts above it, this one carries on.
                for (above, slot) in input.capture.iter().enumerate() {
                    let counts =
                        counted.get(index).and_then(|slots| slots.get(above)) == Some(&true);
                    if let Some(slot) = slot.filter(|_| counts) {
                        mark(&mut counted, input.rule.index(), slot);
                    }
                }
            }
        }
    }
    counted
}
