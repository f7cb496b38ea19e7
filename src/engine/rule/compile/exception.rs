//! What tells how often exceptions are used: conditions of events that rules leave out because of them.

use std::{collections::BTreeMap, sync::Arc};

use super::{compiler::Compiler, detection::CompiledDetection, filter::CompiledFilter};
use crate::engine::{
    limits::EXCEPTIONS_COUNTED_MAX,
    rule::{
        plan::{
            build::{all, not},
            exception::{Exception, ExceptionIndex, Exceptions, LeftOut},
            expression::Expression,
            rule::RuleIndex,
        },
        read::document::{DetectionDocument, FilterDocument, RuleDocument},
    },
};

/// The exceptions of a rule set that is being made.
#[derive(Debug, Default)]
pub(in crate::engine) struct Excepted {
    exceptions: Vec<Exception>,
    /// By document.
    filters: BTreeMap<usize, ExceptionIndex>,
    /// By list, and the entry's number in it.
    entries: BTreeMap<String, BTreeMap<usize, ExceptionIndex>>,
    left_out: Vec<LeftOut>,
    /// Exceptions of rules, each as often as it is counted.
    counted: usize,
}

impl Excepted {
    /// All exceptions there are.
    pub(in crate::engine) fn of(compiler: &Compiler<'_>) -> Excepted {
        let mut excepted = Excepted::default();
        for (document, filter) in compiler.documents.iter().enumerate() {
            if let RuleDocument::Filter(filter) = filter {
                let index = excepted.add(of_filter(filter));
                excepted.filters.insert(document, index);
            }
        }
        for (list, entries) in compiler.lists.iter() {
            for (number, entry) in entries.entries.iter().enumerate() {
                let Some(name) = &entry.exception else { continue };
                let (owner, reason) = entry
                    .note
                    .as_ref()
                    .map_or((None, None), |note| (note.owner.clone(), note.reason.clone()));
                let (name, expires) = (name.clone(), entry.until);
                let counted_in = Vec::new();
                let index = excepted.add(Exception { name, owner, reason, expires, counted_in });
                excepted.entries.entry(list.to_owned()).or_default().insert(number, index);
            }
        }
        excepted
    }

    fn add(&mut self, exception: Exception) -> ExceptionIndex {
        let index = u32::try_from(self.exceptions.len()).expect("files and lists are bounded");
        self.exceptions.push(exception);
        ExceptionIndex(index)
    }

    /// Adds what a detection rule leaves out because of its filters and of lists.
    pub(in crate::engine) fn add_rule(
        &mut self,
        compiler: &mut Compiler<'_>,
        (index, document): (RuleIndex, &DetectionDocument),
        filters: &[(usize, &CompiledFilter<'_>)],
        made: &CompiledDetection,
    ) {
        let name = made.rule.meta.name.clone();
        let steps = made.rule.steps;
        let of = |parts: Vec<Expression>| all(made.times.iter().cloned().chain(parts));
        let add = |expression, by| (LeftOut { rule: index, expression, steps, by }, name.as_str());
        for (filter, (_, compiled)) in filters {
            let Some(exception) = self.filters.get(filter).copied() else { continue };
            let expression = of(vec![made.own.clone(), not(compiled.expression.clone())]);
            self.push(add(expression, vec![(exception, Expression::Constant(true))]));
        }
        let arrays = &document.header.extension.same_element;
        let lists: Vec<String> = self.entries.keys().cloned().collect();
        for list in lists {
            let without = compiler.condition_without(&document.detection, arrays, &list);
            let Some((without, tests)) = without else { continue };
            let Some(entries) = self.entries.get(&list) else { continue };
            let by = tests.into_iter().filter_map(|(number, test)| {
                Some((*entries.get(&number)?, test)).filter(|(_, test)| test.can_hold())
            });
            let by = by.collect();
            self.push(add(of(vec![without, not(made.own.clone())]), by));
        }
    }

    /// Adds events that are counted, unless there are none, or too many sorts of them.
    fn push(&mut self, (left_out, rule): (LeftOut, &str)) {
        let count = left_out.by.len();
        if count == 0
            || !left_out.expression.can_hold()
            || self.counted + count > EXCEPTIONS_COUNTED_MAX
        {
            return;
        }
        self.counted += count;
        for (exception, _) in &left_out.by {
            if let Some(exception) = self.exceptions.get_mut(exception.index())
                && exception.counted_in.last().is_none_or(|last| last != rule)
            {
                exception.counted_in.push(rule.to_owned());
            }
        }
        self.left_out.push(left_out);
    }

    /// What the rule set has of it.
    pub(in crate::engine) fn finish(self) -> (Exceptions, Vec<LeftOut>) {
        (self.exceptions.into_iter().map(Arc::new).collect(), self.left_out)
    }
}

fn of_filter(filter: &FilterDocument) -> Exception {
    let header = &filter.header;
    let extension = &header.extension;
    Exception {
        name: format!("filter \"{}\" in {}", header.about.title, header.place.source.name),
        owner: extension.owner.clone(),
        reason: extension.reason.clone(),
        expires: extension.expires.as_ref().map(|(end, _)| *end),
        counted_in: Vec::new(),
    }
}
