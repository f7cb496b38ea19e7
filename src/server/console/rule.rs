//! `/rule?id=`: one rule as it was loaded, what it said lately, how that was judged, and what replaced what.

use std::sync::Arc;

use askama::Template;
use axum::{http::Uri, response::Response};

use super::{
    super::row::Episode,
    super::status::{FileTests, RuleTests},
    asked::Asked,
    chart::{Chart, Counts, severities},
    frame::{Frame, missing, refuse, show},
    ledger::Trouble,
    link::Link,
    list::{EpisodeLine, Wanted, changes, together},
    rule_record::{Change, Day, Judged, Record, days, record},
    rules::{RuleLine, line},
    view::View,
};
use crate::{
    ask::Parameter,
    engine::{
        diagnostic::Place,
        event::known_field,
        rule::{Rule, RuleIndex, RuleMeta, RuleSet},
        text::{counted, one_line, thousands},
    },
    telemetry::RuleNumbers,
};

/// Alerts of a rule that are shown.
const ALERTS_SHOWN: usize = 25;

/// How long an excuse is offered for: 60 days.
const FILTER_SPAN: std::time::Duration = std::time::Duration::from_secs(60 * 86_400);

const PARAMETERS: &[Parameter] =
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
    /// How it does: what is known, and what nobody knows.
    record: Vec<(&'static str, Vec<String>)>,
    days: Vec<Day>,
    changes: Vec<Change>,
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
pub(in crate::server) async fn page(context: View, uri: Uri) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "7d") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/rules", mistake),
    };
    let rules = Arc::clone(&context.status.read().rules);
    let id = asked.get("id").unwrap_or_default();
    let Some(index) = rules.find(id).or_else(|| rules.find_written(id)) else {
        let what = format!("there is no rule `{}`", one_line(id, 120));
        let hint = "It may have been removed, or renamed. Alerts of it are in the history.";
        return missing(&context, "/rules", &what, hint);
    };
    let index = rules.written_for(index);
    let meta = rules.rule(index).meta();
    let told = changes(&context, (asked.from, asked.to)).await;
    let mut episodes = together(&context, &told.found.0, Wanted::OfRule(&meta.id));
    episodes.sort_by_key(|episode| std::cmp::Reverse(episode.starts_at));
    let known = record(&context, &asked, &meta.name).await;
    let mut troubles = told.troubles;
    troubles.extend(known.troubles);
    troubles.dedup();
    let of = (&*rules, index, context.metrics.of_rule(&meta.name));
    show(&RulePage::new(&context, asked, of, (&episodes, known.found), troubles))
}

