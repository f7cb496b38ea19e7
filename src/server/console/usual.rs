//! Is it usual? What somebody did around an alert, against what the ledger has of them from before.

use std::{collections::BTreeMap, sync::Arc};

use super::asked::Asked;
use crate::engine::{
    access::Access,
    ledger::Row,
    text::{counted, first_of, one_line, thousands},
    time::EventTime,
};

/// Requests below which nothing is said of the hours that somebody works: 50.
const HOURS_KNOWN_MIN: u64 = 50;

/// Things of one sort that are named.
const NAMED: usize = 3;

/// How something compares with before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was so before.
    Known,
    /// It never was.
    New,
    /// Nothing is known.
    Unknown,
}

impl Verdict {
    /// The name of its mark.
    pub(super) const fn icon(self) -> &'static str {
        match self {
            Verdict::Known => "yes",
            Verdict::New => "no",
            Verdict::Unknown => "ask",
        }
    }

    /// Its word, for those who see no mark.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Verdict::Known => "known",
            Verdict::New => "new",
            Verdict::Unknown => "not known",
        }
    }

    /// The class of its colour.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Verdict::Known => "good",
            Verdict::New => "high",
            Verdict::Unknown => "quiet",
        }
    }
}

/// One comparison.
pub(super) struct Usual {
    pub(super) verdict: Verdict,
    pub(super) text: String,
}

/// What is known of one value: how many requests, and when last.
type Known = BTreeMap<String, (u64, EventTime)>;

fn tally<'a>(
    rows: impl Iterator<Item = &'a Access>,
    of: impl Fn(&Access) -> Option<String>,
) -> Known {
    let mut known = Known::new();
    for access in rows {
        let Some(value) = of(access) else { continue };
        let (count, last) = known.entry(value).or_insert((0, access.at));
        *count += access.count();
        *last = access.at;
    }
    known
}

/// `exec in pods of default`, what somebody does.
fn doing(access: &Access) -> Option<String> {
    let object = access.object.as_ref()?;
    let verb = access.verb.as_deref().unwrap_or("?");
    let below = object.subresource.as_deref().map_or_else(String::new, |below| format!("/{below}"));
    let place = object.namespace.as_deref().unwrap_or("the cluster");
    Some(format!("{verb} {}{below} in {place}", object.resource))
}

fn owned(text: Option<&Arc<str>>) -> Option<String> {
    text.map(ToString::to_string)
}

/// Compares what was done `now` with `before`; `since` is when the ledger's look back begins.
pub(super) fn compare(
    asked: &Asked,
    before: &[Row],
    now: &[&Access],
    since: EventTime,
) -> Vec<Usual> {
    let past = || before.iter().filter_map(Row::access);
    let requests: u64 = past().map(Access::count).sum();
    let from = before.first().map_or(since, |row| row.at().max(since));
    if requests == 0 {
        let text = format!("nothing else is recorded of them since {}", asked.when(since).full);
        return vec![Usual { verdict: Verdict::Unknown, text }];
    }
    let mut found = Vec::new();
    for (what, of) in [
        ("", doing as fn(&Access) -> Option<String>),
        ("address", |access: &Access| owned(access.source_ip.as_ref())),
        ("credential", |access: &Access| owned(access.credential_id.as_ref())),
        ("client", |access: &Access| owned(access.user_agent.as_ref())),
        ("permission", |access: &Access| access.permission.as_ref().map(ToString::to_string)),
    ] {
        let known = tally(past(), of);
        let today = tally(now.iter().copied(), of);
        found.extend(judged(asked, what, &known, &today));
    }
    found.extend(hours(asked, past(), now, requests));
    found.sort_by_key(|usual| usual.verdict != Verdict::New);
    let text =
        format!("compared with {} since {}", requests_words(requests), asked.when(from).full);
    found.push(Usual { verdict: Verdict::Unknown, text });
    found
}

fn requests_words(count: u64) -> String {
    counted(count, "request")
}

/// What is new of one sort, and what is known.
fn judged(asked: &Asked, what: &str, known: &Known, today: &Known) -> Vec<Usual> {
    let words = |text: &str| {
        let text = one_line(text, 80);
        if what.is_empty() { text } else { format!("{what} {text}") }
    };
    let new: Vec<String> = today
        .keys()
        .filter(|value| !known.contains_key(*value))
        .map(|value| words(value))
        .collect();
    let mut found = Vec::new();
    if !new.is_empty() {
        let text = format!("first time: {}", first_of(&new, NAMED));
        found.push(Usual { verdict: Verdict::New, text });
    }
    let old = today.keys().filter_map(|value| Some((value, known.get(value)?)));
    for (value, (count, last)) in old.take(NAMED) {
        let last = asked.when(*last).ago;
        let text = format!("{}: {} before, last {last}", words(value), requests_words(*count));
        found.push(Usual { verdict: Verdict::Known, text });
    }
    found
}

/// Whether this is an hour at which they work.
fn hours<'a>(
    asked: &Asked,
    past: impl Iterator<Item = &'a Access>,
    now: &[&Access],
    requests: u64,
) -> Option<Usual> {
    let first = now.first()?;
    if requests < HOURS_KNOWN_MIN {
        return None;
    }
    let hour = asked.hour_of(first.at);
    let near: u64 = past
        .filter(|access| {
            let apart = asked.hour_of(access.at).abs_diff(hour);
            apart.min(24 - apart) <= 1
        })
        .map(Access::count)
        .sum();
    let time = format!("{hour:02}:00 {}", asked.zone_name);
    Some(if near == 0 {
        let text = format!("outside of their hours: nothing before around {time}");
        Usual { verdict: Verdict::New, text }
    } else {
        let text = format!("within their hours: {} of {} around {time}", thousands(near), requests);
        Usual { verdict: Verdict::Known, text }
    })
}
