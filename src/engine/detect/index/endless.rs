//! Which requests some rule wants to know of, should they never end: found by what is alike in all events of a request.

use hashbrown::HashMap;

use super::class::{Class, possible};
use crate::engine::{
    detect::fold::Fold,
    event::{Event, FieldId, well_known},
    rule::{Expression, Predicate, RuleSet},
    value::Value,
};

/// What is alike in all events of a request, and has few values. Which request an event is of depends on its verb and
/// its URI, and the API server takes the others from there.
const ALIKE: [FieldId; 3] = [well_known::VERB, well_known::RESOURCE, well_known::SUBRESOURCE];

/// Combinations that are remembered at most: 4,096. With another one all are forgotten.
const KNOWN_MAX: usize = 4_096;

/// Bytes of a combination that is remembered at most: 256.
const KEY_BYTES_MAX: usize = 256;

/// What was found out so far. Nothing but time depends on it.
#[derive(Debug, Default)]
pub(super) struct Endless {
    known: HashMap<Box<[u8]>, bool>,
    /// Of the event that was looked at last.
    key: Vec<u8>,
}

impl Endless {
    /// Whether one of these conditions may hold for the request, should it never end.
    pub(super) fn concerns<'c>(
        &mut self,
        event: &Event<'_>,
        mut conditions: impl Iterator<Item = &'c Expression>,
        rules: &RuleSet,
        fold: &mut Fold,
    ) -> bool {
        self.key.clear();
        let mut classes = [Class::Absent; ALIKE.len()];
        for (class, field) in classes.iter_mut().zip(ALIKE) {
            match (event.count(field), event.first(field)) {
                (0, _) => self.key.push(0xFE),
                (1, Some(Value::Str(text))) => {
                    self.key.extend_from_slice(text.as_bytes());
                    *class = Class::Exact(text);
                }
                // An odd one.
                _ => return true,
            }
            // No text of UTF-8 has it.
            self.key.push(0xFF);
        }
        if let Some(known) = self.known.get(self.key.as_slice()) {
            return *known;
        }
        let mut class_of = |predicate: &Predicate| {
            let at = ALIKE.iter().position(|field| *field == predicate.field)?;
            classes.get(at).copied()
        };
        let concerns = conditions
            .any(|condition| possible(rules, condition, &mut class_of, fold) != Some(false));
        if self.key.len() <= KEY_BYTES_MAX {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            self.known.insert(self.key.as_slice().into(), concerns);
        }
        concerns
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::engine::{
        diagnostic::SourceText,
        rule::{LoadOptions, RuleSources, load},
    };

    fn event(fields: &[(FieldId, &'static str)]) -> Event<'static> {
        let mut event = Event::new(well_known::PATHS.len());
        for (field, text) in fields {
            event.push(*field, Value::Str(Cow::Borrowed(text)));
        }
        event
    }

    #[test]
    fn only_requests_that_a_rule_may_ask_about_are_watched() {
        let text = "title: a\nlogsource: {product: kubernetes, service: audit}\ndetection:\n  \
             a: {stage: Unfinished, verb: [create, patch], user.username|startswith: e}\n  \
             b: {objectRef.resource: leases}\n  c: {objectRef.subresource: status}\n  \
             condition: a and not (b or c)\n";
        let rules = vec![SourceText::new("r.yaml", text)];
        let sources = RuleSources { rules, ..RuleSources::default() };
        let rules = load(&sources, &LoadOptions::default()).rules.expect("a rule");
        let conditions: Vec<&Expression> =
            rules.detections().map(|(_, rule)| &rule.expression).collect();
        let (mut endless, mut fold) = (Endless::default(), Fold::default());
        let mut concerns = |fields: &[(FieldId, &'static str)]| {
            let event = event(fields);
            let mut ask =
                || endless.concerns(&event, conditions.iter().copied(), &rules, &mut fold);
            let first = ask();
            assert_eq!(first, ask(), "what is remembered is what was found out");
            first
        };
        let [verb, resource, subresource] = ALIKE;
        let patch = (verb, "patch");
        assert!(concerns(&[patch, (resource, "pods")]));
        assert!(concerns(&[patch, (resource, "pods"), (subresource, "scale")]));
        assert!(!concerns(&[patch, (resource, "pods"), (subresource, "status")]));
        assert!(!concerns(&[patch, (resource, "leases")]));
        assert!(!concerns(&[(verb, "update"), (resource, "pods")]));
        // What is written twice may be read in two ways.
        assert!(concerns(&[patch, (verb, "update"), (resource, "pods")]));
        let others = 0..2 * KNOWN_MAX;
        for number in others {
            let odd = number.to_string().leak();
            assert!(concerns(&[patch, (resource, odd)]));
        }
        assert!(endless.known.len() <= KNOWN_MAX);
    }
}
