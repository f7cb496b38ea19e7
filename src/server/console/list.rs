//! Lists of episodes: which ones, in which order, and how a line of one looks.

use std::{cmp::Reverse, sync::Arc};

use super::{
    super::recent::{Known, minutes_of},
    super::row::{Episode, episodes, key_of_entry},
    asked::{Asked, When},
    ledger::{Answer, ROWS_MAX, ask, last_rows},
    link::Link,
    view::View,
};
use crate::{
    archive::Filter,
    engine::{
        act::Verdict,
        ledger::{Entry, EntryKind, Row},
        text::one_line,
        time::EventTime,
    },
};

/// Characters of what tells an alert apart, on a line.
const KEY_CHARS: usize = 160;

/// A text with the page that is about it, and the one that leaves it out.
pub(super) type Value = (String, Link, Link);

/// One line.
pub(super) struct EpisodeLine {
    pub(super) id: String,
    pub(super) link: Link,
    pub(super) severity: &'static str,
    pub(super) title: String,
    pub(super) key: String,
    pub(super) actor: Option<Value>,
    pub(super) place: Option<Value>,
    pub(super) value: String,
    pub(super) threshold: String,
    pub(super) began: When,
    pub(super) last: When,
    pub(super) is_firing: bool,
    pub(super) tags: Vec<String>,
    pub(super) assignee: String,
}

impl EpisodeLine {
    /// Of an episode; its values lead to lists of alerts with the same.
    pub(super) fn new(asked: &Asked, episode: &Episode) -> EpisodeLine {
        let filter = |name: &str, value: &str| {
            let here = if asked.path == "/alerts" {
                asked.here().without("after")
            } else {
                asked.link("/alerts")
            };
            let short = one_line(value, 60);
            (short, here.clone().set(name, value), here.with(name, &format!("!{value}")))
        };
        let place = match (&episode.namespace, &episode.cluster) {
            (Some(namespace), _) => Some(filter("namespace", namespace)),
            (None, Some(cluster)) => Some(filter("cluster", cluster)),
            (None, None) => None,
        };
        EpisodeLine {
            id: episode.id(),
            link: asked.alert_link(&episode.fingerprint, episode.starts_at),
            severity: episode.severity.as_str(),
            title: episode.title.clone(),
            key: one_line(&episode.key_words(), KEY_CHARS),
            actor: episode.actor.as_deref().map(|actor| filter("actor", actor)),
            place,
            value: episode.value_words(),
            threshold: episode.threshold.clone(),
            began: asked.when(episode.starts_at),
            last: asked.when(episode.last_seen),
            is_firing: episode.is_firing,
            tags: tags(episode),
            assignee: episode
                .acts
                .as_ref()
                .and_then(|acts| acts.assignee())
                .map_or_else(String::new, |who| one_line(who, 60)),
        }
    }
}

/// What people did about it, in a word each.
fn tags(episode: &Episode) -> Vec<String> {
    let Some(acts) = &episode.acts else { return Vec::new() };
    let silenced = (!acts.silenced_by.is_empty()).then(|| "silenced".to_owned());
    let taken = acts.is_quieted().then(|| "acknowledged".to_owned());
    let verdict = acts.verdict().map(|verdict| verdict_words(verdict).to_owned());
    [silenced, taken, verdict].into_iter().flatten().collect()
}

/// A verdict in words.
pub(super) const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::TruePositive => "true positive",
        Verdict::Benign => "benign",
        Verdict::FalsePositive => "false positive",
    }
}

/// Entries of alerts of a range, the last ones if there are too many, and whether that is so.
pub(super) type Entries = (Vec<Arc<Row>>, bool);

/// Asks for the changes of alerts in a range. They may have been read a moment ago, for another page.
pub(super) async fn changes(context: &View, range: (EventTime, EventTime)) -> Answer<Entries> {
    let minutes = minutes_of(range);
    let place = context.desk.recent.place(minutes);
    let mut place = place.lock().await;
    if let Some(known) = place.as_ref().filter(|known| known.is_fresh()) {
        return Answer { found: (known.within(range), known.is_cut), troubles: Vec::new() };
    }
    let Answer { found: (rows, is_cut), troubles } = ask(context, move |reader| {
        Ok(last_rows(reader, &[Filter::Entries(EntryKind::Alert)], minutes, ROWS_MAX)?)
    })
    .await;
    let known = Arc::new(Known::now(rows, is_cut));
    // What is in trouble is asked again each time.
    *place = troubles.is_empty().then(|| Arc::clone(&known));
    Answer { found: (known.within(range), is_cut), troubles }
}

