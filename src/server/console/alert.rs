//! `/alerts/FINGERPRINT/START`: one episode, from what fired and why to what people did about it.

mod load;
pub(super) mod then;
mod why;

use askama::Template;
use axum::{
    Extension,
    extract::Path,
    http::Uri,
    response::{IntoResponse as _, Redirect, Response},
};

use self::{
    load::{Loaded, load},
    why::Why,
};
use super::{
    super::caller::{Caller, Right},
    super::row::Episode,
    act::words_of,
    asked::{Asked, When},
    cover::unknown,
    frame::{Frame, missing, refuse, seen, show},
    lanes::{Lanes, Line},
    ledger::Trouble,
    link::Link,
    list::{EpisodeLine, verdict_words},
    usual::{self, Usual},
    view::View,
};
use crate::engine::{
    access::Access,
    act::{Episode as Acts, SilencePhase},
    alert::{Alert, Fingerprint},
    ledger::{EntryKind, Row, hex_of},
    rule::{RuleMeta, Severity},
    text::{counted, one_line, span},
    time::EventTime,
};

/// Lines of the table beside the lanes: 100. The timeline has all.
const LINES_SHOWN: usize = 100;

/// Steps of its life that are shown: 100, the latest. The API has all that people did.
const LIFE_SHOWN: usize = 100;

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
    hash: Option<String>,
    /// The page of the event itself.
    page: Option<Link>,
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
    /// Somebody did it.
    is_deed: bool,
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
    /// What it showed is known, and not only that it was.
    is_whole: bool,
    rule_then: Link,
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
    /// Steps before those, and where all are.
    life_more: usize,
    acts: Link,
    others: Vec<EpisodeLine>,
    rule: Option<RuleCard>,
    similar: Link,
    troubles: Vec<Trouble>,
    sees_accesses: bool,
    /// What this caller can do, with the form of each.
    actions: Vec<(&'static str, &'static str, Link)>,
    assignee: Option<String>,
    verdict: Option<&'static str>,
    is_quieted: bool,
    silences: Vec<(String, bool)>,
}

/// `/alerts/FINGERPRINT`: the episode that fires, else the last one that the ledger has.
pub(in crate::server) async fn latest(
    context: View,
    Path(fingerprint): Path<String>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[], "30d") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/alerts", mistake),
    };
    let told = super::list::changes(&context, (asked.from, asked.to)).await;
    let all = super::list::together(&context, &told.found.0, super::list::Wanted::All);
    let of_alert = all.iter().filter(|episode| episode.fingerprint == fingerprint);
    match of_alert.max_by_key(|episode| (episode.is_firing, episode.starts_at)) {
        Some(episode) => {
            let link = asked.alert_link(&episode.fingerprint, episode.starts_at);
            Redirect::to(&link.to_string()).into_response()
        }
        None => nowhere(&context),
    }
}

/// The episode that a path names.
pub(super) fn episode_of(fingerprint: &str, start: &str) -> Option<(Fingerprint, EventTime)> {
    Some((fingerprint.parse().ok()?, EventTime::parse(start)?))
}

pub(super) fn nowhere(context: &View) -> Response {
    let hint =
        "Its month may be deleted, or it may be an alert of another process. Search for its rule.";
    missing(context, "/alerts", "there is no such alert", hint)
}

/// One episode.
pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    Path((fingerprint, start)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/alerts", mistake),
    };
    let Some(name) = episode_of(&fingerprint, &start) else { return nowhere(&context) };
    let sees_accesses = caller.may(Right::SeeAccesses);
    let Some((loaded, troubles)) = load(&context, &asked, name, sees_accesses).await else {
        return nowhere(&context);
    };
    if sees_accesses && let Err(answer) = seen(&context, &caller, &asked, loaded.around.len()) {
        return *answer;
    }
    show(&AlertPage::new(&context, &caller, asked, loaded, troubles))
}