impl RulePage {
    fn new(
        context: &View,
        asked: Asked,
        (rules, index, numbers): (&RuleSet, RuleIndex, RuleNumbers),
        (episodes, record): (&[Arc<Episode>], Record),
        troubles: Vec<Trouble>,
    ) -> RulePage {
        let rule = rules.rule(index);
        let meta = rule.meta();
        let about = &meta.about;
        let mut counts = Counts::new();
        for episode in episodes {
            let hour = counts.entry(episode.starts_at.hour()).or_default();
            *hour.entry(episode.severity.as_str()).or_default() += 1;
        }
        let hours = (asked.from.hour(), asked.to.hour());
        let one = |text: &Option<String>| text.clone().into_iter().collect::<Vec<_>>();
        let mut facts = vec![
            ("owner", one(&about.owner)),
            ("author", one(&about.author)),
            ("runbook", one(&about.runbook)),
            ("may also be", about.false_positives.clone()),
            ("controls", about.controls.clone()),
            ("tags", about.tags.clone()),
            ("read", about.references.clone()),
            ("excuses", about.notes.iter().map(|note| format!("{}: {note}", note.on)).collect()),
        ];
        facts.retain(|(_, values)| !values.is_empty());
        let judged = Judged::of(episodes, &record.verdicts);
        let since = asked.when(context.status.started_at().as_event()).text;
        let line = line(&asked, rule, episodes, &record.verdicts);
        let played = context.status.read().rule_tests.clone();
        let tests = tests_of(&asked, meta, &rules.version, played.as_deref());
        RulePage {
            id: meta.id.clone(),
            place: meta.place.as_ref().map(Place::location).unwrap_or_default(),
            description: about.description.lines().map(str::to_owned).collect(),
            record: known(rule, &line, &judged, &record, (&numbers, &since, &tests)),
            days: days(&asked, episodes, &record.verdicts),
            changes: record.changes,
            facts,
            inputs: inputs(&asked, rules, rule),
            fed: fed(&asked, rules, index),
            meaning: rules.describe_rule(rule).lines().map(str::to_owned).collect(),
            source: meta.place.as_ref().map(document_of).unwrap_or_default(),
            filter: filter_of(&asked, &filtered(rules, rule), episodes.first().map(AsRef::as_ref)),
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

/// The tests of the file that a rule stands in, and what came of them.
fn tests_of(
    asked: &Asked,
    meta: &RuleMeta,
    version: &str,
    played: Option<&RuleTests>,
) -> Vec<String> {
    let command = format!("`tripline test DIR --filter {}` plays them", meta.name);
    let Some(place) = &meta.place else {
        return vec!["none: Tripline made it itself".to_owned()];
    };
    let Some(played) = played.filter(|played| played.version == version) else {
        return vec![format!("not known: they were not played over these rules; {command}")];
    };
    if !played.problem.is_empty() {
        return vec![format!("not known: {}", one_line(&played.problem, 300))];
    }
    let file = place.source.name.rsplit(['/', '\\']).next().unwrap_or_default();
    let when = asked.when(played.at.as_event());
    let Some(FileTests { passed, failed, failures }) = played.files.get(&place.source.name) else {
        return vec![format!("none stands beside {file}")];
    };
    let all = counted(passed + failed, "test");
    let when = format!("played {} ({})", when.full, when.ago);
    if *failed == 0 {
        return vec![format!("{all} of {file}, all passed; {when}")];
    }
    let mut lines = vec![format!("{all} of {file}, {failed} failed; {when}")];
    lines.extend(failures.iter().map(|name| format!("failed: {}", one_line(name, 200))));
    lines
}

/// How a rule does, and what nobody here knows of that.
fn known(
    rule: &Rule,
    line: &RuleLine,
    judged: &Judged,
    record: &Record,
    (numbers, since, tests): (&RuleNumbers, &str, &[String]),
) -> Vec<(&'static str, Vec<String>)> {
    let meta = rule.meta();
    let last = match (&line.last, meta.alert.is_some()) {
        (Some(when), _) => format!("{} ({}), by its alerts", when.full, when.ago),
        (None, true) => "none that is an alert in this range".to_owned(),
        (None, false) => "not known: it makes no alerts of its own".to_owned(),
    };
    let held = format!("its condition held {} since {since}", counted(numbers.findings, "time"));
    let mut facts = vec![("last match", vec![last, held])];
    if meta.alert.is_some() {
        facts.push((
            "alerts",
            vec![format!("{} began, {} a day", thousands(line.began as u64), line.per_day)],
        ));
        facts.push(("precision", judged.words()));
    }
    facts.push(("tests", tests.to_vec()));
    let keys = match rule {
        Rule::Correlation(_) => vec![format!(
            "{} held, in {} kB of memory",
            counted(numbers.keys, "key"),
            thousands(numbers.bytes.div_ceil(1_000))
        )],
        Rule::Detection(_) => Vec::new(),
    };
    let mut cost = keys;
    cost.push(match numbers.rules_per_event {
        Some(rules) => format!(
            "time is not measured by rule: of all rules, {rules:.2} are looked at per event after the index"
        ),
        None => "time is not measured by rule".to_owned(),
    });
    facts.push(("cost", cost));
    let seen: Vec<String> = record
        .levels
        .iter()
        .map(|(level, count)| format!("{level} {}", thousands(*count)))
        .collect();
    let seen = if seen.is_empty() {
        "nothing was recorded in this range, so nobody can say at which level events come"
            .to_owned()
    } else {
        format!(
            "seen, in the last {}: {}; of all resources, not only of those that it looks at",
            counted(record.levels.values().sum::<u64>(), "recorded access"),
            seen.join(", ")
        )
    };
    facts.push(("audit level", vec![format!("needs {}", meta.needs.as_str()), seen]));
    facts
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
pub(super) fn document_of(place: &Place) -> Vec<String> {
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
    // A key may have names that only the correlation knows; a filter looks at fields of events.
    let key = episode.map(|episode| episode.key.as_slice()).unwrap_or_default();
    let fields: Vec<String> = key
        .iter()
        .filter(|(name, _)| known_field(name).is_some())
        .map(|(name, value)| format!("    {name}: {}", quoted(value)))
        .collect();
    if fields.is_empty() {
        lines.push("    actor.confirmed: WHO".to_owned());
    }
    lines.extend(fields);
    lines.push("  condition: not selection".to_owned());
    lines
}