/// Which alerts are looked for.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'w> {
    All,
    OfActor(&'w str),
    OfRule(&'w str),
}

impl Wanted<'_> {
    fn has_entry(self, entry: &Entry) -> bool {
        match self {
            Wanted::All => true,
            Wanted::OfActor(actor) => Episode::actor_of_entry(entry) == Some(actor),
            Wanted::OfRule(rule_id) => entry.party == rule_id,
        }
    }

    fn has(self, episode: &Episode) -> bool {
        match self {
            Wanted::All => true,
            Wanted::OfActor(actor) => episode.actor.as_deref() == Some(actor),
            Wanted::OfRule(rule_id) => episode.rule_id == rule_id,
        }
    }
}

/// What fires, and what the ledger remembers beside it. What began before the range and ended
/// in it is there, as its end is a change.
pub(super) fn together(context: &View, rows: &[Arc<Row>], wanted: Wanted<'_>) -> Vec<Arc<Episode>> {
    let firing = context.status.firing();
    let lines = firing.lines.iter().filter(|episode| wanted.has(episode)).cloned();
    if rows.is_empty() {
        return lines.collect();
    }
    let rules = Arc::clone(&context.status.read().rules);
    // What fires is known better: of ten thousand nothing has to be put together.
    let fires = |entry: &Entry| Some(firing.has(&key_of_entry(entry)?));
    let is_wanted = |entry: &Entry| wanted.has_entry(entry) && fires(entry) != Some(true);
    let told = episodes(rows.iter().map(|row| &**row), &rules, is_wanted);
    // What the status does not know does not fire, whatever its last entry says: it was resolved while
    // nothing could be written.
    let told = told.into_values().map(|mut episode| {
        episode.is_firing = false;
        episode.acts = episode.engine_key().and_then(|key| context.status.acts_of(key));
        Arc::new(episode)
    });
    lines.chain(told).collect()
}

/// The order of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// What fires, then the worst, then the latest.
    Severity,
    /// The latest.
    Latest,
    /// What began last.
    Begun,
}

/// A place between two lines of a list, as the address of the next page says it.
pub(super) fn cursor(place: &Place) -> String {
    let (is_over, Reverse(severity), Reverse(time), id) = place;
    format!("{}.{severity}.{}.{id}", u8::from(*is_over), time.micros())
}

/// The place that such a text says.
pub(super) fn parse_cursor(text: &str) -> Option<Place> {
    let mut parts = text.splitn(4, '.');
    let is_over = match parts.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let severity = parts.next()?.parse().ok()?;
    let time = EventTime::from_micros(parts.next()?.parse().ok()?);
    Some((is_over, Reverse(severity), Reverse(time), parts.next()?.to_owned()))
}

/// Where an episode stands: less is further up.
pub(super) type Place = (bool, Reverse<u8>, Reverse<EventTime>, String);

impl Order {
    /// From the word of the address.
    pub(super) fn parse(word: &str) -> Option<Order> {
        match word {
            "severity" => Some(Order::Severity),
            "latest" => Some(Order::Latest),
            "begun" => Some(Order::Begun),
            _ => None,
        }
    }

    /// Where an episode stands in this order.
    pub(super) fn place(self, episode: &Episode) -> Place {
        let severity = episode.severity as u8;
        match self {
            Order::Severity => {
                (!episode.is_firing, Reverse(severity), Reverse(episode.last_seen), episode.id())
            }
            Order::Latest => (false, Reverse(0), Reverse(episode.last_seen), episode.id()),
            Order::Begun => (false, Reverse(0), Reverse(episode.starts_at), episode.id()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for (is_over, severity, micros) in [(false, 4, 1_764_424_800_000_000), (true, 0, -7)] {
            let time = Reverse(EventTime::from_micros(micros));
            let place: Place =
                (is_over, Reverse(severity), time, "ab@2026-01-05T22:14:01.5Z".to_owned());
            assert_eq!(parse_cursor(&cursor(&place)), Some(place));
        }
        for text in ["", "2.1.1.a", "0.300.1.a", "0.1.x.a", "0.1.1", "ab@2026-01-05T22:14:01Z"] {
            assert_eq!(parse_cursor(text), None, "{text}");
        }
    }
}
