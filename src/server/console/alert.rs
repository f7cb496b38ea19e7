//! `/alerts/FINGERPRINT/START`: one episode, from what fired and why to what people did about it.

mod load;
mod why;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse as _, Redirect, Response},
};

use self::{
    load::{Loaded, load},
    why::Why,
};
use super::{
    super::ServerContext,
    asked::{Asked, When},
    cover::unknown,
    frame::{Frame, missing, refuse, show},
    lanes::{Lanes, Line},
    ledger::Trouble,
    link::Link,
    list::EpisodeLine,
    usual::{self, Usual},
};
use crate::engine::{
    access::Access,
    alert::{Alert, Fingerprint},
    ledger::{EntryKind, Row},
    rule::{RuleMeta, Severity},
    text::{counted, one_line, span},
    time::EventTime,
};

/// Lines of the table beside the lanes: 200. The timeline has all.
const LINES_SHOWN: usize = 200;

/// Something that is known, with the pages about it.
struct Fact {
    name: &'static str,
    values: Vec<(String, Option<Link>)>,
}

/// One event that shows it.
struct Shown {
    when: When,
    fields: Vec<(String, String)>,
    /// What it reads like as a command, if the ledger has the access.
    command: Option<String>,
    position: Option<String>,
    audit_id: Option<String>,
}

/// What a receiver was told.
struct Told {
    when: When,
    receiver: String,
    notifier: String,
    what: String,
    class: &'static str,
    detail: String,
}

/// What somebody did, or what became of it.
struct Step {
    when: When,
    text: String,
}

/// The rule behind it.
struct RuleCard {
    name: String,
    link: Link,
    place: String,
    description: Vec<String>,
    meaning: String,
    inputs: Vec<(String, Link)>,
    owner: Option<String>,
    runbook: Option<String>,
    false_positives: Vec<String>,
    references: Vec<String>,
    tags: Vec<String>,
    controls: Vec<String>,
    notes: Vec<String>,
    version: String,
}

#[derive(Template)]
#[template(path = "console/alert.html", config = "src/html/askama.toml")]
struct AlertPage {
    frame: Frame,
    severity: Severity,
    title: String,
    fingerprint: String,
    is_firing: bool,
    is_remembered: bool,
    began: When,
    ended: Option<When>,
    lasted: String,
    why: Why,
    who: Vec<Fact>,
    actor: Option<(String, Link)>,
    usual: Vec<Usual>,
    lanes: Lanes,
    lines: Vec<Line>,
    lines_more: usize,
    timeline: Link,
    evidence: Vec<Shown>,
    told: Vec<Told>,
    life: Vec<Step>,
    others: Vec<EpisodeLine>,
    rule: Option<RuleCard>,
    similar: Link,
    troubles: Vec<Trouble>,
}

/// `/alerts/FINGERPRINT`: the episode that fires, else the last one that the ledger has.
pub(in crate::server) async fn latest(
    State(context): State<ServerContext>,
    Path(fingerprint): Path<String>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[], "30d") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/alerts", mistake),
    };
    let told = super::list::changes(&context, (asked.from, asked.to)).await;
    let all = super::list::together(&context, &told.found.0);
    match all.values().rfind(|episode| episode.fingerprint == fingerprint) {
        Some(episode) => {
            let link = asked.alert_link(&episode.fingerprint, episode.starts_at);
            Redirect::to(&link.to_string()).into_response()
        }
        None => nowhere(&context),
    }
}

fn nowhere(context: &ServerContext) -> Response {
    let hint =
        "Its month may be deleted, or it may be an alert of another process. Search for its rule.";
    missing(context, "/alerts", "there is no such alert", hint)
}

/// One episode.
pub(in crate::server) async fn page(
    State(context): State<ServerContext>,
    Path((fingerprint, start)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/alerts", mistake),
    };
    let (Ok(fingerprint), Some(start)) =
        (fingerprint.parse::<Fingerprint>(), EventTime::parse(&start))
    else {
        return nowhere(&context);
    };
    let Some((loaded, troubles)) = load(&context, &asked, fingerprint, start).await else {
        return nowhere(&context);
    };
    show(&AlertPage::new(&context, asked, loaded, troubles))
}

