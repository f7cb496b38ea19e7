//! What compiling one rule may look at: all documents and their names, lists, schedules, the plan so far.

use std::{cell::RefCell, sync::Arc, time::Duration};

use super::clusters::Clusters;
use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    digest::Digest,
    event::Identities,
    kind::{Calendar, Kind, KindSyntax, ResolveContext},
    rule::{
        plan::{
            build::{Builder, not},
            expression::{Expression, ScheduleIndex},
            hours::Hours,
            rule::{Note, RuleMeta, add_notes},
            schedule::Schedule,
        },
        read::{
            document::RuleDocument,
            header::Header,
            identities::IdentityNotes,
            list::{ListEntry, Lists},
            names::Names,
            risk::RiskSettings,
        },
    },
    syntax::{code, read::Text},
    time::EventTime,
};

/// Everything that compiling one rule may look at.
pub(in crate::engine) struct Compiler<'a> {
    /// All documents.
    pub(in crate::engine) documents: &'a [RuleDocument],
    /// What they are called.
    pub(in crate::engine) names: &'a Names,
    /// All lists.
    pub(in crate::engine) lists: &'a Lists,
    /// All schedules, sorted by name.
    pub(in crate::engine) schedules: &'a [Schedule],
    /// Who is who.
    pub(in crate::engine) identities: Arc<Identities>,
    /// What is said of its entries.
    pub(in crate::engine) identity_notes: &'a IdentityNotes,
    /// What the risk of an entity comes to.
    pub(in crate::engine) risk: &'a RiskSettings,
    /// Where problems go.
    pub(in crate::engine) problems: &'a Problems,
    /// How long an alert of a plain detection rule fires after its last event.
    pub(in crate::engine) resolve_after: Duration,
    /// The plan so far.
    pub(in crate::engine) builder: Builder,
}

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

/// Hash of what decides the meaning of a rule's state; see [`RuleMeta::state_shape`].
pub(in crate::engine) fn shape(kind: &str, key: &[String], more: &[&str]) -> u64 {
    let digest = key.iter().fold(Digest::of([kind]), Digest::part).part("\0");
    more.iter().fold(digest, Digest::part).number()
}

/// What decides the meaning of the state of a rule that counts over time. Where clusters are apart it was
/// another one before they were.
pub(in crate::engine) fn shapes(
    meta: &mut RuleMeta,
    clusters: Clusters,
    kind: &str,
    key: &[String],
    more: &[&str],
) {
    let of_all = shape(kind, key, more);
    (meta.state_shape, meta.state_shape_of_all_clusters) = if clusters == Clusters::Apart {
        let apart: Vec<&str> = more.iter().copied().chain(["clusters apart"]).collect();
        (shape(kind, key, &apart), Some(of_all))
    } else {
        (of_all, None)
    };
}

impl Compiler<'_> {
    /// The parameters of a kind, checked against the rest of the rule set. What is said of entries of
    /// lists is noted in `meta`.
    pub(in crate::engine) fn resolve(
        &self,
        kind: &KindSyntax,
        rules: &[Text],
        key_parts: usize,
        meta: &mut RuleMeta,
        header: &Header,
    ) -> Option<Arc<dyn Kind>> {
        let notes = RefCell::new(&mut meta.about.notes);
        let list = |name: &Text| self.exact_values(name, &mut notes.borrow_mut());
        let (extension, place, problems) = (&header.extension, &header.place, self.problems);
        let (calendar, expires) = if kind.has_calendar {
            (self.calendar(&extension.schedules), extension.expires.as_ref().map(|(end, _)| *end))
        } else {
            (None, None)
        };
        let (list, levels) = (&list, extension.levels.iter().map(|step| step.at_least).collect());
        let context =
            ResolveContext { rules, key_parts, calendar, expires, levels, place, list, problems };
        kind.parameters.resolve(&context)
    }

    /// The values of a list that must have no wildcards.
    fn exact_values(
        &self,
        name: &Text,
        notes: &mut Vec<Note>,
    ) -> Option<Vec<(String, Option<EventTime>)>> {
        let Some(list) = self.lists.get(&name.value) else {
            let title = format!("there is no list `{}`", name.value);
            let diagnostic = Diagnostic::error(code::UNKNOWN_LIST, name.place.clone(), title)
                .suggest(&name.value, self.lists.names())
                .help(format!("write its values to `lists/{}.yaml`", name.value));
            self.problems.push(diagnostic);
            return None;
        };
        add_notes(notes, list.entries.iter().filter_map(|entry| entry.note.as_ref()));
        let plain = |entry: &ListEntry| Some((entry.pattern.plain()?.to_owned(), entry.until));
        let values: Option<Vec<_>> = list.entries.iter().map(plain).collect();
        if values.is_none() {
            let title = format!("the list `{}` has wildcards; keys have exact names", name.value);
            let place = name.place.clone();
            self.problems.push(Diagnostic::error(code::SHAPE_MISMATCH, place, title));
        }
        values
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

    /// When time counts, by `inside` and `outside`; `None` if always.
    fn calendar(&self, schedules: &[(Text, bool)]) -> Option<Arc<dyn Calendar>> {
        let known = |(name, inside): &(Text, bool)| {
            let index = self.schedule(name)?;
            Some((self.schedules.get(usize::from(index.0))?.clone(), *inside))
        };
        let parts: Vec<(Schedule, bool)> = schedules.iter().filter_map(known).collect();
        (!parts.is_empty()).then(|| Arc::new(Hours { parts }) as Arc<dyn Calendar>)
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
}
