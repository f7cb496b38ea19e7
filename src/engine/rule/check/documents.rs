//! Warnings that concern one document alone, and about schedules that no document names.

use std::sync::Arc;

use super::{
    alert::check_alert_fields,
    foreign::is_ecs,
    recent::check_impersonation,
    request_text::check_request_text,
    values::{items, level_needed, lint_values},
};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    rule::{
        plan::schedule::Schedule,
        read::{
            document::{DetectionSyntax, FilterDocument, RuleDocument},
            header::Header,
            selection::{Item, Search},
        },
    },
    syntax::{code, condition::Condition},
    time::WallTime,
};

/// Warnings that concern one document alone.
pub(in crate::engine) fn check_documents(
    documents: &[RuleDocument],
    now: Option<WallTime>,
    problems: &Problems,
) {
    for document in documents {
        let header = document.header();
        if let (Some((until, place)), Some(now)) = (&header.extension.expires, now)
            && *until <= now.as_event()
        {
            let title = format!("`{}` has expired and has no effect any more", header.about.title);
            let diagnostic = Diagnostic::warning(code::EXPIRED, place.clone(), title);
            problems.push(diagnostic.help("remove it, or give it a later date"));
        }
        match document {
            RuleDocument::Detection(detection) => {
                check_alert_fields(header, &[], problems);
                lint_values(&detection.detection, problems);
                check_ecs(&detection.detection, problems);
                check_impersonation(&detection.detection, problems);
                check_request_text(&detection.detection, problems);
                check_level(header, &detection.detection, problems);
            }
            RuleDocument::Filter(filter) => {
                lint_values(&filter.detection, problems);
                check_request_text(&filter.detection, problems);
                check_filter(filter, problems);
            }
            RuleDocument::Correlation(_) => {}
        }
    }
}

/// Warns about schedules that no rule refers to.
pub(in crate::engine) fn check_schedules<'s>(
    documents: &[RuleDocument],
    schedules: impl Iterator<Item = (&'s Schedule, Place)>,
    problems: &Problems,
) {
    let used = |name: &str| {
        documents.iter().any(|document| {
            let of = &document.header().extension.schedules;
            of.iter().any(|(schedule, _)| schedule.value == name)
        })
    };
    for (schedule, place) in schedules.filter(|(schedule, _)| !used(&schedule.name)) {
        let title = format!("no rule refers to the schedule `{}`", schedule.name);
        problems.push(
            Diagnostic::warning(code::NOT_USED, place, title)
                .help("refer to it with `tripline: {outside: …}`, or remove it"),
        );
    }
}

/// Warns about rules for times of which there are none.
pub(in crate::engine) fn check_times(
    documents: &[RuleDocument],
    schedules: &[Schedule],
    problems: &Problems,
) {
    let named = documents.iter().flat_map(|document| &document.header().extension.schedules);
    for (name, is_inside) in named {
        let Some(schedule) = schedules.iter().find(|schedule| schedule.name == name.value) else {
            continue;
        };
        let title = if *is_inside && schedule.minutes.is_empty() {
            format!("no time is inside `{}`: it has no hours", name.value)
        } else if !is_inside && schedule.is_always() {
            format!("no time is outside of `{}`: it has all hours", name.value)
        } else {
            continue;
        };
        problems.push(
            Diagnostic::warning(code::CONSTANT_CONDITION, name.place.clone(), title)
                .help("give the schedule other hours, or remove this"),
        );
    }
}

/// Warns about the one field of the Elastic Common Schema that exists here with another meaning.
fn check_ecs(detection: &DetectionSyntax, problems: &Problems) {
    let fields = || items(detection).filter_map(|item| Some((item.field.as_deref()?, &item.at)));
    if !fields().any(|(path, _)| is_ecs(path)) {
        return;
    }
    for (_, at) in fields().filter(|(path, _)| *path == "source.ip") {
        let place = Place { source: Arc::clone(&detection.source), span: at.clone() };
        problems.push(
            Diagnostic::warning(code::OTHER_MEANING, place, "this is not the `source.ip` of ECS")
                .label("the last of `sourceIPs`, which the client cannot choose")
                .help("for the first, or any, write `sourceIPs`"),
        );
    }
}

/// Warns about a rule that is blind below an audit level and does not say so.
fn check_level(header: &Header, detection: &DetectionSyntax, problems: &Problems) {
    let Some((level, item)) = level_needed(detection) else { return };
    if header.extension.needs.is_some() {
        return;
    }
    let field = item.field.as_deref().unwrap_or_default();
    let place = Place { source: Arc::clone(&detection.source), span: item.at.clone() };
    let level = level.as_str();
    let title = format!("`{field}` is recorded from audit level {level} on");
    problems.push(
        Diagnostic::warning(code::NEEDS_LEVEL, place, title)
            .label("the rule is blind below it")
            .help(format!("say that you know: `tripline: {{needs: {{level: {level}}}}}`")),
    );
}

/// Warns about a filter that keeps what it describes: nearly always `not` was forgotten.
fn check_filter(filter: &FilterDocument, problems: &Problems) {
    let negated = |item: &Item| item.negated;
    let selections =
        || filter.detection.selections.iter().filter_map(|(_, search)| search.as_ref());
    if selections().flat_map(Search::items).any(negated) {
        return;
    }
    for (condition, text) in &filter.detection.conditions {
        if condition.has_not() {
            continue;
        }
        problems.push(
            Diagnostic::warning(
                code::FILTER_EMPTIES_RULE,
                text.place.clone(),
                "the filter keeps only the events that it describes",
            )
            .help(format!("to leave them out, write `condition: not {}`", bracketed(condition))),
        );
    }
}

fn bracketed(condition: &Condition) -> String {
    match condition {
        Condition::All(_) | Condition::Any(_) => format!("({condition})"),
        one => one.to_string(),
    }
}