impl AlertPage {
    fn new(
        context: &ServerContext,
        asked: Asked,
        loaded: Loaded,
        troubles: Vec<Trouble>,
    ) -> AlertPage {
        let Loaded { episode, alert, .. } = &loaded;
        let range = loaded.range;
        let around: Vec<&Access> = loaded.around.iter().filter_map(Row::access).collect();
        let during: Vec<&Access> = around
            .iter()
            .copied()
            .filter(|access| access.last() >= loaded.first && access.at <= episode.last_seen)
            .collect();
        let usual = match &episode.actor {
            Some(_) => usual::compare(&asked, &loaded.before, &during, loaded.since),
            None => Vec::new(),
        };
        let unknown = unknown(&asked, range, &loaded.hours, loaded.watermark);
        let mark = (loaded.first, episode.last_seen, "while the alert counted".to_owned());
        let lanes = Lanes::new(&asked, range, around.iter().copied(), &unknown, Some(mark));
        let mut lines: Vec<Line> =
            around.iter().take(LINES_SHOWN).map(|access| Line::new(&asked, access)).collect();
        let lines_more = around.len().saturating_sub(lines.len());
        lines.truncate(LINES_SHOWN);
        let actor = episode
            .actor
            .as_ref()
            .map(|actor| (actor.clone(), asked.link("/actor").with("id", actor)));
        let timeline = {
            let link = asked.link("/timeline");
            let link = match &episode.actor {
                Some(actor) => link.with("actor", actor),
                None => link,
            };
            link.with("from", &range.0.rfc3339()).with("to", &range.1.rfc3339())
        };
        let rule = rule_card(context, &asked, &episode.rule_id, alert.as_ref());
        let ended = episode.ends_at;
        let lasted = span(ended.unwrap_or(asked.now.as_event()).since(episode.starts_at));
        AlertPage {
            severity: episode.severity,
            title: episode.title.clone(),
            fingerprint: episode.fingerprint.clone(),
            is_firing: episode.is_firing,
            is_remembered: alert.is_none(),
            began: asked.when(episode.starts_at),
            ended: ended.map(|time| asked.when(time)),
            lasted,
            why: Why::new(&asked, &loaded),
            who: who(&asked, &loaded, &during),
            actor,
            usual,
            lanes,
            lines,
            lines_more,
            timeline,
            evidence: evidence(&asked, alert.as_ref(), &around),
            told: told(&asked, &loaded),
            life: life(&asked, &loaded),
            others: loaded.others.iter().map(|episode| EpisodeLine::new(&asked, episode)).collect(),
            rule,
            similar: asked
                .link("/alerts")
                .with("state", "all")
                .with("rule", &episode.name)
                .with("since", "7d"),
            troubles,
            frame: {
                let title =
                    format!("{} · {}", episode.severity.as_str(), one_line(&episode.title, 80));
                Frame::new(context, asked, "/alerts", &title)
            },
        }
    }
}

/// Who it was, from where, on whose behalf, by which permission: from the accesses that the alert counted, or
/// from what it shows itself.
fn who(asked: &Asked, loaded: &Loaded, during: &[&Access]) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut add = |name: &'static str, text: String, link: Option<Link>| {
        if text.is_empty() {
            return;
        }
        match facts.iter_mut().find(|fact| fact.name == name) {
            Some(fact) => {
                if !fact.values.iter().any(|(known, _)| *known == text) && fact.values.len() < 6 {
                    fact.values.push((text, link));
                }
            }
            None => facts.push(Fact { name, values: vec![(text, link)] }),
        }
    };
    let by = |name: &str, value: &str| Some(asked.link("/timeline").with(name, value));
    for access in during {
        if let Some(team) = &access.actor.team {
            add("team", team.to_string(), None);
        }
        let kind = if access.actor.human { "a person" } else { &access.actor.kind };
        add("is", kind.to_owned(), None);
        if let Some(caller) = &access.on_behalf_of {
            add("really", caller.to_string(), Some(asked.link("/actor").with("id", caller)));
        }
        if let Some(source) = &access.source_ip {
            add("from", source.to_string(), by("source", source));
        }
        for claimed in &access.claimed_ips {
            add("claims to be", claimed.to_string(), None);
        }
        if let Some(permission) = &access.permission {
            add("permission", permission.to_string(), by("permission", &permission.name()));
        }
        if let Some(credential) = &access.credential_id {
            add("credential", credential.to_string(), by("credential", credential));
        }
        if let Some(agent) = &access.user_agent {
            add("client", one_line(agent, 120), None);
        }
        if let Some(cluster) = &access.cluster {
            add("cluster", cluster.to_string(), None);
        }
    }
    if let Some(alert) = loaded.alert.as_ref().filter(|_| during.is_empty()) {
        for (field, value) in alert.evidence.iter().flat_map(|one| &one.fields) {
            match field.as_str() {
                "source.ip" => add("from", value.clone(), by("source", value)),
                "userAgent" => add("client", one_line(value, 120), None),
                "user.groups" => add("groups", value.clone(), None),
                "cluster" => add("cluster", value.clone(), None),
                _ => {}
            }
        }
    }
    facts
}

