//! Filters: which rules each is for, and what it asks of their events.

use std::collections::BTreeMap;

use super::{compiler::Compiler, condition::Compiled};
use crate::engine::{
    diagnostic::{Diagnostic, Place},
    limits::FILTERS_PER_RULE_MAX,
    rule::{
        check::require::requirements,
        plan::{
            build::{all, any, not},
            expression::Expression,
            outline::Outline,
            rule::Note,
        },
        read::document::{DetectionDocument, FilterDocument, RuleDocument},
    },
    syntax::{code, read::Text},
};

impl FilterDocument {
    /// Whether a rule is for logs that it is for.
    fn is_for(&self, rule: &DetectionDocument) -> bool {
        self.logs.contain(&rule.logs)
    }
}

/// A filter with what it was compiled to.
pub(in crate::engine) type CompiledFilter<'a> = (&'a FilterDocument, Compiled);

impl<'a> Compiler<'a> {
    /// The filters of each detection rule, by documents.
    pub(in crate::engine) fn filters_by_rule(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut by_rule: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, document) in self.documents.iter().enumerate() {
            let RuleDocument::Filter(filter) = document else { continue };
            let detection = |rule: usize| match self.documents.get(rule) {
                Some(RuleDocument::Detection(target)) => Some(target),
                _ => None,
            };
            if filter.rules.is_empty() {
                let all = (0..self.documents.len()).filter(|rule| detection(*rule).is_some());
                let (fit, unfit): (Vec<usize>, Vec<usize>) =
                    all.partition(|rule| detection(*rule).is_some_and(|rule| filter.is_for(rule)));
                if fit.is_empty() && !unfit.is_empty() {
                    let title = "no rule is for the logs of the filter, which changes none";
                    self.other_logs(title, &filter.header.place);
                }
                for rule in fit {
                    by_rule.entry(rule).or_default().push(index);
                }
            }
            for reference in &filter.rules {
                let Some(rule) = self.names.find(reference, self.problems) else { continue };
                match detection(rule) {
                    Some(target) if filter.is_for(target) => {
                        by_rule.entry(rule).or_default().push(index);
                    }
                    Some(_) => {
                        let name = &reference.value;
                        let title = format!(
                            "`{name}` is not for the logs of the filter, which leaves it alone"
                        );
                        self.other_logs(&title, &reference.place);
                    }
                    None => self.bad_target(reference),
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

    fn bad_target(&self, reference: &Text) {
        let title = format!("`{}` is not a detection rule", reference.value);
        let place = reference.place.clone();
        let diagnostic = Diagnostic::error(code::BAD_FILTER_TARGET, place, title)
            .help("filter the detection rules that it refers to");
        self.problems.push(diagnostic);
    }

    /// Warns about a filter that holds for less than it seems to.
    fn other_logs(&self, title: &str, place: &Place) {
        let diagnostic = Diagnostic::warning(code::BAD_FILTER_TARGET, place.clone(), title)
            .help("leave out of the filter's `logsource` what the rule's does not say");
        self.problems.push(diagnostic);
    }

    /// Every filter, by its document.
    pub(in crate::engine) fn all_filters(&mut self) -> BTreeMap<usize, CompiledFilter<'a>> {
        let documents = self.documents;
        let filters = documents.iter().enumerate().filter_map(|(index, document)| match document {
            RuleDocument::Filter(filter) => Some((index, filter)),
            _ => None,
        });
        filters.map(|(index, document)| (index, (document, self.filter(document)))).collect()
    }

    fn filter(&mut self, filter: &FilterDocument) -> Compiled {
        let Compiled { mut expression, mut outline, mut notes } =
            self.condition_of(&filter.detection, &[]);
        let extension = &filter.header.extension;
        if let Some((until, _)) = &extension.expires {
            let over = not(Expression::Before(*until));
            expression = any([expression, over.clone()]);
            outline = Outline::any(vec![outline, Outline::Part(over)]);
        }
        let name = format!("filter \"{}\"", filter.header.about.title);
        let (owner, reason) = (extension.owner.clone(), extension.reason.clone());
        let own = Note { on: name.clone(), owner, reason, value: None };
        if own.is_said() {
            notes.insert(0, own);
        }
        Compiled { expression, outline: Outline::named(name, outline), notes }
    }

    /// Warns if a filter leaves nothing of a rule that could match without it.
    pub(in crate::engine) fn check_left(
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
        // A filter without a condition that can be used says nothing of what it leaves.
        if filter.detection.conditions.is_empty() || empty(own) || !empty(&after) {
            return;
        }
        let title = format!("the filter leaves nothing of `{}`", document.header.about.title);
        let place = filter.header.place.clone();
        let diagnostic = Diagnostic::warning(code::FILTER_EMPTIES_RULE, place, title).help(
            "a filter is joined by `and`: to leave events out, begin its condition with `not`",
        );
        self.problems.push(diagnostic);
    }
}
