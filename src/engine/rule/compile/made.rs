//! The rules of the plan so far, and which document each came from.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    rule::plan::{
        outline::Outline,
        rule::{Origin, Rule, RuleIndex},
    },
    syntax::code,
};

/// Rules, each behind all that it refers to.
#[derive(Debug, Default)]
pub(in crate::engine) struct Made {
    /// All of them.
    pub(in crate::engine) rules: Vec<Rule>,
    /// How the conditions of detection rules were written.
    pub(in crate::engine) outlines: BTreeMap<RuleIndex, Outline>,
    /// The rule of each document that has one by now.
    pub(in crate::engine) of_document: BTreeMap<usize, RuleIndex>,
    /// Rules that nobody wrote, each with the document that it was made for.
    parts: Vec<(RuleIndex, usize)>,
}

impl Made {
    /// Adds the rule that a document says.
    pub(in crate::engine) fn add(&mut self, document: usize, rule: Rule) -> RuleIndex {
        let index = self.push(rule);
        self.of_document.insert(document, index);
        index
    }

    /// Adds a rule that nobody wrote, for one that a document says.
    pub(in crate::engine) fn add_part(&mut self, document: usize, rule: Rule) -> RuleIndex {
        let index = self.push(rule);
        self.parts.push((index, document));
        index
    }

    /// Adds a rule that no document says.
    pub(in crate::engine) fn push(&mut self, rule: Rule) -> RuleIndex {
        let index = RuleIndex(u32::try_from(self.rules.len()).expect("rules are bounded"));
        self.rules.push(rule);
        index
    }

    /// The rule of a document, if it is made by now.
    pub(in crate::engine) fn rule_of(&self, document: usize) -> Option<(RuleIndex, &Rule)> {
        let index = *self.of_document.get(&document)?;
        Some((index, self.rules.get(index.index())?))
    }

    /// Says of each rule that nobody wrote whom it is for, and reports a document with the id of a rule
    /// that no document says: what is stored names rules by it.
    pub(in crate::engine) fn finish(&mut self, problems: &Problems) {
        for (index, document) in &self.parts {
            if let (Some(rule), Some(written)) =
                (self.rules.get_mut(index.index()), self.of_document.get(document))
            {
                rule.meta_mut().origin = Origin::MadeFor(*written);
            }
        }
        let documents: BTreeSet<usize> = self.of_document.values().map(|at| at.index()).collect();
        let (said, made): (Vec<_>, Vec<_>) =
            self.rules.iter().enumerate().partition(|(index, _)| documents.contains(index));
        let made: BTreeSet<&str> = made.iter().map(|(_, rule)| rule.meta().id.as_str()).collect();
        for meta in said.iter().map(|(_, rule)| rule.meta()) {
            if made.contains(meta.id.as_str())
                && let Some(place) = &meta.place
            {
                let title = format!("the id `{}` is that of a rule that Tripline makes", meta.id);
                let diagnostic = Diagnostic::error(code::DUPLICATE_ID, place.clone(), title);
                problems.push(diagnostic.help("give the rule another id"));
            }
        }
    }
}
