//! `/alerts`: what fires and what was, by filters, in groups, page by page. All of it is in the address.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{Extension, http::Uri, response::Response};

use super::{
    super::caller::{Caller, Right},
    super::row::Episode,
    asked::Asked,
    chart::Blocks,
    frame::{Frame, refuse, show},
    ledger::{Answer, Trouble},
    link::Link,
    list::{Entries, EpisodeLine, Order, Place, Wanted, changes, cursor, parse_cursor, together},
    view::View,
};
use crate::{
    ask::{Mistake, Parameter, ParameterKind},
    engine::{rule::Severity, text::thousands},
};

/// Lines of a page: 50.
const PAGE_LINES: usize = 50;

/// Lines of a group, before the rest of it is a click away: 3.
const GROUP_LINES: usize = 3;

/// Groups of a page: 20, so that it stays below 150 kB.
const GROUPS_SHOWN: usize = 20;

/// Beyond it a count says so, and no more: 10,000.
const COUNT_MAX: usize = 10_000;

/// What a list can be narrowed by; `!` before a value leaves it out.
const FILTERS: [&str; 5] = ["severity", "rule", "actor", "namespace", "cluster"];

const PARAMETERS: &[Parameter] = &[
    Parameter::of(
        ParameterKind::OneOf(&["firing", "resolved", "all"]),
        "state",
        "Those that fire, those that are over, or both.",
    ),
    Parameter::text("severity", "Of this severity; `!low` leaves it out."),
    Parameter::text("rule", "Of the rule with this name, id or title; `!name` leaves it out."),
    Parameter::text("actor", "About whom; `!name` leaves them out."),
    Parameter::text("namespace", "In which namespace; `!name` leaves it out."),
    Parameter::text("cluster", "In which cluster; `!name` leaves it out."),
    Parameter::text("q", "With this text in title, summary or key."),
    Parameter::of(
        ParameterKind::OneOf(&["rule", "actor", "namespace", "cluster"]),
        "group",
        "Those of one together.",
    ),
    Parameter::of(
        ParameterKind::OneOf(&["severity", "latest", "begun"]),
        "sort",
        "The worst first, the latest, or what began last.",
    ),
    Parameter::text("after", "Go on behind this one: as the page before says it."),
];

/// A filter that is set, and this page without it.
struct Chip {
    name: String,
    value: String,
    is_not: bool,
    without: Link,
}

/// What has one rule, actor, namespace or cluster.
struct Group {
    name: String,
    worst: &'static str,
    count: String,
    blocks: Blocks,
    /// What all of it has in common, said once.
    shared: Vec<(String, String)>,
    lines: Vec<EpisodeLine>,
    more: usize,
    link: Link,
}

/// One tab: a value of a parameter.
struct Tab {
    name: &'static str,
    link: Link,
    is_here: bool,
}