/// The events that show it, with what the ledger has of the same request.
fn evidence(asked: &Asked, alert: Option<&Alert>, around: &[&Access]) -> Vec<Shown> {
    let Some(alert) = alert else { return Vec::new() };
    alert
        .evidence
        .iter()
        .map(|one| {
            let access = around.iter().find(|access| access.at == one.time);
            Shown {
                when: asked.when(one.time),
                fields: one.fields.clone(),
                command: access.map(|access| crate::engine::access::kubectl_line(access)),
                position: access.map(|access| {
                    let position = &access.position;
                    format!("{}/{}@{}", position.topic, position.partition, position.offset)
                }),
                audit_id: access.map(|access| access.audit_id.to_string()),
            }
        })
        .collect()
}

fn told(asked: &Asked, loaded: &Loaded) -> Vec<Told> {
    loaded
        .deliveries
        .iter()
        .filter_map(|row| Some((row, row.entry()?)))
        .map(|(row, entry)| Told {
            when: asked.when(row.at()),
            receiver: entry.party.clone(),
            notifier: entry.fact_of("notifier").unwrap_or_default().to_owned(),
            what: entry.what.clone(),
            class: match entry.what.as_str() {
                "delivered" => "good",
                "retry" => "medium",
                _ => "critical",
            },
            // The reason comes first; behind it the fingerprints, which this page has.
            detail: entry.detail.split(';').next().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// What became of it, and what people did, in the order of time.
fn life(asked: &Asked, loaded: &Loaded) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut updates = 0_usize;
    for row in &loaded.changes {
        let Some(entry) = row.entry() else { continue };
        let value = entry.fact_of("value").unwrap_or_default();
        let severity = entry.fact_of("severity").unwrap_or_default();
        let text = match (entry.kind, entry.what.as_str()) {
            (EntryKind::Alert, "updated") => {
                updates += 1;
                continue;
            }
            (EntryKind::Alert, "firing") => format!("began, {severity}, value {value}"),
            (EntryKind::Alert, what) => format!("{what}, value {value}"),
            (_, what) => format!("{} {what} {}", entry.party, entry.detail),
        };
        steps.push(Step { when: asked.when(row.at()), text });
    }
    if updates > 0 {
        let text = format!("counted further {}", counted(updates, "time"));
        let at = steps.len().min(1);
        steps.insert(at, Step { when: asked.when(loaded.episode.last_seen), text });
    }
    steps
}

fn rule_card(
    context: &ServerContext,
    asked: &Asked,
    id: &str,
    alert: Option<&Alert>,
) -> Option<RuleCard> {
    let inner = context.status.read();
    let rules = &inner.rules;
    let index = rules.find(id)?;
    let rule = rules.rule(index);
    let meta: &RuleMeta = rule.meta();
    let inputs = match rule {
        crate::engine::rule::Rule::Detection(_) => Vec::new(),
        crate::engine::rule::Rule::Correlation(correlation) => correlation
            .inputs
            .iter()
            .map(|input| {
                let written = rules.rule(rules.written_for(input.rule)).meta();
                let link = asked.link("/rule").with("id", &written.id);
                (written.about.title.clone(), link)
            })
            .collect(),
    };
    let about = &meta.about;
    Some(RuleCard {
        name: meta.name.clone(),
        link: asked.link("/rule").with("id", &meta.id),
        place: meta
            .place
            .as_ref()
            .map(crate::engine::diagnostic::Place::location)
            .unwrap_or_default(),
        description: about.description.lines().map(str::to_owned).collect(),
        meaning: rules.describe_rule(rule),
        inputs,
        owner: about.owner.clone(),
        runbook: alert
            .and_then(|alert| alert.annotations.get("runbook_url").cloned())
            .or_else(|| about.runbook.clone()),
        false_positives: about.false_positives.clone(),
        references: about.references.clone(),
        tags: about.tags.clone(),
        controls: about.controls.clone(),
        notes: about.notes.iter().map(|note| format!("{}: {note}", note.on)).collect(),
        version: rules.version.clone(),
    })
}
