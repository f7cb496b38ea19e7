//! `/rules`: what is on watch; `/rule?id=`: one rule as it was loaded, and what it said lately.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, http::Uri, response::Response};

use super::{
    super::ServerContext,
    asked::{Asked, When},
    chart::{Chart, Counts, severities},
    frame::{Frame, missing, refuse, show},
    ledger::{Trouble, hour_of},
    link::Link,
    list::{EpisodeLine, changes, together},
    row::Episode,
};
use crate::{
    ask::{Parameter, ParameterKind},
    engine::{
        diagnostic::Place,
        rule::{Rule, RuleIndex, RuleSet},
        text::{one_line, thousands},
    },
};

/// Alerts of a rule that are shown.
const ALERTS_SHOWN: usize = 25;

/// How long an excuse is offered for: 60 days.
const FILTER_SPAN: std::time::Duration = std::time::Duration::from_secs(60 * 86_400);

const PARAMETERS: &[Parameter] = &[
    Parameter::text("q", "With this text in title, name or tags."),
    Parameter::of(
        ParameterKind::OneOf(&["all", "detection", "correlation", "recording"]),
        "kind",
        "Of this sort.",
    ),
];

/// One rule as a line.
struct RuleLine {
    link: Link,
    title: String,
    name: String,
    kind: &'static str,
    severity: &'static str,
    firing: usize,
    began: usize,
    alerts: Link,
    last: Option<When>,
    owner: String,
    needs: &'static str,
    status: String,
    has_alerts: bool,
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

pub(in crate::server) async fn page(State(context): State<ServerContext>, uri: Uri) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "7d") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let told = changes(&context, (asked.from, asked.to)).await;
    let mut by_rule: BTreeMap<String, Vec<Episode>> = BTreeMap::new();
    for episode in together(&context, &told.found.0).into_values() {
        by_rule.entry(episode.rule_id.clone()).or_default().push(episode);
    }
    let (rules, reload) = {
        let inner = context.status.read();
        (std::sync::Arc::clone(&inner.rules), inner.reload.clone())
    };
    let search = asked.get("q").unwrap_or_default().to_lowercase();
    let kind = asked.get("kind").unwrap_or("all").to_owned();
    let mut lines: Vec<RuleLine> = rules
        .written()
        .filter(|(_, rule)| fits(rule, &search, &kind))
        .map(|(_, rule)| line(&asked, rule, by_rule.get(&rule.meta().id)))
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

fn line(asked: &Asked, rule: &Rule, episodes: Option<&Vec<Episode>>) -> RuleLine {
    let meta = rule.meta();
    let episodes = episodes.map(Vec::as_slice).unwrap_or_default();
    RuleLine {
        link: asked.link("/rule").with("id", &meta.id),
        title: meta.about.title.clone(),
        name: meta.name.clone(),
        kind: kind_of(rule),
        severity: meta.severity.as_str(),
        firing: episodes.iter().filter(|episode| episode.is_firing).count(),
        began: episodes.len(),
        alerts: asked
            .link("/alerts")
            .with("state", "all")
            .with("rule", &meta.name)
            .with("since", "7d"),
        last: episodes.iter().map(|episode| episode.last_seen).max().map(|last| asked.when(last)),
        owner: meta.about.owner.clone().unwrap_or_default(),
        needs: meta.needs.as_str(),
        status: meta.about.status.clone().unwrap_or_default(),
        has_alerts: meta.alert.is_some(),
    }
}

const ONE_PARAMETERS: &[Parameter] =
    &[Parameter::text("id", "Which rule: its id, or its name.").required()];

#[derive(Template)]
#[template(path = "console/rule.html", config = "src/html/askama.toml")]
struct RulePage {
    frame: Frame,
    line: RuleLine,
    id: String,
    place: String,
    description: Vec<String>,
    facts: Vec<(&'static str, Vec<String>)>,
    inputs: Vec<(String, Link)>,
    fed: Vec<(String, Link)>,
    meaning: Vec<String>,
    source: Vec<String>,
    filter: Vec<String>,
    chart: Chart,
    alerts: Vec<EpisodeLine>,
    more: usize,
    version: String,
    troubles: Vec<Trouble>,
}

/// One rule.
pub(in crate::server) async fn one(State(context): State<ServerContext>, uri: Uri) -> Response {
    let asked = match Asked::read(&uri, &[ONE_PARAMETERS], "7d") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/rules", mistake),
    };
    let rules = std::sync::Arc::clone(&context.status.read().rules);
    let id = asked.get("id").unwrap_or_default();
    let Some(index) = rules.find(id).or_else(|| rules.find_written(id)) else {
        let what = format!("there is no rule `{}`", one_line(id, 120));
        let hint = "It may have been removed, or renamed. Alerts of it are in the history.";
        return missing(&context, "/rules", &what, hint);
    };
    let index = rules.written_for(index);
    let told = changes(&context, (asked.from, asked.to)).await;
    let mut episodes: Vec<Episode> = together(&context, &told.found.0)
        .into_values()
        .filter(|episode| episode.rule_id == rules.rule(index).meta().id)
        .collect();
    episodes.sort_by_key(|episode| std::cmp::Reverse(episode.starts_at));
    show(&RulePage::new(&context, asked, (&rules, index), &episodes, told.troubles))
}

