//! `/rules`: what is on watch, and how each does.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{http::Uri, response::Response};

use super::{
    super::row::Episode,
    asked::{Asked, When},
    frame::{Frame, refuse, show},
    ledger::{Trouble, ask},
    link::Link,
    list::{Wanted, changes, together},
    rule_record::{Judged, Verdicts, per_day, verdicts},
    view::View,
};
use crate::{
    ask::{Parameter, ParameterKind},
    engine::{rule::Rule, text::thousands},
};

const PARAMETERS: &[Parameter] = &[
    Parameter::text("q", "With this text in title, name or tags."),
    Parameter::of(
        ParameterKind::OneOf(&["all", "detection", "correlation", "recording"]),
        "kind",
        "Of this sort.",
    ),
];

/// One rule as a line.
pub(super) struct RuleLine {
    pub(super) link: Link,
    pub(super) title: String,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) severity: &'static str,
    pub(super) firing: usize,
    /// Alerts of the range, and how many a day that is.
    pub(super) began: usize,
    pub(super) per_day: String,
    /// Those that were noise, and how many were judged.
    pub(super) judged: Judged,
    pub(super) alerts: Link,
    pub(super) last: Option<When>,
    pub(super) owner: String,
    pub(super) needs: &'static str,
    pub(super) status: String,
    pub(super) has_alerts: bool,
    /// Tests of its file that failed, of how many; `None` if they were not played.
    pub(super) tests: Option<(usize, usize)>,
}

#[derive(Template)]
#[template(path = "console/rules.html", config = "src/html/askama.toml")]
struct RulesPage {
    frame: Frame,
    lines: Vec<RuleLine>,
    count: String,
    version: String,
    loaded: Option<When>,
    problems: Vec<String>,
    search: String,
    kinds: Vec<(&'static str, Link, bool)>,
    troubles: Vec<Trouble>,
}

fn kind_of(rule: &Rule) -> &'static str {
    match rule {
        Rule::Detection(_) if rule.records() => "recording",
        Rule::Detection(_) => "detection",
        Rule::Correlation(rule) => rule.kind.entry().name,
    }
}

pub(in crate::server) async fn page(context: View, uri: Uri) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "7d") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let told = changes(&context, (asked.from, asked.to)).await;
    let from = asked.from;
    let judged = ask(&context, move |reader| Ok(verdicts(reader, from)?)).await;
    let mut by_rule: BTreeMap<String, Vec<Arc<Episode>>> = BTreeMap::new();
    for episode in together(&context, &told.found.0, Wanted::All) {
        by_rule.entry(episode.rule_id.clone()).or_default().push(episode);
    }
    let (rules, reload) = {
        let inner = context.status.read();
        (Arc::clone(&inner.rules), inner.reload.clone())
    };
    let played = context.status.read().rule_tests.clone();
    let played =
        played.filter(|played| played.version == rules.version && played.problem.is_empty());
    let tests_of = |rule: &Rule| {
        let path = &rule.meta().place.as_ref()?.source.name;
        let of = played.as_ref()?.files.get(path).cloned().unwrap_or_default();
        Some((of.failed, of.passed + of.failed))
    };
    let search = asked.get("q").unwrap_or_default().to_lowercase();
    let kind = asked.get("kind").unwrap_or("all").to_owned();
    let mut lines: Vec<RuleLine> = rules
        .written()
        .filter(|(_, rule)| fits(rule, &search, &kind))
        .map(|(_, rule)| {
            let episodes = by_rule.get(&rule.meta().id).map(Vec::as_slice).unwrap_or_default();
            RuleLine { tests: tests_of(rule), ..line(&asked, rule, episodes, &judged.found) }
        })
        .collect();
    lines.sort_by_key(|line| {
        (std::cmp::Reverse(line.firing), std::cmp::Reverse(line.began), line.title.clone())
    });
    let kinds = ["all", "detection", "correlation", "recording"];
    let page = RulesPage {
        count: thousands(lines.len() as u64),
        lines,
        version: rules.version.clone(),
        loaded: reload.as_ref().map(|reload| asked.when(reload.at.as_event())),
        problems: reload
            .and_then(|reload| reload.problems)
            .map(|text| text.lines().map(str::to_owned).collect())
            .unwrap_or_default(),
        search: asked.get("q").unwrap_or_default().to_owned(),
        kinds: kinds
            .into_iter()
            .map(|word| (word, asked.here_with("kind", word), word == kind))
            .collect(),
        troubles: told.troubles,
        frame: Frame::new(&context, asked, "/rules", "Rules"),
    };
    show(&page)
}

fn fits(rule: &Rule, search: &str, kind: &str) -> bool {
    let meta = rule.meta();
    let of_kind = match kind {
        "all" => true,
        "correlation" => matches!(rule, Rule::Correlation(_)),
        word => kind_of(rule) == word,
    };
    let texts = [&meta.id, &meta.name, &meta.about.title].into_iter().chain(&meta.about.tags);
    of_kind
        && (search.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(search)))
}

/// A rule, with what it said in the range of the page.
pub(super) fn line(
    asked: &Asked,
    rule: &Rule,
    episodes: &[Arc<Episode>],
    verdicts: &Verdicts,
) -> RuleLine {
    let meta = rule.meta();
    RuleLine {
        link: asked.link("/rule").with("id", &meta.id),
        title: meta.about.title.clone(),
        name: meta.name.clone(),
        kind: kind_of(rule),
        severity: meta.severity.as_str(),
        firing: episodes.iter().filter(|episode| episode.is_firing).count(),
        began: episodes.len(),
        per_day: per_day(episodes.len(), asked),
        judged: Judged::of(episodes, verdicts),
        alerts: asked
            .link("/alerts")
            .with("state", "all")
            .with("rule", &meta.name)
            .with_all(&range_of(asked)),
        last: episodes.iter().map(|episode| episode.last_seen).max().map(|last| asked.when(last)),
        owner: meta.about.owner.clone().unwrap_or_default(),
        needs: meta.needs.as_str(),
        status: meta.about.status.clone().unwrap_or_default(),
        has_alerts: meta.alert.is_some(),
        tests: None,
    }
}

/// The range of the page, for a list over the same.
fn range_of(asked: &Asked) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = asked.kept();
    pairs.retain(|(name, _)| name != "zone");
    if pairs.is_empty() {
        pairs.push(("since".to_owned(), asked.since.clone()));
    }
    pairs
}