#[derive(Template)]
#[template(path = "console/alerts.html", config = "src/html/askama.toml")]
struct AlertsPage {
    frame: Frame,
    states: Vec<Tab>,
    groupings: Vec<Tab>,
    sorts: Vec<Tab>,
    severities: Vec<(&'static str, bool)>,
    chips: Vec<Chip>,
    lines: Vec<EpisodeLine>,
    groups: Vec<Group>,
    groups_more: usize,
    count: String,
    is_cut: bool,
    next: Option<Link>,
    first: Option<Link>,
    kept: Vec<(String, String)>,
    search: String,
    has_history: bool,
    may_act: bool,
    troubles: Vec<Trouble>,
    empty: (String, String),
    unfiltered: Link,
}

pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let choice = match Choice::read(&asked) {
        Ok(choice) => choice,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    // What fires is known without the ledger.
    let told = match choice.state {
        "firing" => Answer { found: Entries::default(), troubles: Vec::new() },
        _ => changes(&context, (asked.from, asked.to)).await,
    };
    let all = together(&context, &told.found.0, Wanted::All);
    let total_firing = all.iter().filter(|episode| episode.is_firing).count();
    let mut chosen: Vec<Arc<Episode>> =
        all.into_iter().filter(|episode| choice.fits(&asked, episode)).collect();
    chosen.sort_by_cached_key(|episode| choice.order.place(episode));
    let total = chosen.len();
    let (groups, groups_more) = match choice.group {
        Some(by) => choice.groups(&asked, by, &chosen),
        None => (Vec::new(), 0),
    };
    // Behind the place where the page before ended, whether or not what stood there still does.
    let begin = choice
        .after
        .as_ref()
        .map_or(0, |place| chosen.partition_point(|episode| choice.order.place(episode) <= *place));
    let shown: Vec<&Arc<Episode>> = match choice.group {
        Some(_) => Vec::new(),
        None => chosen.iter().skip(begin).take(PAGE_LINES).collect(),
    };
    let next = shown.last().filter(|_| choice.group.is_none() && begin + shown.len() < total);
    let next = next.map(|episode| asked.here().set("after", &cursor(&choice.order.place(episode))));
    let page = AlertsPage {
        states: tabs(&asked, "state", &["firing", "resolved", "all"], choice.state),
        groupings: groupings(&asked, choice.group),
        sorts: tabs(&asked, "sort", &["severity", "latest", "begun"], choice.sort),
        severities: Severity::ALL
            .iter()
            .rev()
            .map(|one| (one.as_str(), asked.get("severity") == Some(one.as_str())))
            .collect(),
        chips: chips(&asked),
        lines: shown.iter().map(|episode| EpisodeLine::new(&asked, episode)).collect(),
        groups,
        groups_more,
        count: capped(total),
        is_cut: told.found.1,
        next,
        first: asked.get("after").map(|_| asked.here().without("after")),
        kept: kept(&asked),
        search: asked.get("q").unwrap_or_default().to_owned(),
        has_history: choice.state != "firing",
        may_act: caller.may(Right::Act),
        troubles: told.troubles,
        empty: choice.empty(&asked, total_firing),
        unfiltered: asked.link("/alerts").with("state", "all"),
        frame: Frame::new(&context, asked, "/alerts", "Alerts"),
    };
    show(&page)
}

/// What a list is to show.
struct Choice<'a> {
    state: &'static str,
    order: Order,
    sort: &'static str,
    group: Option<&'static str>,
    filters: BTreeMap<&'static str, Vec<&'a str>>,
    text: Option<String>,
    /// The page begins behind this place.
    after: Option<Place>,
}