impl RulePage {
    fn new(
        context: &ServerContext,
        asked: Asked,
        (rules, index): (&RuleSet, RuleIndex),
        episodes: &Vec<Episode>,
        troubles: Vec<Trouble>,
    ) -> RulePage {
        let rule = rules.rule(index);
        let meta = rule.meta();
        let about = &meta.about;
        let mut counts = Counts::new();
        for episode in episodes {
            let hour = counts.entry(hour_of(episode.starts_at)).or_default();
            *hour.entry(episode.severity.as_str()).or_default() += 1;
        }
        let hours = (hour_of(asked.from), hour_of(asked.to));
        let one = |text: &Option<String>| text.clone().into_iter().collect::<Vec<_>>();
        let mut facts = vec![
            ("owner", one(&about.owner)),
            ("author", one(&about.author)),
            ("runbook", one(&about.runbook)),
            ("needs", vec![format!("audit level {}", meta.needs.as_str())]),
            ("may also be", about.false_positives.clone()),
            ("controls", about.controls.clone()),
            ("tags", about.tags.clone()),
            ("read", about.references.clone()),
            ("excuses", about.notes.iter().map(|note| format!("{}: {note}", note.on)).collect()),
        ];
        facts.retain(|(_, values)| !values.is_empty());
        let line = line(&asked, rule, Some(episodes));
        RulePage {
            id: meta.id.clone(),
            place: meta.place.as_ref().map(Place::location).unwrap_or_default(),
            description: about.description.lines().map(str::to_owned).collect(),
            facts,
            inputs: inputs(&asked, rules, rule),
            fed: fed(&asked, rules, index),
            meaning: rules.describe_rule(rule).lines().map(str::to_owned).collect(),
            source: meta.place.as_ref().map(document_of).unwrap_or_default(),
            filter: filter_of(&asked, &filtered(rules, rule), episodes.first()),
            chart: Chart::new(&asked, "alerts that began, by hour", hours, severities(), &counts),
            alerts: episodes
                .iter()
                .take(ALERTS_SHOWN)
                .map(|episode| EpisodeLine::new(&asked, episode))
                .collect(),
            more: episodes.len().saturating_sub(ALERTS_SHOWN),
            version: rules.version.clone(),
            troubles,
            frame: {
                let title = one_line(&about.title, 80);
                Frame::new(context, asked, "/rules", &title)
            },
            line,
        }
    }
}

/// The rules whose events it counts.
fn inputs(asked: &Asked, rules: &RuleSet, rule: &Rule) -> Vec<(String, Link)> {
    let Rule::Correlation(rule) = rule else { return Vec::new() };
    rule.inputs.iter().map(|input| named(asked, rules, input.rule)).collect()
}

/// The rules that count its events.
fn fed(asked: &Asked, rules: &RuleSet, index: RuleIndex) -> Vec<(String, Link)> {
    let counts = |rule: &Rule| match rule {
        Rule::Detection(_) => false,
        Rule::Correlation(rule) => {
            rule.inputs.iter().any(|input| rules.written_for(input.rule) == index)
        }
    };
    rules
        .written()
        .filter(|(_, rule)| counts(rule))
        .map(|(at, _)| named(asked, rules, at))
        .collect()
}

fn named(asked: &Asked, rules: &RuleSet, index: RuleIndex) -> (String, Link) {
    let meta = rules.rule(rules.written_for(index)).meta();
    (meta.about.title.clone(), asked.link("/rule").with("id", &meta.id))
}

/// The lines of the document that a rule was read from, among those of its file.
fn document_of(place: &Place) -> Vec<String> {
    let text = &place.source.text;
    let from = text.floor_char_boundary(place.span.start.min(text.len()));
    let is_border = |line: &str| line.trim_end() == "---";
    let begin = text.get(..from).unwrap_or_default();
    let begin = begin.rfind("\n---").map_or(0, |at| at + 1);
    let rest = text.get(begin..).unwrap_or_default();
    let lines = rest.lines().skip_while(|line| is_border(line));
    lines.take_while(|line| !is_border(line)).map(str::to_owned).collect()
}

/// The names of the rules that a filter has to name: of a correlation those whose events it counts.
fn filtered(rules: &RuleSet, rule: &Rule) -> Vec<String> {
    match rule {
        Rule::Detection(rule) => vec![rule.meta.name.clone()],
        Rule::Correlation(rule) => {
            let name = |index| rules.rule(rules.written_for(index)).meta().name.clone();
            rule.inputs.iter().map(|input| name(input.rule)).collect()
        }
    }
}

/// A filter that would excuse the last alert, for somebody to put into a file. The console writes none.
fn filter_of(asked: &Asked, rules: &[String], episode: Option<&Episode>) -> Vec<String> {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let names: Vec<String> = rules.iter().map(|name| quoted(name)).collect();
    let expires = asked.full(asked.now.as_event().plus(FILTER_SPAN));
    let expires = expires.get(..10).unwrap_or_default();
    let mut lines = vec![
        format!("title: {}", quoted(&format!("Excuse for {}", rules.join(", ")))),
        "logsource: {product: kubernetes, service: audit}".to_owned(),
        format!("tripline: {{owner: WHO ANSWERS FOR IT, reason: WHY, expires: {expires}}}"),
        "filter:".to_owned(),
        format!("  rules: [{}]", names.join(", ")),
        "  selection:".to_owned(),
    ];
    match episode.filter(|episode| !episode.key.is_empty()) {
        Some(episode) => {
            lines.extend(
                episode.key.iter().map(|(name, value)| format!("    {name}: {}", quoted(value))),
            );
        }
        None => lines.push("    user.username: WHO".to_owned()),
    }
    lines.push("  condition: not selection".to_owned());
    lines
}
