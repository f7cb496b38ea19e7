//! Warnings where a rule asks for teams that nobody is in.

use std::sync::Arc;

use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    event::Identities,
    rule::read::{document::RuleDocument, selection::Search},
    syntax::{code, read::Text},
    text::first_of,
    value::fold_case,
};

/// The field that the entries' teams become.
const TEAM: &str = "actor.team";

/// Warns where a rule asks for teams that nobody is in.
pub(in crate::engine) fn check_teams(
    documents: &[RuleDocument],
    identities: &Identities,
    problems: &Problems,
) {
    let teams = identities.teams();
    for document in documents {
        if teams.is_empty() {
            for place in places_of_team(document) {
                let title = format!("`{TEAM}` is in no event: nobody has a team");
                problems.push(
                    Diagnostic::warning(code::CANNOT_MATCH, place, title)
                        .help("say in `identities.yaml` which users or groups are in which team"),
                );
            }
            continue;
        }
        let detection = match document {
            RuleDocument::Detection(detection) => &detection.detection,
            RuleDocument::Filter(filter) => &filter.detection,
            RuleDocument::Correlation(_) => continue,
        };
        let searches = detection.selections.iter().filter_map(|(_, search)| search.as_ref());
        for item in searches.flat_map(Search::items) {
            if item.field.as_deref() != Some(TEAM) {
                continue;
            }
            for (value, span) in &item.values {
                let Some(team) = value.plain_text() else { continue };
                if teams.iter().any(|known| fold_case(known) == fold_case(team)) {
                    continue;
                }
                let place = Place { source: Arc::clone(&detection.source), span: span.clone() };
                let title = format!("`{TEAM}` is never `{team}`");
                let known: Vec<String> = teams.iter().map(|known| format!("`{known}`")).collect();
                let help = format!("`identities.yaml` has the teams {}", first_of(&known, 10));
                let diagnostic = Diagnostic::warning(code::CANNOT_MATCH, place, title)
                    .suggest(team, teams.iter().copied())
                    .help(help);
                problems.push(diagnostic);
            }
        }
    }
}

/// Where a document asks for teams.
fn places_of_team(document: &RuleDocument) -> Vec<Place> {
    let header = document.header();
    let mut places: Vec<Place> = Vec::new();
    let mut add = |texts: &[Text]| {
        places
            .extend(texts.iter().filter(|text| text.value == TEAM).map(|text| text.place.clone()));
    };
    add(header.extension.group_by.as_deref().unwrap_or_default());
    add(header.extension.evidence.as_deref().unwrap_or_default());
    let detection = match document {
        RuleDocument::Detection(detection) => &detection.detection,
        RuleDocument::Filter(filter) => &filter.detection,
        RuleDocument::Correlation(correlation) => {
            add(&correlation.correlation.group_by);
            return places;
        }
    };
    let searches = detection.selections.iter().filter_map(|(_, search)| search.as_ref());
    for item in searches.flat_map(Search::items) {
        if item.field.as_deref() == Some(TEAM) {
            places.push(Place { source: Arc::clone(&detection.source), span: item.at.clone() });
        }
    }
    places
}
