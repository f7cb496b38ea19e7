//! What somebody did, as lanes: a row for each sort of object, bars for what lasts, diamonds for what happens,
//! hatching where nobody can know; and accesses as lines of a table.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    asked::{Asked, When},
    chart::{place, share},
    cover::Unknown,
    link::Link,
};
use crate::engine::{
    access::{Access, Outcome, SessionStep, kubectl_line},
    ledger::{Content, Entry, EntryKind, Row},
    text::{one_line, span, thousands},
    time::EventTime,
};

/// Lanes of one picture: 12. Further ones are named as one.
const LANES_MAX: usize = 12;

/// Marks of one lane: 240. Those that fall together are one.
const MARKS_MAX: usize = 240;

/// Shares of the width within which marks fall together.
const TOGETHER: f64 = 0.4;

/// Something that happened.
pub(super) struct Mark {
    pub(super) x: String,
    pub(super) is_refused: bool,
    pub(super) title: String,
    at: f64,
    count: u64,
}

/// Something that lasts.
pub(super) struct Bar {
    pub(super) x: String,
    pub(super) width: String,
    pub(super) title: String,
}

/// One row.
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) link: Option<Link>,
    pub(super) marks: Vec<Mark>,
    pub(super) bars: Vec<Bar>,
    pub(super) count: u64,
}

/// A stretch of the whole width.
pub(super) struct Stretch {
    pub(super) x: String,
    pub(super) width: String,
    pub(super) title: String,
}

/// An access, or an entry between, as a line of a table.
pub(super) struct Line {
    pub(super) when: When,
    pub(super) classes: String,
    pub(super) is_privileged: bool,
    pub(super) actor: Option<(String, Link)>,
    cluster: Option<Arc<str>>,
    pub(super) what: String,
    pub(super) outcome: String,
    pub(super) outcome_class: &'static str,
    pub(super) source: Option<(String, Link)>,
    pub(super) permission: Option<(String, Link)>,
    pub(super) object: Option<Link>,
    pub(super) position: String,
    pub(super) count: u64,
    pub(super) notes: Vec<String>,
    /// What stands between accesses: an entry, with its sort and the page about it.
    pub(super) entry: Option<(String, Option<Link>)>,
}

/// The picture.
pub(super) struct Lanes {
    pub(super) shown: Vec<Lane>,
    /// Lanes that are left out.
    pub(super) more: usize,
    pub(super) unknown: Vec<Stretch>,
    pub(super) during: Option<Stretch>,
    pub(super) ticks: Vec<(String, String)>,
    pub(super) label: String,
}

impl Lanes {
    /// Of accesses in the order of time, a lane for each sort of object.
    pub(super) fn new<'a>(
        asked: &Asked,
        range: (EventTime, EventTime),
        accesses: impl Iterator<Item = &'a Access>,
        unknown: &[Unknown],
        during: Option<Unknown>,
    ) -> Lanes {
        Lanes::by(asked, range, accesses, (unknown, during), by_object)
    }

    /// The same, a lane for each actor.
    pub(super) fn of_actors<'a>(
        asked: &Asked,
        range: (EventTime, EventTime),
        accesses: impl Iterator<Item = &'a Access>,
        unknown: &[Unknown],
    ) -> Lanes {
        Lanes::by(asked, range, accesses, (unknown, None), by_actor)
    }

    fn by<'a>(
        asked: &Asked,
        range: (EventTime, EventTime),
        accesses: impl Iterator<Item = &'a Access>,
        (unknown, during): (&[Unknown], Option<Unknown>),
        name: fn(&Asked, &Access) -> (String, Option<Link>),
    ) -> Lanes {
        let mut lanes: BTreeMap<String, Lane> = BTreeMap::new();
        let mut count = 0;
        for access in accesses {
            let (name, link) = name(asked, access);
            let lane = lanes.entry(name.clone()).or_insert_with(|| Lane {
                name,
                link,
                marks: Vec::new(),
                bars: Vec::new(),
                count: 0,
            });
            lane.add(asked, access, range);
            count += 1;
        }
        let mut lanes: Vec<Lane> = lanes.into_values().collect();
        // What lasts, and what is rare, tells most.
        lanes.sort_by_key(|lane| (lane.bars.is_empty(), std::cmp::Reverse(lane.count)));
        let more = lanes.len().saturating_sub(LANES_MAX);
        lanes.truncate(LANES_MAX);
        let stretch = |(from, to, title): &Unknown| {
            let (x, end) = (place(*from, range), place(*to, range));
            (end > x).then(|| Stretch { x: share(x), width: share(end - x), title: title.clone() })
        };
        let during = during.as_ref().map(|(from, to, title)| {
            let (x, end) = (place(*from, range), place(*to, range));
            let width = (end - x).max(0.35);
            Stretch { x: share(x), width: share(width), title: title.clone() }
        });
        let label = format!(
            "{} in {} lanes from {} to {}",
            counted_accesses(count),
            lanes.len(),
            asked.full(range.0),
            asked.full(range.1)
        );
        Lanes {
            more,
            unknown: unknown.iter().filter_map(stretch).collect(),
            during,
            ticks: ticks(asked, range),
            shown: lanes,
            label,
        }
    }
}