impl AlertPage {
    fn new(
        context: &View,
        caller: &Caller,
        asked: Asked,
        loaded: Loaded,
        troubles: Vec<Trouble>,
    ) -> AlertPage {
        let Loaded { episode, alert, .. } = &loaded;
        let acts = episode.acts.as_deref();
        let range = loaded.range;
        let around: Vec<&Access> = loaded.around.iter().filter_map(Row::access).collect();
        let during: Vec<&Access> = around
            .iter()
            .copied()
            .filter(|access| access.last() >= loaded.first && access.at <= episode.last_seen)
            .collect();
        let usual = match &episode.actor {
            Some(_) if caller.may(Right::SeeAccesses) => {
                usual::compare(&asked, &loaded.before, &during, loaded.since)
            }
            _ => Vec::new(),
        };
        let unknown = unknown(&asked, range, &loaded.hours, loaded.watermark);
        let mark = (loaded.first, episode.last_seen, "while the alert counted".to_owned());
        let lanes = Lanes::new(&asked, range, around.iter().copied(), &unknown, Some(mark));
        let mut lines: Vec<Line> = Line::all(&asked, around.iter().take(LINES_SHOWN).copied());
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
        let mut steps = life(&asked, &loaded);
        let life_more = steps.len().saturating_sub(LIFE_SHOWN);
        steps.drain(..life_more);
        let ended = episode.ends_at;
        let lasted = span(ended.unwrap_or(asked.now.as_event()).since(episode.starts_at));
        AlertPage {
            rule_then: asked.alert_link(&episode.fingerprint, episode.starts_at).below("rule"),
            severity: episode.severity,
            title: episode.title.clone(),
            fingerprint: episode.fingerprint.clone(),
            is_firing: episode.is_firing,
            is_remembered: !episode.is_firing,
            is_whole: alert.is_some(),
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
            evidence: evidence(&asked, caller.may(Right::SeeAccesses), &loaded, &around),
            told: told(&asked, &loaded),
            life_more,
            life: steps,
            acts: Link::to(&format!("/api/v1/alerts/{}/acts", episode.fingerprint)),
            others: loaded.others.iter().map(|episode| EpisodeLine::new(&asked, episode)).collect(),
            rule,
            sees_accesses: caller.may(Right::SeeAccesses),
            actions: if caller.may(Right::Act) { actions(&asked, episode) } else { Vec::new() },
            assignee: acts.and_then(|acts| acts.assignee()).map(str::to_owned),
            verdict: acts.and_then(Acts::verdict).map(verdict_words),
            is_quieted: acts.is_some_and(Acts::is_quieted),
            silences: silences(context, &asked, acts),
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

/// The forms of what can be done about it.
fn actions(asked: &Asked, episode: &Episode) -> Vec<(&'static str, &'static str, Link)> {
    let act = |(word, title, key)| {
        let link = asked.link("/act").with("act", word).with("alert", &episode.id());
        (title, key, link.with("back", &asked.here().to_string()))
    };
    let mut words = vec![
        ("acknowledge", "Acknowledge", "a"),
        ("assign", "Assign", ""),
        ("silence", "Silence", "s"),
        ("verdict", "Verdict", ""),
        ("comment", "Comment", ""),
    ];
    if episode.is_firing {
        words.push(("resolve", "End", ""));
    }
    words.into_iter().map(act).collect()
}

/// Silences that hide it, or did, in words; and whether each is over.
fn silences(context: &View, asked: &Asked, acts: Option<&Acts>) -> Vec<(String, bool)> {
    let Some(acts) = acts else { return Vec::new() };
    let all = context.status.silences();
    let mut found = Vec::new();
    for silence in all.iter().filter(|silence| acts.hidden_by.contains(&silence.id)) {
        let is_over = silence.phase == SilencePhase::Expired;
        let end = asked.when(silence.ends_at.as_event());
        let words = if is_over { "ended" } else { "ends" };
        let author = &silence.author.name;
        let text =
            format!("{} by {author}: {}; {words} {}", silence.written(), silence.reason, end.full);
        found.push((text, is_over));
    }
    found
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
fn evidence(asked: &Asked, sees: bool, loaded: &Loaded, around: &[&Access]) -> Vec<Shown> {
    let Some(alert) = &loaded.alert else { return Vec::new() };
    let here = asked.alert_link(&loaded.episode.fingerprint, loaded.episode.starts_at);
    let page = |hash: &str| here.clone().below("events").below(hash);
    alert
        .evidence
        .iter()
        .map(|one| {
            let event = one.event.as_deref();
            let is_it = |access: &&&Access| match event {
                Some(event) => access.event_hash == event.event_hash.get(),
                None => access.at == one.time,
            };
            let access = around.iter().find(is_it);
            Shown {
                when: asked.when(one.time),
                fields: one.fields.clone(),
                command: access.map(|access| crate::engine::access::kubectl_line(access)),
                position: event.map(|event| event.position.to_string()),
                audit_id: event.map(|event| event.audit_id.to_string()),
                hash: event.map(|event| hex_of(&event.event_hash.get())),
                page: event.filter(|_| sees).map(|event| page(&hex_of(&event.event_hash.get()))),
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
        let is_deed = entry.kind != EntryKind::Alert;
        steps.push(Step { when: asked.when(row.at()), text, is_deed });
    }
    let deeds = loaded.episode.acts.iter().flat_map(|acts| &acts.deeds);
    let remembered: Vec<Step> = deeds
        .map(|deed| Step {
            when: asked.when(deed.at.as_event()),
            text: words_of(deed),
            is_deed: true,
        })
        .collect();
    // What is remembered is in the ledger too; that tells of older ones.
    if !remembered.is_empty() {
        steps.retain(|step| !step.is_deed);
        steps.extend(remembered);
        steps.sort_by(|one, other| one.when.iso.cmp(&other.when.iso));
    }
    if updates > 0 {
        let text = format!("counted further {}", counted(updates, "time"));
        let at = steps.len().min(1);
        let when = asked.when(loaded.episode.last_seen);
        steps.insert(at, Step { when, text, is_deed: false });
    }
    steps
}

fn rule_card(context: &View, asked: &Asked, id: &str, alert: Option<&Alert>) -> Option<RuleCard> {
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