/// The value of a parameter that is one of some words; the first of them if it is not given.
fn word(asked: &Asked, name: &str, words: &[&'static str]) -> Result<&'static str, Mistake> {
    let first = words.first().copied().unwrap_or_default();
    let Some(given) = asked.get(name) else { return Ok(first) };
    words.iter().find(|word| **word == given).copied().ok_or_else(|| {
        let message = format!("no {name} `{}`", crate::engine::text::one_line(given, 60));
        Mistake::bad(message, format!("there are: {}", words.join(", ")))
    })
}

/// The place that a page begins behind.
fn place_of(cursor: &str) -> Result<Place, Mistake> {
    parse_cursor(cursor).ok_or_else(|| {
        let message =
            format!("`{}` is no place in the list", crate::engine::text::one_line(cursor, 60));
        Mistake::bad(message, "begin at the first page")
    })
}

impl<'a> Choice<'a> {
    fn read(asked: &'a Asked) -> Result<Choice<'a>, Mistake> {
        let sort = word(asked, "sort", &["severity", "latest", "begun"])?;
        let groups = ["", "rule", "actor", "namespace", "cluster"];
        let group = Some(word(asked, "group", &groups)?).filter(|group| !group.is_empty());
        let filters = FILTERS.iter().map(|name| (*name, asked.all(name).collect())).collect();
        for severity in asked.all("severity") {
            let word = severity.strip_prefix('!').unwrap_or(severity);
            if Severity::parse(word).is_none() {
                let known: Vec<&str> = Severity::ALL.iter().map(|one| one.as_str()).collect();
                let message = format!("no severity `{}`", crate::engine::text::one_line(word, 60));
                return Err(Mistake::bad(message, format!("there are: {}", known.join(", "))));
            }
        }
        Ok(Choice {
            state: word(asked, "state", &["firing", "resolved", "all"])?,
            order: Order::parse(sort).unwrap_or(Order::Severity),
            sort,
            group,
            filters,
            text: asked.get("q").map(str::to_lowercase),
            after: asked.get("after").map(place_of).transpose()?,
        })
    }

    fn fits(&self, asked: &Asked, episode: &Episode) -> bool {
        let is_state = match self.state {
            "firing" => episode.is_firing,
            "resolved" => !episode.is_firing,
            _ => true,
        };
        // What fires is there whenever it began; what is over, if it was heard of in the range.
        let is_in_range = episode.is_firing || episode.last_seen >= asked.from;
        is_state
            && is_in_range
            && self.filters.iter().all(|(name, wanted)| {
                let values = values_of(episode, name);
                is_wanted(wanted, &values)
            })
            && self.text.as_ref().is_none_or(|text| {
                let Episode { title, summary, name, .. } = episode;
                let key = episode.key_words();
                [title, summary, name, &key, &episode.fingerprint]
                    .iter()
                    .any(|part| part.to_lowercase().contains(text.as_str()))
            })
    }

    fn groups(
        &self,
        asked: &Asked,
        by: &'static str,
        chosen: &[Arc<Episode>],
    ) -> (Vec<Group>, usize) {
        let mut groups: BTreeMap<String, Vec<&Episode>> = BTreeMap::new();
        for episode in chosen {
            let name = match by {
                "rule" => episode.title.clone(),
                _ => values_of(episode, by).first().map_or("", |name| name).to_owned(),
            };
            groups.entry(name).or_default().push(episode);
        }
        let mut groups: Vec<(String, Vec<&Episode>)> = groups.into_iter().collect();
        groups.sort_by_cached_key(|(name, of)| {
            (of.first().map(|episode| self.order.place(episode)), name.clone())
        });
        let more = groups.len().saturating_sub(GROUPS_SHOWN);
        groups.truncate(GROUPS_SHOWN);
        let group = |(name, of): (String, Vec<&Episode>)| {
            let starts: Vec<_> = of.iter().map(|episode| episode.starts_at).collect();
            let worst = of.iter().map(|episode| episode.severity).max().unwrap_or_default();
            let value = match by {
                "rule" => of.first().map(|episode| episode.name.clone()).unwrap_or_default(),
                _ => name.clone(),
            };
            let here = asked.here().without("group").without("after").without(by);
            Group {
                worst: worst.as_str(),
                count: capped(of.len()),
                blocks: Blocks::new(asked.now.as_event().hour(), &starts),
                shared: shared(by, &of),
                more: of.len().saturating_sub(GROUP_LINES),
                lines: of
                    .iter()
                    .take(GROUP_LINES)
                    .map(|episode| EpisodeLine::new(asked, episode))
                    .collect(),
                link: if value.is_empty() { here } else { here.set(by, &value) },
                name: if name.is_empty() { format!("no {by} named") } else { name },
            }
        };
        (groups.into_iter().map(group).collect(), more)
    }

    /// Why there is nothing, and what to do.
    fn empty(&self, asked: &Asked, firing: usize) -> (String, String) {
        let is_narrowed = self.text.is_some() || self.filters.values().any(|of| !of.is_empty());
        match (is_narrowed, self.state) {
            (true, _) => (
                "No alert fits all of these.".to_owned(),
                format!("{firing} fire; take a filter out, or widen the range."),
            ),
            (false, "firing") => (
                "Nothing fires.".to_owned(),
                "What was, is in the history: choose “all”.".to_owned(),
            ),
            (false, _) => (
                format!("No alert in {}.", asked.range_words()),
                "Widen the range; Coverage says whether anybody looked.".to_owned(),
            ),
        }
    }
}

/// What all of a group has in common, beside what it is grouped by.
fn shared(by: &str, of: &[&Episode]) -> Vec<(String, String)> {
    let (Some(first), true) = (of.first(), of.len() > 1) else { return Vec::new() };
    let names = ["rule", "actor", "namespace", "cluster"];
    names
        .into_iter()
        .filter(|name| *name != by)
        .filter_map(|name| {
            let value = values_of(first, name).into_iter().next()?;
            let is_shared =
                of.iter().all(|episode| values_of(episode, name).first() == Some(&value));
            is_shared.then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// What an episode has of what can be filtered by; a rule has a name, an id and a title.
fn values_of<'e>(episode: &'e Episode, name: &str) -> Vec<&'e str> {
    match name {
        "severity" => vec![episode.severity.as_str()],
        "rule" => vec![&episode.name, &episode.rule_id, &episode.title],
        "actor" => episode.actor.as_deref().into_iter().collect(),
        "namespace" => episode.namespace.as_deref().into_iter().collect(),
        _ => episode.cluster.as_deref().into_iter().collect(),
    }
}

/// One of those that are wanted, and none of those that are not.
fn is_wanted(wanted: &[&str], values: &[&str]) -> bool {
    let (not, one_of): (Vec<&str>, Vec<&str>) =
        wanted.iter().partition(|value| value.starts_with('!'));
    (one_of.is_empty() || one_of.iter().any(|value| values.contains(value)))
        && !not
            .iter()
            .filter_map(|value| value.strip_prefix('!'))
            .any(|value| values.contains(&value))
}

fn tabs(asked: &Asked, name: &str, words: &[&'static str], here: &str) -> Vec<Tab> {
    let tab = |(index, word): (usize, &&'static str)| Tab {
        name: word,
        link: if index == 0 {
            asked.here().without("after").without(name)
        } else {
            asked.here_with(name, word)
        },
        is_here: *word == here,
    };
    words.iter().enumerate().map(tab).collect()
}

fn groupings(asked: &Asked, here: Option<&str>) -> Vec<Tab> {
    let mut tabs =
        tabs(asked, "group", &["", "rule", "actor", "namespace", "cluster"], here.unwrap_or(""));
    if let Some(first) = tabs.first_mut() {
        first.name = "none";
    }
    tabs
}

fn chips(asked: &Asked) -> Vec<Chip> {
    let is_filter = |name: &str| FILTERS.contains(&name) || name == "q";
    asked
        .pairs
        .iter()
        .filter(|(name, _)| is_filter(name))
        .map(|(name, value)| {
            let (is_not, shown) = match value.strip_prefix('!') {
                Some(rest) if name != "q" => (true, rest),
                _ => (false, value.as_str()),
            };
            Chip {
                name: if name == "q" { "text".to_owned() } else { name.clone() },
                value: crate::engine::text::one_line(shown, 60),
                is_not,
                without: asked.here().without("after").without_pair(name, value),
            }
        })
        .collect()
}

/// What a form that narrows the list further has to say again.
fn kept(asked: &Asked) -> Vec<(String, String)> {
    let is_kept = |name: &str| name != "after" && name != "q" && name != "severity";
    asked.pairs.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
}

/// A count, or that it is more than anybody counts.
pub(super) fn capped(count: usize) -> String {
    if count > COUNT_MAX {
        format!("{}+", thousands(COUNT_MAX as u64))
    } else {
        thousands(count as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNT_MAX, capped};

    #[test]
    fn more_than_anybody_counts_is_said_to_be_more() {
        assert_eq!(capped(COUNT_MAX), "10,000");
        assert_eq!(capped(COUNT_MAX + 1), "10,000+");
    }
}