/// Six moments along the range.
fn ticks(asked: &Asked, range: (EventTime, EventTime)) -> Vec<(String, String)> {
    let whole = range.1.since(range.0);
    (0..6_u32)
        .map(|index| {
            let at = range.0.plus(whole * index / 6);
            let text = asked.full(at);
            let part = if whole > Duration::from_secs(2 * 86_400) { 5..16 } else { 11..16 };
            (share(place(at, range)), text.get(part).unwrap_or_default().to_owned())
        })
        .collect()
}

/// `pods/exec`, `secrets`; what is about no object has a lane of its own.
fn by_object(asked: &Asked, access: &Access) -> (String, Option<Link>) {
    let Some(object) = &access.object else { return ("no resource".to_owned(), None) };
    let name = match &object.subresource {
        Some(below) => format!("{}/{below}", object.resource),
        None => object.resource.to_string(),
    };
    (name, Some(asked.link("/object").with("resource", &object.resource)))
}

/// Who acted.
fn by_actor(asked: &Asked, access: &Access) -> (String, Option<Link>) {
    match asked.who(access.actor.id.as_ref(), access.on_behalf_of.as_ref()) {
        Some((who, link)) => (who, Some(link)),
        None => ("unknown".to_owned(), None),
    }
}

impl Lane {
    fn add(&mut self, asked: &Asked, access: &Access, range: (EventTime, EventTime)) {
        self.count += access.count();
        let what = one_line(&kubectl_line(access), 120);
        let title = format!("{} {what}", asked.full(access.at).get(11..).unwrap_or_default());
        let lasted = access.duration.map(Duration::from_micros);
        let until = access.last();
        let (begin, end) = match lasted {
            Some(lasted) => (access.at.minus(lasted), access.at),
            None => (access.at, until),
        };
        let (x, x_end) = (place(begin, range), place(end, range));
        if x_end - x > 0.5 {
            let words = format!("{title} ({})", span(end.since(begin)));
            self.bars.push(Bar { x: share(x), width: share(x_end - x), title: words });
            if access.session != Some(SessionStep::Start) {
                return;
            }
        }
        let is_refused = matches!(access.outcome, Some(Outcome::Denied | Outcome::Error));
        let is_near = |mark: &&mut Mark| x - mark.at < TOGETHER && mark.is_refused == is_refused;
        let is_full = self.marks.len() >= MARKS_MAX;
        if let Some(mark) = self.marks.last_mut().filter(|mark| is_full || is_near(mark)) {
            mark.count += access.count();
            mark.title = format!("{}× until {title}", mark.count);
            return;
        }
        self.marks.push(Mark { x: share(x), is_refused, title, at: x, count: access.count() });
    }
}

impl Line {
    /// Of an access.
    pub(super) fn new(asked: &Asked, access: &Access) -> Line {
        let text = |text: &Arc<str>| text.to_string();
        let object = access.object.as_ref().map(|object| {
            let mut link = asked.link("/object").with("resource", &object.resource);
            for (name, value) in [("namespace", &object.namespace), ("name", &object.name)] {
                if let Some(value) = value {
                    link = link.with(name, value);
                }
            }
            link
        });
        let mut notes = Vec::new();
        if access.names_left_out() {
            notes.push("names were left out".to_owned());
        }
        if let Some(lasted) = access.duration {
            notes.push(format!("lasted {}", span(Duration::from_micros(lasted))));
        }
        if let Some(rolled_up) = access.rolled_up.filter(|one| one.last > one.first) {
            notes.push(format!("the last at {}", asked.full(rolled_up.last)));
        }
        if access.detail.dry_run {
            notes.push("only tried (dry run)".to_owned());
        }
        if access.truncated {
            notes.push("a part of the event is missing".to_owned());
        }
        if access.from_future {
            notes.push("its time lies in the future".to_owned());
        }
        let outcome = access.outcome.map_or("", Outcome::as_str);
        let code = access.code.map_or_else(String::new, |code| format!(" {code}"));
        let position = &access.position;
        Line {
            when: asked.when(access.at),
            classes: access.classes.iter().map(text).collect::<Vec<_>>().join(", "),
            is_privileged: access.classes.iter().any(|class| **class == *"privileged"),
            actor: asked.who(access.actor.id.as_ref(), access.on_behalf_of.as_ref()),
            cluster: access.cluster.clone(),
            what: kubectl_line(access),
            outcome: format!("{outcome}{code}"),
            outcome_class: outcome,
            source: access
                .source_ip
                .as_ref()
                .map(|source| (source.to_string(), asked.link("/timeline").with("source", source))),
            permission: access.permission.as_ref().map(|permission| {
                let link = asked.link("/timeline").with("permission", &permission.name());
                (permission.to_string(), link)
            }),
            object,
            position: format!("{}/{}@{}", position.topic, position.partition, position.offset),
            count: access.count(),
            notes,
            entry: None,
        }
    }

    /// Of accesses.
    pub(super) fn all<'a>(asked: &Asked, accesses: impl Iterator<Item = &'a Access>) -> Vec<Line> {
        Line::told_apart(accesses.map(|access| Line::new(asked, access)).collect())
    }

    /// Lines that say in which cluster each was, if they are of several.
    pub(super) fn told_apart(mut lines: Vec<Line>) -> Vec<Line> {
        let first = lines.first().and_then(|line| line.cluster.clone());
        if lines.iter().any(|line| line.cluster != first) {
            for line in &mut lines {
                line.notes.extend(line.cluster.as_ref().map(|cluster| format!("in {cluster}")));
            }
        }
        lines
    }

    /// Of any row.
    pub(super) fn of_row(asked: &Asked, row: &Row) -> Option<Line> {
        match &row.content {
            Content::Access(access) => Some(Line::new(asked, access)),
            Content::Entry(entry) => Some(Line::of_entry(asked, row, entry)),
            // What was used is told by the page of permissions.
            Content::Usage(_) => None,
        }
    }

    fn of_entry(asked: &Asked, row: &Row, entry: &Entry) -> Line {
        let link = match entry.kind {
            EntryKind::Alert => entry
                .fact_of("starts_at")
                .and_then(EventTime::parse)
                .map(|start| asked.alert_link(&entry.subject, start)),
            _ => None,
        };
        let text =
            [entry.what.as_str(), &entry.detail, &entry.party].map(str::to_owned).join(" · ");
        Line {
            when: asked.when(row.at()),
            classes: String::new(),
            is_privileged: false,
            actor: None,
            cluster: entry.fact_of("key.cluster").map(Arc::from),
            what: text.trim_matches([' ', '·']).to_owned(),
            outcome: entry.fact_of("severity").unwrap_or_default().to_owned(),
            outcome_class: "",
            source: None,
            permission: None,
            object: None,
            position: String::new(),
            count: 0,
            notes: Vec::new(),
            entry: Some((entry.kind.as_str().to_owned(), link)),
        }
    }
}

/// `1 access`, `62 accesses`.
pub(super) fn counted_accesses(count: usize) -> String {
    let words = if count == 1 { "access" } else { "accesses" };
    format!("{} {words}", thousands(count as u64))
}
